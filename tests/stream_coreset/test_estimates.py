"""Totals, variances and bounds against brute force."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_coreset.estimates import (
    effective_sample_size,
    error_bound,
    horvitz_thompson,
    size_for,
    uniform_variance,
)

some_losses = st.lists(st.floats(0, 100), min_size=1, max_size=6)


def enumerated_variance(losses: list[float], s: float) -> float:
    """Variance over every uniform sample of floor(s) and of ceil(s), in the proportion that gives s."""
    n, total = len(losses), sum(losses)
    variance = 0.0
    for size, chance in ((math.floor(s), 1 - (s - math.floor(s))), (math.floor(s) + 1, s - math.floor(s))):
        if chance == 0:
            continue
        errors = [(n / s * sum(subset) - total) ** 2 for subset in itertools.combinations(losses, size)]
        variance += chance * sum(errors) / len(errors)
    return variance


@given(some_losses, st.floats(0.05, 1.0))
def test_uniform_variance_is_exact(losses: list[float], share: float) -> None:
    s = share * len(losses)
    expected = enumerated_variance(losses, s)
    assert uniform_variance(losses, s) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_horvitz_thompson_counts_repeated_draws() -> None:
    assert horvitz_thompson([2.0, 2.0, 5.0], [3.0, 3.0, 1.0]) == 17.0
    assert horvitz_thompson([], []) == 0.0


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_effective_size_is_at_most_the_size(weights: list[float]) -> None:
    assert 1 - 1e-9 <= effective_sample_size(weights) <= len(weights) + 1e-9


def test_effective_size_of_nothing() -> None:
    assert effective_sample_size([]) == 0.0


@given(st.floats(0.01, 2.0), st.floats(0.001, 0.5), st.floats(0.1, 1.0))
def test_the_bound_and_the_size_are_inverse(epsilon: float, delta: float, share: float) -> None:
    s = size_for(epsilon, delta, share)
    assert error_bound(10.0, s, delta, share) == pytest.approx(10 * epsilon)
    assert s == pytest.approx(size_for(epsilon, delta) / share)


def test_the_size_is_the_formula_of_the_paper_with_the_logarithm() -> None:
    assert size_for(0.2, 0.1) == pytest.approx(math.log(20) * (2 + 0.4 / 3) / 0.04)


def test_the_bound_holds_where_its_condition_does() -> None:
    # losses anywhere below the proxy; more than delta = 10 % of 2,000 samples beyond it would break the
    # theorem, and for these losses it is far from tight
    rng = np.random.default_rng(1)
    upper = rng.lognormal(size=500)
    losses, p = upper * rng.random(500), upper / upper.sum()
    s = round(size_for(0.3, 0.1))
    drawn = rng.choice(500, size=(2000, s), p=p)
    estimates = (losses[drawn] / (s * p[drawn])).sum(axis=1)
    assert (np.abs(estimates - losses.sum()) > error_bound(upper.sum(), s, 0.1)).mean() <= 0.1


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        (horvitz_thompson, ([1.0, 2.0], [1.0]), "weights: expected one value per example"),
        (horvitz_thompson, ([1.0, math.nan], [1.0, 1.0]), "losses: row 1 is nan"),
        (effective_sample_size, ([math.inf],), "weights: row 0 is inf"),
        (uniform_variance, ([1.0, 2.0], 0.0), "s: expected a size above 0 and at most n = 2"),
        (uniform_variance, ([1.0, 2.0], 3.0), "s: expected a size above 0 and at most n = 2"),
        (uniform_variance, ([], 1.0), "s: expected"),
        (size_for, (0.0, 0.1), "epsilon: expected a number above 0"),
        (size_for, (0.1, 1.0), "delta: expected a probability"),
        (size_for, (0.1, 0.1, 0.0), "share: expected a fraction"),
        (error_bound, (math.nan, 10, 0.1), "upper_total: expected a finite sum"),
        (error_bound, (1.0, 0, 0.1), "s: expected a size above 0"),
    ],
)
def test_wrong_arguments_are_refused(function: Any, arguments: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        function(*arguments)
