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

_COLORS = ("#0b6fa4", "#c4572a", "#3c8d5a", "#7a7a7a")
_TOP = 1.25  # of the highest curve: room for the names of the slow-downs


def draw(readings: Sequence[Reading], grown: dict[str, Growth], title: str, where: Path) -> None:
    """Write the plot as PNG."""
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    millions = np.array([reading.examples for reading in readings]) / 1e6
    names = sorted(grown.keys() - {"all"}, key=lambda name: -grown[name].late)
    top = _TOP * max(grown[name].most for name in names)
    heights = _apart([grown[name].late for name in names], 0.055 * top)
    for name, height, color in zip(names, heights, _COLORS, strict=True):
        rss = [reading.rss.get(name, np.nan) for reading in readings]
        axes.plot(millions, rss, color=color, linewidth=1.3)
        says = f"{name.ljust(12)} {grown[name].share:+.1%}"
        axes.text(
            1.012 * millions[-1], height, says, color=color, va="center", family="monospace", fontsize=9
        )
    _shade(axes, readings, top)
    axes.set(xlabel="examples processed, millions", ylabel="resident memory, MB", ylim=(0, top))
    axes.set_xlim(0, 1.23 * millions[-1])
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= millions[-1]])
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_bounds(0, millions[-1])
    axes.grid(axis="y", color="#e8e8e8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=11)
    figure.savefig(where, dpi=150)
    plt.close(figure)


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Falling heights, pushed down as far as it takes for labels not to touch."""
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - least) if placed else height)
    return placed


def _shade(axes: Axes, readings: Sequence[Reading], top: float) -> None:
    """Grey out the slow-downs; each is named where it comes for long, after the first tenth."""
    for phase, group in groupby(readings, key=lambda reading: reading.phase):
        during = list(group)
        first, last = during[0].examples / 1e6, during[-1].examples / 1e6
        if not phase:
            continue
        axes.axvspan(first, last, color="#f1ece0", linewidth=0)
        if first > readings[-1].examples / 1e7:
            at = ((first + last) / 2, 0.985 * top)
            axes.text(*at, phase.replace(" ", "\n"), ha="center", va="top", fontsize=9, color="#80661f")
