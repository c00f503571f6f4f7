"""The table as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.quality.methods import RATES
from benchmarks.quality.table import Cell

__all__ = ["draw"]


def draw(table: Mapping[str, Mapping[str, Cell]], where: Path) -> None:
    """A panel a rate: for each set a dot a sampler, on a logarithmic axis; uniform is the line at 1."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend

    figure, axes = plt.subplots(1, len(RATES), figsize=(11, 4), sharey=True)
    columns = [name for name in next(iter(table.values())) if name != "uniform"]
    places = np.arange(len(table))
    for index, (axis, rate) in enumerate(zip(axes, RATES, strict=True)):
        for shift, column in enumerate(columns):
            ratios = [row[column].ratios[index] for row in table.values()]
            errors = [row[column].errors[index] for row in table.values()]
            offset = 0.1 * (shift - len(columns) / 2)
            axis.errorbar(ratios, places + offset, xerr=np.nan_to_num(errors), fmt="o", ms=4, label=column)
        axis.axvline(1.0, color="black", lw=0.8)
        axis.set(xscale="log", title=f"{rate:.0%} of the examples", yticks=places)
        axis.set_xlabel("RMSE of the estimated total loss / that of uniform")
    axes[0].set_yticklabels(list(table))
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(where, dpi=150)
    plt.close(figure)
