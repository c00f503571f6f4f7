"""When windows close. The clock is a number that the tests pass in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_coreset.window import Window, WindowBuilder

Message = tuple[int, int, float]  # rows, bytes, seconds since the one before

messages = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400), st.floats(0, 3)), max_size=40)


def cut(builder: WindowBuilder[int], stream: list[Message]) -> list[Window[int]]:
    windows, now = [], 0.0
    for number, (rows, nbytes, pause) in enumerate(stream):
        now += pause
        windows += builder.add(number, rows, nbytes, now)
    return windows + builder.flush(now)


@given(messages)
def test_every_message_is_in_one_window_in_order(stream: list[Message]) -> None:
    windows = cut(WindowBuilder(50, 1000, 5.0), stream)
    assert [item for window in windows for item in window.items] == list(range(len(stream)))
    for window in windows:
        assert window.rows == sum(stream[item][0] for item in window.items)
        assert window.nbytes == sum(stream[item][1] for item in window.items)


@given(messages)
def test_no_limit_is_exceeded_unless_by_one_message_alone(stream: list[Message]) -> None:
    for window in cut(WindowBuilder(20, 300, 5.0), stream):
        assert len(window.items) == 1 or (window.rows <= 20 and window.nbytes <= 300)


@given(messages)
def test_with_replacement_the_largest_example_may_come_every_time(stream: list[Message]) -> None:
    builder: WindowBuilder[int] = WindowBuilder(50, 1000, 5.0, draws=lambda rows: rows * 0.3)
    for window in cut(builder, stream):
        largest = max(stream[item][1] for item in window.items)
        assert len(window.items) == 1 or math.ceil(window.rows * 0.3) * largest <= 1000


@given(messages, st.integers(1, 30), st.integers(1, 400), st.floats(0.1, 5))
def test_a_stream_is_cut_the_same_way_again(
    stream: list[Message], size: int, nbytes: int, age: float
) -> None:
    assert cut(WindowBuilder(size, nbytes, age), stream) == cut(WindowBuilder(size, nbytes, age), stream)


def test_a_full_window_closes_at_once() -> None:
    builder: WindowBuilder[str] = WindowBuilder(3, 1000, 10.0)
    assert builder.add("a", 2, 10, 0.0) == []
    (window,) = builder.add("b", 1, 10, 1.0)
    assert window == Window(("a", "b"), 3, 20, 0.0, 1.0, "size")
    assert builder.deadline is None


def test_a_message_that_does_not_fit_opens_the_next_window() -> None:
    builder: WindowBuilder[str] = WindowBuilder(3, 1000, 10.0)
    builder.add("a", 2, 10, 0.0)
    (window,) = builder.add("b", 2, 10, 1.0)
    assert window.items == ("a",)
    assert builder.deadline == 11.0
    assert builder.add("c", 1, 10, 1.5)[0].items == ("b", "c")


def test_bytes_close_a_window() -> None:
    builder: WindowBuilder[str] = WindowBuilder(100, 100, 10.0)
    builder.add("a", 1, 60, 0.0)
    first, second = builder.add("b", 1, 100, 0.0)
    assert (first.items, first.reason) == (("a",), "bytes")
    assert (second.items, second.reason) == (("b",), "bytes")


def test_one_message_above_every_limit_is_a_window_alone() -> None:
    builder: WindowBuilder[str] = WindowBuilder(3, 100, 10.0)
    builder.add("a", 1, 10, 0.0)
    small, large = builder.add("b", 500, 5000, 0.0)
    assert (small.items, large.items) == (("a",), ("b",))


def test_age_closes_a_window_also_when_a_message_comes_late() -> None:
    builder: WindowBuilder[str] = WindowBuilder(100, 1000, 10.0)
    builder.add("a", 1, 10, 5.0)
    assert builder.due(14.9) == []
    (window,) = builder.add("b", 1, 10, 15.0)
    assert (window.items, window.reason, window.opened, window.closed) == (("a",), "age", 5.0, 15.0)
    assert builder.due(24.9) == []
    assert builder.due(25.0)[0].items == ("b",)
    assert builder.due(1000.0) == []


def test_clear_forgets_what_is_pending() -> None:
    builder: WindowBuilder[str] = WindowBuilder(100, 1000, 10.0)
    builder.add("a", 7, 10, 0.0)
    assert builder.pending_bytes == 10
    builder.clear()
    assert (builder.pending_bytes, builder.deadline) == (0, None)
    assert builder.flush(1.0) == []


@pytest.mark.parametrize("limits", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, math.nan)])
def test_limits_are_positive(limits: Any) -> None:
    with pytest.raises(ValueError, match="expected a limit above 0"):
        WindowBuilder(*limits)


def test_negative_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 or more, got -1"):
        WindowBuilder(1, 1, 1.0).add("a", -1, 0, 0.0)
