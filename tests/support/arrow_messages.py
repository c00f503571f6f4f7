"""Arrow messages for tests of their codec: tables of every kind, and what is said of a sample."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from consumers.codecs import Decoded, Emission, SampleColumns, codec_for
from consumers.codecs.wire import framed_size
from consumers.settings import Input
from consumers.transform import InputRecord

SETTINGS = Input(dimension=3, format="arrow")
CODEC = codec_for(SETTINGS)
CHAINED = codec_for(Input(dimension=3, format="arrow", chain=True))
VIEW = pa.list_view(pa.int8())
LIMIT = SETTINGS.max_message_bytes + 65_536


def stream(table: pa.Table | list[pa.RecordBatch], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    schema = table.schema if isinstance(table, pa.Table) else table[0].schema
    with ipc.new_stream(sink, schema, options=ipc.IpcWriteOptions(**options)) as writer:
        if isinstance(table, pa.Table):
            writer.write_table(table)
        else:
            for batch in table:
                writer.write_batch(batch)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def vectors(X: Any, kind: str = "fixed", dtype: str = "f4") -> pa.Array:
    X = np.asarray(X, dtype=dtype)
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    make = pa.LargeListArray if kind == "large" else pa.ListArray
    offsets = np.arange(len(X) + 1) * X.shape[1]
    return make.from_arrays(
        pa.array(offsets, pa.int64() if kind == "large" else pa.int32()), pa.array(X.ravel())
    )


def record(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = (("own", b"1"),)) -> InputRecord:
    return InputRecord("examples", 2, 120, b"k", value, headers, 1_700_000_000_123)


def decode(table: pa.Table | list[pa.RecordBatch]) -> Decoded:
    return CODEC.decode(record(stream(table)))


def columns(m: int) -> SampleColumns:
    numbers = np.linspace(0.1, 0.9, m)
    return SampleColumns(
        "examples/2/100", 7, 1 / numbers, numbers, np.arange(m), np.arange(m), *[numbers] * 6
    )


def sizes_of(decoded: Decoded, emissions: list[Emission]) -> list[int]:
    return [framed_size(decoded.record, len(e.value), e.headers) for e in emissions]


def whole(emissions: list[Emission]) -> pa.Table:
    return pa.concat_tables([ipc.open_stream(e.value).read_all() for e in emissions])


def rich() -> pa.Table:
    """A table of many types, with nulls, schema metadata and field metadata."""
    rows = 6
    X = np.arange(rows * 3).reshape(rows, 3) / 7
    some = [None, *range(1, rows)]
    arrays = {
        "embedding": vectors(X),
        "text": pa.array([None if i is None else "é" * i for i in some]),
        "flag": pa.array([None if i is None else i % 2 == 0 for i in some]),
        "when": pa.array([None if i is None else i * 1000 for i in some], pa.timestamp("ns", "UTC")),
        "money": pa.array([None if i is None else Decimal(i) for i in some], pa.decimal128(9, 2)),
        "kind": pa.array(["a", "b", None, "a", "b", "a"]).dictionary_encode(),
        "tags": pa.array([[], None, ["x"], ["y", None], [], ["z"]], pa.list_(pa.string())),
        "nested": pa.array([None if i is None else {"a": i, "b": [str(i)]} for i in some]),
        "pairs": pa.array([[("a", 1)], [], None, [], [("b", None)], []], pa.map_(pa.string(), pa.int8())),
        "nothing": pa.nulls(rows),
        "nan": pa.array(np.full(rows, np.nan)),
    }
    table = pa.table(arrays).replace_schema_metadata({"origin": "test", "pandas": "{}"})
    field = table.schema.field("text").with_metadata({"unit": "none"})
    return table.cast(table.schema.set(1, field))
