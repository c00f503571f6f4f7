"""Dead letters: what could not be used, as raw bytes, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from consumers.records.format import RecordError
from consumers.records.ledger import parse_source, source_id
from consumers.transform import InputRecord, Output

__all__ = ["PREFIX", "DeadLetter", "dead_letter", "read_dead_letter"]

Headers = tuple[tuple[str, bytes], ...]

PREFIX = "__coreset.errors."
MAX_VALUE = 65_536
MAX_HEADERS, FRAME = 65_536, 10  # bytes, of all and beside each name and value
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
    size and SHA-256 in headers; what else did not fit is named in ``__coreset.errors.cut``: a replay reads
    the source again. The Kafka key is the source id; the record's own key is in the header
    ``__coreset.errors.key``.
    """
    raw = record.value if value is None else value
    kept = _within(record.headers, MAX_HEADERS)
    cut = _cut_value(raw or b"") + _cut_rest(record, kept)
    source = source_id(record.topic, record.partition, record.offset, row)
    short = None if raw is None else raw[:MAX_VALUE]
    headers = kept + _errors(record, stage, exception, message, row) + cut
    return Output(topic, short, source.encode(), headers, record.timestamp_ms)


def read_dead_letter(key: bytes | None, headers: Headers) -> DeadLetter:
    """Read where a dead letter came from and why; RecordError where it is not one of ours."""
    found = {name: value for name, value in headers if name.startswith(PREFIX)}
    try:
        source = (key or b"").decode()
        parse_source(source)
        said = [found[PREFIX + name].decode() for name in ("stage", "exception", "message")]
    except (KeyError, ValueError, AttributeError):
        raise RecordError("not a dead letter of ours") from None
    return DeadLetter(source, *said)


def _errors(record: InputRecord, stage: str, exception: str, message: str, row: int | None) -> Headers:
    said = {
        "stage": stage,
        "exception": exception,
        "message": message,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
    }
    if row is not None:
        said["row"] = str(row)
    pairs = [(PREFIX + name, value.encode(errors="replace")[:MAX_TEXT]) for name, value in said.items()]
    key = [] if record.key is None else [(PREFIX + "key", record.key[:MAX_VALUE])]
    return (*pairs, *key)


def _cut_value(raw: bytes) -> Headers:
    if len(raw) <= MAX_VALUE:
        return ()
    digest = hashlib.sha256(raw).hexdigest().encode()
    return ((PREFIX + "sha256", digest), (PREFIX + "size", str(len(raw)).encode()))


def _cut_rest(record: InputRecord, kept: Headers) -> Headers:
    own = [name for name, _ in record.headers if not name.startswith(PREFIX)]
    cut = {"key": len(record.key or b"") > MAX_VALUE, "headers": len(kept) < len(own)}
    names = " ".join(name for name, is_cut in cut.items() if is_cut)
    return ((PREFIX + "cut", names.encode()),) if names else ()


def _within(headers: Headers, room: int) -> Headers:
    """Keep the first headers that fit, each with its frame; none that looks like ours."""
    kept = []
    for name, value in headers:
        room -= FRAME + len(name.encode(errors="replace")) + len(value or b"")
        if room < 0:
            break
        if not name.startswith(PREFIX):
            kept.append((name, value))
    return tuple(kept)
