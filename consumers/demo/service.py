"""The service of the demo: its settings, and its processes of the command ``stream-coreset``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from consumers.broker.node import free_ports
from consumers.demo.data import DIMENSION
from consumers.demo.replay import BLOCK
from consumers.errors import ServiceError
from consumers.settings import Settings, load_settings

__all__ = ["SAMPLERS", "Service", "write_settings"]

SAMPLERS = ("0", "1")
_LAST_LINES = 15
_GRACE_SECONDS = 10.0
_START_SECONDS = 40.0


def write_settings(folder: Path, servers: str, endpoint: str, model: str, seed: int) -> tuple[Path, Settings]:
    """Write the settings of a fresh deployment; returns the file and what it says."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    seed_file = folder / "seed"
    seed_file.write_text(f"{seed}\n", "utf-8")
    settings: dict[str, Any] = {
        "name": name,
        "kafka": {"bootstrap_servers": servers},
        "input": {
            "topic": f"{name}-examples",
            "dimension": DIMENSION,
            "start": "earliest",
            "max_message_bytes": 10_000,
        },
        "window": {"size": BLOCK, "age_seconds": 5.0, "commit_interval_seconds": 0.05},
        "sampling": {"rate": 0.01, "seed_file": str(seed_file)},
        "clustering": {
            "n_clusters": 96,
            "half_life": 20_000,
            "device": "cpu",
            "flush_seconds": 0.1,
            "publish_seconds": 0.1,
        },
        "endpoint": {"url": endpoint, "model": model, "refresh_seconds": 0.1, "attempts": 2},
        "session_timeout_seconds": 6.0,
        "transaction_timeout_seconds": 10.0,
        "grace_seconds": 5.0,
    }
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return config, load_settings(config)


@dataclass
class _Process:
    role: str
    instance: str
    log: Path
    port: int
    popen: subprocess.Popen[bytes] | None = None

    def command(self, config: Path) -> list[str]:
        own = [f"--config={config}", f"--instance={self.instance}", f"--monitoring.port={self.port}"]
        return [sys.executable, "-m", "consumers.cli", self.role, "--supervised", *own]

    def has_partitions(self) -> bool:
        """Whether it answers and has something to read."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2.0, trust_env=False)
            return bool(answer.json()["partitions"])
        except (httpx.HTTPError, ValueError, KeyError):
            return False


class Service:
    """Two samplers and the clusterer, as processes that end with this one, however it ends.

    A context manager.

    Parameters
    ----------
    config : Path
        The file of the settings; each process writes a log beside it.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        roles = [("sampler", one) for one in SAMPLERS] + [("clusterer", "0")]
        self._processes = {
            f"{role} {instance}": _Process(role, instance, config.with_name(f"{role}-{instance}.log"), port)
            for (role, instance), port in zip(roles, free_ports(len(roles)), strict=True)
        }

    def __enter__(self) -> Service:
        try:
            for name in self._processes:
                self.start(name)
        except BaseException:  # Ctrl-C, most likely
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str) -> None:
        """Start a process."""
        process = self._processes[name]
        with process.log.open("ab") as log:
            process.popen = subprocess.Popen(
                process.command(self._config),
                stdin=subprocess.PIPE,  # its end tells the process that we are gone
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we then stop it in good order
                env=_environment(),
            )

    def wait_until_ready(self) -> None:
        """Wait until each process has its share of the work.

        Raises
        ------
        ServiceError
            When one ends instead, or takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        waiting = list(self._processes.values())
        while waiting:
            self.check()
            waiting = [process for process in waiting if not process.has_partitions()]
            if waiting and time.monotonic() > deadline:
                log = waiting[0].log
                raise ServiceError(f"The {waiting[0].role} is not ready. The end of its log:\n{_tail(log)}")
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """End a process as a power cut would (SIGKILL)."""
        popen = self._processes[name].popen
        assert popen is not None
        popen.kill()
        _reap(popen)

    def check(self) -> None:
        """Raise ServiceError with the end of its log where a process has ended by itself."""
        for name, process in self._processes.items():
            if process.popen is not None and process.popen.poll() is not None:
                code, process.popen = process.popen.returncode, None
                raise ServiceError(
                    f"The {name} ended with code {code}. The end of its log:\n{_tail(process.log)}"
                )

    def stop(self) -> None:
        """Ask all processes to stop and wait until they have; end those that do not."""
        running = [process.popen for process in self._processes.values() if process.popen is not None]
        for popen in running:
            popen.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for popen in running:
            try:
                popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                popen.kill()
            _reap(popen)
        for process in self._processes.values():
            process.popen = None


def _reap(popen: subprocess.Popen[bytes]) -> None:
    popen.wait()
    if popen.stdin is not None:
        popen.stdin.close()


def _environment() -> dict[str, str]:
    """Ours without settings of the service: the demo has its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STREAM_CORESET_")}


def _tail(log: Path) -> str:
    lines: Sequence[str] = log.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:])
