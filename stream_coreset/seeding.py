"""First centers: k-means++ in rounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, check_points, check_weights, namespace, to_host
from stream_coreset.kernels import nearest

__all__ = ["kmeans_plus_plus"]

_ROUND = 256  # candidates a round at most: they are compared with each other one after another


def kmeans_plus_plus(
    X: Array, k: int, sample_weight: Array | None = None, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Rows of X as first centers, each drawn with probability proportional to weight times squared distance.

    The distribution is the one of k-means++ (Arthur and Vassilvitskii 2007), but in rounds: a round draws
    many rows by the squared distances at its beginning, and keeps each with the probability (its squared
    distance now) / (then). So the work is that of about one assignment of all points to k centers.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    k : int
        Centers wanted.
    sample_weight : array_like, shape (n,), optional
        Weights; ones when missing, and when all of them are zero.
    rng : numpy.random.Generator, optional
        Source of randomness; seeded by 0 when missing.

    Returns
    -------
    int64, shape (at most k,)
        In the order drawn. Fewer than k where X has fewer distinct points of positive weight.

    Examples
    --------
    >>> sorted(kmeans_plus_plus([[0.0], [0.0], [5.0]], 3, [1, 0, 1]).tolist())
    [0, 2]
    """
    X = check_points(X)
    weight = check_weights(sample_weight, X.shape[0])
    weight = weight if weight.any() else np.ones_like(weight)
    rng = np.random.default_rng(0) if rng is None else rng
    chosen = _draw(weight, 1, rng)
    squares = _squares_to(X, chosen)
    while len(chosen) < k and (mass := weight * squares).any():
        size = int(np.clip(len(chosen), 16, _ROUND))
        new = _thinned(X, _draw(mass, size, rng), squares, rng)[: k - len(chosen)]
        squares = np.minimum(squares, _squares_to(X, new))
        chosen = np.concatenate([chosen, new])
    return chosen


def _draw(mass: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Independent draws with probability proportional to mass, never of a row without any."""
    rows = np.flatnonzero(mass)
    ends = np.cumsum(mass[rows] / mass.max())
    found = np.searchsorted(ends, rng.random(size) * ends[-1], side="right")
    drawn: NDArray[np.int64] = rows[np.minimum(found, len(rows) - 1)]
    return drawn


def _squares_to(X: Array, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    xp = namespace(X)
    return to_host(nearest(X, X[xp.asarray(rows)])[1]).astype(np.float64)


def _thinned(
    X: Array, rows: NDArray[np.int64], before: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The draws that are kept: the first one always."""
    points = to_host(X[namespace(X).asarray(rows)]).astype(np.float64)
    kept: list[int] = []
    for i, u in enumerate(rng.random(len(rows))):
        nearest_kept = ((points[kept] - points[i]) ** 2).sum(axis=1).min(initial=np.inf)
        if u * before[rows[i]] < nearest_kept:  # min(before, nearest_kept) / before is the probability
            kept.append(i)
    thinned: NDArray[np.int64] = rows[kept]
    return thinned
