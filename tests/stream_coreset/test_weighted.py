from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_coreset.kernels import nearest
from stream_coreset.weighted import Assignment, WeightedPoints, clustering_cost, summary


def assigned(X: np.ndarray, centers: np.ndarray) -> Assignment:
    labels, squares = nearest(X, centers)
    return Assignment(labels, np.sqrt(squares))


@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 9), st.sampled_from([0.0, 1.0, 1e3]))
@settings(max_examples=60, deadline=None)
def test_mass_sum_and_second_moment_are_kept(seed: int, n: int, k: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    X, weight = rng.integers(-8, 9, (n, 3)) * scale, rng.choice([0.0, 1.0, 2.5], n)
    found = summary(X, assigned(X, c := rng.normal(0, 4, (k, 3)) * scale), c, weight)
    close = {"rtol": 1e-5, "atol": 1e-5 * max(scale, 1) ** 2}
    np.testing.assert_allclose(found.counts.sum(), weight.sum())
    np.testing.assert_allclose(found.counts @ found.points, weight @ X, **close)
    second_moment = found.counts @ np.square(found.points, dtype="f8").sum(axis=1) + found.cost
    np.testing.assert_allclose(second_moment, weight @ np.square(X).sum(axis=1), **close)
    assert (found.counts > 0).all()
    assert (found.costs >= 0).all()
    assert [a.dtype.str[1:] for a in (found.points, found.counts, found.costs)] == ["f4", "f8", "f8"]


def test_the_assignment_need_not_be_the_nearest() -> None:
    """After a last Lloyd step without a pass points stay with their center: statistics follow the labels."""
    X, centers = np.array([[0.0], [2.0], [4.0]]), np.array([[0.0], [4.0]])
    found = summary(X, Assignment(np.array([0, 0, 0]), np.array([0.0, 2.0, 4.0])), centers, np.ones(3))
    assert found.points.tolist() == [[2.0]]
    assert found.counts.tolist() == [3.0]
    assert found.cost == 8.0


def test_without_weight_nothing_is_left() -> None:
    X, centers = np.array([[0.0], [2.0]]), np.array([[1.0]])
    found = summary(X, assigned(X, centers), centers, np.zeros(2))
    assert len(found) == 0
    assert found.cost == 0
    assert found.points.shape == (0, 1)


def test_small_costs_far_from_the_origin_are_not_lost() -> None:
    """Squares of norms are 1e8 times what is asked for; float32 sums make the mean a little wrong."""
    rng = np.random.default_rng(0)
    X = (1e4 + rng.normal(size=(3000, 4))).astype("f4")
    centers = X[:1] + np.float32(0.5)
    found = summary(X, assigned(X, centers), centers, np.ones(3000))
    mean = X.mean(axis=0, dtype="f8")
    np.testing.assert_allclose(found.cost, np.square(X - mean).sum(), rtol=1e-2)


def test_length_and_cost() -> None:
    points = WeightedPoints(np.zeros((2, 3), "f4"), np.ones(2), np.array([1.5, 2.0]))
    assert len(points) == 2
    assert points.cost == 3.5


def test_clustering_cost_against_brute_force() -> None:
    rng = np.random.default_rng(1)
    X, centers, weight = rng.normal(size=(200, 3)), rng.normal(size=(7, 3)), rng.random(200)
    squares = np.square(X[:, None] - centers).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(clustering_cost(X, centers, weight), weight @ squares)
    np.testing.assert_allclose(clustering_cost(X, centers), squares.sum())


def test_clustering_cost_checks_what_it_is_given() -> None:
    with pytest.raises(ValueError, match="centers has 2 features, expected 1"):
        clustering_cost([[0.0]], [[0.0, 1.0]])
    with pytest.raises(ValueError, match="sample_weight has shape"):
        clustering_cost([[0.0], [1.0]], [[0.0]], [1.0])
    with pytest.raises(ValueError, match="centers is empty"):
        clustering_cost([[0.0]], np.zeros((0, 1)))
