"""Targets: users' examples and their headers, through both codecs, up to emission and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from fuzz.contract import ACCEPTED, kind_of, require
from fuzz.framing import split

from consumers.codecs import HEADER_PREFIX, Codec, Decoded, SampleColumns, codec_for
from consumers.codecs.wire import HEADERS_ROOM, framed_size
from consumers.records import dead_letter, read_dead_letter
from consumers.settings import Input
from consumers.transform import InputRecord

__all__ = ["DIMENSION", "arrow", "headers", "json", "record_with_headers"]

DIMENSION = 3
LIMIT = Input(dimension=DIMENSION).max_message_bytes + HEADERS_ROOM


def _codec(**how: Any) -> Codec:
    return codec_for(Input(dimension=DIMENSION, group="kind", **how))


JSON, CHAINED_JSON = _codec(), _codec(chain=True)
ARROW, CHAINED_ARROW = _codec(format="arrow"), _codec(format="arrow", chain=True)


def json(value: bytes) -> str:
    """A JSON message."""
    return _message(JSON, InputRecord("examples", 2, 120, b"k", value, (("own", b"1"),), 5))


def arrow(value: bytes) -> str:
    """An Arrow message; the chained codec sees columns of the coreset that the other refuses."""
    record = InputRecord("examples", 2, 120, b"k", value, (("own", b"1"),), 5)
    outcome = _message(ARROW, record)
    return _message(CHAINED_ARROW, record) if outcome == "AlreadyCoreset" else outcome


def headers(value: bytes) -> str:
    """A good message whose key and headers (name, value, name, value ...) are not."""
    record = record_with_headers(value)
    chained = _message(CHAINED_JSON, record)
    outcome = _message(JSON, record)
    return chained if outcome == "AlreadyCoreset" else outcome


def record_with_headers(value: bytes) -> InputRecord:
    """Make a record of fields; names are what the Kafka client makes of bytes that may be no UTF-8."""
    key, *fields = split(value) or [b""]
    names = (field.decode("utf-8", "backslashreplace") for field in fields[::2])
    pairs = tuple(zip(names, fields[1::2], strict=False))
    return InputRecord("examples", 2, 120, key, b'{"embedding": [1, 2, 3]}', pairs, 5)


def _message(codec: Codec, record: InputRecord) -> str:
    """Decode a message, and do with it all that the service does."""
    decoded = codec.decode(record)
    _check_decoded(decoded)
    _read_back_anything(codec, record)
    for error in decoded.errors:
        _check_dead_letter(codec, decoded, error.row)
    bound = codec.largest_output(decoded, LIMIT)
    require(bound.single <= LIMIT, f"one row could take {bound.single} bytes of a coreset message")
    if len(decoded.valid_rows):
        _emit(codec, decoded, bound.single)
    kinds = {error.exception for error in decoded.errors}
    return min(kinds) if kinds else ACCEPTED


def _check_decoded(decoded: Decoded) -> None:
    valid, errors = len(decoded.valid_rows), len(decoded.errors)
    require(decoded.rows == valid + errors, f"{decoded.rows} rows, {valid} usable and {errors} not")
    require(decoded.embeddings.shape == (valid, DIMENSION), f"embeddings of shape {decoded.embeddings.shape}")
    require(decoded.embeddings.dtype == np.float32, f"embeddings of type {decoded.embeddings.dtype}")
    norms = np.square(decoded.embeddings.astype(np.float64)).sum(axis=1)
    require(np.all(norms <= 1.001e30), "an embedding that is not finite or too long")
    require(np.all(np.diff(decoded.valid_rows) > 0), "rows out of order")
    require(np.all((decoded.weights > 0) & np.isfinite(decoded.weights)), "a weight that is no weight")
    for error in decoded.errors:
        kind_of(error.message)


def _emit(codec: Codec, decoded: Decoded, single: int) -> None:
    """Emit two rows, one of them twice as a draw with replacement may; read them back."""
    rows = decoded.valid_rows[[0, -1, -1]]
    emissions = codec.emit(decoded, rows, _columns(len(rows)), LIMIT)
    sizes = [framed_size(decoded.record, len(one.value), one.headers) for one in emissions]
    require(max(sizes) <= LIMIT, f"a coreset message of {max(sizes)} bytes, the limit is {LIMIT}")
    require(sum(sizes) <= len(rows) * single, f"{sum(sizes)} bytes, more than {len(rows)} times {single}")
    back = [example for one in emissions for example in codec.emitted(_with(decoded.record, one))]
    found = sorted(example.fingerprint for example in back)
    require(found == sorted(codec.fingerprint(decoded, int(row)) for row in rows), "emission changed a row")
    _check_example(codec, decoded, int(rows[0]))


def _check_example(codec: Codec, decoded: Decoded, row: int) -> None:
    vector = codec.embedding(codec.example(decoded, row))
    require(
        vector is not None and np.array_equal(vector, decoded.embeddings[0]),
        "a probe that is another example",
    )


def _check_dead_letter(codec: Codec, decoded: Decoded, row: int | None) -> None:
    value = None if row is None else codec.example(decoded, row)
    said = {"stage": "decode", "exception": "kind", "message": "sentence"}
    letter = dead_letter("dead", decoded.record, row=row, value=value, **said)
    back = read_dead_letter(letter.key, letter.headers)
    require((back.stage, back.message) == ("decode", "sentence"), "a dead letter that says something else")
    size = sum(len(name.encode()) + len(text or b"") for name, text in letter.headers)
    require(size <= 200_000, f"a dead letter with {size} bytes of headers")


def _read_back_anything(codec: Codec, record: InputRecord) -> None:
    """Whatever lies in the coreset topic is read back by the audit, or is a ValueError."""
    try:
        codec.emitted(record)
    except ValueError as error:
        kind_of(str(error)[:200] or "ValueError")


def _with(record: InputRecord, emission: Any) -> InputRecord:
    return InputRecord(
        record.topic, record.partition, record.offset, record.key, emission.value, emission.headers, 5
    )


def _columns(m: int) -> SampleColumns:
    numbers = np.linspace(0.1, 0.9, m)
    return SampleColumns(
        "examples/2/100", 7, 1 / numbers, numbers, np.arange(m), np.arange(m), *[numbers] * 6
    )


assert HEADER_PREFIX == "coreset-"  # the generators spell it
