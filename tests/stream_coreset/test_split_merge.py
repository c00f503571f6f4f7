from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_coreset.kernels import closer_pairs, nearest, two_nearest
from stream_coreset.seeding import kmeans_plus_plus
from stream_coreset.split_merge import _cheapest, _extended, greedy_splits, split_merge


def cost(X: np.ndarray, centers: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ np.square(X[:, None] - centers[None]).sum(axis=2).min(axis=1))


def problem(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    X = rng.integers(-6, 7, size=(n, 2)) + rng.normal(0, 0.1, size=(n, 2)) * rng.integers(0, 2)
    return X, rng.choice([0.0, 0.5, 1.0, 3.0], n), rng.normal(0, 4, size=(k, 2)), rng


problems = st.builds(problem, st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 12))


@given(problems, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_lazy_greedy_chooses_what_a_full_evaluation_chooses(made: tuple, count: int) -> None:
    X, weight, centers, rng = made
    candidates = X[rng.permutation(len(X))[:20]]
    squares = nearest(X, centers)[1]
    chosen, gains = greedy_splits(closer_pairs(X, candidates, squares), squares, weight, count)
    table, left = np.square(X[:, None] - candidates[None]).sum(axis=2), squares.copy()
    for j, gain in zip(chosen, gains, strict=True):
        every = weight @ np.maximum(left[:, None] - table, 0)
        np.testing.assert_allclose([gain, every[j]], every.max(), rtol=1e-7, atol=1e-9)
        left = np.minimum(left, table[:, j])
    if len(chosen) < count:
        assert (weight @ np.maximum(left[:, None] - table, 0)).max() < 1e-9
    assert (np.diff(gains) <= 1e-9).all()


@given(problems, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_merges_cost_what_brute_force_says(made: tuple, placed: int) -> None:
    X, weight, centers, rng = made
    k, points = len(centers), X[rng.permutation(len(X))[:placed]]
    at, there = nearest(X, points)
    now = _extended(two_nearest(X, centers), k, at, there)
    together = np.concatenate([centers, points])
    np.testing.assert_allclose(weight @ now.squared_distances, cost(X, together, weight), rtol=1e-9)
    table = np.sort(np.square(X[:, None] - together[None]).sum(axis=2), axis=1)
    own = now.labels < k
    np.testing.assert_allclose(now.second_squared_distances[own], table[own, 1], rtol=1e-9, atol=1e-12)
    gone = _cheapest(now, weight, k, np.full(3, np.inf))
    alive = np.delete(together, gone, axis=0)
    merged = np.where(np.isin(now.labels, gone), now.second_squared_distances, now.squared_distances)
    np.testing.assert_allclose(weight @ merged, cost(X, alive, weight), rtol=1e-9)
    if len(gone):
        single = [cost(X, np.delete(together, c, axis=0), weight) for c in range(k)]
        np.testing.assert_allclose(single[gone[0]], min(single), rtol=1e-9)


@given(problems, st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_a_round_never_costs_and_says_what_it_did(made: tuple, room: int, swaps: int) -> None:
    X, weight, centers, rng = made
    change = split_merge(X, weight, centers, room=room, swaps=swaps, candidates_per_split=8, rng=rng)
    before, after = cost(X, centers, weight), cost(X, change.centers, weight)
    assert after <= before * (1 + 1e-9) + 1e-9
    np.testing.assert_allclose(weight @ change.squares, after, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weight @ change.former_squares, before, rtol=1e-9, atol=1e-9)
    expected = np.square(X - change.centers[change.labels]).sum(axis=1)
    np.testing.assert_allclose(change.squares, expected, rtol=1e-9, atol=1e-12)
    assert len(centers) <= len(change.centers) <= len(centers) + room
    kept = change.ancestors[change.ancestors >= 0]
    assert len(np.unique(kept)) == len(kept)


def test_of_two_centers_in_one_cluster_one_moves_to_the_cluster_without() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(30, 1, (300, 2)), rng.normal(60, 1, (300, 2))])
    centers = np.array([[0.5, 0], [-0.5, 0], [30.0, 30]])
    change = split_merge(X, np.ones(900), centers, room=0, swaps=1, candidates_per_split=8, rng=rng)
    assert sorted(change.ancestors.tolist())[0] == -1
    assert 2 in change.ancestors
    assert cost(X, change.centers, np.ones(900)) < 10_000


def test_a_center_that_a_split_replaces_in_its_own_cluster_lives_on() -> None:
    """The cluster moved by five radii; the place for its center comes from that center itself."""
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(30, 1, (300, 2))])
    centers = np.array([[0.0, 0], [25.0, 25]])
    change = split_merge(X, np.ones(600), centers, room=0, swaps=1, candidates_per_split=8, rng=rng)
    assert change.ancestors.tolist() == [0, 1]
    assert np.linalg.norm(change.centers[1] - 30) < 4


def test_undone() -> None:
    X, weight, centers, rng = problem(3, 50, 4)
    change = split_merge(X, weight, centers, room=2, swaps=2, candidates_per_split=8, rng=rng).undone()
    np.testing.assert_array_equal(change.centers, centers)
    np.testing.assert_array_equal(change.labels, nearest(X, centers)[0])
    assert change.ancestors.tolist() == [0, 1, 2, 3]


@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_seeds_are_distinct_points_of_positive_weight(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    X, weight = rng.integers(0, 3, size=(n, 2)).astype("f4"), rng.integers(0, 2, n).astype("f8")
    rows = kmeans_plus_plus(X, k, weight, rng)
    usable = weight > 0 if weight.any() else np.ones(n, bool)
    distinct = len(np.unique(X[usable], axis=0))
    assert len(np.unique(X[rows], axis=0)) == len(rows) == min(k, distinct)
    assert usable[rows].all()


def test_seeds_follow_the_distribution_of_k_means_plus_plus() -> None:
    """Third seed given the first two, on four points: chi-square, 3 degrees of freedom, level 1e-4."""
    X, trials = np.array([[0.0], [1.0], [3.0], [7.0]]), 4000
    rng = np.random.default_rng(5)
    seen, expected = np.zeros(4), np.zeros(4)
    for _ in range(trials):
        rows = kmeans_plus_plus(X, 3, None, rng)
        mass = np.square(X - X[rows[:2]].T).min(axis=1)
        expected += mass / mass.sum()
        seen[rows[2]] += 1
    assert (np.square(seen - expected) / expected).sum() < 21.1


@pytest.mark.parametrize("k", [100, 300])
def test_seeds_in_rounds_are_as_good_as_one_by_one(k: int) -> None:
    from sklearn.cluster import kmeans_plusplus

    rng = np.random.default_rng(6)
    X = (rng.normal(0, 5, (80, 4))[rng.integers(0, 80, 3000)] + rng.normal(size=(3000, 4))).astype("f8")
    ours = [nearest(X, X[kmeans_plus_plus(X, k, None, rng)])[1].sum() for _ in range(5)]
    peers = [
        nearest(X, kmeans_plusplus(X, k, random_state=i, n_local_trials=1)[0])[1].sum() for i in range(5)
    ]
    assert np.mean(ours) < 1.1 * np.mean(peers)
