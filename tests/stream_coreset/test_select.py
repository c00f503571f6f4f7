"""`select`: the paper's estimator, unbiasedness, exact sizes, budgets and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from stream_coreset import select
from stream_coreset.estimates import uniform_variance
from stream_coreset.sampling import draw

X = np.random.default_rng(0).normal(size=(300, 3)) + 6 * np.random.default_rng(1).integers(0, 3, (300, 1))
LOSSES = 0.1 + np.abs(X[:, 0]) + 0.3 * np.random.default_rng(2).exponential(size=300)
PAPER = {"design": "iid", "floor": 0, "probes": 1, "surrogate": None}


def ask(rows):
    return LOSSES[rows]


def _formula(X, clusters, z=2):
    """p of Axiotis et al. 2024, evaluated directly from centers, their losses and L."""
    distances = np.linalg.norm(X[:, None, :] - clusters.centers[None].astype(np.float64), axis=2)
    nearest = distances.argmin(axis=1)
    v = distances[np.arange(len(X)), nearest] ** z
    upper = clusters.losses[nearest] + clusters.holders[0] * v
    return upper / upper.sum()


@pytest.mark.parametrize("z", [1, 2])
@pytest.mark.parametrize("holder", [None, 0.7])
def test_the_papers_probabilities(z, holder):
    chosen = select(X, ask, n_clusters=12, size=40, z=z, holder=holder, seed=3, **PAPER)
    np.testing.assert_allclose(chosen.scores, _formula(X, chosen.clusters, z), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(chosen.probabilities, 40 * chosen.scores)
    assert (len(chosen), chosen.n_queries) == (40, 12)
    if holder is not None:
        assert chosen.clusters.holders.tolist() == [holder, holder]


def test_the_papers_centers_are_examples_with_their_own_loss():
    chosen = select(X, ask, n_clusters=12, size=40, seed=3, **PAPER)
    rows = [int(np.linalg.norm(X - center, axis=1).argmin()) for center in chosen.clusters.centers]
    np.testing.assert_allclose(chosen.clusters.centers, X[rows], rtol=1e-6)
    np.testing.assert_allclose(chosen.clusters.losses, LOSSES[rows])


@pytest.mark.parametrize("how", [PAPER, {}, {"design": "systematic"}, {"probes": 1}])
def test_unbiased_over_ten_thousand_draws(how):
    """Within 3 standard errors; false alarm 0.3 % at a free seed, the seed is fixed."""
    chosen = select(X, ask, n_clusters=12, size=17.5, seed=4, **how)
    rng = np.random.default_rng(5)
    design = how.get("design", "pivotal")
    estimates = np.empty(10_000)
    for i in range(len(estimates)):
        indices, weights, _ = draw(chosen.scores, 17.5, design, None, rng)
        estimates[i] = weights @ LOSSES[indices]
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - LOSSES.sum()) < 3 * error


def test_select_itself_is_unbiased():
    """300 seeds of everything, clustering included: within 3.5 standard errors (false alarm 5e-4)."""
    found = [select(X, ask, n_clusters=8, size=12, seed=seed, surrogate=None) for seed in range(300)]
    estimates = np.array([chosen.weights @ LOSSES[chosen.indices] for chosen in found])
    assert abs(estimates.mean() - LOSSES.sum()) < 3.5 * estimates.std() / np.sqrt(300)


def test_inclusion_counts_agree_with_pi():
    """Chi-square of 10,000 pivotal draws against pi, level 1e-4.

    Counts of one draw are negatively dependent, which only makes the statistic smaller.
    """
    chosen = select(X, ask, n_clusters=12, size=20, seed=6)
    pi = chosen.probabilities
    counts, rng = np.zeros(len(X)), np.random.default_rng(7)
    for _ in range(10_000):
        counts[draw(chosen.scores, 20, "pivotal", None, rng)[0]] += 1
    chance = pi < 1
    z = (counts - 10_000 * pi)[chance] / np.sqrt(10_000 * pi * (1 - pi))[chance]
    assert (z**2).sum() < chi2.ppf(1 - 1e-4, chance.sum())


@pytest.mark.parametrize("design", ["pivotal", "systematic", "iid"])
@pytest.mark.parametrize("size", [1, 7.3, 100])
def test_sizes_and_the_largest_weight(design, size):
    chosen = select(X, ask, n_clusters=12, size=size, design=design, seed=8)
    assert len(chosen) in (int(size), int(np.ceil(size)))
    assert chosen.expected_size == size
    assert chosen.weights.max() <= len(X) / (size * 0.2) * (1 + 1e-9)
    assert chosen.scores.sum() == pytest.approx(1)
    assert chosen.probabilities.sum() == pytest.approx(size)
    np.testing.assert_array_equal(chosen.weights, 1 / chosen.probabilities[chosen.indices])


def test_taking_everything_gives_the_truth():
    chosen = select(X, ask, n_clusters=5, size=300, seed=1)
    assert sorted(chosen.indices) == list(range(300))
    assert set(chosen.weights) == {1.0}


def test_budgets():
    assert select(X, ask, n_clusters=5, rate=0.05, seed=1).expected_size == 15
    s = select(X, ask, n_clusters=5, epsilon=0.5, delta=0.2, seed=1, **PAPER).expected_size
    assert s == pytest.approx(np.log(10) / 0.25 * (2 + 1 / 3))


def test_a_bad_loss_is_named_by_its_row():
    spoiled = LOSSES.copy()
    spoiled[250] = np.nan
    with pytest.raises(ValueError, match="row 250 of X"):
        select(X, lambda rows: spoiled[rows], n_clusters=40, size=5, probes=300, seed=0)
    with pytest.raises(ValueError, match="pass a function"):
        select(X, LOSSES, n_clusters=4, size=5)


def test_without_a_loss_distance_decides():
    chosen = select(X, None, n_clusters=12, size=20, seed=1)
    assert chosen.n_queries == 0
    assert not chosen.clusters.known.any()
    squared = ((X - chosen.clusters.centers[_labels(X, chosen.clusters)]) ** 2).sum(axis=1)
    expected = 0.4 / 300 + 0.4 * squared / squared.sum() + 0.2 / 300
    np.testing.assert_allclose(chosen.scores, expected, rtol=1e-4)


def _labels(X, clusters):
    return ((X[:, None] - clusters.centers[None]) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize("limit", [0, 8, 9, 30, 10_000])
def test_queries_are_limited_and_counted(limit):
    asked = []
    chosen = select(
        X, lambda rows: asked.extend(rows) or LOSSES[rows], n_clusters=12, size=20, max_queries=limit, seed=1
    )
    assert chosen.n_queries == len(asked) == len(set(asked)) <= limit
    assert chosen.clusters.known.sum() <= limit // 9
    sizes = np.bincount(_labels(X, chosen.clusters), minlength=12)
    if 0 < chosen.clusters.known.sum() < 12:
        assert sizes[chosen.clusters.known].min() >= sizes[~chosen.clusters.known].max()


def test_the_seed_decides():
    first, again, other = (select(X, ask, n_clusters=9, size=9, seed=s).indices.tolist() for s in (1, 1, 2))
    assert first == again != other
    assert select(X, ask, n_clusters=9, size=9).indices.tolist() != first


@pytest.mark.parametrize(
    "points", [np.ones((50, 2)), np.ones((1, 2)), np.arange(6.0).reshape(3, 2)], ids=["same", "one", "three"]
)
@pytest.mark.parametrize("probes", [1, 9])
def test_degenerate_data(points, probes):
    n = len(points)
    chosen = select(points, lambda rows: np.ones(len(rows)), n_clusters=8, size=n / 2, probes=probes, seed=1)
    assert chosen.scores == pytest.approx(np.full(n, 1 / n), rel=0.9)
    assert len(chosen) in (n // 2, (n + 1) // 2)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), "X.*row 1"),
        (np.array([[0.0, 1.0], [1.0, 2.0], [0.0, np.inf]]), "X.*row 2"),
        (np.zeros((0, 2)), "X"),
        (np.zeros(5), "X"),
        (np.array([["a", "b"]]), "X"),
    ],
)
def test_points_that_cannot_be_used(points, says):
    with pytest.raises(ValueError, match=says):
        select(points, None, n_clusters=2, size=1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda rows: np.where(np.arange(len(rows)) == 2, -1.0, 1.0), r"loss.*row \d+ of X"),
        (lambda rows: np.where(np.arange(len(rows)) == 1, np.nan, 1.0), r"loss.*row \d+ of X"),
        (lambda rows: np.ones(len(rows) + 1), "loss"),
        (lambda rows: np.ones((len(rows), 2)), "loss"),
    ],
)
def test_losses_that_cannot_be_used(answer, says):
    with pytest.raises(ValueError, match=says):
        select(X, answer, n_clusters=4, size=5, seed=0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"surrogate": "forest"}, "surrogate"),
        ({"rate": 0.1}, "exactly one"),
        ({"size": None}, "exactly one"),
        ({"size": -1}, "size"),
        ({"floor": 2}, "floor"),
        ({"design": "magic"}, "design"),
        ({"probes": 0}, "probes"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"device": "abacus"}, "device"),
        ({"holder": -1}, "holder"),
        ({"max_queries": -1}, "max_queries"),
    ],
)
def test_arguments_that_cannot_be_used(wrong, says):
    with pytest.raises(ValueError, match=says):
        select(X, ask, **{"n_clusters": 4, "size": 5, "seed": 0, **wrong})


def test_better_than_uniform_on_a_mixture(mixture):
    """RMSE of the estimated total over 12 seeds of everything, relative to uniform's exact error."""
    points, losses = mixture(8_000, seed=1)
    chosen = select(points, lambda rows: losses[rows], n_clusters=64, rate=0.02, seed=2)
    found = [
        select(points, lambda rows: losses[rows], n_clusters=64, rate=0.02, seed=s, surrogate=None)
        for s in range(12)
    ]
    errors = [one.weights @ losses[one.indices] - losses.sum() for one in found]
    ratio = np.sqrt(np.mean(np.square(errors)) / uniform_variance(losses, chosen.expected_size))
    assert ratio < 0.8
