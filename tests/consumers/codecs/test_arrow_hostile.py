"""Arrow messages made to do harm: one dead row each, in little time and memory."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

from consumers.codecs import Decoded, SampleColumns, codec_for
from consumers.ipc import IpcError, read_stream, write_stream
from consumers.ipc_guard import _Walk
from consumers.settings import Input
from consumers.transform import InputRecord

CODEC = codec_for(Input(dimension=3, format="arrow"))
MANY = 2**30


def record(value: bytes) -> InputRecord:
    return InputRecord("examples", 2, 120, b"k", value, (), 1_700_000_000_123)


def decode(value: bytes | pa.Table) -> Decoded:
    return CODEC.decode(record(value if isinstance(value, bytes) else write_stream(value)))


def embedding(rows: int = 1, dtype: str = "f4") -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ones(rows * 3, dtype)), 3)


def dead(decoded: Decoded) -> str:
    """The kind of a message that is one dead row."""
    (error,) = decoded.errors
    assert error.row is None
    assert decoded.rows == 1
    assert not len(decoded.valid_rows)
    return f"{error.exception}: {error.message}"


def lists(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def nulls(n: int) -> pa.Array:
    return pa.Array.from_buffers(pa.null(), n, [None])  # pa.nulls takes time for each


def empty_structs(n: int) -> pa.Array:
    return pa.StructArray.from_buffers(pa.struct([]), n, [None])


def empty_lists(n: int) -> pa.Array:
    kind, nothing = pa.list_(pa.int8(), 0), pa.array([], pa.int8())
    return pa.FixedSizeListArray.from_buffers(kind, n, [None], children=[nothing])


WEIGHTLESS: dict[str, Callable[[], pa.Array]] = {
    "list of nulls": lambda: lists(nulls(MANY)),
    "fixed list of nulls": lambda: pa.FixedSizeListArray.from_arrays(nulls(MANY), MANY),
    "list of empty structs": lambda: lists(empty_structs(MANY)),
    "list of empty lists": lambda: lists(empty_lists(MANY)),
    "struct of lists of nulls": lambda: pa.StructArray.from_arrays([lists(nulls(MANY))], ["a"]),
    "dictionary of lists of nulls": lambda: pa.DictionaryArray.from_arrays([0], lists(nulls(MANY))),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_billions_of_values_that_take_no_bytes_are_refused(name: str) -> None:
    """Selecting a row of them would write down a position of each: gigabytes, from 500 bytes."""
    value = write_stream(pa.table({"embedding": embedding(), "x": WEIGHTLESS[name]()}))
    assert len(value) < 1000
    assert dead(decode(value)).startswith("NotArrow: it claims more than it holds")


def test_lists_of_nulls_of_a_usual_size_are_accepted() -> None:
    kind = pa.list_(pa.null())
    table = pa.table(
        {"embedding": embedding(4), "x": pa.array([[], None, [None] * 9, []], kind), "y": pa.nulls(4)}
    )
    assert decode(table).errors == ()


def test_rows_beyond_the_buffers_are_refused() -> None:
    """Every number in the batch's metadata that says 5 rows says two billion instead."""
    value = write_stream(pa.table({"embedding": embedding(5), "n": pa.nulls(5)}))
    said = value.replace(struct.pack("<q", 5), struct.pack("<q", 2**31))
    assert said != value
    assert dead(decode(said)).startswith("NotArrow")


@pytest.mark.parametrize("claim", [-1, -(2**63), 2**31, 2**40, 2**62, 2**63 - 1])
def test_buffers_and_bodies_that_lie_about_their_length_are_refused(claim: int) -> None:
    value = write_stream(pa.table({"embedding": embedding(5), "text": ["é" * 7] * 5}))
    (_, batch) = ipc.MessageReader.open_stream(pa.py_buffer(value))
    metadata = batch.metadata.to_pybytes()
    at = value.index(metadata)
    refused = 0
    for place in range(at, at + len(metadata) - 7, 8):
        changed = bytearray(value)
        changed[place : place + 8] = struct.pack("<q", claim)
        decoded = decode(bytes(changed))
        refused += bool(decoded.errors)
        assert decoded.rows == len(decoded.valid_rows) + len(decoded.errors)
    assert refused > 10


@pytest.mark.parametrize("last", [2**31 - 1, -1, 15])
def test_offsets_of_texts_that_point_elsewhere_are_refused(last: int) -> None:
    texts = pa.array(["ab", "cd", "ef"])
    value = write_stream(pa.table({"embedding": embedding(3), "text": texts}))
    offsets = struct.pack("<4i", 0, 2, 4, 6)
    assert value.count(offsets) == 1
    for bad in ((0, 2, 4, last), (0, last, 4, 6), (4, 2, 4, 6)):
        assert dead(decode(value.replace(offsets, struct.pack("<4i", *bad)))).startswith("NotArrow")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_decompression_bomb_is_never_inflated(codec: str) -> None:
    table = pa.table({"embedding": embedding(), "zeros": pa.array([b"\0" * 150_000_000])})
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    value = sink.getvalue().to_pybytes()
    assert len(value) < 1_000_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    peak = pool.max_memory()
    assert "compressed Arrow bodies are refused" in dead(decode(value))
    assert pool.max_memory() == peak or pool.max_memory() - before < 10_000_000


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1e39, 0, 0], "TooFar"),
        ([-1e308, 0, 0], "TooFar"),
        ([1e16, 0, 0], "TooFar"),
        ([3e38, 3e38, 3e38], "TooFar"),
        ([np.inf, 0, 0], "NotFinite"),
        ([np.nan, 0, 0], "NotFinite"),
    ],
)
def test_numbers_beyond_float32_are_dead_rows(values: list[float], kind: str) -> None:
    column = pa.array([[1.0, 2.0, 3.0], values], pa.list_(pa.float64(), 3))
    decoded = decode(pa.table({"embedding": column}))
    assert decoded.valid_rows.tolist() == [0]
    assert [(error.row, error.exception) for error in decoded.errors] == [(1, kind)]


def test_nans_with_a_payload_are_refused_and_subnormals_are_numbers() -> None:
    bits = np.array([0x7F800001, 0xFFC12345, 0x00000001, 0x3F800000], "u4").view("f4")
    rows = np.stack([np.repeat(bits[i], 3) for i in range(4)]).ravel()
    decoded = decode(pa.table({"embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows), 3)}))
    assert decoded.valid_rows.tolist() == [2, 3]
    assert decoded.embeddings[0, 0] > 0
    tiny = pa.array([[5e-324, 1e-46, 0.0]], pa.list_(pa.float64(), 3))
    assert decode(pa.table({"embedding": tiny})).embeddings.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("batches", [1, 1500])
def test_a_bad_row_is_taken_out_without_the_others(batches: int) -> None:
    """Each is a dead letter of its own: as small as it is, and not at the cost of the whole message."""
    rows = 1500 // batches
    bad = pa.FixedSizeListArray.from_arrays(pa.array(np.full(3 * rows, np.nan, "f4")), 3)
    batch = pa.record_batch({"embedding": bad, "text": ["x" * 100] * rows})
    decoded = decode(write_stream(pa.Table.from_batches([batch] * batches)))
    assert len(decoded.errors) == 1500
    began = time.process_time()
    letters = [CODEC.example(decoded, error.row) for error in decoded.errors]
    assert time.process_time() - began < 0.5
    assert max(map(len, letters)) < 1000


EXTENSIONS: dict[str, tuple[pa.DataType, pa.Array]] = {
    "json": (pa.json_(), pa.array(['{"a": 1}', None])),
    "uuid": (pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16))),
    "bool8": (pa.bool8(), pa.array([1, None], pa.int8())),
    "opaque text": (pa.opaque(pa.string(), "a", "b"), pa.array(["x" * 99, ""])),
    "opaque list": (pa.opaque(pa.list_(pa.int64()), "a", "b"), pa.array([[1], []])),
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_columns_of_extension_types_travel_like_others(name: str) -> None:
    column = pa.ExtensionArray.from_storage(*EXTENSIONS[name])
    decoded = decode(pa.table({"embedding": embedding(2), "x": column}))
    assert decoded.errors == ()
    numbers = np.ones(2)
    columns = SampleColumns("t/0/1", 0, numbers, numbers, np.arange(2), np.arange(2), *[numbers] * 6)
    bound = CODEC.largest_output(decoded, 1_000_000)
    (emission,) = CODEC.emit(decoded, [0, 1], columns, 1_000_000)
    assert len(emission.value) <= bound.total
    assert read_stream(emission.value).column("x").combine_chunks().equals(column)
    back = CODEC.emitted(record(emission.value))
    assert [one.fingerprint for one in back] == [CODEC.fingerprint(decoded, row) for row in (0, 1)]


SAID: dict[str, Any] = {
    "coreset-weight": [2.0], "coreset-probability": [0.5], "coreset-cluster": ["-"],
    "coreset-clusters": ["0"], "coreset-window": ["t/0/1"], "coreset-source": ["t/0/1/0"],
    "coreset-rank": ["0"], "coreset-why": [""],
}  # fmt: skip


def test_a_coreset_message_is_read_back_only_as_we_write_it() -> None:
    def read(columns: dict[str, Any]) -> list[Any]:
        return CODEC.emitted(record(write_stream(pa.table({"embedding": embedding(), **columns}))))

    assert read(SAID)[0].weight == 2.0
    for changed in (
        {"coreset-weight": pa.array([2**62], pa.timestamp("s"))},
        {"coreset-rank": pa.array([2**62], pa.duration("s"))},
        {"coreset-why": pa.array([0], pa.timestamp("s", "no/where"))},
        {"coreset-source": pa.array([None], pa.string())},
        {"coreset-rank": ["9" * 5000]},
        {"coreset-more": ["1"]},
    ):
        with pytest.raises(ValueError):  # noqa: PT011  any sentence will do
            read({**SAID, **changed})


def test_a_coreset_message_with_a_column_twice_is_refused() -> None:
    table = pa.table({"embedding": embedding(), **SAID}).append_column("coreset-why", pa.array(["twice"]))
    with pytest.raises(ValueError, match="without the columns"):
        CODEC.emitted(record(write_stream(table)))
    chained = codec_for(Input(dimension=3, format="arrow", chain=True))
    assert chained.decode(record(write_stream(table))).weights.tolist() == [2.0]
    twice = table.append_column("coreset-weight", pa.array([1.0]))
    assert dead(chained.decode(record(write_stream(twice)))).startswith("BadWeight")


@pytest.mark.parametrize("unit", [0, 1])
def test_types_that_pyarrow_has_no_name_for_are_refused(unit: int) -> None:
    """Intervals of months, and of days with milliseconds: pyarrow raises KeyError."""
    table = pa.table({"embedding": embedding(), "x": pa.nulls(1, pa.month_day_nano_interval())})
    value = bytearray(write_stream(table))
    walk = _Walk(bytes(value[8:]), 10**9)
    _, field = walk.elements(walk.table(walk.follow(0), 2), 1)
    at = 8 + (walk.field(walk.table(field, 3), 0) or 0)
    assert value[at : at + 2] == b"\2\0"
    value[at] = unit
    assert "a type that pyarrow does not know" in dead(decode(bytes(value)))


@pytest.mark.parametrize("make", [pa.list_view, lambda kind: pa.struct([("a", kind)])])
def test_refusals_are_printable_whatever_fields_are_called(
    make: Callable[[pa.DataType], pa.DataType],
) -> None:
    kind = make(pa.struct([("a\n\x1b[2J\0", pa.int8())]))
    said = dead(decode(pa.table({"embedding": pa.nulls(1, kind)})))
    assert "\\n\\x1b[2J" in said
    assert said.isprintable()


def test_names_that_are_no_utf8_are_refused() -> None:
    value = write_stream(pa.table({"embedding": embedding(), "zqzq": [1]})).replace(
        b"zqzq", b"\xff\xfe\xff\xfe"
    )
    with pytest.raises(IpcError, match="utf-8"):
        read_stream(value)
    assert dead(decode(value)).startswith("NotArrow")


def test_empty_lists_without_offsets_are_read() -> None:
    """The format allows them; Arrow's own `nbytes` ends the process there, and so would every restart."""
    fields = [pa.field("key", pa.string(), nullable=False), pa.field("value", pa.int64())]
    entries = pa.StructArray.from_arrays([pa.array([], pa.string()), pa.array([], pa.int64())], fields=fields)
    kind = pa.map_(pa.string(), pa.int64())
    maps = pa.Array.from_buffers(kind, 0, [None, pa.py_buffer(b"")], children=[entries])
    lists = pa.LargeListArray.from_arrays(pa.array([0, 0, 0, 0], pa.int64()), maps)
    decoded = decode(pa.table({"embedding": embedding(3), "x": lists}))
    assert list(decoded.valid_rows) == [0, 1, 2]


def test_rows_that_were_within_the_limits_of_their_message_are_so_when_they_are_emitted() -> None:
    """Values without bytes count against the size of a message; that of a few rows is small."""
    value = write_stream(pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.nulls(72_000), 8)}))
    with pytest.raises(IpcError, match="claims more"):
        read_stream(value)
    assert read_stream(value, 1_000_000).num_rows == 9_000
