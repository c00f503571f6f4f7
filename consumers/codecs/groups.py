"""What examples have fair shares by: the values of one field or column, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consumers.codecs.examples import Decoded

__all__ = ["column_numbers", "groups_of", "number_of"]


def number_of(value: object) -> int:
    """64 bits that stand for a text, a number or a truth value; what is none of these is all one group.

    Many values may come from strangers: nothing is kept of them.

    >>> number_of("eu") == number_of("eu"), number_of("1") == number_of(1), number_of(None) == number_of([])
    (True, False, True)
    """
    known = isinstance(value, str | bytes | int | float)
    text = f"{type(value).__name__}:{value!r}" if known else ""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def groups_of(items: Sequence[Decoded]) -> NDArray[np.int64] | None:
    """The group of each usable example of some messages, counted from 0; None where there are no groups."""
    numbers = [item.groups for item in items if item.groups is not None]
    return np.unique(np.concatenate(numbers), return_inverse=True)[1] if numbers else None


def column_numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """`number_of` every row's value (n,) in the column `name`; without such a column, of nothing."""
    numbers = np.full(len(table), number_of(None), np.int64)
    if table.column_names.count(name) != 1:
        return numbers
    column = table.column(name).combine_chunks()
    encoded = pa.types.is_dictionary(column.type)
    if not _tells_apart(column.type.value_type if encoded else column.type):
        return numbers
    column = column if encoded else pc.dictionary_encode(column)
    of_values = [number_of(value) for value in column.dictionary.to_pylist()]
    codes = column.indices.cast(pa.int64()).fill_null(len(of_values)).to_numpy(zero_copy_only=False)
    found: NDArray[np.int64] = np.array([*of_values, number_of(None)], np.int64)[codes]
    return found


def _tells_apart(kind: pa.DataType) -> bool:
    """Whether values of a type are groups; of dates, lists and the like Python makes nothing, or fails to."""
    types = pa.types
    return any(
        is_it(kind)
        for is_it in (
            types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_boolean,
            types.is_integer, types.is_float32, types.is_float64,
        )
    )  # fmt: skip
