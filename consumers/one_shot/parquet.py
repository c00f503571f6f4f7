"""Selections from .parquet files, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from consumers.codecs.vectors import check_vector_type, read_vectors
from consumers.codecs.wire import ExampleError
from consumers.errors import ServiceError
from consumers.one_shot.files import Selected, check_size, new_file

__all__ = ["ParquetFile"]

_BATCH_ROWS = 16_384
_PREFIX = "coreset_"


class ParquetFile:
    """A `Source`: a column of lists, or several columns of numbers.

    Parameters
    ----------
    path : Path
    embedding : str
        Column with the vectors.
    columns : sequence of str
        Columns of numbers to take instead.

    Raises
    ------
    ServiceError
        For a file that cannot be read, or without these columns.
    """

    def __init__(self, path: Path, embedding: str, columns: Sequence[str] = ()) -> None:
        self._path, self._embedding, self._columns = path, embedding, list(columns)
        try:
            self._file = parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise ServiceError(f"{path} cannot be read as .parquet: {_line(error)}.") from error
        self._schema: pa.Schema = self._file.schema_arrow
        for name in self._columns or [embedding]:
            self._require(name)
        ours = [name for name in self._schema.names if name.startswith(_PREFIX)]
        if ours:
            raise ServiceError(
                f"{path} has a column {ours[0]}: it is a selection already; leave its columns out."
            )
        self._rows = int(self._file.metadata.num_rows)

    def points(self) -> NDArray[np.float32]:
        """See `Source`."""
        dimension = len(self._columns) or self._dimension()
        check_size(self._path, self._rows, dimension)
        points = np.empty((self._rows, dimension), np.float32)
        for first, batch in self._batches(self._columns or [self._embedding]):
            into = points[first : first + len(batch)]
            if self._columns:
                for place, name in enumerate(self._columns):
                    into[:, place] = self._numbers(batch, name)
            else:
                into[:] = self._vectors(batch.column(0), dimension, first)
        return points

    def losses(self, name: str) -> NDArray[np.float64]:
        """See `Source`."""
        self._require(name)
        parts = [self._numbers(batch, name) for _, batch in self._batches([name])]
        return np.concatenate([np.zeros(0), *parts])

    def write(self, selected: Selected, output: Path) -> None:
        """See `Source`."""
        table = self._take(selected.indices)
        said = {"row": selected.indices, "weight": selected.weights, "probability": selected.probabilities}
        for name, values in {**said, "cluster": selected.clusters}.items():
            table = table.append_column(_PREFIX + name, pa.array(values))
        with new_file(output) as partial:
            parquet.write_table(table, partial)

    def _take(self, indices: NDArray[np.int64]) -> pa.Table:
        """The rows with all their columns, in this order, duplicates included."""
        rows, places = np.unique(indices, return_inverse=True)
        parts = [
            batch.take(pa.array(rows[(rows >= first) & (rows < first + len(batch))] - first))
            for first, batch in self._batches(None)
        ]
        return pa.Table.from_batches(parts, self._schema).take(pa.array(places))

    def _batches(self, columns: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches, each with the row that it begins at."""
        first = 0
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                yield first, batch
                first += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise ServiceError(
                f"{self._path} cannot be read from row {first:,} on: {_line(error)}."
            ) from error
        if first != self._rows:
            raise ServiceError(f"{self._path} holds {first:,} rows, but says that they are {self._rows:,}.")

    def _require(self, name: str) -> None:
        found = self._schema.names.count(name)
        if found != 1:
            there = ", ".join(self._schema.names)[:300] or "none"
            raise ServiceError(
                f"{self._path} has {found or 'no'} columns of the name {name}; there are: {there}."
            )

    def _dimension(self) -> int:
        """Length of the vectors: that of the type, or of the first one."""
        kind = self._schema.field(self._embedding).type
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        self._check_vectors(kind, 0)
        for _, batch in self._batches([self._embedding]):
            present = batch.column(0).drop_null()
            if len(present):
                return len(present[0])
        return 0

    def _check_vectors(self, kind: pa.DataType, dimension: int) -> None:
        try:
            check_vector_type(kind, dimension)
        except ExampleError as error:
            raise ServiceError(
                f"{self._path}, column {self._embedding}: {error}; name another one with --embedding, or "
                "columns of numbers with --columns."
            ) from None

    def _vectors(self, column: pa.Array, dimension: int, first: int) -> NDArray[np.float32]:
        self._check_vectors(column.type, dimension)
        found = read_vectors(column, dimension, first)
        for row, error in sorted(found.errors.items()):
            raise ServiceError(f"{self._path}, row {row}: {error}; repair the row or leave it out.")
        return found.values

    def _numbers(self, batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
        """A column as numbers; NaN where it has none."""
        column, types = batch.column(name), pa.types
        kind = column.type
        if not (types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)):
            raise ServiceError(
                f"{self._path}: the column {name} is of type {str(kind)[:100]}, not of numbers."
            )
        values: NDArray[Any] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return values.astype(np.float64, copy=False)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
