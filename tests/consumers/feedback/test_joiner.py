"""Emitted examples and the losses that come back, joined in any order and within bounds."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
from support.returned import HOUR, Fixture, Window, labelled

from consumers.feedback.results import Found

PAIR = Window([(3, 0.5), (8, 0.25)])


def test_a_label_is_an_embedding_a_loss_and_a_weight() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws, PAIR.report("e/0/8", 5.0))
    (label,) = it.joiner.take().labels
    assert (label.source, label.loss, label.weight, label.model_version) == ("e/0/8", 5.0, 4.0, "m1")
    assert label.embedding.tolist() == [8.0, 8.0]
    assert label.embedding.dtype == np.float32


def test_an_example_is_labelled_once_whatever_comes_later() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws, PAIR.report("e/0/8", 5.0))
    assert len(it.joiner.take().labels) == 1
    it.feed(PAIR.report("e/0/8", 5.0), PAIR.report("e/0/8", 6.0, "m2"), *PAIR.draws, PAIR.entry)
    assert it.joiner.take().labels == []
    assert it.refused == {"repeated": 1}


def test_repeated_draws_count_as_often_as_drawn_and_need_one_loss() -> None:
    window = Window([(1, 0.5), (2, 1.5), (1, 0.5)], design="iid")
    it = Fixture()
    it.feed(window.entry, *window.draws, window.report("e/0/1", 2.0), window.report("e/0/2", 3.0))
    found = it.joiner.take()
    assert labelled(found) == [("e/0/1", 2.0, 4.0, "m1"), ("e/0/2", 3.0, 1 / 1.5, "m1")]
    (complete,) = found.complete
    assert complete.drawn.losses.tolist() == [2.0, 3.0, 2.0]
    assert complete.drawn.probabilities.tolist() == [0.5, 1.5, 0.5]


def test_losses_stand_in_draw_order_whatever_came_first() -> None:
    it = Fixture()
    it.feed(*reversed(PAIR.draws), PAIR.entry, *PAIR.reports({"e/0/3": 1.0, "e/0/8": 2.0}))
    (complete,) = it.joiner.take().complete
    assert complete.drawn.losses.tolist() == [1.0, 2.0]


def test_of_two_versions_at_once_the_newer_one_teaches() -> None:
    it = Fixture()
    it.feed(PAIR.report("e/0/8", 5.0, "m1"), PAIR.report("e/0/8", 6.0, "m2"), PAIR.entry, *PAIR.draws)
    assert labelled(it.joiner.take()) == [("e/0/8", 6.0, 4.0, "m2")]


def test_a_null_waits_and_is_not_zero() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws, PAIR.report("e/0/3", None), PAIR.report("e/0/8", 0.0))
    found = it.joiner.take()
    assert [label.source for label in found.labels] == ["e/0/8"]
    assert found.complete == []
    it.feed(PAIR.report("e/0/3", 9.0))
    (complete,) = it.joiner.take().complete
    assert complete.drawn.losses.tolist() == [9.0, 0.0]
    assert it.refused == {}


def test_losses_of_two_model_versions_make_no_estimate() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws, PAIR.report("e/0/3", 1.0, "m1"), PAIR.report("e/0/8", 2.0, "m2"))
    assert it.joiner.take().complete == []
    it.feed(PAIR.report("e/0/3", 3.0, "m2"))
    (complete,) = it.joiner.take().complete
    assert (complete.model_version, complete.drawn.losses.tolist()) == ("m2", [3.0, 2.0])
    it.feed(PAIR.report("e/0/8", 4.0, "m1"))
    (complete,) = it.joiner.take().complete
    assert (complete.model_version, complete.drawn.losses.tolist()) == ("m1", [1.0, 4.0])
    assert not complete.first


def test_a_sample_without_examples_is_complete_at_once() -> None:
    window = Window([], s=0.4)
    it = Fixture()
    it.feed(window.entry)
    (complete,) = it.joiner.take().complete
    assert (complete.model_version, len(complete.drawn), complete.drawn.n) == (None, 0, 100)
    assert it.joiner.take().complete == []


def test_what_was_never_emitted_is_refused_before_and_after() -> None:
    it = Fixture()
    it.feed(PAIR.report("e/0/9", 1.0), PAIR.entry, *PAIR.draws)
    it.joiner.take()
    assert it.refused == {"never emitted": 1}
    it.feed(PAIR.report("e/0/9", 1.0), *PAIR.reports({"e/0/3": 1.0, "e/0/8": 2.0}))
    assert it.refused == {"never emitted": 2}
    assert len(it.joiner.take().complete) == 1


def test_unknown_windows_are_refused_when_all_is_read() -> None:
    it = Fixture(wait_ms=1000)
    it.feed(PAIR.report("e/0/3", 1.0), PAIR.report("e/0/8", 1.0), now_ms=100)
    it.joiner.expire(1099)
    assert it.refused == {}
    it.joiner.expire(1100)
    assert it.refused == {"unknown window": 2}
    assert (len(it.joiner), it.joiner.nbytes) == (0, 0)


def test_versions_without_end_are_refused() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws, *(PAIR.report("e/0/3", 1.0, f"m{number}") for number in range(20)))
    assert it.refused == {"too many versions": 12}


def test_a_window_whose_examples_are_others_gives_nothing() -> None:
    it = Fixture()
    strange = replace(PAIR.entry, emitted_digest="1" * 64)
    it.feed(strange, *PAIR.draws, *PAIR.reports({"e/0/3": 1.0, "e/0/8": 2.0}))
    assert it.joiner.take() == Found()


def test_after_the_wait_what_lacks_is_said_once_and_late_losses_still_count() -> None:
    it = Fixture(wait_ms=1000)
    it.feed(PAIR.entry, *PAIR.draws, PAIR.report("e/0/8", 2.0, "m2"))
    it.joiner.expire(999)
    assert it.joiner.take().missing == []
    it.joiner.expire(1000)
    it.joiner.expire(2000)
    (missing,) = it.joiner.take().missing
    assert (missing.entry.window, missing.model_version, missing.missing) == (PAIR.name, "m2", 1)
    it.feed(PAIR.report("e/0/3", 1.0, "m2"))
    assert len(it.joiner.take().complete) == 1


def test_nothing_is_said_of_a_window_that_was_estimated_or_of_which_draws_lack() -> None:
    it = Fixture(wait_ms=1000)
    half = Window([(1, 0.5), (2, 0.5)], start=1000)
    it.feed(PAIR.entry, *PAIR.draws, *PAIR.reports({"e/0/3": 1.0, "e/0/8": 2.0}), half.entry, half.draws[0])
    it.joiner.expire(5000)
    found = it.joiner.take()
    assert (len(found.complete), found.missing) == (1, [])


def test_losses_that_nobody_reported_lack_all() -> None:
    it = Fixture(wait_ms=1000)
    it.feed(PAIR.entry, *PAIR.draws)
    it.joiner.expire(1000)
    (missing,) = it.joiner.take().missing
    assert (missing.model_version, missing.missing) == (None, 2)


def test_what_is_too_old_is_forgotten() -> None:
    it = Fixture()
    it.feed(PAIR.entry, *PAIR.draws)
    it.joiner.expire(HOUR - 1)
    assert len(it.joiner) == 1
    it.joiner.expire(HOUR)
    assert (len(it.joiner), it.joiner.nbytes) == (0, 0)
    it.feed(PAIR.entry, now_ms=HOUR)
    assert len(it.joiner) == 0


# --- bounds


def test_memory_is_bounded_and_the_newest_are_kept() -> None:
    most = 2_000_000
    tracemalloc.start()
    it = Fixture(max_bytes=most)
    before = tracemalloc.get_traced_memory()[0]
    for number in range(300):
        window = Window([(row, 0.1) for row in range(40)], start=100 * number, dimension=64)
        it.feed(window.entry, *window.draws, window.report(window.sources[0], 1.0))
        it.joiner.take()
        assert it.joiner.nbytes <= most
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held < 1.2 * most
    assert len(it.joiner) >= 30
    it.feed(*window.reports(dict.fromkeys(window.sources, 1.0)))
    assert len(it.joiner.take().complete) == 1


def test_an_example_that_is_labelled_takes_less_memory() -> None:
    window = Window([(1, 0.5), (2, 0.5)], dimension=10_000)
    it = Fixture()
    it.feed(window.entry, *window.draws)
    it.joiner.take()
    before = it.joiner.nbytes
    it.feed(window.report(window.sources[0], 1.0))
    it.joiner.take()
    assert before - 40_000 < it.joiner.nbytes < before - 39_000


def test_reports_of_unknown_windows_do_not_drive_out_those_that_wait() -> None:
    it = Fixture(max_bytes=1_000_000)
    it.feed(PAIR.entry, *PAIR.draws)
    for number in range(5000):
        it.feed(Window([(0, 1.0)], start=10_000 + number).report("e/0/1", 1.0))
    assert it.joiner.nbytes <= 1_000_000
    assert it.refused["unknown window"] > 4000
    it.feed(*PAIR.reports({"e/0/3": 1.0, "e/0/8": 2.0}))
    assert len(it.joiner.take().complete) == 1


def test_the_bookkeeping_of_bytes_comes_back_to_nothing() -> None:
    it = Fixture()
    for number in range(20):
        window = Window([(1, 0.5), (2, 0.5), (1, 0.5)], start=100 * number)
        it.feed(*window.draws, *window.reports(dict.fromkeys(window.sources, 1.0)), window.entry)
        it.joiner.take()
    assert it.joiner.nbytes > 0
    it.joiner.expire(HOUR)
    assert (len(it.joiner), it.joiner.nbytes) == (0, 0)
