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
    """In the order in which they came, which for independent losses is like one at random."""
    found = sampling_gain(LOSSES, np.full(2_000, 0.02))
    assert found.ratio == pytest.approx(1.0, abs=0.02)
    assert found.expected_size == pytest.approx(40)


def test_draws_in_proportion_to_the_loss_have_no_error() -> None:
    assert sampling_gain(LOSSES, LOSSES * (40 / LOSSES.sum())).ratio < 1e-6


def test_independent_draws_have_the_variance_of_hansen_and_hurwitz() -> None:
    p = (LOSSES + 1) / (LOSSES + 1).sum()
    s = 40
    variance = (LOSSES**2 / p).sum() / s - LOSSES.sum() ** 2 / s
    found = sampling_gain(LOSSES, s * p, design="iid")
    assert found.ratio == pytest.approx(math.sqrt(variance / uniform_variance(LOSSES, s)), rel=0.01)


def test_an_order_by_the_loss_gains() -> None:
    found = sampling_gain(LOSSES, np.full(2_000, 0.02), order=np.argsort(LOSSES))
    assert found.interval[1] < 0.5


def test_a_level_that_comes_and_goes_is_nobodys_gain() -> None:
    """Ten times the loss for a while: a design that passes through time removes it, and so do windows."""
    level = np.repeat([1.0, 10.0, 1.0, 10.0, 1.0], 400)
    alike = np.full(2_000, 0.02)
    assert sampling_gain(level * LOSSES, alike).ratio == pytest.approx(1.0, abs=0.1)


def test_the_interval_covers_what_another_sample_of_the_stream_says() -> None:
    """40 samples of 1,000 examples of one stream; at 90 % fewer than 30 cover with a probability of .002."""
    rng = np.random.default_rng(8)
    losses = rng.lognormal(0, 0.7, 60_000)
    p = losses * rng.lognormal(0, 0.7, 60_000)
    p = 0.8 * p / p.sum() + 0.2 / 60_000
    truth = sampling_gain(losses, 1_200 * p).ratio
    covered = 0
    for _ in range(40):
        rows = np.sort(rng.choice(60_000, 1_000, replace=False))
        low, high = sampling_gain(losses[rows], 1_200 * p[rows]).interval
        covered += low <= truth <= high
    assert covered >= 30


def test_it_tells_of_how_few_examples_the_error_comes() -> None:
    losses = np.zeros(2_000)
    losses[::100] = 1.0
    assert sampling_gain(losses, np.full(2_000, 0.02)).deciding == pytest.approx(20, rel=0.05)
    assert sampling_gain(1e80 * losses, np.full(2_000, 0.02)).deciding == pytest.approx(20, rel=0.05)


def test_losses_that_are_all_the_same_leave_nothing_to_gain() -> None:
    assert math.isnan(sampling_gain(np.ones(100), np.full(100, 0.1)).ratio)


def test_too_few_examples_have_no_interval() -> None:
    found = sampling_gain([1.0, 2.0, 3.0], [0.5, 0.5, 1.0])
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
    low, high = Gain(0.5, 0.1, 20.0, 50.0).interval
    assert low * high == pytest.approx(0.25)
    assert math.log(high / low) == pytest.approx(2 * 2.093 * 0.1, rel=1e-3)
