"""Figures of many clusterings, as ratios of root mean square errors with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.methods import RATES, Figure

__all__ = ["ONE_SIDED_95", "Cell", "cells", "geometric", "show"]

ONE_SIDED_95 = 1.645


@dataclass(frozen=True)
class Cell:
    """RMSE / that of uniform, over clusterings: at each rate the ratio, its standard error, the worst one."""

    queries: float
    ratios: tuple[float, ...]
    errors: tuple[float, ...]
    worst: tuple[float, ...]

    def upper(self, place: int) -> float:
        """Upper 95 % limit."""
        return self.ratios[place] + ONE_SIDED_95 * self.errors[place]


def cells(figures: Sequence[Mapping[str, Figure]]) -> dict[str, Cell]:
    """Over the clusterings of one data set; the error by the delta method."""
    found = {}
    for name in figures[0]:
        variances = np.array([one[name].variances for one in figures])
        ratios = np.sqrt(variances.mean(axis=0))
        spread = variances.std(axis=0, ddof=1) if len(figures) > 1 else np.full(len(RATES), np.nan)
        errors = spread / np.sqrt(len(figures)) / (2 * np.maximum(ratios, 1e-300))
        worst = np.sqrt(variances.max(axis=0))
        queries = float(np.mean([one[name].queries for one in figures]))
        found[name] = Cell(queries, *(tuple(row.tolist()) for row in (ratios, errors, worst)))
    return found


def geometric(table: Mapping[str, Mapping[str, Cell]], over: str, under: str | None = None) -> list[float]:
    """Geometric mean over the data sets of the ratios of one column, or of its ratio to another."""
    logs = [
        np.log(row[over].ratios) - (0.0 if under is None else np.log(np.maximum(row[under].ratios, 1e-300)))
        for row in table.values()
    ]
    return list(np.exp(np.mean(logs, axis=0)).tolist())


def show(table: Mapping[str, Mapping[str, Cell]]) -> None:
    """Print the table: one block a data set, one line a sampler."""
    heads = [f"{rate:.0%}".rjust(15) for rate in RATES]
    print(f"\n{'RMSE of the estimated total / that of uniform':48}{'queries':>9}{''.join(heads)}")
    for name, row in table.items():
        print(name)
        for column, cell in row.items():
            pairs = zip(cell.ratios, cell.errors, strict=True)
            shown = "".join(f"{ratio:8.3f} ±{error:5.3f}" for ratio, error in pairs)
            print(f"  {column:46}{cell.queries:9.0f}{shown}")
    print("geometric mean")
    for column in next(iter(table.values())):
        means = "".join(f"{mean:8.3f}       " for mean in geometric(table, column))
        print(f"  {column:46}{'':9}{means}")
