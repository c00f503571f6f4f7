"""JSON examples: one object a message, the embedding a list of numbers in one of its fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from consumers.codecs.examples import (
    HEADER_PREFIX,
    Decoded,
    Emission,
    EmittedExample,
    OutputBound,
    Rows,
    SampleColumns,
)
from consumers.codecs.groups import number_of
from consumers.codecs.wire import (
    MAX_SQUARED_NORM,
    ExampleError,
    chained_weight,
    check_message,
    check_output,
    dead,
    framed_size,
    kept_headers,
    message_digest,
    ours_size,
    read_texts,
    sample_texts,
    why_unusable,
)
from consumers.settings import Input
from consumers.transform import InputRecord

__all__ = ["JsonCodec"]

_ONE_ROW = np.zeros(1, dtype=np.int64)
_ONE_ROW.setflags(write=False)


class JsonCodec:
    """A `Codec`: emitted are the input's bytes, with headers.

    Parameters
    ----------
    settings : Input
        Names of the fields, dimension, size limit, whether weights are chained.
    """

    def __init__(self, settings: Input) -> None:
        self._settings = settings

    def decode(self, record: InputRecord) -> Decoded:
        """See `Codec`."""
        try:
            example = _object(check_message(record, self._settings))
            vector = self._vector(example)
            check_output(_largest(record), self._settings)
            weight = chained_weight(record.headers) if self._settings.chain else 1.0
        except ExampleError as error:
            return dead(record, self._settings.dimension, error)
        name = self._settings.group
        groups = None if name is None else np.full(1, number_of(example.get(name)), np.int64)
        return Decoded(record, 1, vector[None, :], _ONE_ROW, np.full(1, weight), groups=groups)

    def largest_output(self, decoded: Decoded, max_bytes: int) -> OutputBound:
        """See `Codec`."""
        if not len(decoded.valid_rows):
            return OutputBound(0, 0)
        bound = _largest(decoded.record)
        return OutputBound(bound, bound)

    def emit(self, decoded: Decoded, rows: Rows, columns: SampleColumns, max_bytes: int) -> list[Emission]:
        """See `Codec`."""
        record = decoded.record
        kept = kept_headers(record.headers)
        weight = float(decoded.weights[0])
        texts = (sample_texts(record, None, columns, place, weight) for place in range(len(rows)))
        return [Emission(record.value or b"", kept + _headers(said)) for said in texts]

    def example(self, decoded: Decoded, row: int | None) -> bytes:
        """See `Codec`."""
        return decoded.record.value or b""

    def embedding(self, example: bytes) -> NDArray[np.float32] | None:
        """See `Codec`."""
        try:
            return self._vector(_object(example))
        except ExampleError:
            return None

    def emitted(self, record: InputRecord) -> list[EmittedExample]:
        """See `Codec`."""
        said = {name[len(HEADER_PREFIX) :]: value for name, value in record.headers if _is_ours(name)}
        try:
            texts = {name: value.decode() for name, value in said.items()}
            return [read_texts(texts, message_digest(record, record.value or b""))]
        except (KeyError, AttributeError, UnicodeDecodeError):
            raise ValueError("a message without the headers of the coreset") from None

    def fingerprint(self, decoded: Decoded, row: int) -> bytes:
        """See `Codec`."""
        return message_digest(decoded.record, decoded.record.value or b"")

    def _vector(self, example: dict[str, Any]) -> NDArray[np.float32]:
        """Return the embedding (d,); ExampleError says what is wrong with it."""
        name, dimension = self._settings.embedding, self._settings.dimension
        values = example.get(name)
        if values is None:
            raise ExampleError("NoEmbedding", f"no field {name!r}")
        if not isinstance(values, list) or not set(map(type, values)) <= {float, int}:
            raise ExampleError("NotNumbers", f"field {name!r} is not a list of numbers")
        if len(values) != dimension:
            raise ExampleError("WrongDimension", f"field {name!r} has {len(values)} numbers, not {dimension}")
        vector = np.array(values, dtype=np.float64)
        if not (np.abs(vector).max() <= 1e15 and vector @ vector <= MAX_SQUARED_NORM):
            raise why_unusable(vector)
        return vector.astype(np.float32)


def _largest(record: InputRecord) -> int:
    kept = kept_headers(record.headers)
    return framed_size(record, len(record.value or b""), kept) + ours_size(record.topic)


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ExampleError("NotJson", f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ExampleError("NotAnObject", "JSON, but not an object")
    return found


def _is_ours(name: str) -> bool:
    return name.startswith(HEADER_PREFIX)


def _headers(said: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((HEADER_PREFIX + name, text.encode()) for name, text in said.items())
