"""How far an old center can be from what arrives and still count in full.

A model that keeps all mass keeps the centers of points that were once far away: removing them costs the more
the further away they are, so that in time they take the places of the centers that are needed (and whoever
sends examples from far away takes them at once). Hence an old center counts as if it lay within the *reach*
of what arrives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, to_host
from stream_coreset.kernels import nearest

__all__ = ["reach", "reaches"]

Floats = NDArray[np.float64]

_NEAR = 0.95


def reach(squares: Floats, weight: Floats) -> float:
    """The mean squared distance of the nearest 95 % of the weight.

    Parameters
    ----------
    squares : float64, shape (n,)
        Squared distances to the nearest center.
    weight : float64, shape (n,)
        Weights of the points.

    Returns
    -------
    float
        Whatever the furthest 5 % do, it stays. Infinite where the others all lie on centers.

    Examples
    --------
    >>> reach(np.array([2.0] * 95 + [1e30] * 5), np.ones(100))
    2.0
    """
    rising = np.argsort(squares)
    before = np.cumsum(weight[rising])
    near = rising[before <= _NEAR * before[-1] * (1 + 1e-12)]
    mass, cost = float(weight[near].sum()), float(weight[near] @ squares[near])
    return cost / mass if cost > 0 else np.inf


def reaches(X: Array, own: int, centers: Array, arrived: Floats) -> Floats:
    """The largest squared distance that counts of each row: of the first `own`, old centers, the reach.

    Parameters
    ----------
    X : shape (own + m, d)
        Old centers, then points that arrived.
    own : int
        How many are old centers.
    centers : shape (own, d)
        These, on the host.
    arrived : float64, shape (m,)
        Weights of the points.

    Returns
    -------
    float64, shape (own + m,)
        Infinite for the points that arrived.
    """
    limits = np.full(X.shape[0], np.inf)
    if own:
        limits[:own] = reach(to_host(nearest(X[own:], centers)[1]).astype(np.float64), arrived)
    return limits
