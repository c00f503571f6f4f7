"""Resident memory of every process of the service, second by second, and how much it grew."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import numpy as np
import psutil
from numpy.typing import NDArray

__all__ = ["Growth", "Reading", "Watch", "growth"]

MEGABYTE = 1e6


@dataclass(frozen=True)
class Reading:
    """Megabytes at one moment, by process; `examples` were processed until then."""

    seconds: float
    examples: int
    rss: dict[str, float]
    uss: dict[str, float]
    phase: str = ""


@dataclass(frozen=True)
class Growth:
    """Resident megabytes of a process over the second tenth of the run and over the last one.

    Attributes
    ----------
    early, late : float
        Medians.
    early_most, late_most : float
        Maxima; `most` is that of the whole run.
    slope : float
        Megabytes a million examples, least squares after the first tenth.
    """

    early: float
    late: float
    early_most: float
    late_most: float
    most: float
    slope: float

    @property
    def share(self) -> float:
        """By how much the median grew: 0.05 is 5 %."""
        return self.late / self.early - 1

    def json(self) -> dict[str, float]:
        return {**asdict(self), "growth": self.share}


@dataclass
class Watch:
    """Reads the memory of a supervisor and its children, and their /metrics, as a monitoring would."""

    supervisor: int
    ports: Sequence[int]
    readings: list[Reading] = field(default_factory=list)

    def read(self, seconds: float, examples: int, phase: str) -> Reading:
        """Take one reading."""
        for port in self.ports:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as got,
            ):
                got.read()
        found = dict(self._processes())
        rss, uss = ({name: one[i] for name, one in found.items()} for i in (0, 1))
        self.readings.append(Reading(seconds, examples, rss, uss, phase))
        return self.readings[-1]

    def _processes(self) -> Iterator[tuple[str, tuple[float, float]]]:
        parent = psutil.Process(self.supervisor)
        for process in [parent, *parent.children()]:
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_full_info()
                name = _name(process.cmdline()) if process.pid != parent.pid else "supervisor"
                yield name, (memory.rss / MEGABYTE, memory.uss / MEGABYTE)


def _name(command: Sequence[str]) -> str:
    """Such as "sampler 0-1", from the command line that the supervisor gives."""
    role = command[command.index("consumers.cli") + 1]
    instance = next((word.partition("=")[2] for word in command if word.startswith("--instance=")), "")
    return f"{role} {instance}" if role == "sampler" else role


def growth(readings: Sequence[Reading], examples: int) -> dict[str, Growth]:
    """By process, and of "all" together: the second tenth of the examples against the last one."""
    at = np.array([reading.examples for reading in readings]) / examples
    names = sorted({name for reading in readings for name in reading.rss})
    series = {name: np.array([one.rss.get(name, 0.0) for one in readings]) for name in names}
    series["all"] = np.sum(list(series.values()), axis=0)
    return {name: _growth(at, values, examples) for name, values in series.items()}


def _growth(at: NDArray[np.float64], values: NDArray[np.float64], examples: int) -> Growth:
    early, late, after = values[(at >= 0.1) & (at < 0.2)], values[at >= 0.9], at >= 0.1
    if not (len(early) and len(late)):
        raise SystemExit("a tenth went by between two readings: give more --examples, or a lower --rate")
    slope = np.polyfit(at[after] * examples / 1e6, values[after], 1)[0]
    return Growth(
        early=float(np.median(early)),
        late=float(np.median(late)),
        early_most=float(early.max()),
        late_most=float(late.max()),
        most=float(values.max()),
        slope=float(slope),
    )
