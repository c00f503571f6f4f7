"""Fair shares: every group of examples is sampled at a minimum rate at least, whatever its scores.

A group is a class, a tenant, a country: whoever would complain of being left out. The guarantee is part of
the design: it raises probabilities before the draw, so that weights and unbiasedness stay what they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.kernels import totals
from stream_coreset.sampling import inclusion_probabilities

__all__ = ["check_groups", "with_fair_shares"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_SLACK = 1 - 1e-9
_TINY = 1e-9  # of the largest in a part: where scores are zero, examples are alike
_CORRECTIONS = 2


def with_fair_shares(
    p: Float, s: float, groups: Int, rate: float, *, floor: float, repeats: bool = False
) -> Float:
    """The probabilities at which each group's expected count is `rate` times its size, or more.

    Groups that have enough by themselves share what the others leave, in proportion to `p`; the others get
    exactly their minimum, inside in proportion to `p`. Whatever is raised, no expected count falls below that
    of the floor, ``floor s / n``: the bound n/(s floor) of the weights stays.

    Parameters
    ----------
    p : (n,) float64
        Sampling probabilities, with the floor mixed in; sum 1.
    s : float
        Expected size of the sample.
    groups : (n,) int64
        Of each example, counted from 0.
    rate : float
        Expected count per example of each group; at most s/n counts, for no more can be had by all.
    floor : float
        eta, of which ``eta/n`` is in each p.
    repeats : bool
        Whether an example can be drawn several times (design iid): then no expected count ends at 1.

    Returns
    -------
    (n,) float64
        Sums to 1. `p` itself where every group has enough.

    Examples
    --------
    >>> p = np.array([0.49, 0.49, 0.01, 0.01])
    >>> with_fair_shares(p, 1.0, np.array([0, 0, 1, 1]), 0.2, floor=0.0)
    array([0.3, 0.3, 0.2, 0.2])
    """
    n = len(p)
    if n == 0 or s <= 0:
        return p
    sizes = np.bincount(groups)
    least = min(rate, s / n) * sizes
    counts = s * p if repeats else inclusion_probabilities(p, s)
    raised = totals(groups, counts, len(sizes)) < least * _SLACK
    if not raised.any():
        return p
    low, high = floor * min(s / n, 1.0), np.inf if repeats else 1.0
    while True:
        parts = np.where(raised, np.arange(len(sizes)), len(sizes))[groups]  # the others are one part
        wanted = np.append(np.where(raised, least, 0.0), s - least[raised].sum())
        counts = _filled(p, parts, wanted, low, high)
        short = ~raised & (totals(groups, counts, len(sizes)) < least * _SLACK)
        if not short.any():
            return np.asarray(counts / counts.sum())
        raised |= short


def check_groups(groups: ArrayLike | None, n: int, rate: float | None) -> Int | None:
    """Number the groups of n examples from 0; None without any. ValueError where they cannot be compared."""
    if (groups is None) is not (rate is None):
        raise ValueError("groups, min_group_rate: give both or neither")
    if groups is None:
        return None
    values = np.asarray(groups)
    if values.shape != (n,):
        raise ValueError(f"groups: shape {values.shape}, expected ({n},), one for each example")
    try:
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:
        raise ValueError(f"groups: values that cannot be compared: {error}") from None


def _filled(p: Float, parts: Int, wanted: Float, low: float, high: float) -> Float:
    """In each part, ``min(max(c p, low), high)`` with the c at which they sum to what is wanted of it.

    In c the sum is piecewise linear: it bends where an example leaves `low`, and where it reaches `high`.
    """
    p = _scaled(p, parts, len(wanted))
    members = np.bincount(parts, minlength=len(wanted))
    bends = [(low / p, p, np.full(len(p), -low))]
    if np.isfinite(high):
        bends.append((high / p, -p, np.full(len(p), high)))
    at, slopes, constants = (np.concatenate(column) for column in zip(*bends, strict=True))
    part = np.tile(parts, len(bends))
    order = np.lexsort((at, part))
    at, part = at[order], part[order]
    first = np.searchsorted(part, np.arange(len(wanted)))
    slope, constant = _sums(slopes[order], part, first), _sums(constants[order], part, first)
    reached = constant + members[part] * low + slope * at <= wanted[part] * (1 + 1e-12)
    last = first + np.bincount(part[reached], minlength=len(wanted)) - 1
    last = np.minimum(np.maximum(last, first), len(part) - 1)
    left = wanted - (constant[last] + members * low)
    c = np.divide(left, slope[last], out=at[last].copy(), where=slope[last] > _TINY / 2)
    counts: Float = np.clip(c[parts] * p, low, high)
    for _ in range(_CORRECTIONS):
        counts = _corrected(counts, parts, wanted, low, high)
    return counts


def _corrected(counts: Float, parts: Int, wanted: Float, low: float, high: float) -> Float:
    """Scale those between the bounds, so that the rounding of long sums does not show."""
    free = (counts > low) & (counts < high)
    of_free = totals(parts, np.where(free, counts, 0.0), len(wanted))
    lacking = wanted - totals(parts, counts, len(wanted))
    factor = 1 + np.divide(lacking, of_free, out=np.zeros(len(wanted)), where=of_free > 0)
    scaled: Float = np.clip(counts * np.maximum(factor, 0.0)[parts], low, high)
    return np.where(free, scaled, counts)


def _scaled(p: Float, parts: Int, k: int) -> Float:
    """In units of the largest of each part, none zero."""
    largest = np.zeros(k)
    np.maximum.at(largest, parts, p)
    scaled = np.divide(p, largest[parts], out=np.ones(len(p)), where=largest[parts] > 0)
    return np.maximum(scaled, _TINY)


def _sums(values: Float, part: Int, first: Int) -> Float:
    """Cumulative sums that begin anew in each part."""
    sums = np.cumsum(values)
    before = np.append(0.0, sums)[first]
    return np.asarray(sums - before[part])
