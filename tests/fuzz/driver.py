"""Runs children over the inputs of all targets, survives them, and adds up what they found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.worker import PLACE_BYTES, Place

__all__ = ["SHARES", "Job", "jobs_of", "run"]

# Of all inputs. The real client and a socket, PyYAML and onnxruntime take milliseconds each.
SHARES = {
    "json": 0.19, "arrow": 0.19, "headers": 0.1, "statistics": 0.1, "clusters": 0.08, "ledger": 0.08,
    "dead-letters": 0.05, "feedback": 0.02, "estimates": 0.01, "surrogate": 0.02, "answer": 0.09,
    "wait": 0.025, "http": 0.005, "yaml": 0.015, "environment": 0.01, "flags": 0.015,
}  # fmt: skip
_CHUNK = 5_000
# A child that is at one input for so long of the clock is killed; its processor time is measured in itself.
_STANDSTILL_SECONDS = 90.0


@dataclass(frozen=True)
class Job:
    """Inputs `first` to `last` (exclusive) of one target."""

    target: str
    first: int
    last: int


@dataclass
class _Child:
    job: Job
    process: subprocess.Popen[bytes]
    place: Place
    directory: tempfile.TemporaryDirectory[str]
    at: int = -2
    since: float = field(default_factory=time.monotonic)


def jobs_of(inputs: int, shares: Mapping[str, float] = SHARES) -> list[Job]:
    """Divide so many inputs among the targets, and in chunks; every target has at least one."""
    totals = {target: max(1, round(inputs * share)) for target, share in shares.items()}
    return [
        Job(target, first, min(first + _CHUNK, total))
        for target, total in totals.items()
        for first in range(0, total, _CHUNK)
    ]


def run(
    jobs: list[Job],
    *,
    seed: str,
    children: int = 2,
    module: str = "fuzz.targets",
    standstill: float = _STANDSTILL_SECONDS,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, dict[str, Any]]:
    """Run all jobs; what came of each target, findings with their inputs among it."""
    waiting, running, results = deque(jobs), list[_Child](), dict[str, dict[str, Any]]()
    while waiting or running:
        while waiting and len(running) < children:
            running.append(_start(waiting.popleft(), seed, module))
        time.sleep(0.02)
        for child in [one for one in running if _ended(one, standstill)]:
            running.remove(child)
            waiting.extendleft(_close(child, results))
            progress(f"{child.job.target} {child.job.last:,}; {len(waiting)} chunks to go")
    return results


def _start(job: Job, seed: str, module: str) -> _Child:
    directory = tempfile.TemporaryDirectory(prefix="fuzz-")
    place = Path(directory.name) / "place"
    place.write_bytes(bytes(PLACE_BYTES))
    words = [module, job.target, seed, str(job.first), str(job.last), str(place)]
    with (Path(directory.name) / "out").open("wb") as out, (Path(directory.name) / "err").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-m", "fuzz.worker", *words], stdout=out, stderr=err)
    return _Child(job, process, Place(place), directory)


def _ended(child: _Child, standstill: float) -> bool:
    if child.process.poll() is not None:
        return True
    index, _ = child.place.read()
    if index != child.at:
        child.at, child.since = index, time.monotonic()
    if index >= 0 and time.monotonic() - child.since > standstill:
        child.process.kill()
        child.process.wait()
        return True
    return False


def _close(child: _Child, results: dict[str, dict[str, Any]]) -> list[Job]:
    """Add up what a child says; for one that died, a finding, and what is left of its job."""
    folder, code = Path(child.directory.name), child.process.returncode
    with child.directory:
        if code == 0:
            _add(results, child.job.target, json.loads((folder / "out").read_bytes()))
            return []
        index, value = child.place.read()
        if index < 0 or code == 1:
            said = (folder / "err").read_text(errors="replace")
            raise RuntimeError(f"a mistake of the harness in {child.job.target}: {said}")
        what = "standstill" if time.monotonic() - child.since > 1 and code == -9 else "crash"
        said = f"exit {code}: {(folder / 'err').read_text(errors='replace')[-1500:]}"
    finding = {"what": what, "index": index, "says": said, "input": value.hex()}
    one = {"inputs": 1, "nbytes": len(value), "outcomes": {"finding": 1}, "findings": [finding]}
    _add(results, child.job.target, one)
    job = child.job
    parts = [Job(job.target, job.first, index), Job(job.target, index + 1, job.last)]
    return [part for part in parts if part.first < part.last]


def _add(results: dict[str, dict[str, Any]], target: str, more: dict[str, Any]) -> None:
    into = results.setdefault(target, {"inputs": 0, "nbytes": 0, "outcomes": Counter(), "findings": []})
    into["outcomes"].update(more["outcomes"])
    into["findings"] += more["findings"]
    for name in ("inputs", "nbytes"):
        into[name] += more[name]
    for name in ("slowest_seconds", "growth_bytes"):
        into[name] = max(into.get(name, 0), more.get(name, 0))
