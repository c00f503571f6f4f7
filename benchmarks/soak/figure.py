"""The soak's plot: resident memory of every process over the examples, slow-downs shaded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.soak.memory import Growth, Reading

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

__all__ = ["draw"]

_COLORS = ("#0b6fa4", "#55a9d6", "#c4572a", "#7a7a7a")


def draw(readings: Sequence[Reading], grown: dict[str, Growth], title: str, where: Path) -> None:
    """Write the plot as PNG."""
    figure, axes = plt.subplots(figsize=(10, 5.2), layout="constrained")
    millions = np.array([reading.examples for reading in readings]) / 1e6
    names = sorted(grown.keys() - {"all"}, key=lambda name: -grown[name].late)
    highest = 0.0
    for name, color in zip(names, _COLORS * len(names), strict=False):
        rss = np.array([reading.rss.get(name, np.nan) for reading in readings])
        axes.plot(millions, rss, color=color, linewidth=1.4)
        _label(axes, name, grown[name], millions[-1], color)
        highest = max(highest, float(np.nanmax(rss)))
    _shade(axes, readings, 1.22 * highest)
    axes.set(xlabel="examples processed, millions", ylabel="resident memory, MB")
    axes.set_xlim(0, millions[-1] * 1.2)
    axes.set_ylim(0, 1.22 * highest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=11)
    figure.savefig(where, dpi=150)
    plt.close(figure)


def _label(axes: Axes, name: str, growth: Growth, end: float, color: str) -> None:
    says = f"{name}  {growth.share:+.1%}"
    axes.annotate(says, (end, growth.late), (8, 0), textcoords="offset points", color=color, va="center")


def _shade(axes: Axes, readings: Sequence[Reading], top: float) -> None:
    for phase, group in groupby(readings, key=lambda reading: reading.phase):
        during = list(group)
        first, last = during[0].examples / 1e6, during[-1].examples / 1e6
        if phase:
            axes.axvspan(first, last, color="#f3ecdc", linewidth=0)
            middle = (first + last) / 2
            axes.text(middle, 0.985 * top, phase, ha="center", va="top", fontsize=9, color="#8a6d1d")
