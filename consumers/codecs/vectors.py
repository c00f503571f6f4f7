"""Embeddings out of an Arrow column, as views of the message wherever that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers.codecs.wire import MAX_SQUARED_NORM, ExampleError, why_unusable

__all__ = ["Vectors", "check_vector_type", "read_vectors"]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Embeddings (v, d) float32 of the usable rows, their positions (v,), and what is wrong with others."""

    values: NDArray[np.float32]
    rows: NDArray[np.int64]
    errors: dict[int, ExampleError]


def check_vector_type(kind: pa.DataType, dimension: int) -> None:
    """ExampleError unless the type holds lists of float16, float32 or float64."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    types = pa.types
    fixed = types.is_fixed_size_list(kind)
    if not (fixed or types.is_list(kind) or types.is_large_list(kind)) or not types.is_floating(
        kind.value_type
    ):
        said = f"the embedding is of type {str(kind)[:100]}, not a list of float16, float32 or float64"
        raise ExampleError("NotNumbers", said)
    if fixed and kind.list_size != dimension:
        raise ExampleError("WrongDimension", f"the embedding has {kind.list_size} numbers, not {dimension}")


def read_vectors(column: pa.Array, dimension: int, first_row: int = 0) -> Vectors:
    """Read a column whose type `check_vector_type` accepted; rows are numbered from `first_row`.

    Parameters
    ----------
    column : pyarrow.Array
        Validated in full.
    dimension : int
    first_row : int
    """
    array = column.storage if isinstance(column, pa.ExtensionArray) else column
    present = array.is_valid().to_numpy(zero_copy_only=False)
    starts, lengths = _layout(array, dimension)
    candidates = np.flatnonzero(present & (lengths == dimension))
    raw = _gather(array.values, starts, candidates, len(array), dimension)
    values, good = _usable(raw)
    errors = {
        first_row + int(r): _why(present[r], lengths[r], dimension) for r in _others(candidates, len(array))
    }
    errors |= {first_row + int(candidates[i]): why_unusable(raw[i]) for i in np.flatnonzero(~good)}
    if not good.all():
        values, candidates = values[good], candidates[good]
    return Vectors(values, candidates + first_row, errors)


def _layout(array: pa.Array, dimension: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each row starts in the values, and its length."""
    if pa.types.is_fixed_size_list(array.type):
        starts = (np.arange(len(array), dtype=np.int64) + array.offset) * dimension
        return starts, np.full(len(array), dimension, dtype=np.int64)
    offsets = array.offsets.to_numpy().astype(np.int64)
    return offsets[:-1], np.diff(offsets)


def _gather(
    flat: pa.Array, starts: NDArray[np.int64], candidates: NDArray[np.int64], rows: int, dimension: int
) -> NDArray[Any]:
    """Return the candidates' values (c, d): a view when every row is one, nulls as NaN."""
    numbers: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    if not len(candidates):
        return np.zeros((0, dimension), dtype=numbers.dtype)
    if len(candidates) == rows:
        first = int(starts[0])
        return numbers[first : first + rows * dimension].reshape(rows, dimension)
    taken: NDArray[Any] = numbers[starts[candidates][:, None] + np.arange(dimension)]
    return taken


def _usable(raw: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return float32 values, and a mask of the rows whose squared norm is neither NaN nor too large.

    One pass finds NaN, infinite and too large values together.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw.astype(np.float32, copy=False)
        return values, np.vecdot(values, values) <= MAX_SQUARED_NORM


def _others(candidates: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(rows), candidates) if len(candidates) < rows else np.zeros(0, np.int64)


def _why(present: bool, length: int, dimension: int) -> ExampleError:
    if not present:
        return ExampleError("NoEmbedding", "the embedding is null")
    return ExampleError("WrongDimension", f"the embedding has {length} numbers, not {dimension}")
