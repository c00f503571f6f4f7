"""Two threads behind the polling one: one applies windows, one commits what they come to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from kafka.structs import ConsumerGroupMetadata

from consumers.committer import Committer
from consumers.transform import Outcome, Partition, Transform, Unit

__all__ = ["Epoch", "Pipeline"]

W = TypeVar("W")
log = structlog.get_logger()
_TRANSACTION_BYTES = 32_000_000
_QUICK_SECONDS = 1.0  # a transaction that failed later than this may have been too large


@dataclass(frozen=True)
class Epoch:
    """A stretch of one membership of the group without an abort; windows never cross its border.

    Attributes
    ----------
    membership : ConsumerGroupMetadata
        The snapshot that every transaction of this epoch carries.
    partitions : tuple of (topic, partition)
        Assigned; none for a standby.
    """

    membership: ConsumerGroupMetadata
    partitions: tuple[Partition, ...]


class Pipeline(Generic[W]):
    """Windows go in, transactions come out, in order and of one epoch only.

    Parameters
    ----------
    transform : Transform
        Its `apply` runs on the compute thread.
    committer : Committer
        Used by the commit thread while windows are in flight, by nobody else then.
    interval : float
        Seconds; units that are ready within it share a transaction.
    """

    def __init__(self, transform: Transform[W], committer: Committer, interval: float) -> None:
        self._transform = transform
        self._committer = committer
        self._interval = interval
        self._changed = threading.Condition()
        self._windows: deque[tuple[W, int]] = deque()
        self._units: deque[tuple[Unit, int]] = deque()
        self._epoch: Epoch | None = None
        self._applying = self._committing = self._bytes = 0
        self._last_begin = float("-inf")
        self._room = _TRANSACTION_BYTES
        self._closed = self._hurry = False
        self._failure: BaseException | None = None
        self._spoiled = False
        self._committed: dict[Partition, int] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in (("compute", self._compute), ("commit", self._commit))
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def begin(self, epoch: Epoch, committed: Mapping[Partition, int]) -> None:
        """Accept windows of a new epoch; the one before must have been dropped and be idle."""
        with self._changed:
            self._epoch, self._spoiled, self._committed = epoch, False, dict(committed)

    def submit(self, window: W) -> None:
        """Take a window of the epoch in force."""
        nbytes = self._transform.window_bytes(window)
        with self._changed:
            self._windows.append((window, nbytes))
            self._bytes += nbytes
            self._changed.notify_all()

    def drop(self) -> None:
        """Forget everything that is not in a transaction yet, and accept nothing until :meth:`begin`."""
        with self._changed:
            self._bytes -= sum(nbytes for _, nbytes in (*self._windows, *self._units))
            self._windows.clear()
            self._units.clear()
            self._epoch = None
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is queued or in flight; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held() == 0 or self._failure is not None, seconds)

    def load(self) -> tuple[int, int]:
        """Return how many windows are not applied yet, and their bytes and those of outputs to commit."""
        with self._changed:
            return len(self._windows) + self._applying, self._bytes

    def committed(self) -> dict[Partition, int]:
        """Where each partition of the epoch is committed."""
        with self._changed:
            return dict(self._committed)

    def spoiled(self) -> bool:
        """Whether a transaction of this epoch did not commit; raises what made a thread end."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            return self._spoiled

    def finish(self, seconds: float) -> bool:
        """Commit what is queued without waiting for more; False when that takes longer."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._held() == 0 or self._over(), seconds)
            return done and not self._over()

    def close(self, seconds: float) -> None:
        """End both threads, waiting for what they have in hand."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _over(self) -> bool:
        return self._spoiled or self._failure is not None

    def _held(self) -> int:
        return len(self._windows) + len(self._units) + self._applying + self._committing

    def _run(self, work: Callable[[], bool]) -> None:
        try:
            while work():
                pass
        except BaseException as failure:  # for the polling thread to raise
            with self._changed:
                self._failure = self._failure or failure
                self._changed.notify_all()

    def _compute(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._windows or self._closed)
            if self._closed:
                return False
            (window, nbytes), epoch, self._applying = self._windows.popleft(), self._epoch, 1
        unit = self._transform.apply(window)
        written = sum(len(output.value or b"") for output in unit.outputs)
        with self._changed:
            self._applying = 0
            self._bytes -= nbytes
            if self._epoch is epoch and not self._spoiled:
                self._units.append((unit, written))
                self._bytes += written
            self._changed.notify_all()
        return True

    def _commit(self) -> bool:
        epoch, units, nbytes = self._next_transaction()
        if epoch is None:
            return not self._closed
        outcome = self._committer.commit(units, epoch.membership)
        if outcome == "committed":
            for unit in units:
                unit.on_commit()
        with self._changed:
            self._make_room(nbytes, outcome)
            self._committing = 0
            self._bytes -= nbytes
            if outcome == "committed":
                self._committed |= {
                    partition: end for unit in units for partition, end in unit.offsets.items()
                }
            self._spoiled = self._spoiled or outcome != "committed"
            self._changed.notify_all()
        return True

    def _next_transaction(self) -> tuple[Epoch | None, list[Unit], int]:
        """Wait for units, then for those that follow within the interval since the last transaction began."""
        with self._changed:
            self._changed.wait_for(lambda: (self._units and not self._spoiled) or self._closed)
            due = self._last_begin + self._interval - time.monotonic()
            self._changed.wait_for(lambda: self._closed or self._hurry or not self._units, max(0.0, due))
            if self._closed or not self._units or self._spoiled:
                return None, [], 0
            self._last_begin = time.monotonic()
            units, nbytes = self._take()
            self._committing = len(units)
            return self._epoch, units, nbytes

    def _make_room(self, nbytes: int, outcome: Outcome) -> None:
        """Make smaller transactions after one that was too slow, as under a quota: it would be so again."""
        seconds = time.monotonic() - self._last_begin
        if outcome == "committed" and seconds < _QUICK_SECONDS:
            self._room = min(_TRANSACTION_BYTES, 2 * self._room)
        elif outcome != "committed" and seconds >= _QUICK_SECONDS:
            self._room = max(1, min(nbytes, self._room) // 2)
            log.warning("a transaction took too long: the next are smaller", most_bytes=self._room)

    def _take(self) -> tuple[list[Unit], int]:
        units: list[Unit] = []
        nbytes = 0
        while self._units and nbytes < self._room:
            unit, written = self._units.popleft()
            units.append(unit)
            nbytes += written
        return units, nbytes
