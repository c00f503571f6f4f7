"""Edges of seeding; its distribution and quality are tested beside split-merge, which draws the same way."""

from __future__ import annotations

import numpy as np
import pytest

from stream_coreset.seeding import kmeans_plus_plus


def test_the_first_seed_follows_the_weights() -> None:
    """Chi-square, 3 degrees of freedom, level 1e-4; a point without weight is never drawn."""
    weight, rng, trials = np.array([1.0, 0.0, 2.0, 3.0, 4.0]), np.random.default_rng(7), 1500
    X = np.arange(5.0)[:, None]
    firsts = [int(kmeans_plus_plus(X, 1, weight, rng)[0]) for _ in range(trials)]
    seen, expected = np.bincount(firsts, minlength=5), trials * weight / weight.sum()
    assert seen[1] == 0
    assert (np.square(seen - expected)[expected > 0] / expected[expected > 0]).sum() < 21.1


def test_the_second_seed_follows_weight_times_squared_distance() -> None:
    """Chi-square, 2 degrees of freedom, level 1e-4: 18.4."""
    X, weight, rng = (
        np.array([[0.0], [1.0], [2.0], [3.0]]),
        np.array([1e9, 4.0, 1.0, 1.0]),
        np.random.default_rng(8),
    )
    pairs = [kmeans_plus_plus(X, 2, weight, rng) for _ in range(1500)]
    seconds = [int(pair[1]) for pair in pairs if pair[0] == 0]
    mass = np.array([4.0, 4.0, 9.0])
    expected = len(seconds) * mass / mass.sum()
    assert (np.square(np.bincount(seconds, minlength=4)[1:] - expected) / expected).sum() < 18.4


def test_no_weight_at_all_counts_as_equal_weights() -> None:
    X = np.arange(6.0)[:, None]
    assert sorted(kmeans_plus_plus(X, 6, np.zeros(6)).tolist()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("n", [1, 50])
def test_points_that_are_all_alike_give_one_seed(n: int) -> None:
    assert len(kmeans_plus_plus(np.full((n, 3), 0.3, "f4"), 5)) == 1


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_weights_of_any_unit(unit: float) -> None:
    X = np.array([[0.0], [1.0], [5.0]])
    assert len(kmeans_plus_plus(X, 3, np.full(3, unit))) == 3


def test_repeats_from_the_same_generator() -> None:
    X = np.random.default_rng(0).normal(size=(300, 4))
    one, two = (kmeans_plus_plus(X, 40, rng=np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(kmeans_plus_plus(X, 40), kmeans_plus_plus(X, 40, rng=None))


def test_points_are_checked() -> None:
    with pytest.raises(ValueError, match="row 1"):
        kmeans_plus_plus([[0.0], [np.inf]], 2)
    with pytest.raises(ValueError, match="sample_weight"):
        kmeans_plus_plus([[0.0], [1.0]], 2, [1.0, -1.0])
