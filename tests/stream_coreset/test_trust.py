"""The mixture of scores: the least variance, as far as it can be told from noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from stream_coreset.trust import least_variance

M = 500


def variance(shares: np.ndarray, scores: np.ndarray, squares: np.ndarray, floor: float) -> float:
    return float((squares / ((1 - floor) * (shares @ scores) + floor)).sum())


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_least_variance_on_the_simplex(seed: int) -> None:
    """Against a general optimiser."""
    rng = np.random.default_rng(seed)
    truth = rng.lognormal(0, 1, M)
    scores = np.stack([truth * rng.lognormal(0, 0.7, M), truth * rng.lognormal(0, 0.7, M), np.ones(M)])
    scores /= scores.mean(axis=1, keepdims=True)
    squares = truth**2
    found = least_variance(scores, squares, 0.2)
    best = minimize(
        variance,
        np.full(3, 1 / 3),
        (scores, squares, 0.2),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
    )
    assert found.sum() == pytest.approx(1)
    assert variance(found, scores, squares, 0.2) < best.fun * 1.001


def test_one_large_loss_is_no_reason_to_leave_uniform() -> None:
    """A score that happens to be right about one outlier, and is noise otherwise."""
    rng = np.random.default_rng(3)
    squares = rng.exponential(size=M)
    squares[0] = 1e4
    score = rng.lognormal(0, 1, M)
    score[0] = 20.0
    shares = least_variance(np.stack([score / score.mean(), np.ones(M)]), squares, 0.2)
    assert shares[-1] > 0.4


@pytest.mark.parametrize("seed", range(3))
def test_one_large_loss_that_nothing_foretold_is_no_reason_to_leave_a_good_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.lognormal(0, 1, M)
    squares = truth**2
    squares[np.argsort(truth)[M // 2]] = 10 * squares.sum()
    shares = least_variance(np.stack([truth / truth.mean(), np.ones(M)]), squares, 0.2)
    assert shares[0] > 0.5


def test_what_chance_explains_is_trusted_little() -> None:
    """A score that is higher where losses are large, of which there are few or many, and noise otherwise."""
    trusted = []
    for large in (3, 6, 12, 48):
        rng = np.random.default_rng(large)
        squares, score = 1e-3 * rng.exponential(size=M), rng.lognormal(0, 1, M)
        squares[:large], score[:large] = 1.0, 3.0
        scores = np.stack([score / score.mean(), np.ones(M)])
        trusted.append(1 - least_variance(scores, squares, 0.2)[-1])
    assert trusted[0] < 0.1
    assert trusted[0] < trusted[1] < 0.9
    assert min(trusted[2:]) > 0.95


def test_no_example_is_more_than_a_fifth_of_the_evidence() -> None:
    truth = np.random.default_rng(4).lognormal(0, 1, M)
    scores, squares = np.vstack([truth / truth.mean(), np.ones(M)]), truth**2
    expected = squares.copy()
    squares[0], expected[0] = 1e12, squares[1:].sum() / 4
    shares = least_variance(scores, squares, 0.2)
    assert 0.1 < shares[0] < 0.9
    np.testing.assert_allclose(shares, least_variance(scores, expected, 0.2))


def test_shares_are_not_judged_on_what_they_were_fitted_to() -> None:
    """Four scores of noise, and losses of which few make up most: little is trusted of what fits these."""
    trusted = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = np.vstack([rng.lognormal(0, 1, (4, M)), np.ones(M)])
        scores /= scores.mean(axis=1, keepdims=True)
        trusted.append(1 - least_variance(scores, rng.pareto(1.1, M) ** 2, 0.2)[-1])
    assert np.mean(trusted) < 0.15


def test_few_examples_are_too_few() -> None:
    scores = np.stack([np.linspace(0, 2, M), np.ones(M)])
    squares = np.zeros(M)
    squares[-9:] = 1.0
    assert least_variance(scores, squares, 0.0).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("squares", "floor"), [(np.zeros(M), 0.2), (np.ones(M), 1.0)])
def test_with_nothing_to_tell_it_is_uniform(squares: np.ndarray, floor: float) -> None:
    scores = np.stack([np.linspace(0, 2, M), np.ones(M)])
    assert least_variance(scores, squares, floor).tolist() == [0.0, 1.0]


def test_any_range_of_squares_will_do() -> None:
    scores = np.stack([np.linspace(0, 2, M), np.ones(M)])
    squares = np.append(np.full(M - 1, 1e-300), 1e300)
    assert least_variance(scores, squares, 0.2).sum() == pytest.approx(1)
