"""The child of a fuzz run: takes inputs one after the other, and leaves behind which one it was at.

A parser that crashes takes its process with it, one that does not end has to be killed: so this is a process
of its own, and what it is at is in a file that outlives it.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuzz.inputs import generate
from fuzz.mutation import MAX_BYTES
from fuzz.seeds import seeds

__all__ = ["GROWTH_BYTES", "PLACE_BYTES", "SECONDS", "Place", "main"]

# A parser may take this much memory for an input of at most MAX_BYTES: a hundred times the limit.
GROWTH_BYTES = 100 * MAX_BYTES
ADDRESS_SPACE = 6 << 30
# Of processor time for one input; the operator's own settings may take longer than what strangers send.
SECONDS = {"yaml": 10.0, "environment": 10.0, "flags": 10.0}
_SECONDS = 2.0
PLACE_BYTES = 16 + 2 * MAX_BYTES
_KINDS, _FINDINGS = 60, 20


class Place:
    """Which input is being taken, in a file that is mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), PLACE_BYTES)

    def enter(self, index: int, value: bytes) -> None:
        """Note an input before it is taken; its index last."""
        self._map[8:16] = len(value).to_bytes(8, "little")
        self._map[16 : 16 + len(value)] = value
        self._map[:8] = (index + 1).to_bytes(8, "little")

    def read(self) -> tuple[int, bytes]:
        """Return the index, -1 before the first, and the input."""
        length = int.from_bytes(self._map[8:16], "little")
        return int.from_bytes(self._map[:8], "little") - 1, self._map[16 : 16 + length]


@dataclass
class Tally:
    """What came of a target's inputs."""

    inputs: int = 0
    nbytes: int = 0
    slowest_seconds: float = 0.0
    growth_bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def count(self, outcome: str) -> None:
        """Count an outcome; the rarest kinds of refusal together."""
        known = outcome in self.outcomes or len(self.outcomes) < _KINDS
        self.outcomes[outcome if known else "other refusals"] += 1

    def found(self, what: str, index: int, value: bytes, sentence: str) -> None:
        """Note a finding, with its input."""
        self.outcomes["finding"] += 1
        if len(self.findings) < _FINDINGS:
            self.findings.append(
                {"what": what, "index": index, "says": sentence[-2000:], "input": value.hex()}
            )


def main(arguments: list[str]) -> None:
    """Take inputs `first` to `last` of one target, and print the tally as JSON."""
    module, target, seed, first, last, place = arguments
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    take = importlib.import_module(module).TARGETS[target]
    tally = _Taker(target, take, Place(Path(place))).run(seed, range(int(first), int(last)))
    print(json.dumps(vars(tally)))


class _Taker:
    def __init__(self, target: str, take: Any, place: Place) -> None:
        self._target, self._take, self._place = target, take, place
        self._limit = SECONDS.get(target, _SECONDS)
        self._memory, self._tally = _Memory(), Tally()

    def run(self, seed: str, indices: range) -> Tally:
        """Take the inputs of some indices; each is made by its own generator."""
        for value in seeds(self._target) * 3:  # caches and pools fill before memory is measured
            self._measured(-1, value)
        self._tally = Tally(findings=self._tally.findings)
        for index in indices:
            value = generate(self._target, Random(f"{seed}/{self._target}/{index}"))
            self._place.enter(index, value)
            self._measured(index, value)
        return self._tally

    def _measured(self, index: int, value: bytes) -> None:
        """Take an input and measure by how much it raised the peak of memory."""
        before = self._memory.begin()
        self._outcome(index, value)
        grown = self._memory.peak() - before
        self._tally.growth_bytes = max(self._tally.growth_bytes, grown)
        if grown > GROWTH_BYTES:
            self._tally.found("memory", index, value, f"{grown} bytes of memory for {len(value)}")

    def _outcome(self, index: int, value: bytes) -> None:
        tally, began = self._tally, time.process_time()
        tally.inputs += 1
        tally.nbytes += len(value)
        try:
            tally.count(self._take(value))
        except Exception:
            tally.found("exception", index, value, traceback.format_exc())
        seconds = time.process_time() - began
        tally.slowest_seconds = max(tally.slowest_seconds, seconds)
        if seconds > self._limit:
            tally.found("slow", index, value, f"{seconds:.1f} s")


class _Memory:
    """Resident memory of this process, and its peak since it was last begun anew (Linux, proc(5))."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY)

    def begin(self) -> int:
        """Forget the peak; the bytes that are resident now."""
        os.pwrite(self._clear, b"5", 0)
        return self._read(b"VmRSS")

    def peak(self) -> int:
        """Return the most bytes since."""
        return self._read(b"VmHWM")

    def _read(self, name: bytes) -> int:
        _, _, after = os.pread(self._status, 8192, 0).partition(name + b":")
        return int(after.split(maxsplit=1)[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
