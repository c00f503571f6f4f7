"""Sampling designs: from sampling probabilities to indices and weights. Host NumPy, float64 throughout."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DESIGNS", "Design", "draw", "inclusion_probabilities"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Design = Literal["pivotal", "systematic", "iid"]

DESIGNS: tuple[str, ...] = get_args(Design)


def inclusion_probabilities(p: ArrayLike, s: float) -> Float:
    """Inclusion probabilities proportional to `p`, at most one, that sum to the real number `s`.

    ``pi = min(1, c p)`` with the constant c for which they sum to s. Because ``c >= s / sum(p)``, a floor
    of eta/n under p bounds every weight 1/pi by n/(s eta).

    Parameters
    ----------
    p : (n,) array_like
        Sampling probabilities or any sizes of 0 or more.
    s : float
        Expected sample size; never rounded. With s >= n every unit is taken. Where fewer than s units have
        p > 0, those are taken and the sum stays below s.

    Returns
    -------
    (n,) float64

    Raises
    ------
    ValueError
        When p is not one-dimensional, has NaN, infinite or negative values or sums to zero, or when s is
        negative or not finite.

    References
    ----------
    Särndal, Swensson, Wretman 1992, Model Assisted Survey Sampling, section 3.6.2.

    Examples
    --------
    >>> inclusion_probabilities([0.7, 0.1, 0.1, 0.1], 1.6)
    array([1. , 0.2, 0.2, 0.2])
    """
    return _capped(*_checked(p, s))


def draw(
    p: ArrayLike,
    s: float,
    design: str = "pivotal",
    order: Int | None = None,
    rng: np.random.Generator | int | None = None,
) -> tuple[Int, Float, Float]:
    """Draw a weighted sample whose weighted total is an unbiased estimate of the total.

    Unbiased whatever p is, as long as p, `order` and s were fixed before the draw and p > 0 wherever
    there is something to add up.

    Parameters
    ----------
    p : (n,) array_like
        Sampling probabilities of 0 or more.
    s : float
        Expected sample size, a real number. Every design takes floor(s) or ceil(s) units.
    design : {"pivotal", "systematic", "iid"}
        Ordered pivotal (Deville's systematic sampling); systematic with a random start; or independent
        draws with replacement, in which a unit may come more than once.
    order : (n,) int64, optional
        The units in the order in which the design passes through them; as they come by default.
        Neighbours rarely enter the sample together. Of no use to iid.
    rng : numpy.random.Generator or int, optional
        A stream of its own: shared with anything that p depends on, the draw is biased.

    Returns
    -------
    indices : (m,) int64
        In draw order; units that are certain come first.
    weights : (m,) float64
        1 / probabilities: 1/pi without replacement (exactly 1 for certain units), 1/(s p) for iid.
    probabilities : (m,) float64
        Expected number of times that the unit is drawn: pi, or s p for iid.

    Raises
    ------
    ValueError
        As `inclusion_probabilities`; also for an unknown design or an order of another length.

    References
    ----------
    Deville, Tillé 1998, Biometrika 85 (pivotal); Chauvet 2012, Bernoulli 18(4) (ordered pivotal sampling
    is Deville's systematic sampling); Axiotis et al. 2024, section 3 (iid).

    Examples
    --------
    >>> indices, weights, probabilities = draw([0.5, 0.25, 0.25], 1.0, rng=1)
    >>> len(indices), float((weights * probabilities)[0])
    (1, 1.0)
    """
    rng = np.random.default_rng(rng)
    if design not in DESIGNS:
        raise ValueError(f"design: expected one of {', '.join(DESIGNS)}, got {design!r}")
    p, s = _checked(p, s)
    if design == "iid":
        return _independent(p, s, rng)
    pi = _capped(p, s)
    order = np.arange(len(p)) if order is None else np.asarray(order, dtype=np.int64)
    _check_order(order, len(pi))
    certain = order[pi[order] == 1.0]
    uncertain = order[(pi[order] > 0.0) & (pi[order] < 1.0)]
    pick = _pivotal if design == "pivotal" else _systematic
    indices = np.concatenate([certain, uncertain[pick(pi[uncertain], rng)]])
    return indices, 1.0 / pi[indices], pi[indices]


def _independent(p: Float, s: float, rng: np.random.Generator) -> tuple[Int, Float, Float]:
    """floor(s) or ceil(s) draws, s in expectation: each unit is expected s p times."""
    size = int(s) + int(rng.random() < s - int(s)) if len(p) else 0
    indices = _unit_at(_cumulative(p), rng.random(size))
    expected = s * p[indices]
    return indices, 1.0 / expected, expected


def _pivotal(pi: Float, rng: np.random.Generator) -> Int:
    """Ordered pivotal sampling of units with 0 < pi < 1, as a cumulative sum V.

    Between the integers i-1 and i lie the unit carried over, of which b[i-1] is left, the units inside,
    and the part a[i] of the crossing unit k[i], of which b[i] lies beyond i. The duels of the ordered
    method leave one survivor of all but the last, each in proportion to its mass. The survivor meets k[i]:
    with probability (1 - a - b)/(1 - b) it is taken and k[i] is carried on, else the reverse.
    """
    V = _whole(_cumulative(pi))
    if len(V) == 0:
        return np.zeros(0, dtype=np.int64)
    ends = np.arange(1, round(V[-1]) + 1)
    crossing = np.searchsorted(V, ends)
    a, b = ends - V[crossing - 1], V[crossing] - ends
    at = (ends - 1) + rng.random(len(ends)) * (1 - a)
    survivor = np.minimum(np.searchsorted(V, at, side="right"), crossing - 1)
    survives = rng.random(len(ends)) * (1 - b) < 1 - a - b
    # Where the point lies in what is left of k[i-1], the survivor is whoever was carried over.
    came_over = np.append(False, survivor[1:] == crossing[:-1])
    # k[i] is carried on, or the survivor from inside; where neither is, who came over stays.
    changes = np.where(survives | ~came_over, np.arange(len(ends)), 0)
    carried = np.where(survives, crossing, survivor)[np.maximum.accumulate(changes)]
    survivor = np.where(came_over, np.append(-1, carried[:-1]), survivor)
    return _without_phantom(np.where(survives, survivor, crossing), len(pi))


def _systematic(pi: Float, rng: np.random.Generator) -> Int:
    """Every unit whose stretch of the cumulative sum holds one of the points u, u + 1, ..."""
    V = _whole(_cumulative(pi))
    if len(V) == 0:
        return np.zeros(0, dtype=np.int64)
    points = rng.random() + np.arange(round(V[-1]))
    return _without_phantom(_unit_at(V, points), len(pi))


def _cumulative(values: Float) -> Float:
    """Cumulative sums in float64: in float32 the probabilities of 10**6 units are wrong by percents.

    The last one is replaced by the pairwise sum, which is exact enough to tell an integer size.
    """
    sums = np.cumsum(values, dtype=np.float64)
    return sums * (values.sum() / sums[-1]) if len(sums) else sums


def _rounding(n: int) -> float:
    """How near to an integer is meant to be one: above the rounding error of n terms, below any use."""
    return max(1e-9, 1e-15 * n)


def _whole(V: Float) -> Float:
    """Complete cumulative sums to an integer with one phantom unit, which stands for "nobody"."""
    if len(V) == 0:
        return V
    size = np.ceil(V[-1] - _rounding(len(V)))
    return np.append(np.minimum(V, size), size)


def _without_phantom(taken: Int, n: int) -> Int:
    return taken[taken < n].astype(np.int64)


def _unit_at(cumulative: Float, points: Float) -> Int:
    """The unit whose stretch of the cumulative sum holds each point; never one of probability zero."""
    last = int(np.searchsorted(cumulative, cumulative[-1])) if len(cumulative) else 0
    return np.minimum(np.searchsorted(cumulative, points, side="right"), last).astype(np.int64)


def _capped(p: Float, s: float) -> Float:
    if s >= len(p):
        return np.ones(len(p))
    pi = _scaled(p, s)
    pi[pi > 1.0 - _rounding(len(pi))] = 1.0
    return pi


def _scaled(p: Float, s: float) -> Float:
    """min(1, c p) with sum s: with the t largest certain, c = (s - t) / (sum of the others)."""
    pi: Float = p * (s / p.sum())
    if pi.max(initial=0.0) <= 1.0:
        return pi
    rising = np.sort(p)
    others = np.cumsum(rising)[::-1]
    left = s - np.arange(len(p))
    t = int(np.argmax(left * rising[::-1] <= others))  # true at ceil(s) - 1 at the latest
    scale = left[t] / others[t] if others[t] > 0 else np.inf
    return np.minimum(1.0, np.multiply(p, scale, where=p > 0, out=np.zeros(len(p))))


def _check_order(order: Int, n: int) -> None:
    seen = np.zeros(n, dtype=np.bool_)
    if order.shape == (n,) and (order < n).all():
        seen[order] = True
    if not seen.all():
        raise ValueError(f"order: expected each of the {n} units once")


def _checked(p: ArrayLike, s: float) -> tuple[Float, float]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"p: expected one dimension, got shape {values.shape}")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"p: row {np.argmax(bad)} is {values[bad][0]}; expected finite values of 0 or more")
    if len(values) and not 0.0 < values.sum() < np.inf:
        raise ValueError("p: the values sum to zero or overflow; give at least one unit a chance")
    if not 0 <= s < np.inf:
        raise ValueError(f"s: expected a finite expected size of 0 or more, got {s}")
    return values / values.sum() if len(values) else values, float(s)
