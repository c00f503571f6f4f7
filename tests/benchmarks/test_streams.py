"""The streams repeat themselves and do what their names say; a follower asks, learns and is measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.following import QUERIES, follow
from benchmarks.quality.stream_table import StreamRow, stream_goals
from benchmarks.quality.streams import STREAMS, burst, drifting
from stream_coreset.estimates import uniform_variance

SIZE = 1024


@pytest.mark.parametrize("name", [name for name in STREAMS if not name.startswith("flights")])
def test_streams_repeat_themselves(name: str) -> None:
    first, again = (list(STREAMS[name](SIZE, 3)) for _ in range(2))
    assert [window.X.shape[0] for window in first] == [SIZE] * 3
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.X, other.X)
        assert np.array_equal(one.losses, other.losses)
        assert (one.losses >= 0).all()


def test_an_abrupt_change_moves_clusters_and_raises_losses() -> None:
    plain, abrupt = (list(drifting(SIZE, 8, abrupt=jump)) for jump in (False, True))
    assert np.array_equal(plain[5].X, abrupt[5].X)
    assert abrupt[6].losses.mean() > plain[6].losses.mean()


def test_a_period_comes_back() -> None:
    """The same clusters after one period, far from them after half of it."""
    windows = list(drifting(4 * SIZE, 9, abrupt=False, period=8))
    middles = [window.X.mean(axis=0) for window in windows]
    assert np.linalg.norm(middles[0] - middles[8]) < np.linalg.norm(middles[0] - middles[2]) / 2


def test_a_burst_is_two_windows_of_large_losses() -> None:
    means = np.array([window.losses.mean() for window in burst(SIZE, 8)])
    calm = np.delete(means, [4, 5])
    assert means[[4, 5]].min() > 2 * calm.max()


@pytest.mark.parametrize("surrogate", [False, True])
def test_following_a_stream_beats_uniform(surrogate: bool) -> None:
    windows = list(drifting(SIZE, 4, abrupt=False))
    steps = follow(windows, 0.1, surrogate=surrogate, returned=True)
    assert len(steps) == 4
    assert np.sqrt(np.mean([step.ours for step in steps[1:]])) < 0.6
    losses, s = windows[0].losses, 0.1 * SIZE
    assert steps[0].more == pytest.approx(uniform_variance(losses, s + QUERIES) / uniform_variance(losses, s))


def test_goals_are_geometric_means_over_the_streams() -> None:
    rows = [
        StreamRow(name, rate, 0.1 if name.startswith("drifting") else 0.4, 1.0, 0.5, 3)
        for rate in (0.02, 0.1)
        for name in STREAMS
    ]
    values = {goal.name: goal.value for goal in stream_goals(rows)}
    mean = (0.1 * 0.4 ** (len(STREAMS) - 1)) ** (1 / len(STREAMS))
    assert values["streams, ours / uniform, 2%"] == pytest.approx(mean)
    assert values["streams, ours / uniform at s + queries, 10%"] == pytest.approx(2 * mean)
    assert values["drifting stream, 2%"] == 0.1


def test_one_stream_says_nothing_of_the_mean_over_all() -> None:
    rows = [StreamRow("drifting and abrupt", 0.02, 0.1, 1.0, 0.5, 3)]
    assert [goal.name for goal in stream_goals(rows)] == ["drifting stream, 2%"]
