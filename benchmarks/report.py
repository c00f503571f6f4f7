"""What every benchmark prints and writes: the machine, the table, and its goals, met or not."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Goal", "arguments", "machine", "publish"]


@dataclass(frozen=True)
class Goal:
    """A figure that an issue asked for, at least or at most."""

    name: str
    goal: float
    value: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    return parser


def machine() -> dict[str, Any]:
    """Processor, cores and versions, as far as they matter to a figure."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def publish(result: Mapping[str, Any], goals: Sequence[Goal], where: Path | None) -> None:
    """Print the goals and write everything as JSON."""
    for goal in goals:
        sign = ">=" if goal.at_least else "<="
        print(
            f"{goal.name}: {goal.value:.3g} (goal {sign} {goal.goal:g}, {'met' if goal.met else 'NOT MET'})"
        )
    if where is not None:
        listed = [{"name": g.name, "goal": g.goal, "value": g.value, "met": g.met} for g in goals]
        where.write_text(json.dumps({**result, "machine": machine(), "goals": listed}, indent=1) + "\n")


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
