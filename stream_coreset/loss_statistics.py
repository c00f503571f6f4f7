"""What the scores need of probe losses: the Hölder constant, the spread and the mean square."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["holder_constants", "mean_square", "member_squares", "shrunk", "spread"]

Floats = NDArray[np.float64]

NEIGHBOURS = 5
QUANTILE = 0.9
PRIOR_MEMBERS = 2  # the global mean square counts as much as two members
MIN_PAIRS = 5  # clusters known under two model versions before their losses are compared
FACTOR_LIMITS = (0.1, 10.0)  # of what losses of an older version are multiplied by
ROWS_PER_CHUNK = 256


def holder_constants(centers: ArrayLike, values: ArrayLike, z: float = 2.0) -> float:
    """The Hölder constant L of one score, estimated from the centers with a known value.

    The 0.9-quantile, over every center and its five nearest, of |difference of the values| / distance^z.
    Pairs at distance zero and centers with an unknown value are left out. A quantile is an estimate: it
    does not carry the guarantee of Axiotis et al. 2024, which needs an L that holds for every example.

    Parameters
    ----------
    centers : (k, d) float
        The centers.
    values : (k,) float
        Center losses or spreads; NaN where unknown.
    z : float
        The exponent of the distance: 2 for k-means, 1 for k-medians.

    Returns
    -------
    float
        L; 0 where no pair is left.

    Examples
    --------
    >>> holder_constants([[0.0], [2.0]], [1.0, 9.0], z=2)
    2.0
    """
    points, known = np.asarray(centers, np.float64), np.asarray(values, np.float64)
    rows = np.flatnonzero(~np.isnan(known))
    if rows.size < 2:
        return 0.0
    points, known = points[rows] - points[rows].mean(0), known[rows]
    pieces = [_slopes(points, known, rows, z) for rows in _chunks(rows.size)]
    slopes = np.concatenate(pieces)
    return float(np.quantile(slopes, QUANTILE)) if slopes.size else 0.0


def _chunks(n: int) -> list[slice]:
    return [slice(start, min(start + ROWS_PER_CHUNK, n)) for start in range(0, n, ROWS_PER_CHUNK)]


def _slopes(points: Floats, values: Floats, rows: slice, z: float) -> Floats:
    """|difference| / distance^z from the centers of `rows` to each one's nearest others."""
    near = _neighbours(points, rows)
    # the product form cancels between close centers, so the winners are measured directly
    distances = np.linalg.norm(points[rows, None, :] - points[near], axis=2)
    differences = np.abs(values[rows, None] - values[near])
    powers = distances**z
    apart = powers > 0
    return np.asarray(differences[apart] / powers[apart], np.float64)


def _neighbours(points: Floats, rows: slice) -> NDArray[np.intp]:
    squares = np.einsum("ij,ij->i", points, points)
    gaps = squares[None, :] - 2.0 * (points[rows] @ points.T)
    gaps[np.arange(len(gaps)), np.arange(rows.start, rows.stop)] = np.inf
    count = min(NEIGHBOURS, len(points) - 1)
    return np.argpartition(gaps, count - 1, axis=1)[:, :count]


def spread(member_losses: ArrayLike, mean_square: float) -> float:
    r"""Root mean square loss of a cluster's uniform probes, shrunk toward that of all clusters.

    .. math:: \sqrt{\frac{\sum_i l_i^2 + 2 g}{m + 2}}

    Parameters
    ----------
    member_losses : (m,) float
        Losses of m members drawn uniformly from the cluster; m may be 0.
    mean_square : float
        g, the mean square loss of all clusters, weighted by their mass.

    Returns
    -------
    float
        The spread, in the loss's own unit.

    Examples
    --------
    >>> spread([3.0, 3.0], mean_square=9.0)
    3.0
    >>> spread([], mean_square=4.0)
    2.0
    """
    losses = np.asarray(member_losses, dtype=np.float64)
    return float(shrunk(np.sum(losses**2), losses.size, mean_square))


def shrunk(sum_squares: ArrayLike, members: ArrayLike, mean_square: float) -> Floats:
    """`spread` of k clusters at once, from the sums of squares (k,) and the numbers of members (k,)."""
    total = np.asarray(sum_squares, np.float64) + PRIOR_MEMBERS * mean_square
    return np.asarray(np.sqrt(total / (np.asarray(members, np.float64) + PRIOR_MEMBERS)))


def member_squares(spreads: Floats, members: int, mean_square: float) -> Floats:
    """The sums of squares (k,) that `shrunk` made `spreads` (k,) of; 0 where a spread is not known."""
    squares = np.square(spreads) * (members + PRIOR_MEMBERS) - PRIOR_MEMBERS * mean_square
    return np.asarray(np.maximum(np.nan_to_num(squares), 0.0), np.float64)


def mean_square(losses: Floats, squares: Floats, members: ArrayLike, counts: ArrayLike) -> float:
    """Mass-weighted mean square loss over the clusters with a known loss; NaN where none is known.

    A cluster without uniform members counts with the square of its center loss.
    """
    known = ~np.isnan(losses)
    if not known.any():
        return float("nan")
    drawn = np.asarray(members, np.float64)
    means = np.where(drawn == 0, losses**2, squares / np.maximum(drawn, 1))[known]
    mass = np.asarray(counts, np.float64)[known]
    return float(np.average(means, weights=mass) if mass.sum() > 0 else np.mean(means))
