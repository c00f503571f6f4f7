"""Known ways to make a weighted sample biased or useless, each rebuilt beside the right way.

Every test runs one check twice: what the library does passes it, the trap does not. Where the check is
statistical, the right side has |z| < 4 (false alarm 6e-5 for another seed) and the trap |z| > 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.traps import BIASED, UNBIASED, clusters_of, window_of, z_score

from stream_coreset import sampling
from stream_coreset.clusters import Clusters
from stream_coreset.estimates import horvitz_thompson
from stream_coreset.kmeans import Assignment
from stream_coreset.sampling import DESIGNS, draw, inclusion_probabilities
from stream_coreset.sensitivity import SensitivitySampler

Float = NDArray[np.float64]
WITHOUT_REPLACEMENT = ["pivotal", "systematic"]


# Weights from the wrong design.


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
def test_weights_of_draws_with_replacement_on_draws_without(design: str) -> None:
    rng = np.random.default_rng(1)
    p = rng.lognormal(sigma=1.5, size=40)
    p /= p.sum()
    losses, s = p**1.2, 8

    def right() -> float:
        indices, weights, _ = draw(p, s, design, rng=rng)
        return horvitz_thompson(losses[indices], weights) - losses.sum()

    def trap() -> float:
        indices = rng.choice(40, size=s, replace=False, p=p)
        return horvitz_thompson(losses[indices], 1 / (s * p[indices])) - losses.sum()

    def trap_with_the_right_draw() -> float:
        indices, _, _ = draw(p, s, design, rng=rng)
        return horvitz_thompson(losses[indices], 1 / (s * p[indices])) - losses.sum()

    assert z_score(right() for _ in range(3000)) < UNBIASED
    assert z_score(trap() for _ in range(3000)) > BIASED
    assert z_score(trap_with_the_right_draw() for _ in range(3000)) > BIASED


def test_weights_of_draws_without_replacement_on_draws_with() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(20, 0.5))
    losses, s = p**0.8, 6

    def right() -> float:
        indices, weights, _ = draw(p, s, "iid", rng=rng)
        return horvitz_thompson(losses[indices], weights) - losses.sum()

    def trap() -> float:
        indices, _, _ = draw(p, s, "iid", rng=rng)
        return horvitz_thompson(losses[indices], 1 / inclusion_probabilities(p, s)[indices]) - losses.sum()

    assert z_score(right() for _ in range(3000)) < UNBIASED
    assert z_score(trap() for _ in range(3000)) > BIASED


# Rounding s.


@pytest.mark.parametrize("design", DESIGNS)
def test_rounding_the_size_of_small_windows(design: str) -> None:
    assignment, clusters, losses = window_of(5, 3)
    sampler, rng = SensitivitySampler(rate=0.01, design=design), np.random.default_rng(3)
    p = sampler.probabilities(assignment, clusters)

    def right() -> tuple[int, float]:
        sample = sampler.sample(assignment, clusters, rng)
        return len(sample), horvitz_thompson(losses[sample.indices], sample.weights)

    def at_least_one() -> tuple[int, float]:
        indices, weights, _ = draw(p, max(1, round(5 * 0.01)), design, rng=rng)
        return len(indices), horvitz_thompson(losses[indices], weights)

    def weights_by_realised_size() -> tuple[int, float]:
        m = int(rng.random() < 5 * 0.01)
        indices, weights, _ = draw(p, m, design, rng=rng)
        return len(indices), horvitz_thompson(losses[indices], weights)

    def checks(window: Callable[[], tuple[int, float]]) -> tuple[float, float]:
        sizes, totals = np.array([window() for _ in range(8000)]).T
        size_z = np.inf if sizes.std() == 0 else z_score(sizes - 0.05)
        return size_z, z_score(totals - losses.sum())

    assert max(checks(right)) < UNBIASED
    assert checks(at_least_one)[0] > BIASED
    assert checks(weights_by_realised_size)[1] > BIASED


# Capping.


def test_capping_once_or_not_at_all() -> None:
    p, s = np.array([0.7, 0.12, 0.1, 0.05, 0.03]), 3.0

    def keeps_the_budget(pi: Float) -> bool:
        return bool(np.isclose(pi.sum(), s) and (pi <= 1).all())

    assert keeps_the_budget(inclusion_probabilities(p, s))
    assert not keeps_the_budget(np.minimum(1, s * p))
    assert not keeps_the_budget(s * p)


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
def test_units_that_are_certain_weigh_exactly_one(design: str) -> None:
    p, s = np.array([0.7, 0.12, 0.1, 0.05, 0.03]), 3.0
    indices, weights, _ = draw(p, s, design, rng=1)
    certain = indices == 0
    assert weights[certain].tolist() == [1.0]
    assert (1 / (s * p[indices][certain])).tolist() != [
        1.0
    ]  # the trap: a unit that counts for less than itself


# float32 cumulative sums.


def in_float32(values: Float) -> Float:
    return np.cumsum(values, dtype=np.float32).astype(np.float64)


def probability_error(cumulative: Callable[[Float], Float]) -> float:
    """Largest relative error of the probabilities that a cumulative sum stands for, at a million units."""
    pi = np.full(1_000_000, 0.1)
    return float(np.abs(np.diff(cumulative(pi)) / 0.1 - 1).max())


def strata_that_are_kept(design: str) -> float:
    """Share of the 100,000 tens of neighbours from which exactly one of a million units is drawn."""
    indices, _, _ = draw(np.ones(1_000_000), 100_000, design, rng=9)
    return float((np.bincount(indices // 10, minlength=100_000) == 1).mean())


def test_float32_sums_get_a_million_probabilities_wrong() -> None:
    assert probability_error(sampling._cumulative) < 1e-6
    assert probability_error(in_float32) > 0.02


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_float32_sums_inside_a_design(design: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(9).integers(1, 4, 1_000_000).astype(dtype)  # whole numbers: exact in both
    indices, _, probabilities = draw(p, 100_000, design, rng=9)
    assert len(indices) == 100_000
    np.testing.assert_allclose(probabilities, p[indices] * (100_000 / p.sum(dtype=np.float64)), rtol=1e-9)
    assert strata_that_are_kept(design) > 0.9999
    monkeypatch.setattr(sampling, "_cumulative", in_float32)
    assert strata_that_are_kept(design) < 0.9999


# No floor.


def hidden_giant() -> tuple[Assignment, Clusters, Float]:
    """A cluster that all believe harmless, in which one example has a giant loss."""
    labels = np.repeat([0, 1], 50)
    losses = np.where(labels == 0, 0.1, 1.0)
    losses[17] = 500.0
    clusters = clusters_of([[0.0], [9.0]], [1e-9, 1.0], [1e-9, 1.0])
    return Assignment(labels, np.zeros(100)), clusters, losses


def largest_weight(sampler: SensitivitySampler) -> float:
    assignment, clusters, _ = hidden_giant()
    p = sampler.probabilities(assignment, clusters)
    return float(1 / inclusion_probabilities(p, sampler.expected_size(100)).min())


def test_without_a_floor_a_weight_has_no_bound() -> None:
    bound = 100 / (10 * 0.2)
    assert largest_weight(SensitivitySampler(size=10, floor=0.2)) <= bound * (1 + 1e-12)
    assert largest_weight(SensitivitySampler(size=10, floor=0.0)) > 1e6 * bound


@pytest.mark.parametrize("design", ["pivotal", "iid"])
def test_without_a_floor_a_hidden_giant_loss_is_never_seen(design: str) -> None:
    assignment, clusters, losses = hidden_giant()
    rng = np.random.default_rng(10)

    def errors(floor: float) -> Float:
        sampler = SensitivitySampler(size=10, floor=floor, design=design)
        samples = [sampler.sample(assignment, clusters, rng) for _ in range(3000)]
        return np.array([horvitz_thompson(losses[s.indices], s.weights) for s in samples]) - losses.sum()

    with_floor = errors(0.2)
    assert z_score(with_floor) < UNBIASED
    # the variance is bounded by n sum l**2 / (s floor); 3,000 windows know it to about 5 %
    assert with_floor.var() < 1.2 * 100 * (losses**2).sum() / (10 * 0.2)
    assert z_score(errors(0.0)) > BIASED
