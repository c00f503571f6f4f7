"""Invariant 4: the weighted sums of the sample against the sums of the stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Statistic", "Sums", "statistics"]

LEVEL = 6e-5
_DRAWS = 10.0  # consecutive windows are merged until they expect as many
_FEWEST = 20
_EXACT = 1e-9  # an error below this share of what was added up comes from rounding

Sums = dict[str, tuple[float, float, float]]
"""Of one window, by quantity: examples expected (s), the weighted sum over the sample minus the sum over the
stream, and the sum of absolute values over the stream."""


@dataclass(frozen=True)
class Statistic:
    """z of one quantity, None where there are too few groups to tell."""

    quantity: str
    z: float | None
    groups: int
    limit: float

    @property
    def alarming(self) -> bool:
        """Whether chance does not explain it."""
        return self.z is not None and abs(self.z) > self.limit


def statistics(windows: Sequence[Sums]) -> list[Statistic]:
    """Test every quantity, windows in their order; all tests together are at `LEVEL`, two-sided."""
    quantities = list(dict.fromkeys(name for window in windows for name in window))
    limit = NormalDist().inv_cdf(1 - LEVEL / (2 * max(1, len(quantities))))
    return [
        _statistic(name, np.array([window[name] for window in windows if name in window]), limit)
        for name in quantities
    ]


def _statistic(quantity: str, rows: NDArray[np.float64], limit: float) -> Statistic:
    merged = _merge(rows)
    errors = np.where(np.abs(merged[:, 1]) > _EXACT * merged[:, 2], merged[:, 1], 0.0)
    root = math.sqrt(float(errors @ errors))
    z = float(errors.sum()) / root if root else 0.0
    return Statistic(quantity, z if len(merged) >= _FEWEST else None, len(merged), limit)


def _merge(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum consecutive rows until each sum expects enough; what is left joins the last."""
    starts, held = [0], 0.0
    for place, s in enumerate(rows[:-1, 0], start=1):
        held += s
        if held >= _DRAWS:
            starts.append(place)
            held = 0.0
    if len(starts) > 1 and held + rows[-1, 0] < _DRAWS:
        starts.pop()
    return np.add.reduceat(rows, starts, axis=0)
