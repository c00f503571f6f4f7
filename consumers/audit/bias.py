"""Whether weights are biased: sums over the sample against sums over the stream, window by window.

The errors of windows are uncorrelated, so that their sum over the root of the sum of their squares is nearly
a standard normal z. It sees what a single window cannot: a bias of a few percent in a few hundred windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "MIN_GROUPS", "BiasTest", "bias_tests"]

LEVEL = 6e-5  # two-sided, of all tests together: |z| <= 4 where there is one
MIN_GROUPS = 20
_DRAWS_A_GROUP = 10.0
_ROUNDING = 1e-9  # relative to what was added up: less is no error but rounding


@dataclass(frozen=True)
class BiasTest:
    """One quantity, over all groups of windows.

    Attributes
    ----------
    about : str
        What was added up.
    z : float
        Sum of the groups' errors over the root of the sum of their squares; 0 when all errors are 0.
    groups : int
        Below `MIN_GROUPS` they are too few to tell.
    limit : float
        Largest |z| that chance explains.
    """

    about: str
    z: float
    groups: int
    limit: float

    @property
    def biased(self) -> bool:
        """Whether chance does not explain it."""
        return self.groups >= MIN_GROUPS and abs(self.z) > self.limit


def bias_tests(
    errors: Mapping[str, Iterable[tuple[float, float, float]]],
) -> list[BiasTest]:
    """Test each quantity at `LEVEL` divided by their number.

    Parameters
    ----------
    errors : mapping
        By quantity, for the windows in their order: expected draws s, error (sum over the sample, weighted,
        minus sum over the stream), and the size of what was added up, by which rounding is judged.
    """
    limit = NormalDist().inv_cdf(1 - LEVEL / max(1, len(errors)) / 2)
    return [
        _test(about, np.array(list(rows), np.float64).reshape(-1, 3), limit) for about, rows in errors.items()
    ]


def _test(about: str, rows: NDArray[np.float64], limit: float) -> BiasTest:
    sums = _groups(rows)
    errors = np.where(np.abs(sums[:, 1]) <= _ROUNDING * sums[:, 2], 0.0, sums[:, 1])
    noise = math.sqrt(float(errors @ errors))
    return BiasTest(about, float(errors.sum()) / noise if noise > 0 else 0.0, len(errors), limit)


def _groups(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Consecutive windows merged until they expect ten draws; what is left joins the last group."""
    groups: list[NDArray[np.float64]] = []
    open_group = np.zeros(3)
    for row in rows:
        open_group = open_group + row
        if open_group[0] >= _DRAWS_A_GROUP:
            groups.append(open_group)
            open_group = np.zeros(3)
    if open_group[0] > 0:
        groups.append((groups.pop() if groups else 0) + open_group)
    return np.array(groups).reshape(-1, 3)
