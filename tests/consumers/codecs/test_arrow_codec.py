from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_decodes_lists_of_every_float(kind: str, dtype: str) -> None:
    X = np.arange(12).reshape(4, 3) / 4
    decoded = decode(pa.table({"embedding": vectors(X, kind, dtype), "id": [1, 2, 3, 4]}))
    assert decoded.errors == ()
    assert decoded.rows == 4
    assert decoded.embeddings.dtype == np.float32
    np.testing.assert_array_equal(decoded.embeddings, X)
    assert decoded.valid_rows.tolist() == [0, 1, 2, 3]


def test_float32_in_one_batch_is_not_copied() -> None:
    value = stream(pa.table({"embedding": vectors(np.ones((4, 3)))}))
    embeddings = CODEC.decode(record(value)).embeddings
    memory = np.frombuffer(value, dtype=np.uint8)
    assert np.shares_memory(embeddings, memory)
    assert not embeddings.flags.writeable


def test_several_batches_count_their_rows_on() -> None:
    table = pa.table({"embedding": vectors(np.arange(30).reshape(10, 3))})
    batches = [*table.slice(0, 4).to_batches(), *table.slice(4, 0).to_batches(), *table.slice(4).to_batches()]
    decoded = decode(batches)
    np.testing.assert_array_equal(decoded.embeddings, np.arange(30).reshape(10, 3))
    assert decoded.valid_rows.tolist() == list(range(10))


def test_an_empty_message_has_no_rows() -> None:
    for empty in (rich().slice(0, 0), rich()):
        schema_only = stream(empty.slice(0, 0))
        assert CODEC.decode(record(schema_only)).rows == 0


def test_a_fixed_shape_tensor_is_a_list() -> None:
    kind = pa.fixed_shape_tensor(pa.float32(), [3])
    array = pa.ExtensionArray.from_storage(kind, vectors([[1, 2, 3], [4, 5, 6]]))
    np.testing.assert_array_equal(decode(pa.table({"embedding": array})).embeddings, [[1, 2, 3], [4, 5, 6]])


def test_one_bad_row_is_dead_alone() -> None:
    rows = [
        [1.0, 2, 3],
        None,
        [1, 2],
        [float("nan"), 0, 0],
        [4, 5, 6],
        [1, None, 3],
        [0, float("-inf"), 0],
        [1e30] * 3,
        [],
    ]
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32())):
        decoded = decode(pa.table({"embedding": pa.array(rows, kind), "n": range(9)}))
        np.testing.assert_array_equal(decoded.embeddings, [[1, 2, 3], [4, 5, 6]])
        assert decoded.valid_rows.tolist() == [0, 4]
        assert [(e.row, e.exception) for e in decoded.errors] == [
            (1, "NoEmbedding"), (2, "WrongDimension"), (3, "NotFinite"), (5, "NotFinite"), (6, "NotFinite"),
            (7, "TooFar"), (8, "WrongDimension"),
        ]  # fmt: skip
        assert decoded.errors[4].message == "value 1 of the embedding is null, NaN or infinite"


def test_null_rows_of_a_fixed_size_list() -> None:
    array = pa.array([[1, 2, 3], None, [4, 5, 6], [7, None, 9]], pa.list_(pa.float16(), 3))
    decoded = decode(pa.table({"embedding": array}).slice(0))
    assert decoded.valid_rows.tolist() == [0, 2]
    assert [e.row for e in decoded.errors] == [1, 3]
    np.testing.assert_array_equal(decoded.embeddings, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (pa.table({"x": vectors([[1, 2, 3]])}), "NoEmbedding"),
        (pa.table([vectors([[1, 2, 3]])] * 2, names=["embedding"] * 2), "NoEmbedding"),
        (pa.table({"embedding": vectors([[1, 2]])}), "WrongDimension"),
        (pa.table({"embedding": ["a"]}), "NotNumbers"),
        (pa.table({"embedding": pa.array([[1, 2, 3]], pa.list_(pa.int32()))}), "NotNumbers"),
        (pa.table({"embedding": pa.array([[True, False, True]])}), "NotNumbers"),
        (pa.table({"embedding": vectors([[1, 2, 3]]), "coreset-weight": [1.0]}), "AlreadyCoreset"),
        (pa.table({"embedding": vectors([[1, 2, 3]]), "x": pa.array(["a"], pa.string_view())}), "NotArrow"),
        (
            pa.table({"embedding": vectors([[1, 2, 3]]), "x": pa.array([[1]], pa.list_view(pa.int8()))}),
            "NotArrow",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_one_dead_row(table: pa.Table, kind: str) -> None:
    decoded = decode(table)
    assert [(e.row, e.exception) for e in decoded.errors] == [(None, kind)]
    assert decoded.rows == 1
    assert CODEC.largest_output(decoded, LIMIT).total == 0


def test_many_bad_rows_are_one_dead_message() -> None:
    rows = pa.array([None] * 20_000, pa.list_(pa.float32()))
    decoded = decode(pa.table({"embedding": rows}))
    assert [(e.row, e.exception) for e in decoded.errors] == [(None, "TooManyBadRows")]
    assert decoded.rows == 1


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff" * 100])
def test_not_arrow(value: bytes | None) -> None:
    (error,) = CODEC.decode(record(value)).errors
    assert error.row is None
    assert error.exception in ("Empty", "NotArrow")


def test_emission_keeps_rows_and_schema_and_adds_columns() -> None:
    table = rich()
    decoded = decode(table)
    (emission,) = CODEC.emit(decoded, [4, 1, 4, 0], columns(4), LIMIT)
    emitted = whole([emission])
    assert emission.headers == (("own", b"1"),)
    own = emitted.drop_columns([n for n in emitted.column_names if n.startswith("coreset-")])
    assert own.schema.equals(table.schema, check_metadata=True)
    assert str(own.to_pydict()) == str(table.take([0, 1, 4, 4]).to_pydict())
    names = ("weight", "probability", "cluster", "clusters", "window", "source", "rank", "why")
    assert emitted.column_names[-8:] == ["coreset-" + name for name in names]
    assert emitted["coreset-source"].to_pylist() == [f"examples/2/120/{r}" for r in (0, 1, 4, 4)]
    assert emitted["coreset-rank"].to_pylist() == ["3", "1", "0", "2"]
    assert emitted.schema.field("coreset-weight").type == pa.float64()
    weights = columns(4).weights
    assert emitted["coreset-weight"].to_pylist() == weights[[3, 1, 0, 2]].tolist()
    assert all(emitted.schema.field(n).type == pa.string() for n in emitted.column_names[-6:])


def test_rows_read_back_have_the_fingerprint_of_their_source() -> None:
    decoded = decode(rich())
    (emission,) = CODEC.emit(decoded, [5, 0, 2], columns(3), LIMIT)
    back = CODEC.emitted(record(emission.value))
    assert [example.source for example in back] == [f"examples/2/120/{r}" for r in (0, 2, 5)]
    assert [example.rank for example in back] == [1, 2, 0]
    assert [example.fingerprint for example in back] == [CODEC.fingerprint(decoded, r) for r in (0, 2, 5)]
    assert len({example.fingerprint for example in back}) == 3


@pytest.mark.parametrize("name", [n for n in rich().column_names if n not in ("nothing", "nan")])
def test_the_fingerprint_sees_a_changed_value(name: str) -> None:
    table = rich()
    position = table.column_names.index(name)
    other = table.set_column(position, table.schema.field(name), table[name].take([0, 1, 2, 4, 3, 5]))
    assert CODEC.fingerprint(decode(table), 3) != CODEC.fingerprint(decode(other), 3)


def test_dictionaries_that_differ_by_batch_are_joined() -> None:
    def batch(values: list[str]) -> pa.RecordBatch:
        return pa.record_batch(
            {"embedding": vectors(np.ones((2, 3))), "kind": pa.array(values).dictionary_encode()}
        )

    decoded = decode([batch(["a", "b"]), batch(["c", "a"])])
    emitted = whole(CODEC.emit(decoded, [0, 2, 3], columns(3), LIMIT))
    assert emitted["kind"].to_pylist() == ["a", "c", "a"]


def test_an_example_alone_is_a_stream_of_one_row() -> None:
    table = rich()
    decoded = decode(table)
    example = CODEC.example(decoded, 4)
    assert str(ipc.open_stream(example).read_all().to_pylist()) == str(table.slice(4, 1).to_pylist())
    np.testing.assert_array_equal(CODEC.embedding(example), decoded.embeddings[4])
    assert CODEC.embedding(stream(table)) is None
    assert CODEC.embedding(b"x") is None
    assert CODEC.example(decoded, None) == decoded.record.value


def test_chaining_multiplies_the_weights_of_the_column() -> None:
    (first,) = CODEC.emit(decode(rich()), [1, 3], columns(2), LIMIT)
    assert CODEC.decode(record(first.value)).errors[0].exception == "AlreadyCoreset"
    again = CHAINED.decode(record(first.value))
    assert again.weights.tolist() == [10.0, 1 / 0.9]
    second = whole(CHAINED.emit(again, [1], columns(1), LIMIT))
    assert second["coreset-weight"].to_pylist() == [10.0 / 0.9]
    assert second.column_names.count("coreset-weight") == 1
    assert second["coreset-source"].to_pylist() == ["examples/2/120/1"]


def test_a_chained_row_without_a_usable_weight_is_dead_alone() -> None:
    table = pa.table({"embedding": vectors(np.ones((4, 3))), "coreset-weight": [2.0, None, -1.0, 3.0]})
    decoded = CHAINED.decode(record(stream(table)))
    assert decoded.valid_rows.tolist() == [0, 3]
    assert decoded.weights.tolist() == [2.0, 3.0]
    assert [(e.row, e.exception) for e in decoded.errors] == [(1, "BadWeight"), (2, "BadWeight")]
    text = pa.table({"embedding": vectors(np.ones((1, 3))), "coreset-weight": ["2"]})
    assert CHAINED.decode(record(stream(text))).errors[0].exception == "BadWeight"
    header = CHAINED.decode(record(stream(rich()), (("coreset-weight", b"4"),)))
    assert header.weights.tolist() == [4.0] * 6


@given(st.data())
def test_no_message_is_larger_than_its_bound(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    lengths = data.draw(st.lists(st.integers(0, 400), min_size=n, max_size=n))
    table = pa.table({
        "embedding": vectors(np.ones((n, 3)), data.draw(st.sampled_from(["fixed", "list"]))),
        "text": ["x" * length for length in lengths],
        "kind": pa.array([str(length) for length in lengths]).dictionary_encode(),
        "tags": pa.array([["t"] * (length // 20) for length in lengths], pa.list_(pa.string())),
    })  # fmt: skip
    decoded = decode(table)
    limit = CODEC.largest_output(decoded, LIMIT).single + data.draw(st.integers(0, 20_000))
    bound = CODEC.largest_output(decoded, limit)
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=60))
    sizes = [
        framed_size(decoded.record, len(e.value), e.headers)
        for e in CODEC.emit(decoded, rows, columns(len(rows)), limit)
    ]
    assert max(sizes) <= limit
    assert sum(sizes) <= len(rows) * bound.single
    everything = CODEC.emit(decoded, range(n), columns(n), limit)
    assert sum(sizes_of(decoded, everything)) <= bound.total
    assert len(whole(everything)) == n


def test_the_largest_message_with_its_columns_fits() -> None:
    text = "x" * 990_000
    decoded = decode(pa.table({"embedding": vectors([[1, 2, 3]]), "text": [text]}))
    assert decoded.errors == ()
    assert CODEC.largest_output(decoded, LIMIT).single <= LIMIT


def test_a_message_whose_rows_could_become_too_large_is_dead_before_the_draw() -> None:
    """Thousands of columns: eight bytes of padding each are more than the room that the coreset has."""
    fields = {f"{i:x}": pa.array([1], pa.int8()) for i in range(2000)}
    value = stream(pa.table({"embedding": vectors([[1, 2, 3]]), **fields}))
    tight = codec_for(Input(dimension=3, format="arrow", max_message_bytes=len(value) + 100))
    decoded = tight.decode(record(value))
    assert [(e.row, e.exception) for e in decoded.errors] == [(None, "TooLarge")]
    assert decoded.rows == 1
