"""Entries of the ledger, read from their JSON."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import orjson
from chaos.checker.messages import Message, Partition

__all__ = ["Entry", "MalformedError", "Span", "read_entry"]

_COUNTS = ("valid", "dead", "emitted", "clusters_version", "closed_ms")
_NUMBERS = ("s", "eta", "weight_sum", "cost")
_DIGESTS = ("emitted_digest", "clusters_digest")
_DESIGNS = ("pivotal", "systematic", "iid")


class MalformedError(ValueError):
    """A record that is not what the protocol says; the message says why."""


@dataclass(frozen=True)
class Span:
    """Offsets `start` to `end` (exclusive) of a partition."""

    partition: Partition
    start: int
    end: int


@dataclass(frozen=True)
class Entry:
    """What one window of the ledger says of itself; the names are those of the protocol."""

    window: str
    spans: tuple[Span, ...]
    valid: int
    dead: int
    emitted: int
    emitted_digest: str
    s: float
    design: str
    rate: float | None
    eta: float
    clusters_version: int
    weight_sum: float


def read_entry(message: Message) -> Entry:
    """Read an entry; MalformedError where it is not one."""
    try:
        found = orjson.loads(message.value or b"")
        spans = tuple(_span(one) for one in found["ranges"])
        _check(found)
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise MalformedError(f"{type(error).__name__}: {error}") from None
    first = spans[0] if spans else None
    name = first and f"{first.partition[0]}/{first.partition[1]}/{first.start}"
    if found["window"] != name or message.key != found["window"].encode():
        raise MalformedError(f"window {found['window']} with the key {message.key!r} begins at {name}")
    return Entry(
        spans=spans,
        rate=found["rate"],
        **{name: found[name] for name in Entry.__dataclass_fields__ if name not in ("spans", "rate")},
    )


def _span(found: dict[str, Any]) -> Span:
    topic, partition, start, end = (found[name] for name in ("topic", "partition", "start", "end"))
    whole = all(type(number) is int for number in (partition, start, end))
    if not (isinstance(topic, str) and whole and 0 <= start < end and partition >= 0):
        raise MalformedError(f"a range that is none: {found}")
    return Span((topic, partition), start, end)


def _check(found: dict[str, Any]) -> None:
    """MalformedError for a field that lacks or cannot be what it is said to be."""
    wrong = [name for name in _COUNTS if type(found[name]) is not int or found[name] < 0]
    wrong += [name for name in _NUMBERS if not _is_size(found[name])]
    wrong += [name for name in _DIGESTS if not re.fullmatch("[0-9a-f]{64}", str(found[name]))]
    wrong += [] if found["design"] in _DESIGNS else ["design"]
    wrong += [] if found["rate"] is None or (_is_size(found["rate"]) and found["rate"] <= 1) else ["rate"]
    if wrong:
        raise MalformedError(f"window {found['window']}: {', '.join(wrong)}")


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
