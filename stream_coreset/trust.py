"""How far to trust each score: the mixture that would have had the least variance on labelled examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_variance"]

Float = NDArray[np.float64]

_STEPS = 100


def least_variance(scores: Float, squares: Float, floor: float, start: Float) -> Float:
    r"""Shares of the scores in p for which the sum of squares / p is least.

    The variance of the estimated total, when neighbours in the order of the draw promise the same, is about
    :math:`\sum_i r_i^2 / \pi_i` with r the part of the loss that was not foreseen. With
    :math:`p = (1 - \eta) \sum_j \lambda_j q_j + \eta/n` that is convex in the shares :math:`\lambda`.
    Multiplicative steps keep them on the simplex and never raise it (they are those of
    expectation-maximisation for a mixture, damped).

    Parameters
    ----------
    scores : (j, m) float64
        Each score at m examples, with mean 1 over the window.
    squares : (m,) float64
        Weight times squared residual of each example.
    floor : float
        eta, the share of uniform sampling that is added in any case.
    start : (j,) float64
        Shares to begin from; kept where nothing can be told.

    Returns
    -------
    (j,) float64
        Sums to 1.

    Examples
    --------
    >>> good, bad = np.array([1.0, 9.0]), np.array([9.0, 1.0])
    >>> least_variance(np.array([good, bad]), np.array([1.0, 81.0]), 0.0, np.array([0.5, 0.5])).round(2)
    array([1., 0.])
    """
    useful = squares > 0
    if floor >= 1 or not useful.any():
        return start
    q, r = scores[:, useful], squares[useful] / squares.max()
    shares = start.copy()
    for _ in range(_STEPS):
        p = (1 - floor) * (shares @ q) + floor
        if not (p > 0).all():
            return start
        shares = shares * np.sqrt((q * (r / p**2)).sum(axis=1))
        shares /= shares.sum()
    return shares
