"""`StreamingCoreset`: window by window, in any program."""

from __future__ import annotations

import numpy as np
import pytest

from stream_coreset import StreamingCoreset
from stream_coreset.estimates import uniform_variance


def _stream(**how) -> StreamingCoreset:
    return StreamingCoreset(**{"n_clusters": 6, "rate": 0.1, "seed": 1, **how})


def _window(seed: int, n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 5 * rng.integers(0, 4, (n, 1)) + rng.normal(size=(n, 3))


def test_losses_are_asked_before_the_draw_and_kept():
    stream = _stream(max_age=100)
    asked = []
    for seed in range(4):
        X = _window(seed)
        sample = stream.step(X, lambda rows, X=X: asked.append(len(rows)) or np.abs(X[rows, 0]))
        assert len(sample) == 20
    assert stream.clusters.known.all()
    assert stream.n_queries == sum(asked)
    assert asked[0] > sum(asked[1:])
    expected = np.abs(stream.clusters.centers[:, 0])
    np.testing.assert_allclose(stream.clusters.losses, expected, atol=1.5)


def test_the_query_budget_holds():
    stream = _stream(max_queries=20, max_age=1)
    for seed in range(6):
        before = stream.n_queries
        stream.step(_window(seed), lambda rows: np.ones(len(rows)))
        assert stream.n_queries - before <= 20
    assert stream.n_queries > 60


def test_centers_that_are_away_do_not_hold_the_queue():
    stream = _stream(n_clusters=40, max_queries=90, max_age=1)
    stream.step(_window(0, 2000))
    for seed in range(1, 8):
        X = _window(seed, 2000)
        stream.step(X[X[:, 0] < 2], lambda rows: np.ones(len(rows)))
    before = stream.n_queries
    stream.step(X[X[:, 0] < 2], lambda rows: np.ones(len(rows)))
    assert stream.n_queries > before > 300


def test_losses_of_another_model_are_asked_anew_and_scaled():
    stream = _stream(max_age=100)
    for seed in range(4):
        stream.step(_window(seed), lambda rows: np.full(len(rows), 2.0))
    asked, stream.model_version = stream.n_queries, "2"
    for seed in range(4, 6):
        stream.step(_window(seed), lambda rows: np.full(len(rows), 6.0))
    assert stream.n_queries > asked
    np.testing.assert_allclose(stream.clusters.losses, 6.0)


def test_without_losses():
    stream = _stream()
    for seed in range(3):
        sample = stream.step(_window(seed))
    assert stream.n_queries == 0
    assert sample.scores.max() > sample.scores.min() > 0


def test_unbiased():
    """400 windows with stale, partial losses: within 3.5 standard errors (false alarm 5e-4)."""
    stream = _stream(rate=0.05, max_queries=20, max_age=5)
    errors = []
    for seed in range(400):
        X = _window(seed, 100)
        losses = np.exp(0.3 * X[:, 1]) + X[:, 0] ** 2
        sample = stream.step(X, lambda rows, losses=losses: losses[rows])
        errors.append((sample.weights @ losses[sample.indices]) / losses.sum() - 1)
    assert abs(np.mean(errors)) < 3.5 * np.std(errors) / np.sqrt(len(errors))


def test_windows_of_any_size():
    stream = _stream(rate=None, size=3)
    for n in (1, 2, 500, 3):
        sample = stream.step(_window(n, n), lambda rows: np.ones(len(rows)))
        assert len(sample) == min(n, 3)


def test_ids_stay_with_their_clusters():
    stream = _stream(n_clusters=4)
    stream.step(_window(0, 400))
    first = stream.clusters
    for seed in range(1, 6):
        stream.step(_window(seed, 400))
    last = stream.clusters
    for center, place in zip(first.ids, first.centers, strict=True):
        (row,) = np.flatnonzero(last.ids == center)
        assert np.linalg.norm(last.centers[row] - place) < 1.5


def test_the_seed_decides():
    def run(seed):
        stream = _stream(seed=seed)
        return [stream.step(_window(n), lambda rows: np.ones(len(rows))).indices.tolist() for n in range(3)]

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (np.full((5, 3), np.nan), "X.*row 0"),
        (np.zeros((5, 2)), "X"),
        (np.zeros((0, 3)), "X"),
    ],
)
def test_windows_that_cannot_be_used(X, says):
    stream = _stream()
    stream.step(_window(0))
    with pytest.raises(ValueError, match=says):
        stream.step(X)
    assert len(stream.step(_window(1))) == 20


def test_losses_that_cannot_be_used():
    with pytest.raises(ValueError, match=r"loss.*row \d+ of X"):
        _stream().step(_window(0), lambda rows: np.full(len(rows), -1.0))


def test_better_than_uniform_on_a_mixture(mixture):
    """Pooled over three streams of 25 windows, relative to uniform's exact error; seeded."""
    squared = expected = 0.0
    for seed in range(5, 8):
        points, losses = mixture(25_000, seed=seed)
        stream = StreamingCoreset(n_clusters=64, rate=0.02, max_queries=96, seed=seed)
        for start in range(0, len(points), 1_000):
            window = slice(start, start + 1_000)
            sample = stream.step(points[window], lambda rows, here=losses[window]: here[rows])
            if start >= 10_000:
                squared += (sample.weights @ losses[window][sample.indices] - losses[window].sum()) ** 2
                expected += uniform_variance(losses[window], sample.expected_size)
    assert np.sqrt(squared / expected) < 0.8
