"""The streams as a table: error of ours with and without the surrogate, beside uniform at s + queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.following import QUERIES, Step, follow
from benchmarks.quality.methods import RATES
from benchmarks.quality.streams import STREAMS
from benchmarks.report import Goal

__all__ = ["StreamRow", "show_streams", "stream_goals", "stream_table"]

WARM_UP = 2  # windows
_WANTED = ((0.02, 0.38, 0.55), (0.1, 0.26, 0.29))  # rate, ours / uniform, ours / uniform at s + queries


@dataclass(frozen=True)
class StreamRow:
    """RMSE over the windows after the warm-up / that of uniform, at one rate."""

    stream: str
    rate: float
    surrogate: float
    clusters: float
    more: float
    windows: int


def stream_table(size: int, count: int, streams: Iterable[str] = STREAMS) -> list[StreamRow]:
    """Every stream at every rate; the losses of what was drawn come back."""
    return [_row(name, rate, size, count) for name in streams for rate in RATES]


def show_streams(rows: list[StreamRow]) -> None:
    print(f"\nstreams, {QUERIES} queries a window, returned losses")
    print(
        f"{'RMSE / that of uniform':28}{'rate':>6}{'ours':>9}{'without':>9}{'s + queries':>13}{'windows':>9}"
    )
    for row in rows:
        print(
            f"{row.stream:28}{row.rate:6.0%}{row.surrogate:9.3f}{row.clusters:9.3f}{row.more:13.3f}"
            f"{row.windows:9d}"
        )


def stream_goals(rows: list[StreamRow]) -> list[Goal]:
    """Geometric means over the streams, when all were followed, and the drifting stream at 2 %."""
    goals = []
    whole = {row.stream for row in rows} == set(STREAMS)
    for rate, ours, equal in _WANTED if whole else ():
        of_rate = [row for row in rows if row.rate == rate]
        value = _geometric(row.surrogate for row in of_rate)
        goals.append(Goal(f"streams, ours / uniform, {rate:.0%}", ours, value, at_least=False))
        value = _geometric(row.surrogate / row.more for row in of_rate)
        goals.append(
            Goal(f"streams, ours / uniform at s + queries, {rate:.0%}", equal, value, at_least=False)
        )
    drifting = (row.surrogate for row in rows if row.rate == 0.02 and row.stream.startswith("drifting"))
    return [*goals, *(Goal("drifting stream, 2%", 0.13, value, at_least=False) for value in drifting)]


def _row(name: str, rate: float, size: int, count: int) -> StreamRow:
    with_it, without = (
        follow(STREAMS[name](size, count), rate, surrogate=surrogate, returned=True)[WARM_UP:]
        for surrogate in (True, False)
    )
    row = StreamRow(
        name,
        rate,
        _root(step.ours for step in with_it),
        _root(step.ours for step in without),
        _root(step.more for step in without),
        len(with_it),
    )
    print(f"{name}, {rate:.0%}: {_line(with_it)}", flush=True)
    return row


def _line(steps: list[Step]) -> str:
    return " ".join(f"{np.sqrt(step.ours):.2f}" for step in steps)


def _root(variances: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(list(variances))))


def _geometric(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))
