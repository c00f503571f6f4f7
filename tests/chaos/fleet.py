"""The processes of the service under fire: started, struck, watched, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["CRASHED", "GAVE_WAY", "Fleet", "Member"]

GAVE_WAY = 1  # exit code after a sentence for people: here, that another process has its name
CRASHED = 70  # exit code after a mistake of the service's own, as an error raised by a window is
_TESTS = Path(__file__).parent.parent


@dataclass(eq=False)
class Member:
    """One process that should run, and what the harness has done to it.

    Attributes
    ----------
    deployment, role, instance : str
    command : tuple of str
    log : Path
        Lines of all its processes, one after the other.
    expected : set of int
        Exit codes that are no surprise now: the harness asked for them.
    passing : bool
        It is not one that must always run: no fault is aimed at it, and it is gone once it has ended.
    twin : Member, optional
        Of a zombie: the member whose process it was.
    """

    deployment: str
    role: str
    instance: str
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    expected: set[int] = field(default_factory=set)
    passing: bool = False
    twin: Member | None = None
    frozen: bool = False
    starts: int = 0
    said_before: int = 0
    peak_mb: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.deployment}-{self.role}-{self.instance}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether its process lives, perhaps stopped."""
        return self.process is not None and self.process.poll() is None

    @property
    def running(self) -> bool:
        """Whether its process lives, is not stopped, and nobody has asked it to end."""
        return self.alive and not self.frozen and not self.expected

    def release(self) -> None:
        """Forget its process, which has ended."""
        process, self.process = self.process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def last_words(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return lines[-1][-300:] if lines else "(nothing)"


class Fleet:
    """All members; ends that nobody asked for are noted."""

    def __init__(self, points: str) -> None:
        self._points = points
        self.members: list[Member] = []
        self._weigh_at = 0.0

    def start(self, member: Member) -> None:
        """Start a member that does not run."""
        if member not in self.members:
            self.members.append(member)
        # supervised: it ends when its standard input does, should the harness be killed
        command = [
            sys.executable,
            "-m",
            "chaos.worker",
            "--points",
            self._points,
            *member.command,
            "--supervised",
        ]
        with member.log.open("ab") as out:
            member.said_before = out.tell()
            member.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": str(_TESTS)},
                start_new_session=True,  # Ctrl-C is for the harness
            )
        member.starts += 1
        member.frozen = False
        member.expected = set()

    def select(self, deployment: str | None = None, role: str | None = None) -> list[Member]:
        """The members that run and may be struck, of a deployment and a role."""
        return [
            member
            for member in self.members
            if member.running
            and not member.passing
            and deployment in (None, member.deployment)
            and role in (None, member.role)
        ]

    def kill(self, member: Member) -> None:
        """End it at once."""
        member.expected = {-signal.SIGKILL}
        self._signal(member, signal.SIGKILL)
        if member.process is not None:
            member.process.wait(10)

    def divide(self, member: Member) -> Member:
        """Part a frozen member from its process; returns that zombie, and the member can be started again."""
        name = f"{member.instance} (zombie)"
        zombie = replace(member, instance=name, passing=True, expected=set(), twin=member)
        self.members.append(zombie)
        member.process, member.frozen = None, False
        return zombie

    def freeze(self, member: Member) -> None:
        """Stop its clock."""
        member.frozen = True
        self._signal(member, signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """Let it go on."""
        self._signal(member, signal.SIGCONT)
        member.frozen = False

    def terminate(self, member: Member) -> None:
        """Ask it to end; one that has not said anything yet cannot know of signals either."""
        silent = member.log.stat().st_size == member.said_before
        member.expected = {0, -signal.SIGTERM} if silent else {0}
        self._signal(member, signal.SIGTERM)

    def ended(self) -> Iterator[tuple[Member, int, bool]]:
        """Members that have ended since the last call: the exit code, and whether that was expected."""
        for member in list(self.members):
            code = None if member.process is None else member.process.poll()
            if code is not None:
                member.release()
                if code == GAVE_WAY and self._twin_takes_over(member):
                    continue
                if member.passing:
                    self.members.remove(member)
                yield member, code, code in member.expected

    def _twin_takes_over(self, member: Member) -> bool:
        """Whether it gave way to its zombie, which is the member from now on: one of the two must go."""
        zombies = [one for one in self.members if one.twin is member and one.alive]
        for zombie in zombies:
            member.process, zombie.process = zombie.process, None
            member.expected = set()
            self.members.remove(zombie)
        return bool(zombies)

    def weigh(self) -> None:
        """Take note, once a second, of the most memory that each process has had resident."""
        if time.monotonic() < self._weigh_at:
            return
        self._weigh_at = time.monotonic() + 1.0
        for member in self.members:
            if member.process is not None:
                member.peak_mb = max(member.peak_mb, _peak_mb(member.process.pid))

    def dump_stacks(self, deployment: str) -> None:
        """Let the members write the stacks of their threads to their logs."""
        for member in self.select(deployment):
            self._signal(member, signal.SIGUSR1)

    def end(self) -> None:
        """Kill whatever still runs."""
        for member in self.members:
            if member.alive:
                self.kill(member)

    def _signal(self, member: Member, number: signal.Signals) -> None:
        if member.process is not None and member.alive:
            member.process.send_signal(number)


def _peak_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return found[0] if found else 0.0
