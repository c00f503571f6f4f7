"""Exact variances of the estimated total under each design, for losses that are all known.

For judging: nothing here is needed to draw, and what is drawn is never judged by it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.sampling import DESIGNS, inclusion_probabilities

__all__ = ["design_variance"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def design_variance(
    losses: Float, p: Float, s: float, design: str = "pivotal", order: Int | None = None
) -> float:
    """Exact variance of the total that `draw` estimates.

    Parameters
    ----------
    losses : (n,) float64
        Of all examples.
    p : (n,) float64
        Sampling probabilities, or any sizes of 0 or more.
    s : float
        Expected size.
    design : {"pivotal", "systematic", "iid"}
    order : (n,) int64, optional
        As in `draw`.

    Raises
    ------
    ValueError
        As `draw`.

    References
    ----------
    Deville, Tillé 1998 and Chauvet 2012 (pivotal); Hansen, Hurwitz 1943 (iid).

    Examples
    --------
    >>> losses = np.repeat([0.0, 1.0], 50)
    >>> p = np.full(100, 0.01)
    >>> design_variance(losses, p, 10.0) < 1e-9, round(design_variance(losses, p, 10.0, "iid"))
    (True, 250)
    """
    if design not in DESIGNS:
        raise ValueError(f"design: expected one of {', '.join(DESIGNS)}, got {design!r}")
    losses = np.asarray(losses, np.float64)
    if design == "iid":
        p = np.asarray(p, np.float64)
        return _iid(losses, p / p.sum(), s)
    pi = inclusion_probabilities(p, s)
    order = np.arange(len(pi)) if order is None else order
    order = order[(pi[order] > 0) & (pi[order] < 1)]
    mass, z = pi[order], losses[order] / pi[order]
    size = int(np.ceil(mass.sum() - 1e-9))
    mass, z = np.append(mass, max(size - mass.sum(), 0.0)), np.append(z, 0.0)  # nobody completes the size
    return (_pivotal if design == "pivotal" else _systematic)(mass, z, size)


def _iid(losses: Float, p: Float, s: float) -> float:
    """Of floor(s) or ceil(s) independent draws, s in expectation, weight 1/(s p) each."""
    seen = p > 0
    total, fraction = losses[seen].sum(), s - np.floor(s)
    one_draw = np.square(losses[seen]) @ (1 / p[seen]) - total**2
    return float(one_draw / s + fraction * (1 - fraction) * (total / s) ** 2)


def _pivotal(mass: Float, z: Float, size: int) -> float:
    r"""The sum over the duels of the ordered method.

    A duel of masses a and b with values z = loss/pi moves the estimate by a martingale difference of
    variance a b (z - z')^2 where a + b <= 1, else (1 - a)(1 - b)(z - z')^2. Who has survived so far matters
    by the mean and the mean square of z alone, which follow a recursion over the integers that the masses
    add up to.
    """
    ends = np.cumsum(mass)
    sums = [np.concatenate([[0.0], np.cumsum(mass * z**power)]) for power in range(3)]
    carried, first, total = np.zeros(3), 0, 0.0  # mass, mass * mean z, mass * mean z^2 of who came over
    for stop in range(1, size + 1):
        crossing = min(max(int(np.searchsorted(ends, stop - 1e-12)), first), len(mass) - 1)
        inside = carried + [column[crossing] - column[first] for column in sums]
        total += inside[0] * inside[2] - inside[1] ** 2 - (carried[0] * carried[2] - carried[1] ** 2)
        carried, duel = _cross(inside, mass[crossing], z[crossing])
        total, first = total + duel, crossing + 1
    return float(max(total, 0.0))


def _systematic(mass: Float, z: Float, size: int) -> float:
    """The mean over the random start; it changes only where a unit enters or leaves the sample."""
    ends = np.cumsum(mass)
    begins, leaves = (ends - mass) % 1.0, ends % 1.0
    # at start 0 those are in whose stretch passes an integer from below, which is where they leave again
    at = np.concatenate([[0.0], begins, leaves])
    change = np.concatenate([[float(z[begins >= leaves].sum())], z, -z])
    order = np.argsort(at, kind="stable")
    totals, lengths = np.cumsum(change[order]), np.diff(np.append(at[order], 1.0))
    return float(lengths @ np.square(totals - mass @ z))


def _cross(inside: Float, b: float, z: float) -> tuple[Float, float]:
    """The duel with the unit that crosses an integer: what is carried over, and the variance."""
    a = min(inside[0], 1.0)
    left = max(a + b - 1, 0.0)
    if a <= 0:
        return np.array([left, left * z, left * z**2]), 0.0
    mean, square = inside[1] / inside[0], inside[2] / inside[0]
    duel = (1 - a) * (1 - b) * (square - 2 * mean * z + z**2)
    wins = (1 - b) / (2 - a - b) if a + b < 2 else 0.5  # the survivor is taken, and the unit carried over
    return left * np.array([1.0, wins * z + (1 - wins) * mean, wins * z**2 + (1 - wins) * square]), duel
