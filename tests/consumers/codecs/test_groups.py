"""What examples have fair shares by, out of both formats."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from consumers.codecs import codec_for
from consumers.codecs.groups import column_numbers, number_of
from consumers.settings import Input
from consumers.transform import InputRecord

JSON = codec_for(Input(dimension=2, group="tenant"))
ARROW = codec_for(Input(dimension=2, format="arrow", group="tenant"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)


def record(value: bytes) -> InputRecord:
    return InputRecord("examples", 0, 1, None, value)


def json_group(**fields: Any) -> int:
    decoded = JSON.decode(record(orjson.dumps({"embedding": [1, 2], **fields})))
    assert decoded.errors == ()
    (number,) = decoded.groups
    return int(number)


def arrow_groups(tenants: pa.Array | None, embeddings: list[Any]) -> list[int]:
    columns = {"embedding": pa.array(embeddings, pa.list_(pa.float32(), 2))}
    table = pa.table(columns if tenants is None else {**columns, "tenant": tenants})
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return ARROW.decode(record(sink.getvalue().to_pybytes())).groups.tolist()


@given(scalars, scalars)
def test_values_are_told_apart_in_json(one: Any, other: Any) -> None:
    same = one == other and type(one) is type(other)
    assert (json_group(tenant=one) == json_group(tenant=other)) is same


@pytest.mark.parametrize("nothing", [None, [], {"a": 1}])
def test_what_is_no_value_is_one_group(nothing: Any) -> None:
    assert json_group(tenant=nothing) == json_group() == number_of(None)


@given(st.lists(st.text(max_size=3) | st.none(), min_size=1, max_size=9), st.booleans())
def test_a_column_of_texts(tenants: list[str | None], encoded: bool) -> None:
    column = pa.array(tenants, pa.string())
    column = column.dictionary_encode() if encoded else column
    assert arrow_groups(column, [[1, 2]] * len(tenants)) == [number_of(one) for one in tenants]


def test_both_formats_give_the_same_numbers() -> None:
    values = [7, -1, 2**60]
    assert arrow_groups(pa.array(values), [[1, 2]] * 3) == [json_group(tenant=one) for one in values]


def test_rows_that_cannot_be_used_are_left_out() -> None:
    assert arrow_groups(pa.array(["a", "b", "c"]), [[1, 2], None, [3, 4]]) == [number_of("a"), number_of("c")]


@pytest.mark.parametrize("column", [None, pa.array([[1], [2]]), pa.array([{"a": 1}, None]), pa.nulls(2)])
def test_without_a_column_that_can_be_used_all_are_one_group(column: pa.Array | None) -> None:
    assert arrow_groups(column, [[1, 2]] * 2) == [number_of(None)] * 2


def test_a_dictionary_with_more_values_than_its_index_type_has_room_for_one_more() -> None:
    values = [f"{i:03}" for i in range(128)]
    column = pa.DictionaryArray.from_arrays(pa.array(range(128), pa.int8()), values)
    found = column_numbers(pa.table({"tenant": column}), "tenant")
    assert found.tolist() == [number_of(one) for one in values]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**31 - 1, 0], pa.date32()),
        pa.array([2**62, None], pa.timestamp("s")),
        pa.array([2**31 - 1, 0], pa.date32()).dictionary_encode(),
    ],
)
def test_what_python_has_no_value_for_is_one_group(column: pa.Array) -> None:
    assert arrow_groups(column, [[1, 2]] * 2) == [number_of(None)] * 2


def test_two_columns_of_the_name_are_none() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["tenant", "tenant"])
    np.testing.assert_array_equal(column_numbers(table, "tenant"), [number_of(None)])


def test_without_the_setting_nothing_is_read() -> None:
    plain = codec_for(Input(dimension=2))
    assert plain.decode(record(b'{"embedding": [1, 2], "tenant": "a"}')).groups is None
