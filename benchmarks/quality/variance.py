"""Exact variances of the estimated total, so that no noise of repeated draws blurs a comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.sampling import inclusion_probabilities

__all__ = ["iid_variance", "pivotal_variance"]

Floats = NDArray[np.float64]


def iid_variance(losses: Floats, p: Floats, s: float) -> float:
    """Variance of floor(s) or ceil(s) independent draws, s in expectation, weight 1/(s p) each."""
    seen = p > 0
    total, fraction = losses[seen].sum(), s - np.floor(s)
    one_draw = np.square(losses[seen]) @ (1 / p[seen]) - total**2
    return float(one_draw / s + fraction * (1 - fraction) * (total / s) ** 2)


def pivotal_variance(losses: Floats, p: Floats, s: float, order: NDArray[np.int64]) -> float:
    r"""Variance of ordered pivotal sampling: the sum over its duels.

    A duel of masses a and b with values z = loss/pi moves the estimate by a martingale difference of
    variance a b (z - z')^2 where a + b <= 1, else (1 - a)(1 - b)(z - z')^2. Who has survived so far matters
    by the mean and the mean square of z alone, which follow a recursion over the integers that the masses
    add up to (Deville, Tillé 1998; Chauvet 2012).
    """
    pi = inclusion_probabilities(p, s)
    order = order[(pi[order] > 0) & (pi[order] < 1)]
    mass, z = pi[order], losses[order] / pi[order]
    size = int(np.ceil(mass.sum() - 1e-9))
    mass, z = np.append(mass, max(size - mass.sum(), 0.0)), np.append(z, 0.0)  # nobody completes the size
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


def _cross(inside: Floats, b: float, z: float) -> tuple[Floats, float]:
    """The duel with the unit that crosses an integer: what is carried over, and the variance."""
    a = min(inside[0], 1.0)
    left = max(a + b - 1, 0.0)
    if a <= 0:
        return np.array([left, left * z, left * z**2]), 0.0
    mean, square = inside[1] / inside[0], inside[2] / inside[0]
    duel = (1 - a) * (1 - b) * (square - 2 * mean * z + z**2)
    wins = (1 - b) / (2 - a - b) if a + b < 2 else 0.5  # the survivor is taken, and the unit carried over
    return left * np.array([1.0, wins * z + (1 - wins) * mean, wins * z**2 + (1 - wins) * square]), duel
