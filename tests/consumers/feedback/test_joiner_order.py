"""Losses, coreset and ledger come in any order: what is joined of them is always the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.returned import Fed, Fixture, Window, labelled

from consumers.feedback.results import Found


@st.composite
def streams(draw) -> tuple[list[Window], list[Fed], list[Fed], list[Fed]]:
    """Windows, and what the three topics hold of them, each in its order."""
    windows = []
    for number in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(st.integers(0, 5), max_size=6))
        pi = draw(st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6))
        windows.append(Window([(row, pi[row]) for row in rows], start=100 * number, closed_ms=number // 2))
    coreset = [one for window in windows for one in window.draws]
    loss = st.none() | st.floats(0, 1e6)
    feedback: list[Fed] = [
        window.report(source, draw(loss), version)
        for window in windows
        for source in [*window.sources, "e/0/99"]
        for version in draw(st.lists(st.sampled_from(["m1", "m2"]), max_size=3))
    ]
    repeated = draw(st.lists(st.sampled_from(coreset), max_size=3)) if coreset else []
    ledger = [window.entry for window in windows]
    return windows, ledger, coreset + repeated, draw(st.permutations(feedback))


def outcome(found: Found) -> tuple:
    complete = [
        (
            one.entry.window,
            one.model_version,
            one.drawn.losses.tolist(),
            one.drawn.probabilities.tolist(),
            one.first,
        )
        for one in found.complete
    ]
    return sorted(map(repr, labelled(found))), complete, found.missing


def merged(random, *topics: list[Fed]) -> Iterator[Fed]:
    """Any order that keeps the order of each topic."""
    left = [list(reversed(topic)) for topic in topics]
    while any(left):
        yield random.choice([topic for topic in left if topic]).pop()


@given(streams(), st.randoms())
def test_any_interleaving_of_the_topics_gives_the_same(streams, random) -> None:
    _, *topics = streams
    outcomes = []
    for order in (chain(*topics), merged(random, *topics), chain(*reversed(topics))):
        it = Fixture(wait_ms=1000)
        it.feed(*order)
        it.joiner.expire(2000)
        outcomes.append((outcome(it.joiner.take()), it.refused))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(streams(), st.randoms())
def test_whenever_results_are_taken_they_add_up_to_the_same_estimates(streams, random) -> None:
    _, *topics = streams
    at_once, bit_by_bit = Fixture(), Fixture()
    at_once.feed(*chain(*topics))
    parts = Found()
    for one in merged(random, *topics):
        bit_by_bit.feed(one)
        found = bit_by_bit.joiner.take()
        parts.labels.extend(found.labels)
        parts.complete.extend(found.complete)
    whole = at_once.joiner.take()
    assert {label.source for label in parts.labels} == {label.source for label in whole.labels}
    assert len(parts.labels) == len(whole.labels)
    part, all_of_it = (sorted(repr(one[:-1]) for one in outcome(found)[1]) for found in (parts, whole))
    assert part == all_of_it


@given(streams())
def test_an_estimate_is_made_of_the_losses_of_one_version(streams) -> None:
    windows, ledger, coreset, feedback = streams
    it = Fixture()
    it.feed(*ledger, *coreset, *feedback)
    found = {(one.entry.window, one.model_version): one.drawn for one in it.joiner.take().complete}
    for window in windows:
        for version in ("m1", "m2"):
            said = {}
            for one in feedback:
                if (one.window, one.model_version) == (window.name, version) and one.loss is not None:
                    said.setdefault(one.source, one.loss)
            expected = window.draws and all(source in said for source in window.sources)
            assert ((window.name, version) in found) == bool(expected)
            if expected:
                drawn = found[window.name, version]
                total = sum(said[draw.source] / draw.probability for draw in window.draws)
                assert float((drawn.losses / drawn.probabilities).sum()) == pytest.approx(total)
