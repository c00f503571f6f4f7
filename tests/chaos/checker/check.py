"""The checker itself: follows every topic while the service runs, and judges."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import astuple
from queue import Queue
from threading import Event, Thread

from chaos.checker.books import Books
from chaos.checker.findings import Finding, Findings, Report
from chaos.checker.following import Follower
from chaos.checker.messages import Batch
from chaos.checker.standing import Ends, OffsetWatch, admin, ends, group_offsets, overdue_transactions
from chaos.checker.stream import Stream
from kafka import errors as kafka_errors

__all__ = ["Checker"]

_BATCHES = 200  # that wait to be judged: followers wait then
_PAUSE_SECONDS = 0.3


class Checker:
    """Follows a deployment live, from the beginning of its topics, and says what it does wrong.

    Parameters
    ----------
    stream : Stream
        The deployment; its topics must exist, its samplers start at the earliest message.
    faults : bool
        Whether faults are being injected, so that aborted records must be seen (invariant 6).
    """

    def __init__(self, stream: Stream, *, faults: bool = False) -> None:
        topics = astuple(stream.topics)
        self._stream = stream
        self._faults = faults
        self._found = Findings()
        self._books = Books(stream, self._found)
        self._queue: Queue[Batch | Event] = Queue(_BATCHES)
        self._followers = {
            True: Follower(stream.servers, topics, committed=True, take=self._queue.put),
            False: Follower(stream.servers, topics[1:], committed=False, take=self._queue.put),
        }
        self._offsets = OffsetWatch(stream, self._found)
        self._judge = Thread(target=self._work, name="judge", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Begin to follow, on threads of its own; brokers may come and go."""
        for one in (self._judge, self._offsets, *self._followers.values()):
            one.start()

    def findings(self) -> list[Finding]:
        """What was found so far."""
        return self._found.all()

    def finish(self, deadline_seconds: float) -> Report:
        """Wait until everything produced has been processed and read, judge, and stop following.

        Call it when nothing more is produced and no more faults come; the service may go on, or have been
        stopped after it was done. What is not processed, or hangs, by the deadline is found.

        Parameters
        ----------
        deadline_seconds : float
            Longer than the transaction timeout of the service, where one of its processes was killed.
        """
        last = self._wait(time.monotonic() + deadline_seconds)
        for one in (self._offsets, *self._followers.values()):
            one.stop()
        self._settle()
        for kind, sentence in last:
            self._found.add(kind, sentence)
        return self._report()

    def _work(self) -> None:
        while True:
            batch = self._queue.get()
            try:
                if isinstance(batch, Event):
                    batch.set()
                elif self._failure is None:
                    self._books.take(batch)
            except Exception as error:  # told at the end: a checker that fails has not checked
                self._failure = error

    def _settle(self) -> None:
        """Wait until everything handed on so far has been judged."""
        done = Event()
        self._queue.put(done)
        done.wait()

    def _wait(self, deadline: float) -> list[tuple[str, str]]:
        """Look until nothing is missing; what still is at the deadline."""
        missing = [("unread", "the brokers never answered")]
        first: Ends | None = None
        while missing and time.monotonic() < deadline:
            with suppress(kafka_errors.KafkaError, OSError), admin(self._stream.servers) as client:
                while missing and time.monotonic() < deadline:
                    first, missing = self._look(client, first)
                    time.sleep(_PAUSE_SECONDS if missing else 0)
        return missing

    def _look(self, client: object, first: Ends | None) -> tuple[Ends, list[tuple[str, str]]]:
        """One look: offsets before the ends of the topics, so that neither runs away from the other."""
        topics = astuple(self._stream.topics)
        offsets = group_offsets(client, self._stream.groups)
        now = ends(client, topics)
        first = first or now
        late = [one for one, high in first.high.items() if now.stable[one] < high]
        overdue = overdue_transactions(client, topics)
        missing = [("hanging", f"{'/'.join(map(str, one))}: a transaction does not end") for one in late]
        missing += [("hanging", f"transaction {name} is older than its timeout") for name in overdue]
        if not (self._followers[True].has_read(now.stable) and self._followers[False].has_read(now.high)):
            return first, [*missing, ("unread", f"the checker is behind: {self._reasons()}")]
        self._settle()
        return first, [*missing, *self._unfinished(offsets)]

    def _reasons(self) -> str:
        failures = [one.failure for one in self._followers.values() if one.failure is not None]
        return str(failures or "its readers are slow")

    def _unfinished(self, offsets: dict[str, dict[tuple[str, int], int]]) -> list[tuple[str, str]]:
        """What is processed and what is committed, at one moment."""
        missing: list[tuple[str, str]] = []
        for partition, end in self._books.ends().items():
            where = "/".join(map(str, partition))
            at = max((found.get(partition, 0) for found in offsets.values()), default=0)
            if at != end:
                missing.append(("offsets", f"the groups are at {at} in {where}, the ledger ends at {end}"))
        left = self._books.left()
        if left:
            missing.append(("unread", f"{len(left)} messages were not processed, {left[0].place} the first"))
        return missing

    def _report(self) -> Report:
        books = self._books
        tests = books.close()
        if self._failure is not None:
            self._found.add("malformed", f"the checker itself failed: {self._failure!r}")
        if self._faults and not books.aborted:
            self._found.add("no faults", "no aborted record was seen: the faults have hit nothing")
        counts = {
            **books.counts,
            "aborted": books.aborted,
            "versions": len(books.publications),
            "unread": len(books.left()),
        }
        return Report(self._found.all(), counts, {test.quantity: test.z for test in tests})
