"""Sets whose large losses nothing, or little, foretells: what is lost where chance is taken for knowledge.

Few losses are asked, 9 in each of 16 or 64 clusters, and one to four of a hundred examples have large ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.methods import OURS, RATES, WITHOUT, measure
from benchmarks.quality.sets import DataSet
from benchmarks.quality.table import Cell, cells
from benchmarks.report import Goal

__all__ = ["CHANCE", "CLUSTERS", "QUICK_CLUSTERS", "chance_goals", "chance_set", "chance_table"]

Floats = NDArray[np.float64]
Points = NDArray[np.float32]
Table = dict[str, dict[str, Cell]]

CLUSTERS, QUICK_CLUSTERS = (16, 64), (16,)
_N, _DIMENSION = 20_000, 8


def chance_table(clusterings: int, clusters: tuple[int, ...] = CLUSTERS) -> Table:
    """Ours with and without surrogate, over clusterings of each set."""
    table = {}
    for name in CHANCE:
        for k in clusters:
            data = chance_set(name, k)
            found = [measure(data, seed, (WITHOUT, OURS)) for seed in range(clusterings)]
            table[f"{name}, k = {k}"] = cells(found)
    return table


def chance_goals(table: Table) -> list[Goal]:
    """Of the worst of the sets, what is asked of every set."""
    worst = [max(row[OURS].upper(place) for row in table.values()) for place in range(len(RATES))]
    return [
        Goal(f"worst set of chance / uniform, upper 95 % limit, {rate:.0%}", 1.08, value, at_least=False)
        for rate, value in zip(RATES, worst, strict=True)
    ]


def chance_set(name: str, k: int) -> DataSet:
    """Points of a normal distribution, and a fiftieth of them away from the others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(_N, _DIMENSION)).astype(np.float32)
    X[rng.random(_N) < 0.02] += 6
    return DataSet(name, X, CHANCE[name](X, rng), k)


def _chance(X: Points, rng: np.random.Generator) -> Floats:
    """Next to nothing, but large for a hundredth of all, wherever it lies."""
    losses: Floats = 0.05 * np.exp(0.3 * rng.normal(size=len(X)))
    losses[rng.random(len(X)) < 0.01] = 5.0
    return losses


def _chance_and_place(X: Points, rng: np.random.Generator) -> Floats:
    """The same, and 2 for those away from the others."""
    losses = _chance(X, rng)
    losses[(X[:, 0] > 3) & (losses < 1)] = 2.0
    return losses


def _zero(X: Points, rng: np.random.Generator) -> Floats:
    """Zero for all but a fiftieth, wherever it lies."""
    return np.where(rng.random(len(X)) < 0.02, rng.exponential(3, len(X)), 0.0)


def _heavy_tailed(X: Points, rng: np.random.Generator) -> Floats:
    """Log-normal, with a deviation of 2 in the logarithm, wherever it lies."""
    return np.exp(2 * rng.normal(size=len(X)))


CHANCE: dict[str, Callable[[Points, np.random.Generator], Floats]] = {
    "large by chance": _chance,
    "large by chance or place": _chance_and_place,
    "mostly zero": _zero,
    "heavy-tailed": _heavy_tailed,
}
