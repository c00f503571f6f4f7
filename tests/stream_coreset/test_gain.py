"""The gain of a sampler, from known losses: against closed forms, with uniform sampling as its zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_coreset.estimates import uniform_variance
from stream_coreset.gain import Gain, sampling_gain, uniform_rate

RNG = np.random.default_rng(5)
LOSSES = RNG.exponential(size=2_000)


def test_uniform_sampling_gains_nothing() -> None:
    """False alarms: the ratio of 4,000 draws has an error of .011; five of them are allowed."""
    found = sampling_gain(LOSSES, np.full(2_000, 0.02), draws=4_000, rng=1)
    assert found.ratio == pytest.approx(1.0, abs=0.055)
    assert found.expected_size == pytest.approx(40)
    low, high = found.interval
    assert low < 1 < high


def test_draws_in_proportion_to_the_loss_have_no_error() -> None:
    found = sampling_gain(LOSSES, LOSSES * (40 / LOSSES.sum()), rng=2)
    assert found.ratio < 1e-6


def test_independent_draws_have_the_variance_of_hansen_and_hurwitz() -> None:
    p = (LOSSES + 1) / (LOSSES + 1).sum()
    s = 40
    variance = (LOSSES**2 / p).sum() / s - LOSSES.sum() ** 2 / s
    found = sampling_gain(LOSSES, s * p, design="iid", draws=4_000, rng=3)
    assert found.ratio == pytest.approx(math.sqrt(variance / uniform_variance(LOSSES, s)), rel=0.055)


def test_an_order_by_the_loss_gains() -> None:
    alike = np.full(2_000, 0.02)
    found = sampling_gain(LOSSES, alike, order=np.argsort(LOSSES), rng=4)
    assert found.interval[1] < 0.5


def test_what_rests_on_few_large_losses_is_less_certain() -> None:
    heavy = LOSSES.copy()
    heavy[[100, 900]] = 1_000.0
    p = np.linspace(1, 2, 2_000) / 3_000
    sure, unsure = (sampling_gain(losses, 40 * p, rng=5) for losses in (LOSSES, heavy))
    assert unsure.log_error > 2 * sure.log_error


def test_losses_that_are_all_the_same_leave_nothing_to_gain() -> None:
    assert math.isnan(sampling_gain(np.ones(100), np.full(100, 0.1), rng=6).ratio)


def test_too_few_examples_have_no_interval() -> None:
    found = sampling_gain([1.0, 2.0, 3.0], [0.5, 0.5, 1.0], rng=7)
    assert math.isnan(found.log_error)
    assert found.ratio >= 0


@given(st.integers(2, 50), st.floats(0.05, 3))
def test_the_uniform_rate_has_that_error(s: int, ratio: float) -> None:
    """Of whole sizes, for which the variance of uniform sampling is proportional to 1/rate - 1."""
    n = len(LOSSES)
    rate = uniform_rate(s / n, ratio)
    assert (1 / rate - 1) == pytest.approx(ratio**2 * (n / s - 1))
    size = n / 2
    at = uniform_variance(LOSSES, size) * (1 / rate - 1)  # 1/rate - 1 is 1 at half of the stream
    assert at == pytest.approx(ratio**2 * uniform_variance(LOSSES, s))


def test_the_interval_is_symmetric_in_the_logarithm() -> None:
    low, high = Gain(0.5, 0.1, 20.0).interval
    assert low * high == pytest.approx(0.25)
    assert math.log(high / low) == pytest.approx(2 * 1.96 * 0.1, rel=1e-3)
