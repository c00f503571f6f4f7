"""Arrow messages on their way in: lists of every float, rows that cannot be used."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from support.arrow_messages import (
    CODEC,
    LIMIT,
    decode,
    record,
    rich,
    stream,
    vectors,
)


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
