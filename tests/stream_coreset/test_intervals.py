"""Variances and intervals from samples, against what many draws really do. Seeds are fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_coreset.estimates import uniform_variance
from stream_coreset.intervals import Drawn, EstimatePool, FloorRule, estimate
from stream_coreset.sampling import draw

N = 2000


class Windows:
    """Windows of a stream whose losses vary smoothly along the draw order, with noise."""

    def __init__(self, seed: int, rate: float, design: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.s, self.design = rate * N, design
        self.losses = np.sort(self.rng.lognormal(0, 0.7, N)) * self.rng.uniform(0.7, 1.3, N)
        guess = self.losses * self.rng.lognormal(0, 0.4, N)
        self.p = 0.8 * guess / guess.sum() + 0.2 / N

    def draw(self) -> Drawn:
        indices, _, probabilities = draw(self.p, self.s, self.design, rng=self.rng)
        return Drawn(self.losses[indices], probabilities, N, self.s)


@pytest.mark.parametrize("design", ["pivotal", "iid"])
@pytest.mark.parametrize("rate", [0.0152, 0.1])
def test_pooled_intervals_cover_and_variances_fit(design: str, rate: float) -> None:
    # 600 windows: at a true coverage of .945 less than .91 or more than .98 comes in 1 of 5,000 runs
    windows = Windows(1, rate, design)
    pool, truth = EstimatePool(design), float(windows.losses.sum())
    covered, errors, variances = [], [], []
    for number in range(620):
        window = windows.draw()
        pool.add(window)
        if number < 20:
            continue
        total = estimate([window], design).total
        low, high = pool.interval(total, N, windows.s)
        covered.append(low <= truth <= high)
        errors.append((total - truth) ** 2)
        variances.append(pool.variance(N, windows.s))
    assert 0.91 <= np.mean(covered) <= 0.985
    assert 0.85 <= np.mean(variances) / np.mean(errors) <= 1.25


def test_a_trend_of_the_order_is_no_error() -> None:
    # slopes up and down in turn, as the draw passes through neighbourhoods, beside noise of variance 1
    noise = np.random.default_rng(7).normal(size=2000)
    slopes = 100 + np.abs(np.arange(2000) % 200 - 100)
    flat, sloping = (
        Drawn((rest + noise) / 100, np.full(2000, 0.01), 200_000, 2000.0) for rest in (0, slopes)
    )
    assert estimate([sloping]).variance == pytest.approx(estimate([flat]).variance, rel=0.05)


@pytest.mark.parametrize("design", ["pivotal", "iid"])
@pytest.mark.parametrize("size", [20.0, 20.5, 20.8, 204.3])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_the_size_of_the_sample_is_part_of_the_error(design: str, size: float, noise: float) -> None:
    # 3,000 windows: the ratio has a standard error below .04; off by .17 in less than 1 of 10,000 runs
    rng = np.random.default_rng(11)
    losses = 1 + noise * rng.normal(size=N)
    variances, squares = [], []
    for _ in range(3000):
        order = rng.permutation(N)
        indices, weights, pi = draw(np.ones(N), size, design, order, rng)
        variances.append(estimate([Drawn(losses[indices], pi, N, size)], design).variance)
        squares.append((weights @ losses[indices] - losses.sum()) ** 2)
    expected = np.mean(squares)
    assert np.mean(variances) == pytest.approx(expected, rel=0.17, abs=1e-6)


def test_every_draw_counts_the_same_wherever_it_comes() -> None:
    """The first and the last, too: an order may begin with what is least certain."""
    found = []
    for place in (0, 10, 29):
        losses = np.where(np.arange(30) == place, 100.0, 0.0)
        found.append(estimate([Drawn(losses, np.full(30, 0.01), 3000, 30.0)]).variance)
    np.testing.assert_allclose(found, found[0])
    assert found[0] == pytest.approx(0.99 * (100 / 0.01) ** 2, rel=0.05)


def test_what_was_certain_is_no_error() -> None:
    losses, pi = np.array([9.0, 7.0, 1.0, 3.0]), np.array([1.0, 1.0, 0.5, 0.5])
    found = estimate([Drawn(losses, pi, 10, 4.0)])
    assert found.variance == pytest.approx((1 - 0.5) * (2.0**2 + 6.0**2))  # of two: each drawn by itself


def test_later_windows_count_more() -> None:
    pools = EstimatePool(), EstimatePool()
    scales = (1.0, 3.0)
    for pool, order in zip(pools, (scales, scales[::-1]), strict=True):
        for scale in np.repeat(order, 10):
            pool.add(Drawn(scale * (np.arange(30) % 2.0), np.full(30, 0.1), 300, 30.0))
    rising, falling = (pool.variance(300, 30.0) for pool in pools)
    least, most = falling / (1 + 9 * 0.9**10), rising / (9 + 0.9**10)  # both over the same sum of weights
    assert rising > 1.3 * falling
    assert least == pytest.approx(most)


def test_the_uniform_shadow_is_near_the_exact_formula() -> None:
    windows = Windows(2, 0.1, "pivotal")
    exact = uniform_variance(windows.losses, windows.s)
    shadows = [estimate([windows.draw()]).uniform_variance for _ in range(300)]
    assert np.mean(shadows) == pytest.approx(exact, rel=0.1)


def test_the_shadow_of_everything_is_the_exact_formula() -> None:
    losses = np.random.default_rng(3).exponential(size=50)
    found = estimate([Drawn(losses, np.ones(50), 50, 50.0)])
    assert found.variance == 0
    assert found.total == pytest.approx(losses.sum())
    assert found.uniform_variance == pytest.approx(0, abs=1e-9)


def test_small_windows_wait_for_one_another() -> None:
    pool = EstimatePool()
    for _ in range(19):
        pool.add(Drawn(np.ones(1), np.full(1, 0.01), 100, 1.0))
    assert len(pool) == 0
    assert math.isnan(pool.variance(100, 1.0))
    pool.add(Drawn(np.ones(1), np.full(1, 0.01), 100, 1.0))
    assert len(pool) == 1


def test_the_ratio_tells_better_from_worse() -> None:
    rng = np.random.default_rng(4)
    losses = rng.lognormal(0, 1, N)
    found = {}
    for name, p in {"good": losses, "bad": 1 / losses}.items():
        pool = EstimatePool()
        for _ in range(20):
            indices, _, pi = draw(0.8 * p / p.sum() + 0.2 / N, 200.0, rng=rng)
            pool.add(Drawn(losses[indices], pi, N, 200.0))
        found[name] = pool.log_ratio()
    ratio, error = found["good"]
    assert ratio < -2 * error
    ratio, error = found["bad"]
    assert ratio > 2 * error


def test_no_ratio_without_enough_windows() -> None:
    pool = EstimatePool()
    pool.add(Drawn(np.ones(30), np.full(30, 0.1), 300, 30.0))
    assert math.isnan(pool.log_ratio()[0])


def test_the_rule_does_not_flap() -> None:
    rule = FloorRule(0.2)
    floors = [rule.update(ratio, 0.1) for ratio in (math.nan, 0.19, 0.21, 0.1, -0.05, -0.11, 0.19)]
    assert floors == [0.2, 0.2, 0.6, 0.6, 0.6, 0.2, 0.2]
    assert FloorRule(0.8).update(1.0, 0.1) == 0.8


def test_without_windows_there_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="windows: expected at least one"):
        estimate([])


def test_an_empty_sample_is_an_estimate_of_zero() -> None:
    found = estimate([Drawn(np.zeros(0), np.zeros(0), 10, 0.1)])
    assert (found.total, found.variance) == (0.0, 0.0)
