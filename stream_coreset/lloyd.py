"""Lloyd steps after a split-merge round, and the guard that the cost of the points never grows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import LARGEST_VALUE, Array, to_host
from stream_coreset.kernels import cluster_sums, nearest, squares_to
from stream_coreset.split_merge import Change

__all__ = ["lloyd", "means"]


def means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], otherwise: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Sums divided by counts, rows of `otherwise` where a count is zero; of the dtype of `otherwise`.

    A mean of points that are just usable is usable too, however it was rounded.

    Examples
    --------
    >>> means(np.array([[6.0], [0.0]]), np.array([2.0, 0.0]), np.array([[1.0], [7.0]])).ravel().tolist()
    [3.0, 7.0]
    """
    some = (counts > 0)[:, None]
    divided = np.divide(sums, counts[:, None], out=np.zeros_like(sums), where=some)
    usable = np.clip(divided, -LARGEST_VALUE, LARGEST_VALUE)
    return np.where(some, usable, otherwise).astype(otherwise.dtype)


def lloyd(
    X: Array,
    weight: NDArray[np.float64],
    change: Change,
    steps: int,
    limits: NDArray[np.float64] | float = np.inf,
    *,
    exact: bool = True,
) -> Change:
    """Move every center to the mean of its points and assign again, `steps` times.

    Lloyd steps lower the cost, apart from rounding; where the cost after all would be above the one before
    the split-merge round, the former centers are kept. Unless `exact`, the last assignment is left out: each
    point stays with the center that has just moved to its points, for whom it costs less than before.

    Parameters
    ----------
    X : shape (n, d)
        Points, NumPy or CuPy.
    weight : float64, shape (n,)
        Their weights.
    change : Change
        Centers and assignment to begin from.
    steps : int
        Each moves the centers, and takes one pass over the points to assign them again.
    limits : float64, shape (n,), or float
        The largest squared distances that count. Points beyond do not pull their centers.
    exact : bool
        Take that pass after the last step too.
    """
    former = change
    for step in range(steps):
        pull = np.where(change.squares > limits, 0.0, weight)
        sums, counts = cluster_sums(X, change.labels, len(change.centers), pull)
        centers = means(sums, counts, change.centers)
        if exact or step < steps - 1:
            labels, squares = map(to_host, nearest(X, centers))
        else:
            labels, squares = change.labels, to_host(squares_to(X, centers, change.labels))
        change = replace(change, centers=centers, labels=labels, squares=squares.astype(np.float64))
    if weight @ np.minimum(change.squares, limits) > weight @ np.minimum(change.former_squares, limits):
        return former.undone()
    return change
