from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from stream_coreset.kernels import nearest
from stream_coreset.lloyd import lloyd, means
from stream_coreset.split_merge import Change


def begun(X: np.ndarray, centers: np.ndarray) -> Change:
    """No split-merge round, only the assignment."""
    labels, squares = nearest(X, centers)
    squares = squares.astype("f8")
    return Change(centers, np.arange(len(centers)), labels, squares, centers, labels, squares)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_are_those_of_scikit_learn(steps: int) -> None:
    rng = np.random.default_rng(steps)
    X, weight = rng.normal(size=(600, 5)), rng.choice([0.5, 1.0, 4.0], 600)
    centers = X[:8].copy()
    found = lloyd(X, weight, begun(X, centers), steps)
    peer = KMeans(8, init=centers, n_init=1, max_iter=steps, tol=0, algorithm="lloyd")
    peer.fit(X, sample_weight=weight)
    np.testing.assert_allclose(found.centers, peer.cluster_centers_, rtol=1e-9)
    np.testing.assert_array_equal(found.labels, peer.labels_)
    np.testing.assert_allclose(weight @ found.squares, peer.inertia_)


@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 8), st.sampled_from(["f4", "f8"]))
@settings(max_examples=60, deadline=None)
def test_each_step_lowers_the_cost(seed: int, n: int, k: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-5, 6, size=(n, 2)).astype(dtype)
    weight, start = rng.choice([0.0, 1.0, 3.0], n), begun(X, rng.normal(0, 3, (k, 2)).astype(dtype))
    costs = [weight @ lloyd(X, weight, start, steps).squares for steps in range(4)]
    assert (np.diff(costs) <= 1e-6 * costs[0]).all()
    shorter = lloyd(X, weight, start, 2, exact=False)
    assert costs[2] * (1 - 1e-6) <= weight @ shorter.squares <= costs[1] * (1 + 1e-6)
    own = np.square(X - shorter.centers[shorter.labels], dtype="f8").sum(axis=1)
    np.testing.assert_allclose(shorter.squares, own, rtol=1e-4, atol=1e-9)


def test_centers_without_points_and_steps_of_none_stay() -> None:
    X = np.array([[0.0], [2.0]])
    start = begun(X, np.array([[1.5], [99.0]]))
    found = lloyd(X, np.ones(2), start, 1)
    assert found.centers.tolist() == [[1.0], [99.0]]
    assert lloyd(X, np.ones(2), start, 0) == start


def test_a_round_that_made_it_worse_is_undone() -> None:
    X, weight = np.array([[0.0], [1.0], [10.0], [11.0]]), np.ones(4)
    good = begun(X, np.array([[0.5], [10.5]]))
    far = np.array([[40.0], [50.0]])
    labels, squares = nearest(X, far)
    worse = replace(good, centers=far, ancestors=np.array([0, -1]), labels=labels, squares=squares)
    for steps in (0, 1):
        found = lloyd(X, weight, worse, steps)
        np.testing.assert_array_equal(found.centers, good.centers)
        np.testing.assert_array_equal(found.labels, good.labels)
        assert found.ancestors.tolist() == [0, 1]


@pytest.mark.parametrize("unit", [1e-60, 1e-12, 1.0, 1e12, 1e60])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_unit_of_the_weights_does_not_matter(unit: float, dtype: str) -> None:
    """In float32 weights of 1e-60 are 0 and of 1e60 infinite: sums of such would send centers astray."""
    X = np.array([[3.0], [4.0], [10.0], [12.0]], dtype)
    start = begun(X, np.array([[3.0], [12.0]], dtype))
    found = lloyd(X, np.full(4, unit), start, 1)
    np.testing.assert_allclose(found.centers.ravel(), [3.5, 11.0], rtol=1e-6)


def test_a_center_with_next_to_no_weight_does_not_stop_the_others() -> None:
    """As after many half-lives; were its mean lost, the cost would rise and every step be undone."""
    X = np.array([[3.0], [5.0], [10.0], [12.0]], "f4")
    weight = np.array([1e-60, 1e-60, 1.0, 1.0])
    found = lloyd(X, weight, begun(X, np.array([[3.0], [12.0]], "f4")), 1)
    np.testing.assert_allclose(found.centers.ravel(), [4.0, 11.0], rtol=1e-6)


def test_means_keep_the_dtype_of_the_centers() -> None:
    found = means(np.array([[6.0], [0.0]]), np.array([2.0, 0.0]), np.array([[1.0], [7.0]], "f4"))
    assert found.dtype == np.float32
    assert found.ravel().tolist() == [3.0, 7.0]
