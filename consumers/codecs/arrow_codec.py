"""Arrow examples: an IPC stream a message, many rows, the embedding in one column of lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers import ipc
from consumers.codecs.arrow_layout import (
    content_of,
    fingerprint,
    read_columns,
    unified,
    with_columns,
    without_ours,
)
from consumers.codecs.examples import (
    HEADER_PREFIX,
    Decoded,
    Emission,
    EmittedExample,
    OutputBound,
    RowError,
    Rows,
    SampleColumns,
)
from consumers.codecs.groups import column_numbers
from consumers.codecs.vectors import Vectors, check_vector_type, read_vectors
from consumers.codecs.wire import (
    ExampleError,
    chained_weight,
    check_message,
    check_output,
    dead,
    framed_size,
    kept_headers,
    read_texts,
    refuse_ours,
    sample_texts,
    usable_weights,
)
from consumers.settings import Input
from consumers.transform import InputRecord

__all__ = ["ArrowCodec"]

# A message with more bad rows than fit here as dead letters of their own is dead as a whole.
MAX_DEAD_BYTES = 16_000_000
_WEIGHT = HEADER_PREFIX + "weight"


class ArrowCodec:
    """A `Codec`: emitted are the selected rows with their schema, and columns.

    Parameters
    ----------
    settings : Input
        Names of the columns, dimension, size limit, whether weights are chained.
    """

    def __init__(self, settings: Input) -> None:
        self._settings = settings

    def decode(self, record: InputRecord) -> Decoded:
        """See `Codec`."""
        try:
            return self._decode(record, check_message(record, self._settings))
        except ExampleError as error:
            return dead(record, self._settings.dimension, error)

    def largest_output(self, decoded: Decoded, max_bytes: int) -> OutputBound:
        """See `Codec`."""
        if not len(decoded.valid_rows):
            return OutputBound(0, 0)
        size = decoded.content.layout
        rows = len(decoded.valid_rows)
        messages = -(-rows // size.rows_within(max_bytes))
        return OutputBound(size.content + rows * size.added + messages * size.base, size.base + size.row)

    def emit(self, decoded: Decoded, rows: Rows, columns: SampleColumns, max_bytes: int) -> list[Emission]:
        """See `Codec`."""
        order = np.argsort(np.asarray(rows), kind="stable")
        table = self._selected(decoded, np.asarray(rows, dtype=np.int64), columns, order)
        kept = kept_headers(decoded.record.headers)
        whole = ipc.write_stream(table)
        if framed_size(decoded.record, len(whole), kept) <= max_bytes:
            return [Emission(whole, kept)]
        each = decoded.content.layout.rows_within(max_bytes)
        parts = (table.slice(start, each) for start in range(0, len(table), each))
        return [Emission(ipc.write_stream(part), kept) for part in parts]

    def example(self, decoded: Decoded, row: int | None) -> bytes:
        """See `Codec`."""
        if row is None or decoded.content is None:
            return decoded.record.value or b""
        return ipc.write_stream(decoded.content.table.slice(row, 1))

    def embedding(self, example: bytes) -> NDArray[np.float32] | None:
        """See `Codec`."""
        try:
            found = self._vectors(self._open(example))
        except ExampleError:
            return None
        return found.values[0] if len(found.rows) == 1 and not found.errors else None

    def emitted(self, record: InputRecord) -> list[EmittedExample]:
        """See `Codec`."""
        try:
            table = unified(ipc.read_stream(record.value or b"", self._settings.max_message_bytes))
            own, said = without_ours(table), read_columns(table)
            return [read_texts(row, fingerprint(record, own, place)) for place, row in enumerate(said)]
        except pa.ArrowException as error:
            raise ValueError(f"a message that is not as we write it: {str(error)[:300]}") from None

    def fingerprint(self, decoded: Decoded, row: int) -> bytes:
        """See `Codec`."""
        return fingerprint(decoded.record, decoded.content.own, row)

    def _decode(self, record: InputRecord, value: bytes) -> Decoded:
        table = self._open(value)
        found = self._vectors(table)
        weights = self._weights(record, table, found)
        usable = usable_weights(weights)
        bad = {
            int(r): ExampleError("BadWeight", "its coreset-weight is not a positive number")
            for r in found.rows[~usable]
        }
        errors = _row_errors(found.errors | bad)
        content = content_of(record, table)
        check_output(content.layout.base + content.layout.row, self._settings)
        if errors and len(errors) * (table.schema.serialize().size + 2048) > MAX_DEAD_BYTES:
            raise ExampleError("TooManyBadRows", f"{len(errors)} of {len(table)} rows cannot be used")
        kept = slice(None) if usable.all() else usable
        rows, name = found.rows[kept], self._settings.group
        groups = None if name is None else column_numbers(table, name)[rows]
        return Decoded(record, len(table), found.values[kept], rows, weights[kept], errors, groups, content)

    def _open(self, value: bytes) -> pa.Table:
        """Return the table of a message whose embedding column has the right type."""
        try:
            table = unified(ipc.read_stream(value))
        except (ipc.IpcError, pa.ArrowException) as error:
            raise ExampleError("NotArrow", str(error)[:300]) from None
        if not self._settings.chain:
            refuse_ours(table.column_names, "column")
        check_vector_type(self._column(table).type, self._settings.dimension)
        return table

    def _column(self, table: pa.Table) -> pa.ChunkedArray:
        name = self._settings.embedding
        found = table.column_names.count(name)
        if found != 1:
            raise ExampleError("NoEmbedding", f"{found or 'no'} columns of the name {name!r}")
        return table.column(name)

    def _vectors(self, table: pa.Table) -> Vectors:
        """Return the embeddings of all batches; of a single one without a copy."""
        dimension, parts, row = self._settings.dimension, [], 0
        for chunk in self._column(table).chunks:
            parts.append(read_vectors(chunk, dimension, row))
            row += len(chunk)
        if len(parts) == 1:
            return parts[0]
        values = [np.zeros((0, dimension), np.float32), *(part.values for part in parts)]
        rows = [np.zeros(0, np.int64), *(part.rows for part in parts)]
        errors = {row: error for part in parts for row, error in part.errors.items()}
        return Vectors(np.concatenate(values), np.concatenate(rows), errors)

    def _weights(self, record: InputRecord, table: pa.Table, found: Vectors) -> NDArray[np.float64]:
        """Return what the usable rows weighed already; NaN where a column says nothing usable."""
        if not self._settings.chain:
            return np.ones(len(found.rows))
        if _WEIGHT not in table.column_names:
            return np.full(len(found.rows), chained_weight(record.headers))
        if table.column_names.count(_WEIGHT) > 1 or not pa.types.is_floating(table.field(_WEIGHT).type):
            raise ExampleError("BadWeight", "the column coreset-weight does not hold floating-point numbers")
        weights: NDArray[np.float64] = table.column(_WEIGHT).to_numpy().astype(np.float64)
        return weights[found.rows]

    def _selected(
        self, decoded: Decoded, rows: NDArray[np.int64], columns: SampleColumns, order: NDArray[np.int64]
    ) -> pa.Table:
        """Return the selected rows in the order of their message, with the columns of the coreset."""
        weights = decoded.weights[np.searchsorted(decoded.valid_rows, rows)]
        said = [
            sample_texts(decoded.record, int(rows[place]), columns, int(place), float(weights[place]))
            for place in order
        ]
        return with_columns(decoded.content.own.take(rows[order]), said)


def _row_errors(found: dict[int, ExampleError]) -> tuple[RowError, ...]:
    return tuple(RowError(row, error.kind, str(error)) for row, error in sorted(found.items()))
