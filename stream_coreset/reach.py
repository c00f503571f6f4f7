"""How far a light old center can be from what arrives and still count in full.

A model that keeps all mass keeps the centers of points that were once far away: removing them costs the more
the further away they are, so that in time they take the places of the centers that are needed (and whoever
sends examples from far away takes them at once). Hence an old center that stands for little counts as if it
lay within the *reach* of what arrives. One that stands for much keeps its place: it may belong to examples
that have only not arrived this time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, to_host
from stream_coreset.kernels import nearest

__all__ = ["reach", "reaches"]

Floats = NDArray[np.float64]

_NEAR = 0.95
_LIGHT = 0.05  # of the mean mass of a center


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
    rising = np.argsort(squares, kind="stable")
    before = np.cumsum(weight[rising])
    near = rising[before <= _NEAR * before[-1] * (1 + 1e-12)]
    mass, cost = float(weight[near].sum()), float(weight[near] @ squares[near])
    return cost / mass if cost > 0 else np.inf


def reaches(X: Array, centers: Array, counts: Floats, arrived: Floats) -> Floats:
    """The largest squared distance of each row that counts: for light old centers the reach.

    Parameters
    ----------
    X : shape (k + m, d)
        The old centers, then the points that arrived.
    centers : shape (k, d)
        The old centers, on the host; k may be 0.
    counts, arrived : float64, shapes (k,) and (m,)
        Weights of the old centers and of the points.

    Returns
    -------
    float64, shape (k + m,)
        Infinite for heavier old centers and for the points that arrived.
    """
    limits, k = np.full(X.shape[0], np.inf), len(centers)
    light = counts < _LIGHT * counts.sum() / max(k, 1)
    if light.any():
        squares = to_host(nearest(X[k:], centers)[1]).astype(np.float64)
        limits[:k][light] = reach(squares, arrived)
    return limits
