"""The consume-transform-produce loop: reads, transforms and writes, exactly once.

Three threads: the caller's polls, and keeps polling while the others are busy; one applies windows, one
commits (:mod:`consumers.pipeline`); only :mod:`consumers.committer` begins, commits and aborts. Windows
belong to an epoch: a stretch of one group generation without an abort. When it ends, for whatever reason,
windows that are not committed are dropped, and reading goes on at the committed offsets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog
from kafka import errors as kafka_errors

from consumers.committer import Committer
from consumers.connecting import mended_by_a_person
from consumers.errors import FencedError
from consumers.membership import Membership
from consumers.pipeline import Epoch, Pipeline
from consumers.reader import processed_before
from consumers.settings import Settings
from consumers.starting import MissingOffset, Starting, deleted_before_read
from consumers.transform import InputRecord, Observer, Output, Partition, Silent, Transform, Unit
from consumers.watch import Watch

__all__ = ["InputRecord", "Observer", "Output", "Partition", "TransactionalLoop", "Transform", "Unit"]

W = TypeVar("W")
log = structlog.get_logger()

_POLL_MS = 100  # windows close by age this exactly
_PAUSED_POLL_MS = 10
_HIGH_WINDOWS, _LOW_WINDOWS = 4, 2
_CLOSE_SECONDS = 2.0


class TransactionalLoop(Generic[W]):
    """Runs a transform over topics, exactly once.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    group, transactional_id : str
        The consumer group and the identity of this process among its siblings.
    input_topics : sequence of str
        What to read.
    transform : Transform
        What to do with it.
    output_topics : sequence of str
        What the transform writes to; they must exist.
    ledger_topic : str, optional
        Where the ledger of this group is written: a partition that it knows never starts anew.
    on_missing_offset : {"start", "earliest"}
        A partition without a committed offset begins at `settings.input.start` (the sampler), or at the
        earliest message, also after messages were deleted (the clusterer, whose input is soft).
    shared_id : bool
        Several replicas share the transactional id; it is initialised by the one that is assigned partitions,
        and one that is fenced becomes a standby.
    group_instance_id : str, optional
        Makes the member static: restarted within the session timeout, it has its partitions back at once.
    observer : Observer
        Told of stages, transactions, lag.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group: str,
        transactional_id: str,
        input_topics: Sequence[str],
        transform: Transform[W],
        output_topics: Sequence[str] = (),
        ledger_topic: str | None = None,
        on_missing_offset: MissingOffset = "start",
        shared_id: bool = False,
        group_instance_id: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._settings = settings
        self._group = group
        self._transform = transform
        self._ledger_topic = ledger_topic
        self._policy = on_missing_offset
        self._shared = shared_id
        self._observer = observer or Silent()
        self._membership = Membership(settings, group, input_topics, group_instance_id, output_topics)
        self._watch = Watch(self._membership, self._observer, group, soft=on_missing_offset == "earliest")
        start = settings.input.start
        self._starting = Starting(group=group, start=start, policy=on_missing_offset, ledger=self._look_up)
        self._committer = Committer(settings, transactional_id, self._observer)
        self._pipeline = self._new_pipeline()
        self._epoch: Epoch | None = None
        self._last_seen = time.monotonic()

    def _new_pipeline(self) -> Pipeline[W]:
        return Pipeline(self._transform, self._committer, self._settings.window.commit_interval_seconds)

    @property
    def last_seen(self) -> float:
        """Monotonic time at which the polling thread last came round; it does while the brokers are down."""
        return self._last_seen

    @property
    def assigned(self) -> tuple[Partition, ...]:
        """The partitions that are being read now; none before the first assignment and for a standby."""
        epoch = self._epoch
        return () if epoch is None else epoch.partitions

    @property
    def lag(self) -> Mapping[Partition, int]:
        """Messages between the committed position and the last stable offset, by partition."""
        return self._watch.lag

    @property
    def leaderless(self) -> tuple[Partition, ...]:
        """Assigned partitions that no broker serves at the moment; the others are read."""
        return self._watch.leaderless

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; windows at hand are then finished within the grace period, or dropped.

        While the brokers are down it waits, for ever, and says so in the log.

        Raises
        ------
        ServiceError
            Says what a person must mend; nothing is half done then.
        """
        self._pipeline.start()
        try:
            while not stop.is_set() and self._membership.join(stop, self._alive):
                self._turn(stop)
            if self._epoch is not None:
                self._pipeline.finish(self._settings.grace_seconds)
                self._pipeline.spoiled()  # raises what ended a thread meanwhile
        finally:
            self._let_go(_CLOSE_SECONDS)

    def _alive(self) -> None:
        self._last_seen = time.monotonic()

    def _turn(self, stop: threading.Event) -> None:
        """Poll until stopped, or until this member has to join anew."""
        try:
            while not stop.is_set():
                self._alive()
                records = self._poll(_PAUSED_POLL_MS if self._membership.paused else _POLL_MS)
                if not self._in_force():
                    self._new_epoch(stop)
                elif self.assigned:
                    self._feed(records)
        except FencedError as error:
            if not (self._shared or self._membership.place_is_free(stop, self._alive)):
                raise
            log.warning("shut out, joining the group anew", group=self._group, reason=str(error))
            self._let_go(self._settings.transaction_timeout_seconds)
            self._pipeline = self._new_pipeline()
            self._pipeline.start()

    def _poll(self, timeout_ms: int) -> list[InputRecord]:
        began = time.monotonic()
        try:
            records = self._membership.poll(timeout_ms)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            self._passed_over(error)
            return []
        if records:
            self._observer.observe_stage("poll", time.monotonic() - began)
        return records

    def _passed_over(self, error: Exception) -> None:
        """What is to be read next is gone: stop and say so; soft input goes on at what is left."""
        if self._policy != "earliest":
            self._watch.require_same_topics()  # a new topic looks like an old one that lost messages
            sentence = mended_by_a_person(error)
            raise sentence or deleted_before_read(
                self._membership.consumer, error.args[0], self._group
            ) from error
        log.warning("messages were deleted before they were read", reason=str(error))
        self._epoch = None

    def _in_force(self) -> bool:
        """Whether the poll just done belongs to the epoch in force."""
        spoiled = self._pipeline.spoiled()
        return self._epoch is not None and not spoiled and self._epoch == self._snapshot()

    def _snapshot(self) -> Epoch:
        return Epoch(*self._membership.snapshot())

    def _feed(self, records: Sequence[InputRecord]) -> None:
        for window in self._transform.cut(records, time.monotonic()):
            self._pipeline.submit(window)
        self._press()
        if self._watch.due():
            self._report()

    def _press(self) -> None:
        """Pause reading while much is on its way, resume when little is left: no flapping in between."""
        windows, nbytes = self._pipeline.load()
        pending, room = self._transform.pending_bytes(), self._settings.window.max_bytes
        if not self._membership.paused and (windows >= _HIGH_WINDOWS or max(nbytes, pending) > room):
            self._membership.pause()
        elif self._membership.paused and windows <= _LOW_WINDOWS and nbytes <= room // 2 and pending <= room:
            self._membership.resume()

    def _report(self) -> None:
        pending = self._pipeline.load()[1] + self._transform.pending_bytes()
        self._observer.set_load(len(self.assigned), pending)
        self._watch.look(self._pipeline.committed(), idle=self._pipeline.wait_idle(0) and not pending)

    def _new_epoch(self, stop: threading.Event) -> None:
        """Drop what is pending and go back to the committed offsets; once more where that fails."""
        self._epoch = None
        self._drop(stop)
        epoch = self._snapshot()
        if stop.is_set() or not self._membership.stable(epoch.membership):
            return
        if not self._membership.confirmed(self._committer.failed_at):
            return  # a zombie must not shut out its successor by initialising the id once more
        try:
            self._membership.require_topics()
            self._membership.require_stream()
            if epoch.partitions:
                self._begin(epoch, stop)
            else:
                self._stand_by(epoch)
        except kafka_errors.KafkaError as error:
            sentence = mended_by_a_person(error)
            if sentence is not None:
                raise sentence from error
            self._membership.say("not ready yet, trying again", error)

    def _drop(self, stop: threading.Event) -> None:
        self._pipeline.drop()
        self._membership.pause()
        while not (self._pipeline.wait_idle(0) or stop.is_set()):
            self._alive()
            # The client drops a join that ends between two polls, and is then put out of the group for its
            # silence: a poll that waits for nothing would never join.
            self._poll(_PAUSED_POLL_MS)
        self._pipeline.spoiled()  # raises what ended a thread

    def _begin(self, epoch: Epoch, stop: threading.Event) -> None:
        # The id first: it ends what a predecessor left open, and only then are the committed offsets settled.
        stale = self._shared or not self._committer.ready
        if stale and not self._committer.initialise(stop, self._alive):
            return
        positions = self._positions(epoch)
        if positions is None or self._snapshot() != epoch:
            return
        self._membership.seek(positions)
        self._watch.begin()
        self._transform.reset(epoch.partitions)
        self._pipeline.begin(epoch, positions)
        self._epoch = epoch
        log.info("reading", partitions=[f"{topic}/{number}" for topic, number in epoch.partitions])

    def _positions(self, epoch: Epoch) -> Mapping[Partition, int] | None:
        consumer, committed = self._membership.consumer, self._pipeline.committed()
        found = self._starting.find(consumer, epoch.partitions, committed)
        if found is None or not found.to_commit:
            return None if found is None else found.positions
        outcome = self._committer.commit([Unit((), found.to_commit)], epoch.membership)
        return found.positions if outcome == "committed" else None

    def _look_up(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        if self._ledger_topic is None:
            return {}
        return processed_before(self._settings, self._ledger_topic, partitions)

    def _stand_by(self, epoch: Epoch) -> None:
        if self._shared:
            self._committer.close()
        self._transform.reset(())
        self._pipeline.begin(epoch, {})
        self._epoch = epoch
        self._watch.begin()
        self._observer.set_load(0, 0)
        log.info("standing by: the group has more members than partitions")

    def _let_go(self, seconds: float) -> None:
        """Leave the group and drop everything that is not in a transaction yet."""
        self._epoch = None
        self._pipeline.drop()
        self._pipeline.close(seconds)
        self._committer.close()
        self._membership.leave()
