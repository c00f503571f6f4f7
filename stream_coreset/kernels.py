"""The passes over all points: nearest centers, closer candidates, sums by cluster.

One code for NumPy and CuPy, chunk by chunk (see `stream_coreset.chunks`). The scores of a chunk are one
matrix product: with centers c and points x moved by the median of a few points, which keeps float32 exact
far from the origin, and where a center is far from all others, ||x - c||^2 = ||x||^2 + [x, 1] . [-2 c,
||c||^2]. The distance to a nearest center that is returned is computed again from x - c, free of
cancellation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from stream_coreset.arrays import Array, namespace, to_host
from stream_coreset.chunks import buffer, for_chunks

__all__ = ["TwoNearest", "closer_pairs", "cluster_sums", "nearest", "squares_to", "totals", "two_nearest"]

_SOME = 32  # points or more, whose median is the middle
_SUM_ROWS = 8192  # added up in the points' own precision, then in float64


class TwoNearest(NamedTuple):
    """The nearest and the second nearest center of every point.

    Attributes
    ----------
    labels, second_labels : int64, shape (n,)
        With a single center the second is -1.
    squared_distances, second_squared_distances : floats, shape (n,)
        With a single center the second is infinite.
    """

    labels: Array
    squared_distances: Array
    second_labels: Array
    second_squared_distances: Array


class _Scores:
    """Centers made ready for the matrix product of a chunk."""

    def __init__(self, X: Array, centers: Array) -> None:
        self.xp, self.X = namespace(X, centers), X
        self.centers = self.xp.asarray(centers, dtype=X.dtype)
        some = X if X.shape[0] else self.centers
        some = some[:: max(1, some.shape[0] // _SOME)]
        self.middle = self.xp.median(some, axis=0).astype(X.dtype)
        moved = self.centers - self.middle
        k, d = moved.shape
        self.matrix = self.xp.empty((d + 1, k), X.dtype)
        self.matrix[:d] = -2 * moved.T
        self.matrix[d] = (moved * moved).sum(axis=1)

    def moved(self, rows: slice) -> Array:
        """The points of a chunk minus the middle, and a column of ones."""
        x = self.X[rows]
        out = buffer(self.xp, "points", (x.shape[0], x.shape[1] + 1), x.dtype)
        self.xp.subtract(x, self.middle, out=out[:, :-1])
        out[:, -1] = 1
        return out

    def of(self, moved: Array) -> Array:
        """Squared distances less the squared norm of the (moved) point, shape (rows, k)."""
        shape = (moved.shape[0], self.matrix.shape[1])
        out = buffer(self.xp, "scores", shape, self.X.dtype)
        return self.xp.dot(moved, self.matrix, out=out)

    def distances(self, rows: slice, labels: Array, out: Array) -> None:
        """Write the squared distance of each point of the chunk to the center of its label."""
        _distances(self.X[rows], self.centers[labels], out)


def _distances(x: Array, difference: Array, out: Array) -> None:
    """Write the squared distance of each row of x to its row of `difference`, which is used up."""
    difference -= x
    if namespace(x) is np:
        np.einsum("ij,ij->i", difference, difference, out=out)
    else:
        out[...] = (difference * difference).sum(axis=1)


def nearest(X: Array, centers: Array) -> tuple[Array, Array]:
    """The nearest center of every point.

    Parameters
    ----------
    X : float32 or float64, shape (n, d)
        Points, NumPy or CuPy; not checked here.
    centers : shape (k, d), k >= 1
        Converted to the dtype and the device of `X`.

    Returns
    -------
    labels : int64, shape (n,)
        Among centers that are equally near up to the rounding of the dtype, any.
    squared_distances : dtype of X, shape (n,)
        Exactly 0 for a point that equals its center.

    Examples
    --------
    >>> labels, squares = nearest(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 0], [3, 3]]))
    >>> labels.tolist(), squares.tolist()
    ([0, 1], [0.0, 1.0])
    """
    scores = _Scores(X, centers)
    xp, n = scores.xp, X.shape[0]
    labels, squares = xp.empty(n, np.int64), xp.empty(n, X.dtype)

    def work(rows: slice) -> None:
        labels[rows] = scores.of(scores.moved(rows)).argmin(axis=1)
        scores.distances(rows, labels[rows], squares[rows])

    for_chunks(xp, n, scores.centers.shape[0], work)
    return labels, squares


def two_nearest(X: Array, centers: Array) -> TwoNearest:
    """The nearest and the second nearest center of every point, in one pass.

    Parameters and precision are those of `nearest`.

    Examples
    --------
    >>> found = two_nearest(np.array([[0.0], [4.0]]), np.array([[0.0], [3.0], [9.0]]))
    >>> found.second_labels.tolist(), found.second_squared_distances.tolist()
    ([1, 0], [9.0, 16.0])
    """
    scores = _Scores(X, centers)
    xp, n, k = scores.xp, X.shape[0], scores.centers.shape[0]
    if k == 1:
        return TwoNearest(*nearest(X, centers), xp.full(n, -1, np.int64), xp.full(n, np.inf, X.dtype))
    found = TwoNearest(*(xp.empty(n, dtype) for dtype in (np.int64, X.dtype) * 2))

    def work(rows: slice) -> None:
        chunk = scores.of(scores.moved(rows))
        found.labels[rows] = first = chunk.argmin(axis=1)
        chunk[xp.arange(chunk.shape[0]), first] = np.inf
        found.second_labels[rows] = chunk.argmin(axis=1)
        scores.distances(rows, found.labels[rows], found.squared_distances[rows])
        scores.distances(rows, found.second_labels[rows], found.second_squared_distances[rows])

    for_chunks(xp, n, k, work)
    return found


def squares_to(X: Array, centers: Array, labels: Array) -> Array:
    """The squared distance of every point to the center of its label, shape (n,).

    Examples
    --------
    >>> squares_to(np.array([[1.0], [2.0]]), np.array([[0.0], [5.0]]), np.array([0, 1])).tolist()
    [1.0, 9.0]
    """
    xp, (n, d) = namespace(X), X.shape
    centers, labels = xp.asarray(centers, dtype=X.dtype), xp.asarray(labels)
    squares = xp.empty(n, X.dtype)

    def work(rows: slice) -> None:
        _distances(X[rows], centers[labels[rows]], squares[rows])

    for_chunks(xp, n, d, work)
    return squares


def closer_pairs(X: Array, candidates: Array, bounds: Array) -> csc_array:
    """The squared distances of points to candidates that lie below each point's bound.

    Parameters
    ----------
    X : float32 or float64, shape (n, d)
        Points.
    candidates : shape (m, d)
        Places that may become centers.
    bounds : shape (n,)
        Squared distances, usually to the nearest center.

    Returns
    -------
    scipy.sparse.csc_array, shape (n, m)
        On the host, of the dtype of `X`; what is stored is below the bound (and may be 0), what is not
        stored is not. From the matrix product: rounded relative to the norms, unlike `nearest`.
    """
    scores = _Scores(X, candidates)
    xp, n, m = scores.xp, X.shape[0], scores.centers.shape[0]
    limits, parts = xp.asarray(bounds, dtype=X.dtype), {}

    def work(rows: slice) -> None:
        moved = scores.moved(rows)
        norms = (moved[:, :-1] * moved[:, :-1]).sum(axis=1)
        chunk = scores.of(moved)
        where = xp.flatnonzero(chunk < (limits[rows] - norms)[:, None])
        row = where // m
        parts[rows.start] = (row + rows.start, where - row * m, chunk.ravel()[where] + norms[row])

    for_chunks(xp, n, m, work)
    columns = zip(*(parts[start] for start in sorted(parts)), strict=True)
    row, column, value = (np.concatenate([to_host(part) for part in column]) for column in columns)
    return csc_array((np.maximum(value, 0), (row, column)), shape=(n, m))


def cluster_sums(
    X: Array, labels: Array, k: int, sample_weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted sums and total weights of the points of each cluster.

    Parameters
    ----------
    X : float32 or float64, shape (n, d)
        Points, NumPy or CuPy.
    labels : int64, shape (n,)
        Cluster of each point, in 0 .. k - 1.
    k : int
        Number of clusters.
    sample_weight : float64, shape (n,), optional
        Weights of the points, on the host; ones when missing.

    Returns
    -------
    sums : float64, shape (k, d)
        On the host.
    counts : float64, shape (k,)
        On the host.

    Examples
    --------
    >>> sums, counts = cluster_sums(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 1]), 2)
    >>> sums.ravel().tolist(), counts.tolist()
    ([1.0, 6.0], [1.0, 2.0])
    """
    n, labels = X.shape[0], to_host(labels)
    weight = np.ones(n) if sample_weight is None else sample_weight
    sums, add = np.zeros((k, X.shape[1])), _host_sums if namespace(X) is np else _device_sums
    counts = totals(labels, weight, k)
    units = _units(counts)
    weight = weight / units[labels]
    for start in range(0, n, _SUM_ROWS):
        rows = slice(start, start + _SUM_ROWS)
        sums += add(X[rows], labels[rows], k, weight[rows])
    return sums * units[:, None], counts


def _units(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Powers of two near the counts: weights in these units fit float32 however large or decayed they are."""
    units: NDArray[np.float64] = np.ldexp(1.0, np.clip(np.frexp(counts)[1], -1000, 1000))
    return units


def totals(labels: NDArray[np.int64], values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Sums of host values by label, float64, shape (k,).

    Examples
    --------
    >>> totals(np.array([0, 2, 2]), np.array([1.0, 2.0, 3.0]), 3).tolist()
    [1.0, 0.0, 5.0]
    """
    return np.bincount(labels, weights=values, minlength=k).astype(np.float64, copy=False)


def _host_sums(X: Array, labels: Array, k: int, weight: Array) -> Array:
    n = X.shape[0]
    return csc_array((weight.astype(X.dtype), labels, np.arange(n + 1)), shape=(k, n)) @ X


def _device_sums(X: Array, labels: Array, k: int, weight: Array) -> Array:
    """One matrix product with the indicator of the labels: the same result each time, unlike atomic adds."""
    xp, n = namespace(X), X.shape[0]
    indicator = xp.zeros((k, n), X.dtype)
    indicator[xp.asarray(labels), xp.arange(n)] = xp.asarray(weight, dtype=X.dtype)
    return to_host(xp.dot(indicator, X))
