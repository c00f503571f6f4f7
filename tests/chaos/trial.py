"""A small deployment of the real service, with a defect or without, for the checker to judge.

Its processes are forked from one that has imported the service, so that thirty of them cost little.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chaos.checker import Checker, Report, Stream, Topics
from chaos.stream import DIMENSION, Message

from consumers.settings import load_settings

__all__ = ["Trial"]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["consumers.roles.sampler", "consumers.roles.clusterer", "pyarrow.compute"])


def _be(role: str, defect: str | None, settings: dict[str, Any], log: Path) -> None:
    """What a process does: the role, until it is asked to end."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from chaos.defects import plant

    from consumers.roles.clusterer import run_clusterer
    from consumers.roles.sampler import run_sampler

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    if defect is not None:
        plant(defect)
    (run_sampler if role == "sampler" else run_clusterer)(load_settings(**settings), stop)


@dataclass
class Trial:
    """One deployment.

    Attributes
    ----------
    name, servers : str
    directory : Path
        For logs.
    defect : str, optional
    format : {"json", "arrow"}
    messages : sequence of Message
        What it is given, in two halves, the second when the first has been processed.
    window : int
        Rows.
    rate : float
    samplers : int
        All but the first have no defect.
    clusterer : bool
        With one, two versions of the clusters are waited for.
    until : str
        What the log of the first sampler must say before the trial is over.
    aborted : int
        So many messages are also produced in a transaction that is aborted.
    """

    name: str
    servers: str
    directory: Path
    messages: Sequence[Message]
    defect: str | None = None
    format: Literal["json", "arrow"] = "json"
    window: int = 50
    rate: float = 0.2
    samplers: int = 1
    clusterer: bool = False
    until: str = ""
    aborted: int = 0
    _running: dict[str, Any] = field(default_factory=dict)
    _ends: list[int] = field(default_factory=list)

    @property
    def stream(self) -> Stream:
        """As the checker knows it."""
        groups = (f"{self.name}-sampler", f"{self.name}-clusterer")
        topics = Topics.of(self.name, f"{self.name}-examples")
        return Stream(self.servers, topics, groups, DIMENSION, self.format)

    def settings(self, instance: str = "0") -> dict[str, Any]:
        """Of one process."""
        return {
            "name": self.name,
            "instance": instance,
            "kafka": {"bootstrap_servers": self.servers},
            "input": {
                "topic": f"{self.name}-examples",
                "dimension": DIMENSION,
                "start": "earliest",
                "format": self.format,
            },
            "window": {"size": self.window, "age_seconds": 0.5},
            "sampling": {"rate": self.rate, "seed": "a secret"},
            "clustering": {
                "n_clusters": 6,
                "device": "cpu",
                "flush_seconds": 0.1,
                "publish_seconds": 0.1,
            },
            "session_timeout_seconds": 5.0,
        }

    def start(self) -> None:
        """Begin; the first sampler and the clusterer have the defect."""
        for number in range(self.samplers):
            self._fork("sampler", str(number), None if number else self.defect)
        if self.clusterer:
            self._fork("clusterer", "0", self.defect)

    def revive(self) -> None:
        """Start again, without the defect, what has ended."""
        for member, process in list(self._running.items()):
            if process.exitcode is not None:
                self._ends.append(process.exitcode)
                self._fork(*member.split(), None)

    def stop(self) -> None:
        """Ask every process to end."""
        for process in self._running.values():
            process.terminate()

    def join(self) -> set[int | None]:
        """Wait for the ends; all exit codes that there were."""
        for process in self._running.values():
            process.join(20)
        return {*self._ends, *(process.exitcode for process in self._running.values())}

    def said(self) -> str:
        """The log of the first sampler."""
        log = self._log("sampler", "0")
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def check(self, seconds: float) -> Report:
        """Judge it, now that everything lies in the topics."""
        checker = Checker(self.stream)
        checker.start()
        return checker.finish(seconds)

    def _log(self, role: str, instance: str) -> Path:
        return self.directory / f"{self.name}-{role}-{instance}.log"

    def _fork(self, role: str, instance: str, defect: str | None) -> None:
        log = self._log(role, instance)
        process = _FORKS.Process(target=_be, args=(role, defect, self.settings(instance), log), daemon=True)
        process.start()
        self._running[f"{role} {instance}"] = process
