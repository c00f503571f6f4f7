"""Trained models as a table: the mean score of every way to choose, and its paired gain over uniform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.methods import OURS, STRATIFIED
from benchmarks.quality.table import ONE_SIDED_95
from benchmarks.quality.training import RATES, TASKS, gains
from benchmarks.report import Goal

__all__ = ["TrainingRow", "show_training", "training_goals", "training_rows", "training_table"]

Scores = Mapping[str, NDArray[np.float64]]

_MNIST = next(iter(TASKS))
_WANTED = ((0.01, 0.06), (0.02, 0.045))  # rate, gain of accuracy over uniform
_NOT_WORSE = -0.005  # than stratified uniform, lower 95 % limit


@dataclass(frozen=True)
class TrainingRow:
    """One way to choose at one rate: its score and gain over uniform, with deviation and standard error."""

    task: str
    rate: float
    choice: str
    score: float
    deviation: float
    gain: float
    error: float
    seeds: int


def training_table(seeds: int, tasks: Iterable[str] = TASKS) -> tuple[list[TrainingRow], list[Goal]]:
    """All ways to choose on these tasks, and what was asked of MNIST."""
    rows: list[TrainingRow] = []
    goals: list[Goal] = []
    for task in tasks:
        scores = gains(TASKS[task], seeds)
        rows += training_rows(task, scores)
        goals += training_goals(scores) if task == _MNIST else []
        print(f"{task}: {seeds} seeds", flush=True)
    return rows, goals


def training_rows(task: str, scores: Scores) -> list[TrainingRow]:
    """The rows of one task; `scores` (seeds, rates) of every way to choose."""
    return [
        TrainingRow(
            task,
            rate,
            choice,
            float(values[:, place].mean()),
            float(values[:, place].std(ddof=1)),
            *_paired(scores, choice, "uniform", place),
            len(values),
        )
        for place, rate in enumerate(RATES)
        for choice, values in scores.items()
    ]


def training_goals(scores: Scores) -> list[Goal]:
    """Of accuracy on MNIST-5000, paired over the seeds."""
    goals = []
    for rate, wanted in _WANTED:
        place = RATES.index(rate)
        gain, _ = _paired(scores, OURS, "uniform", place)
        mean, error = _paired(scores, OURS, STRATIFIED, place)
        goals.append(Goal(f"MNIST-5000 accuracy over uniform, {rate:.0%}", wanted, gain))
        name = f"MNIST-5000 accuracy over stratified uniform, lower 95 % limit, {rate:.0%}"
        goals.append(Goal(name, _NOT_WORSE, mean - ONE_SIDED_95 * error))
    return goals


def show_training(rows: list[TrainingRow]) -> None:
    """Print the table: one block a task and rate, one line a way to choose."""
    print(f"\n{'a model trained on the sample alone':44}{'score':>8}{'':9}{'over uniform':>14}")
    for row in rows:
        if row.choice == "uniform":
            print(f"{row.task}, {row.rate:.0%}")
        print(f"  {row.choice:42}{row.score:8.3f} ±{row.deviation:6.3f}{row.gain:+12.4f} ±{row.error:7.4f}")


def _paired(scores: Scores, one: str, other: str, place: int) -> tuple[float, float]:
    """Mean difference and its standard error."""
    differences = scores[one][:, place] - scores[other][:, place]
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
