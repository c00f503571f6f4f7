"""Windows of decoded messages: their ranges, and what is dead before the draw."""

from __future__ import annotations

from support.loop import blobs, example, settings

from consumers.budget import sensitivity_sampler
from consumers.codecs import codec_for
from consumers.cutter import WindowCutter, ranges
from consumers.records.ledger import Range
from consumers.transform import InputRecord


def _cutter(**sections) -> WindowCutter:
    given = settings(**sections)
    return WindowCutter(given, codec_for(given.input), sensitivity_sampler(given))


def _records(values, partition=0, first=0, headers=()):
    return [InputRecord("in", partition, first + i, None, v, headers) for i, v in enumerate(values)]


def test_ranges_of_several_partitions():
    cutter = _cutter(window={"size": 6})
    X = [example(x) for x in blobs(6)]
    records = [*_records(X[:2], 1, first=10), *_records(X[2:5], 0, first=5), *_records(X[5:], 1, first=14)]
    (window,) = cutter.cut(records, 0.0)
    assert ranges(window.items) == [Range("in", 1, 10, 15), Range("in", 0, 5, 8)]
    assert (window.rows, window.reason) == (6, "size")


def test_age_closes_without_records():
    cutter = _cutter(window={"age_seconds": 3.0})
    assert cutter.cut(_records([example([1, 2])]), 10.0) == []
    assert cutter.cut([], 12.9) == []
    (window,) = cutter.cut([], 13.0)
    assert (window.rows, window.reason) == (1, "age")
    assert cutter.pending_bytes == 0


def test_clear_forgets_the_open_window():
    cutter = _cutter()
    cutter.cut(_records([example([1, 2])]), 0.0)
    assert cutter.pending_bytes > 0
    cutter.clear()
    assert cutter.cut([], 1e9) == []


def test_bytes_close_a_window_so_that_any_sample_fits():
    for design in ("pivotal", "iid"):
        cutter = _cutter(window={"max_bytes": 1_000_000}, sampling={"design": design, "rate": 1.0})
        values = [example([1, 2], text="x" * size) for size in [100] * 100 + [300_000] * 4]
        windows = cutter.cut(_records(values), 0.0) + cutter.cut([], 100.0)
        assert all(window.nbytes <= 1_000_000 for window in windows)
        assert sum(window.rows for window in windows) == 104
        assert len(windows) > 1


def test_what_could_become_too_large_is_dead_whole():
    cutter = _cutter(input={"max_message_bytes": 50_000}, window={"size": 1})
    (window,) = cutter.cut(_records([example([1, 2])], headers=(("h", b"x" * 50_000),)), 0.0)
    (item,) = window.items
    assert (item.rows, len(item.valid_rows), len(item.embeddings)) == (1, 0, 0)
    (error,) = item.errors
    assert error.exception == "TooLarge"
    assert "input.max_message_bytes" in error.message


def test_dead_messages_hold_bytes_too():
    for design in ("pivotal", "iid"):
        cutter = _cutter(window={"max_bytes": 1_000_000}, sampling={"design": design})
        windows = cutter.cut(_records([b"x" * 300_000] * 10), 0.0)
        assert len(windows) >= 3
        assert cutter.pending_bytes > 0
