"""What a run says at its end: a table of the faults, and everything as JSON."""

from __future__ import annotations

import statistics
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from chaos.outcome import Fault, Outcome
from chaos.points import POINTS

from benchmarks.report import Goal

__all__ = ["as_json", "goals", "line", "table"]


def line(fault: Fault) -> dict[str, Any]:
    """A fault as it is logged."""
    return {
        "fault": fault.number,
        "at": round(fault.hit.moment, 3),
        "kind": fault.card.kind,
        "target": fault.hit.target,
        "deployments": fault.hit.deployments,
    }


def table(outcome: Outcome) -> str:
    """Faults by kind: how many, and the seconds to the next window and until all partitions were served."""
    head = f"{'fault':44}{'number':>7}{'next window, s':>20}{'all partitions, s':>20}"
    rows = [head, f"{'':44}{'':7}{'median':>11}{'max':>9}{'median':>11}{'max':>9}"]
    for kind, found in _by_kind(outcome).items():
        numbers = "".join(
            f"{part[key]:{width}.1f}" if part else " " * width
            for part in (found["next_window_s"], found["all_partitions_s"])
            for key, width in (("median", 11), ("max", 9))
        )
        rows.append(f"{kind:44}{found['number']:7}{numbers}")
    return "\n".join(rows)


def goals(outcome: Outcome, asked: int) -> list[Goal]:
    """What the run must show."""
    aborted = [report.counts.get("aborted", 0) for report in outcome.reports.values()]
    reached = {fault.card.point for fault in outcome.faults}
    return [
        Goal("faults", asked, len(outcome.faults)),
        Goal("findings", 0, len(outcome.findings), at_least=False),
        Goal("aborted records seen, the least of both formats", 1, min(aborted, default=0)),
        Goal("points of the loop struck", len(POINTS) if asked >= 100 else 1, len(reached - {""})),
    ]


def as_json(outcome: Outcome, seed: int, nodes: int) -> dict[str, Any]:
    """Everything, as plain values."""
    counts: dict[str, int] = defaultdict(int)
    for report in outcome.reports.values():
        for name, value in report.counts.items():
            counts[name] += value
    return {
        "seed": seed,
        "nodes": nodes,
        "commit": _commit(),
        "slowness": round(outcome.slowness, 2),
        "duration_s": round(outcome.seconds, 1),
        "examples_produced": outcome.examples,
        "checked": dict(counts),
        "checked_by_format": {name: report.as_json() for name, report in outcome.reports.items()},
        "restarts": outcome.restarts,
        "brokers_started_again_because_they_refused_to_coordinate": outcome.mended,
        "losses_answered": outcome.losses,
        "bytes_taken_of_an_endless_answer": outcome.swallowed,
        "peak_resident_mb": {role: round(peak, 1) for role, peak in outcome.peak_mb.items()},
        "stalls_s": [round(seconds, 1) for seconds in outcome.stalls],
        "interrupted": outcome.interrupted,
        "findings": outcome.findings,
        "faults_by_kind": _by_kind(outcome),
        "faults": [
            {
                **line(fault),
                "next_window_s": _rounded(outcome.next_window.get(fault.number)),
                "all_partitions_s": _rounded(outcome.all_served.get(fault.number)),
            }
            for fault in outcome.faults
        ],
    }


def _by_kind(outcome: Outcome) -> dict[str, dict[str, Any]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for fault in outcome.faults:
        numbers[f"{fault.card.family}: {fault.card.kind}"].append(fault.number)
    return {
        kind: {
            "number": len(found),
            "next_window_s": _spread([outcome.next_window[n] for n in found if n in outcome.next_window]),
            "all_partitions_s": _spread([outcome.all_served[n] for n in found if n in outcome.all_served]),
        }
        for kind, found in sorted(numbers.items())
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {"median": round(statistics.median(seconds), 2), "max": round(max(seconds), 2)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
