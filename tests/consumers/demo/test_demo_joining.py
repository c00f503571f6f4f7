from __future__ import annotations

import itertools

import numpy as np
import pytest

from consumers.demo.data import encode_example
from consumers.demo.joining import WindowJoiner
from consumers.records import LedgerEntry, Range, RecordError, emitted_digest
from consumers.transform import InputRecord


def entry(start: int, emitted: int) -> InputRecord:
    made = LedgerEntry(
        window=f"in/0/{start}",
        ranges=(Range("in", 0, start, start + 10),),
        valid=10,
        dead=0,
        emitted=emitted,
        emitted_digest=emitted_digest([]),
        s=1.0,
        design="pivotal",
        rate=0.1,
        eta=0.2,
        clusters_version=0,
        clusters_digest="0" * 64,
        surrogate_digest=None,
        weight_sum=0.0,
        anticipated_se=None,
        cost=0.0,
        closed_ms=1,
    )
    return InputRecord("ledger", 0, start, made.key, made.encode(), (), 0)


def example(start: int, number: int, weight: float) -> InputRecord:
    value = encode_example(number, np.full(9, number, np.float32), number % 2)
    headers = (("coreset-window", f"in/0/{start}".encode()), ("coreset-weight", repr(weight).encode()))
    return InputRecord("coreset", 0, number, None, value, headers, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_window_is_whole_when_all_of_it_is_there(order: tuple[int, ...]) -> None:
    records = [entry(0, 2), example(0, 3, 0.1), example(0, 4, 17.25)]
    joiner = WindowJoiner("ledger")
    found = [joiner.feed(records[i]) for i in order]
    assert found[:2] == [None, None]
    whole = found[2]
    assert whole is not None
    assert whole.entry.window == "in/0/0"
    assert dict(zip(whole.sampled.labels.tolist(), whole.weights.tolist(), strict=True)) == {1: 0.1, 0: 17.25}


def test_a_window_without_emissions_is_whole_at_once() -> None:
    whole = WindowJoiner("ledger").feed(entry(0, 0))
    assert whole is not None
    assert len(whole.sampled) == len(whole.weights) == 0


def test_windows_are_not_mixed() -> None:
    joiner = WindowJoiner("ledger")
    joiner.feed(entry(0, 1))
    assert joiner.feed(example(10, 1, 1.0)) is None
    assert joiner.feed(entry(10, 1)) is not None
    assert joiner.feed(example(0, 0, 1.0)) is not None


def test_a_strange_record_is_refused() -> None:
    with pytest.raises(RecordError, match="coreset/0/5"):
        WindowJoiner("ledger").feed(InputRecord("coreset", 0, 5, None, b"{}", (), 0))
