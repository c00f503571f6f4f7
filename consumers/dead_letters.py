"""Dead letters: what could not be used, as raw bytes, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from consumers.ledger import parse_source, source_id
from consumers.record_format import RecordError
from consumers.transactions import InputRecord, Output

__all__ = ["PREFIX", "DeadLetter", "dead_letter", "read_dead_letter"]

PREFIX = "__coreset.errors."
MAX_VALUE = 65_536
MAX_HEADERS = 65_536
MAX_TEXT = 1_000


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter, read back: where it came from and why it is one."""

    source: str
    stage: str
    exception: str
    message: str


def dead_letter(
    topic: str,
    record: InputRecord,
    *,
    stage: str,
    exception: str,
    message: str,
    row: int | None = None,
    value: bytes | None = None,
) -> Output:
    """Make the dead letter of a message, or of one `row` of it whose bytes alone are `value`.

    It keeps key, headers and timestamp. Of a value larger than 64 kB the first 64 kB are kept, with its
    size and SHA-256 in headers: a replay reads the source again. The Kafka key is the source id; the
    record's own key is in the header ``__coreset.errors.key``.
    """
    raw = record.value if value is None else value
    headers = _errors(record, stage, exception, message, row) + _cut_headers(raw or b"")
    kept = _within(record.headers, MAX_HEADERS)
    source = source_id(record.topic, record.partition, record.offset, row)
    short = None if raw is None else raw[:MAX_VALUE]
    return Output(topic, short, source.encode(), kept + headers, record.timestamp_ms)
