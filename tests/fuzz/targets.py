"""Every parser of bytes that nobody vouches for, as a function of bytes.

Each returns ``"accepted"`` after it has checked the result's invariants, or the kind of refusal; whatever
it raises is a finding. Guided fuzzers can call them as they are (see `fuzz.guided`).
"""

from __future__ import annotations

from collections.abc import Callable

from fuzz import answers, configuration, examples, own_records, surrogates

__all__ = ["TARGETS", "Target"]

Target = Callable[[bytes], str]

TARGETS: dict[str, Target] = {
    "json": examples.json,
    "arrow": examples.arrow,
    "headers": examples.headers,
    "statistics": own_records.statistics,
    "clusters": own_records.clusters,
    "ledger": own_records.ledger,
    "dead-letters": own_records.dead_letters,
    "feedback": own_records.feedback,
    "estimates": own_records.estimate,
    "surrogate": surrogates.surrogate,
    "answer": answers.answer,
    "wait": answers.wait_header,
    "http": answers.http,
    "yaml": configuration.yaml,
    "environment": configuration.environment,
    "flags": configuration.flags,
}
