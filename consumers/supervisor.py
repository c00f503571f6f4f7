"""Child processes kept running: restarted with backoff, stopped together, their lines interleaved."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TextIO

from consumers.errors import ServiceError
from consumers.settings import Settings

__all__ = ["MUST_MEND", "Child", "Supervisor", "children"]

MUST_MEND = frozenset(
    {1, 2}
)  # exit codes after which a restart would fail again until a person mends something
_STEADY_SECONDS = 60.0  # a child that ran this long begins with the shortest backoff again
_TICK_SECONDS = 0.1
_LINE_BYTES = 65_536
_LAST_PORT = 65_535


@dataclass(frozen=True)
class Child:
    """A program to keep running; its name is the prefix of its lines."""

    name: str
    command: tuple[str, ...]


def children(settings: Settings, samplers: int, flags: Sequence[str]) -> list[Child]:
    """`samplers` samplers and the clusterer, with `flags` and an instance and a port for each.

    Raises
    ------
    ServiceError
        When there are no samplers, or too few ports after ``monitoring.port``.
    """
    first, instance = settings.monitoring.port, settings.instance
    if samplers < 1 or first + samplers > _LAST_PORT:
        raise ServiceError("give at least one sampler, and a monitoring.port with room for all processes")
    instances = [instance] + [f"{instance}-{number}" for number in range(1, samplers)]
    roles = [("sampler", one) for one in instances] + [("clusterer", instance)]
    base = (sys.executable, "-m", "consumers.cli")
    return [
        Child(
            f"{role}-{one}" if role == "sampler" else role,
            (
                *base,
                role,
                "--supervised",
                *flags,
                f"--instance={one}",
                f"--monitoring.port={first and first + index}",
            ),
        )
        for index, (role, one) in enumerate(roles)
    ]


class Supervisor:
    """Keeps its children running until it is told to stop.

    A child that ends is started again after 1, 2, 4 ... seconds, at most `longest_backoff`. One that ends
    with a code in `MUST_MEND` has said what a person must mend: then all end. Children get SIGTERM from here
    and nothing from the terminal; the end of their stdin, a pipe, tells them that the supervisor is gone.

    Parameters
    ----------
    children : sequence of Child
    grace : float
        Seconds from SIGTERM to SIGKILL.
    prefix : bool
        Whether lines begin with the child's name; not for JSON, whose entries carry it.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        grace: float = 15.0,
        first_backoff: float = 1.0,
        longest_backoff: float = 30.0,
        prefix: bool = True,
        out: TextIO | None = None,
    ) -> None:
        width = max(len(child.name) for child in children)
        self._out = _Lines(sys.stderr if out is None else out)
        self._kept = [
            _Kept(
                child, self._out, f"{child.name:{width}} | " if prefix else "", first_backoff, longest_backoff
            )
            for child in children
        ]
        self._grace = grace

    def run(self, stop: threading.Event) -> int:
        """Keep the children running until `stop` is set or one needs a person; returns the exit code."""
        code: int | None = None
        try:
            while code is None and not stop.is_set():
                code = self._look_after(time.monotonic())
                stop.wait(_TICK_SECONDS)
        finally:
            self.stop()
        return code or 0

    def stop(self) -> None:
        """End all children: SIGTERM, and SIGKILL to those that are still there after the grace."""
        for kept in self._kept:
            kept.terminate()
        deadline = time.monotonic() + self._grace
        for kept in self._kept:
            kept.end(deadline)

    def kill(self) -> None:
        """End all children at once."""
        for kept in self._kept:
            kept.kill()

    def _look_after(self, now: float) -> int | None:
        for kept in self._kept:
            code = kept.look_after(now)
            if code in MUST_MEND:
                return code
        return None


class _Lines:
    """Whole lines from several threads to one stream."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()


class _Kept:
    """One child, its process of now, and when it may start again."""

    def __init__(self, child: Child, out: _Lines, prefix: str, first: float, longest: float) -> None:
        self._child = child
        self._out = out
        self._prefix = prefix
        self._first = self._backoff = first
        self._longest = longest
        self._starts_at = self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def look_after(self, now: float) -> int | None:
        """Start the child if its time has come; returns the exit code of a child that has just ended."""
        if self._process is None:
            if now >= self._starts_at:
                self._start(now)
            return None
        code = self._process.poll()
        if code is not None:
            self._ended(code, now)
        return code

    def terminate(self) -> None:
        """Ask the process to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for the process until `deadline`, then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._say("did not stop in time and is killed")
            self.kill()
            self._process.wait()
        self._close()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _start(self, now: float) -> None:
        self._started_at = now
        self._process = subprocess.Popen(
            self._child.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C reaches the supervisor alone
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _ended(self, code: int, now: float) -> None:
        self._close()
        if now - self._started_at >= _STEADY_SECONDS:
            self._backoff = self._first
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        again = "" if code in MUST_MEND else f" and starts again in {self._backoff:g} s"
        self._say(how + again)
        self._starts_at = now + self._backoff
        self._backoff = min(2 * self._backoff, self._longest)

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._reader.join(1.0)
        self._process.stdin.close()
        self._process = None

    def _copy(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_BYTES):
                self._out.write(self._prefix + line.decode("utf-8", "replace").rstrip("\r\n"))

    def _say(self, what: str) -> None:
        self._out.write(f"{self._prefix}{self._child.name} {what}")
