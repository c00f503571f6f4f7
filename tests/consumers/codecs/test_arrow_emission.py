"""Arrow messages on their way out: rows, columns, sizes, dictionaries, weights."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc
from support.arrow_messages import (
    CHAINED,
    CODEC,
    LIMIT,
    columns,
    decode,
    record,
    rich,
    sizes_of,
    stream,
    vectors,
    whole,
)

from consumers.codecs import codec_for
from consumers.codecs.wire import framed_size
from consumers.settings import Input


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
