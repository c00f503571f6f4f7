"""One round of split-merge: centers move from where they are hardly needed to where points lie far from any.

Candidates are drawn once, by squared distance; the best are chosen greedily; the centers whose removal costs
least are merged into their neighbours, as long as that costs less than the split gains. The clustering cost
never grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from stream_coreset.arrays import Array, namespace, to_host
from stream_coreset.kernels import TwoNearest, closer_pairs, nearest, totals, two_nearest

__all__ = ["Change", "greedy_splits", "split_merge"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PAIRS = 1 << 27  # of points and candidates: bounds the memory of a round


@dataclass(frozen=True)
class Change:
    """Centers after the round, before any Lloyd step, and the assignment of the points before and after.

    Attributes
    ----------
    centers : shape (k, d)
        Those that stay, in their order, then those just placed.
    ancestors : int64, shape (k,)
        Row of the former center, -1 for one just placed. A center just placed in the cluster of one that was
        merged away is that one, moved.
    labels : int64, shape (n,)
        Nearest of `centers`.
    squares : float64, shape (n,)
        Squared distances to them.
    former_centers, former_labels, former_squares
        The same before the round.
    """

    centers: NDArray[np.floating]
    ancestors: Ints
    labels: Ints
    squares: Floats
    former_centers: NDArray[np.floating]
    former_labels: Ints
    former_squares: Floats

    def undone(self) -> Change:
        """Everything as it was before the round."""
        centers, labels, squares = self.former_centers, self.former_labels, self.former_squares
        return Change(centers, np.arange(len(centers)), labels, squares, centers, labels, squares)


def split_merge(
    X: Array,
    weight: Floats,
    centers: NDArray[np.floating],
    *,
    room: int,
    swaps: int,
    candidates_per_split: int,
    rng: np.random.Generator,
    limits: Floats | float = np.inf,
) -> Change:
    """Place up to `room` more centers and move up to `swaps` of them.

    Parameters
    ----------
    X : shape (n, d)
        Points, NumPy or CuPy.
    weight : shape (n,)
        Their weights.
    centers : shape (k, d), k >= 1
        On the host.
    room, swaps : int
        Centers that may be added; centers that may be merged away for one placed elsewhere.
    candidates_per_split : int
        Candidates drawn for each of these.
    rng : numpy.random.Generator
        Of the adaptation alone, never the one of the draw.
    limits : float64, shape (n,), or float
        The largest squared distances that count when a center is to be merged away.
    """
    near = _on_host(two_nearest(X, centers))
    splits = min(room + swaps, len(weight))
    count = max(splits, min(candidates_per_split * splits, _PAIRS // len(weight)))
    rows = _by_squared_distance(weight * near.squared_distances, count if splits else 0, rng)
    chosen, gains = rows[:0], np.zeros(0)
    if len(rows):
        pairs = closer_pairs(X, X[namespace(X).asarray(rows)], near.squared_distances)
        order, gains = greedy_splits(pairs, near.squared_distances, weight, splits)
        chosen = rows[order]
    return _merged(X, weight, near, centers=centers, splits=(chosen, gains), room=room, limits=limits)


def _on_host(near: TwoNearest) -> TwoNearest:
    labels, squares, second_labels, second_squares = map(to_host, near)
    return TwoNearest(labels, squares.astype(np.float64), second_labels, second_squares.astype(np.float64))


def _by_squared_distance(mass: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Distinct rows, drawn one after another with probability proportional to mass (exponential clocks)."""
    rows = np.flatnonzero(mass)
    if len(rows) <= count:
        return rows
    clocks = np.log(rng.standard_exponential(len(rows))) - np.log(mass[rows])
    return np.sort(rows[np.argpartition(clocks, count)[:count]])


def greedy_splits(pairs: csc_array, squares: Floats, weight: Floats, count: int) -> tuple[list[int], Floats]:
    """The candidates that lower the cost most, each given those chosen before it.

    The gain of a candidate only shrinks as others are chosen (it is submodular), so a gain computed earlier
    is a bound, and only candidates whose bound is the highest are computed again: lazy greedy (Minoux 1978),
    which chooses what a full evaluation would.

    Parameters
    ----------
    pairs : csc_array, shape (n, m)
        Squared distances below those to the nearest center, of m candidates.
    squares, weight : float64, shape (n,)
        Squared distances to the nearest center; weights.
    count : int
        Choose at most so many; fewer when nothing more is gained.

    Returns
    -------
    chosen : list of int
        Columns of `pairs`, in the order chosen.
    gains : float64, shape (len(chosen),)
        What each lowered the cost by; does not increase.
    """
    left, (starts, rows, values) = squares.copy(), (pairs.indptr, pairs.indices, pairs.data)
    column = np.repeat(np.arange(pairs.shape[1]), np.diff(starts))
    bounds = totals(column, weight[rows] * (left[rows] - values), pairs.shape[1])
    heap = [(-bound, j) for j, bound in enumerate(bounds.tolist()) if bound > 0]
    heapify(heap)
    chosen: list[int] = []
    gains: list[float] = []
    while heap and len(chosen) < count:
        j = heappop(heap)[1]
        mine, value = rows[starts[j] : starts[j + 1]], values[starts[j] : starts[j + 1]]
        gain = float(np.maximum(left[mine] - value, 0) @ weight[mine])
        if heap and gain < -heap[0][0]:
            heappush(heap, (-gain, j))
        elif gain > 0:
            chosen.append(j)
            gains.append(gain)
            left[mine] = np.minimum(left[mine], value)
    return chosen, np.array(gains)


def _nearest_on_host(X: Array, centers: NDArray[np.floating]) -> tuple[Ints, Floats]:
    labels, squares = map(to_host, nearest(X, centers))
    return labels, squares.astype(np.float64)


def _extended(near: TwoNearest, k: int, at: Ints, there: Floats) -> TwoNearest:
    """What `two_nearest` would say of the k former centers and, as k, k + 1 and so on, those just placed.

    `at` and `there` are the nearest of those just placed, and the squared distance. The second nearest of a
    point that is nearest to one of these is among the former centers: it is never asked for.
    """
    at = at + k
    first, second = there < near.squared_distances, there < near.second_squared_distances
    return TwoNearest(
        np.where(first, at, near.labels),
        np.where(first, there, near.squared_distances),
        np.where(first, near.labels, np.where(second, at, near.second_labels)),
        np.where(first, near.squared_distances, np.where(second, there, near.second_squared_distances)),
    )


def _merged(
    X: Array,
    weight: Floats,
    near: TwoNearest,
    *,
    centers: NDArray[np.floating],
    splits: tuple[Ints, Floats],
    room: int,
    limits: Floats | float,
) -> Change:
    """Merge away as many centers as are placed beyond the room for them, or place fewer."""
    chosen, gains = splits
    points = to_host(X[namespace(X).asarray(chosen)])
    if len(points) == 0:
        return _change(weight, centers, near, near, placed=points, gone=chosen)
    at, there = _nearest_on_host(X, points)
    while True:
        now = _extended(near, len(centers), at, there)
        gone = _cheapest(now, weight, len(centers), gains[room : len(points)], limits)
        if len(points) <= room + len(gone):
            return _change(weight, centers, near, now, placed=points, gone=gone)
        fewer = room + len(gone) - len(gone) // 8  # fewer splits make merges dearer: leave a margin
        if fewer == 0:
            return _change(weight, centers, near, near, placed=points[:0], gone=gone)
        points, lost = points[:fewer], np.flatnonzero(at >= fewer)
        at[lost], there[lost] = _nearest_on_host(X[namespace(X).asarray(lost)], points)


def _cheapest(
    now: TwoNearest, weight: Floats, k: int, gains: Floats, limits: Floats | float = np.inf
) -> Ints:
    """The former centers whose merging costs less than the gain it makes place for, cheapest first.

    The cost of a center is that of moving its points to their second nearest. It stays exact because a center
    that has taken over points in this round is not merged away in it.
    """
    first = np.minimum(now.squared_distances, limits)
    further = np.minimum(now.second_squared_distances, limits)
    cost = totals(now.labels, weight * (further - first), k)[:k]
    second = now.second_labels[np.argsort(now.labels, kind="stable")]
    ends = np.cumsum(np.bincount(now.labels, minlength=k)[:k]).tolist()
    starts = [0, *ends]
    gone, needed = np.zeros((2, 1 + max(k, int(now.labels.max()), int(second.max()))), bool)
    chosen: list[int] = []
    for c in np.argsort(cost, kind="stable").tolist():
        if len(chosen) == len(gains) or cost[c] >= gains[len(chosen)]:
            break
        heirs = second[starts[c] : ends[c]]
        if not needed[c] and not gone[heirs].any():
            gone[c] = needed[heirs] = True
            chosen.append(c)
    return np.array(chosen, np.int64)


def _change(
    weight: Floats,
    centers: NDArray[np.floating],
    near: TwoNearest,
    now: TwoNearest,
    *,
    placed: NDArray[np.floating],
    gone: Ints,
) -> Change:
    k, total = len(centers), len(centers) + len(placed)
    stays = np.ones(total, bool)
    stays[gone] = False
    orphan = ~stays[now.labels]
    labels, squares = now.labels.copy(), now.squared_distances.copy()
    labels[orphan], squares[orphan] = now.second_labels[orphan], now.second_squared_distances[orphan]
    ancestors = np.concatenate([np.arange(k), np.full(len(placed), -1)])
    _inherit(ancestors, near.labels, labels, weight, ~stays[:k])
    return Change(
        centers=np.concatenate([centers, placed.astype(centers.dtype)])[stays],
        ancestors=ancestors[stays],
        labels=(np.cumsum(stays) - 1)[labels],
        squares=squares,
        former_centers=centers,
        former_labels=near.labels,
        former_squares=near.squared_distances,
    )


def _inherit(ancestors: Ints, former: Ints, labels: Ints, weight: Floats, gone: NDArray[np.bool_]) -> None:
    """A center just placed that has most of a merged center's points, and mostly these, is that center."""
    k, total = len(gone), len(ancestors)
    moved = np.flatnonzero(gone[former] & (labels >= k))
    pairs, where = np.unique(former[moved] * total + labels[moved], return_inverse=True)
    shared = totals(where, weight[moved], len(pairs))
    old, new = pairs // total, pairs % total
    most_of_old = 2 * shared > totals(former, weight, k)[old]
    most_of_new = 2 * shared > totals(labels, weight, total)[new]
    heirs = most_of_old & most_of_new
    ancestors[new[heirs]] = old[heirs]
