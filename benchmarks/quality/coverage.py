"""The 95 % interval that the estimates publish: how often it covers, and how its variance compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.following import Step, follow
from benchmarks.quality.methods import RATES
from benchmarks.quality.streams import STREAMS
from benchmarks.report import Goal
from stream_coreset.intervals import Drawn, EstimatePool
from stream_coreset.sampling import draw

__all__ = ["CoverageRow", "coverage_goals", "coverage_table", "show_coverage"]

_REPLICATES = 20  # of the draws of all windows
_POOLED = 20  # windows that an interval rests on


@dataclass(frozen=True)
class CoverageRow:
    """One stream at one rate: share of the intervals that cover, mean variance / mean squared error."""

    stream: str
    rate: float
    coverage: float
    variance: float
    intervals: int


def coverage_table(size: int, count: int, streams: Iterable[str] = STREAMS) -> list[CoverageRow]:
    """More windows than are pooled are followed, then drawn from many times."""
    return [
        _row(name, rate, follow(STREAMS[name](size, count), rate, surrogate=False, returned=True))
        for name in streams
        for rate in RATES
    ]


def show_coverage(rows: list[CoverageRow]) -> None:
    print(
        f"\n{'95 % intervals over 20 windows':32}{'rate':>6}{'coverage':>10}{'variance':>10}{'intervals':>11}"
    )
    for row in rows:
        print(f"{row.stream:32}{row.rate:6.0%}{row.coverage:10.3f}{row.variance:10.2f}{row.intervals:11d}")


def coverage_goals(rows: list[CoverageRow]) -> list[Goal]:
    """Both ends of what was asked, of the worst stream."""
    covered, variances = [row.coverage for row in rows], [row.variance for row in rows]
    return [
        Goal("coverage of the 95 % interval, least", 0.92, min(covered)),
        Goal("coverage of the 95 % interval, most", 0.98, max(covered), at_least=False),
        Goal("variance / squared error, least", 0.9, min(variances)),
        Goal("variance / squared error, most", 1.2, max(variances), at_least=False),
    ]


def _row(name: str, rate: float, steps: Sequence[Step]) -> CoverageRow:
    covered, variances, squares = list[bool](), list[float](), list[float]()
    for replicate in range(_REPLICATES):
        rng, pool = np.random.default_rng(replicate), EstimatePool()
        for step in steps:
            n, s = len(step.losses), step.sample.expected_size
            indices, weights, pi = draw(step.sample.scores, s, order=step.sample.order, rng=rng)
            pool.add(Drawn(step.losses[indices], pi, n, s))
            if len(pool) < _POOLED:
                continue
            total, truth = float(weights @ step.losses[indices]), float(step.losses.sum())
            low, high = pool.interval(total, n, s)
            covered.append(low <= truth <= high)
            variances.append(pool.variance(n, s))
            squares.append((total - truth) ** 2)
    return CoverageRow(
        name, rate, float(np.mean(covered)), float(np.mean(variances) / np.mean(squares)), len(covered)
    )
