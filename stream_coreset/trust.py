"""How far to trust each score: the mixture that would have had the least variance on labelled examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.estimates import effective_sample_size
from stream_coreset.limits import cut_to_share

__all__ = ["Trust", "least_variance", "trust"]

Float = NDArray[np.float64]

_STEPS = 100
_ENOUGH = 2.0  # standard errors
_BEYOND_CHANCE = 100.0  # likelihood ratio
_FOLDS, _DIVISIONS = 5, 2
_FEWEST = 2 * _FOLDS  # examples with a residual
_LARGEST_SHARE = 0.2  # of the evidence that one example can be
_LEAST = 1e-100  # of the largest: what is less is no evidence; a fold of nothing else would be 0/0
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Trust:
    """How scores mix, and what that is worth.

    Attributes
    ----------
    shares : (j,) float64
        Sum to 1.
    variances : (m,) float64
        What each labelled example adds to the variance of the estimated total, up to a factor.
    """

    shares: Float
    variances: Float

    def surely_below(self, other: Trust) -> bool:
        """Whether the variance is below that of another by two standard errors."""
        gains = other.variances - self.variances
        return bool(gains.sum() > _ENOUGH * gains.std() * np.sqrt(len(gains)))


def trust(scores: Float, weights: Float, residuals: Float, floor: float) -> Trust:
    """Mix scores so that the variance is least, as far as labelled examples can tell.

    Parameters
    ----------
    scores : (j, m) float64
        Each score at m examples, of any scale; the last one is uniform.
    weights : (m,) float64
        How many examples each stands for.
    residuals : (m,) float64
        The part of each loss that was not foreseen.
    floor : float
        eta, the share of uniform sampling that is added in any case.
    """
    average = (scores * weights).sum(axis=1) / max(weights.sum(), _TINY)
    usable = average > 0
    scores = np.where(usable[:, None], scores / np.where(usable, average, 1.0)[:, None], 1.0)
    squares = weights * np.square(residuals)
    shares = least_variance(scores, squares, floor)
    return Trust(shares, squares / np.maximum((1 - floor) * (shares @ scores) + floor, _TINY))


def least_variance(scores: Float, squares: Float, floor: float) -> Float:
    r"""Shares of the scores in p for which the sum of squares / p is least, as far as that can be told.

    The variance of the estimated total, when neighbours in the order of the draw promise the same, is about
    :math:`\sum_i r_i^2 / \pi_i` with r the part of the loss that was not foreseen. With
    :math:`p = (1 - \eta) \sum_j \lambda_j q_j + \eta/n` that is convex in the shares :math:`\lambda`.
    Multiplicative steps keep them on the simplex and never raise it (they are those of
    expectation-maximisation for a mixture, damped).

    A few large losses make noise look like a gain or a loss, all the more to shares that were fitted to them.
    So no example counts for more than a fifth of all, and the gain over uniform is measured on other examples
    than those that its shares were fitted to. Only one of two standard errors is trusted in full, a smaller
    one in proportion; the rest is uniform. So it is where chance may explain the evidence: p relative to
    uniform is a likelihood ratio, multiplied over as many examples as the evidence effectively rests on; 100
    is enough, and the logarithm of less counts in proportion. That follows the idea of an e-value and is no
    exact test. The largest is not among them, for one loss that nobody foresaw is no sign that the others
    were not foreseen; of two the same size each counts in full.

    Parameters
    ----------
    scores : (j, m) float64
        Each score at m examples, with mean 1 over the window; the last one is uniform, all ones.
    squares : (m,) float64
        Weight times squared residual of each example.
    floor : float
        eta, the share of uniform sampling that is added in any case.

    Returns
    -------
    (j,) float64
        Sums to 1.

    References
    ----------
    Vovk, Wang 2021, E-values: calibration, combination and applications, for the idea; Kish 1965,
    Survey Sampling, section 11.2, for the effective number.

    Examples
    --------
    >>> good, bad = np.array([1.0, 9.0] * 50), np.array([9.0, 1.0] * 50)
    >>> least_variance(np.array([good / 5, bad / 5, np.ones(100)]), good**2, 0.0).round(2)
    array([0.99, 0.  , 0.01])
    """
    useful = squares > _LEAST * squares.max(initial=0.0)
    uniform = np.zeros(len(scores))
    uniform[-1] = 1.0
    if floor >= 1 or useful.sum() < _FEWEST:
        return uniform
    q, r = scores[:, useful], cut_to_share(squares[useful] / squares.max(), _LARGEST_SHARE)
    p = _of_others(q, r, floor)
    trusted = min(_significance((r * (1 - 1 / p)).mean(axis=0)), _beyond_chance(squares[useful], p))
    return trusted * _fitted(q, r, floor) + (1 - trusted) * uniform


def _fitted(q: Float, r: Float, floor: float) -> Float:
    """The shares at which the sum of r / p is least."""
    shares = np.full(len(q), 1.0 / len(q))
    for _ in range(_STEPS):
        p = (1 - floor) * (shares @ q) + floor
        shares = shares * np.sqrt((q * (r / p**2)).sum(axis=1))
        shares /= shares.sum()
    return shares


def _of_others(q: Float, r: Float, floor: float) -> Float:
    """The p of each example by shares fitted to others, 1 if uniform; a row for each of some divisions."""
    p, rng = np.zeros((_DIVISIONS, len(r))), np.random.default_rng(0)
    for row in p:
        folds = rng.permutation(len(r)) % _FOLDS
        for fold in range(_FOLDS):
            out = folds == fold
            row[out] = (1 - floor) * (_fitted(q[:, ~out], r[~out], floor) @ q[:, out]) + floor
    return np.maximum(p, _TINY)


def _significance(gains: Float) -> float:
    """Their sum in standard errors, halved, from 0 to 1."""
    error = gains.std() * np.sqrt(len(gains))
    return float(np.clip(gains.sum() / (_ENOUGH * error), 0.0, 1.0)) if error > 0 else 0.0


def _beyond_chance(squares: Float, p: Float) -> float:
    """The logarithm of the likelihood ratio of p (divisions, m) against uniform / log 100, from 0 to 1."""
    others = np.where(np.arange(len(squares)) == np.argmax(squares), 0.0, squares)
    others = others / others.max()
    ratio = effective_sample_size(others) * np.average(np.log(p).mean(axis=0), weights=others)
    return float(np.clip(ratio / np.log(_BEYOND_CHANCE), 0.0, 1.0))
