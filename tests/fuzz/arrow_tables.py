"""Arrow IPC streams by grammar: tables of every type, with an embedding that is often the right one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

__all__ = ["arrow_example", "write"]

Make = Callable[[Random, int], pa.Array]

_FLOATS = (0.0, 1.0, -2.5, 1e15, 1.1e15, 1e30, 1e39, -1e39, 1e308, 1e-45, 5e-324, np.nan, np.inf, -np.inf)
_NAN_WITH_PAYLOAD = np.array([0x7FF8DEADBEEF0001, 0xFFF0000000000001], "u8").view("f8")
_CLAIMS = (3, 1000, 10**6, 2**26, 2**30, 2**31 - 1)
_LEAVES = (
    pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(),
    pa.binary(), pa.large_binary(), pa.binary(3), pa.binary(0), pa.null(), pa.decimal128(38, 5),
    pa.decimal256(70, -3), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"),
    pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("s", "no/where"), pa.duration("us"),
    pa.month_day_nano_interval(), pa.uuid(), pa.json_(), pa.bool8(), pa.struct([]),
    pa.opaque(pa.int8(), "a", "b"), pa.string_view(), pa.binary_view(),
)  # fmt: skip


def arrow_example(rng: Random, dimension: int, name: str = "embedding") -> bytes:
    """Return a stream of a few rows."""
    while True:
        with suppress(pa.ArrowException, ValueError):  # of some types Arrow makes no column, or writes none
            return write(rng, _table(rng, dimension, name))


def _table(rng: Random, dimension: int, name: str) -> pa.Table:
    rows = rng.choice((0, 1, 1, 2, 3, 8, 50))
    columns = [(rng.choice(("x", "y", "", "coreset-weight", "ü")), _column(rng, rows)) for _ in _few(rng)]
    columns += [(name, _embedding(rng, rows, dimension)) for _ in range(rng.choice((1,) * 12 + (0, 2)))]
    rng.shuffle(columns)
    table = pa.table([array for _, array in columns], names=[one for one, _ in columns])
    if rng.random() < 0.1:
        table = table.replace_schema_metadata({"k" * i: "v" * 100 for i in range(rng.choice((1, 50, 1000)))})
    return table


def write(rng: Random, table: pa.Table) -> bytes:
    """Write a table as a stream, in one of the ways that there are."""
    options: dict[str, Any] = {"compression": rng.choice((None,) * 14 + ("lz4", "zstd"))}
    options["emit_dictionary_deltas"] = rng.random() < 0.5
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            writer.write_table(table, max_chunksize=rng.choice((None, None, 1, 3)))
    value: bytes = sink.getvalue().to_pybytes()
    return value if rng.random() < 0.95 else value + rng.choice((b"\0" * 8, value, value[:-8]))


def _few(rng: Random) -> range:
    return range(rng.choice((0, 0, 1, 1, 2, 4, 40 if rng.random() < 0.1 else 1)))


def _embedding(rng: Random, rows: int, dimension: int) -> pa.Array:
    if rng.random() < 0.08:
        return _column(rng, rows)
    length = dimension if rng.random() < 0.93 else rng.choice((0, 1, dimension + 1, 100))
    values = np.array([_float(rng) for _ in range(rows * length)], "f8")
    with np.errstate(all="ignore"):
        flat = pa.array(values.astype(rng.choice(("f2", "f4", "f4", "f8"))))
    kind = rng.randrange(4)
    if kind < 2:
        return (
            pa.FixedSizeListArray.from_arrays(flat, length)
            if length
            else pa.nulls(rows, pa.list_(flat.type, 0))
        )
    offsets = np.arange(rows + 1) * length
    if kind == 2:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
    mask = pa.array([rng.random() < 0.2 for _ in range(rows)], pa.bool_())
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat, mask=mask)


def _float(rng: Random) -> float:
    if rng.random() < 0.95:
        return rng.gauss(0, 1)
    return float(rng.choice((*_FLOATS, *_NAN_WITH_PAYLOAD)))


def _column(rng: Random, rows: int) -> pa.Array:
    return rng.choice(_COLUMNS)(rng, rows)


def _typed(rng: Random, rows: int) -> pa.Array:
    return pa.nulls(rows, _type(rng, rng.choice((0, 1, 1, 3, 20))))


def _type(rng: Random, depth: int) -> pa.DataType:
    if depth == 0:
        return rng.choice(_LEAVES)
    inner, kind = _type(rng, depth - 1), rng.randrange(9)
    if kind < 5:
        makers = (pa.list_, pa.large_list, pa.list_view, lambda t: pa.list_(t, 3), lambda t: pa.list_(t, 0))
        return makers[kind](inner)
    if kind < 7:
        return pa.struct([("a", inner), ("b", rng.choice(_LEAVES))])
    if kind == 7:
        return pa.map_(pa.string(), inner)
    return pa.struct([("a", inner)]) if depth > 1 else pa.run_end_encoded(pa.int32(), inner)


def _texts(rng: Random, rows: int) -> pa.Array:
    kind = rng.choice((pa.string(), pa.large_string(), pa.binary()))
    return pa.array([rng.choice(("", "a", "ü" * 9, None, "x" * 300)) for _ in range(rows)], kind)


def _numbers(rng: Random, rows: int) -> pa.Array:
    return pa.array([_float(rng) for _ in range(rows)], pa.float64())


def _dictionary(rng: Random, rows: int) -> pa.Array:
    words = rng.choice((_texts(rng, 5), pa.nulls(5, pa.list_(pa.int8())), pa.nulls(5), _claim(rng, 1)))
    indices = pa.array([rng.randrange(len(words)) for _ in range(rows)], rng.choice((pa.int8(), pa.int64())))
    return pa.DictionaryArray.from_arrays(indices, words)


def _claim(rng: Random, rows: int) -> pa.Array:
    """Billions of values that take no bytes: lists of nulls."""
    claimed = rng.choice(_CLAIMS)
    if not rows:
        return pa.nulls(0, pa.list_(pa.null()))
    if rng.random() < 0.5:
        each = max(1, claimed // rows)
        return pa.FixedSizeListArray.from_arrays(_nulls(each * rows), each)
    ends = sorted(rng.randrange(claimed) for _ in range(rows - 1))
    return pa.ListArray.from_arrays(pa.array([0, *ends, claimed], pa.int32()), _nulls(claimed))


def _nulls(n: int) -> pa.Array:
    return pa.Array.from_buffers(pa.null(), n, [None])  # pa.nulls takes time for each


def _nested(rng: Random, rows: int) -> pa.Array:
    kind = rng.choice((pa.list_(pa.string()), pa.map_(pa.string(), pa.int8()), pa.struct([("a", pa.int8())])))
    value: Any = (
        {"a": 1} if pa.types.is_struct(kind) else [("k", 1)] if pa.types.is_map(kind) else ["a", None]
    )
    return pa.array([rng.choice((None, value)) for _ in range(rows)], kind)


def _tensor(rng: Random, rows: int) -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.float32(), [1, 3], dim_names=["a", "b"], permutation=[1, 0])
    storage = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(rows * 3, "f4")), 3)
    return pa.ExtensionArray.from_storage(kind, storage)


_COLUMNS: tuple[Make, ...] = (
    _typed, _typed, _texts, _numbers, _dictionary, _claim, _nested, _tensor,
)  # fmt: skip
