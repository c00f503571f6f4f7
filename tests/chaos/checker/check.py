"""The checker itself: follows every topic while the service runs, and judges."""

from __future__ import annotations

from chaos.checker.findings import Finding, Findings, Report
from chaos.checker.stream import Stream

__all__ = ["Checker"]


class Checker:
    """Follows a deployment live, from the beginning of its topics, and says what it does wrong.

    Parameters
    ----------
    stream : Stream
        The deployment; its topics must exist.
    faults : bool
        Whether faults are being injected, so that aborted records must be seen (invariant 6).
    """

    def __init__(self, stream: Stream, *, faults: bool = False) -> None:
        self._stream = stream
        self._faults = faults
        self._findings = Findings()

    def start(self) -> None:
        """Begin to follow, on threads of its own; brokers may come and go."""

    def findings(self) -> list[Finding]:
        """What was found so far."""
        return self._findings.all()

    def finish(self, deadline_seconds: float) -> Report:
        """Wait until everything produced has been processed and read, judge, and stop following.

        Call it when nothing more is produced and no more faults come; the service may go on, or have been
        stopped after it was done. What is not processed, or hangs, by the deadline is found.
        """
        return Report(self.findings())
