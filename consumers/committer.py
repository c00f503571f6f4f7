"""The transactional producer: the only place that begins, commits and aborts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import structlog
from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.producer.future import FutureRecordMetadata
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from consumers.clients import release, transactional_producer
from consumers.connecting import connect, mended_by_a_person
from consumers.errors import FencedError
from consumers.settings import Settings
from consumers.transform import Observer, Outcome, Output, Unit

__all__ = ["Committer"]

log = structlog.get_logger()

_Result = tuple[Outcome, Exception | None]

_CLOSE_SECONDS = 2.0
_MORE_SECONDS = 0.5  # for what has a time limit of its own to end by itself
_DEADLINE = 0.9  # of the transaction's timeout: we give up before the coordinator does
_FENCED_AGAIN = 3  # transaction timeouts; fenced twice within, we share the id with a process that lives
_FENCED = (kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError)


class Committer:
    """Commits units of one transactional id, one transaction after the other, from one thread at a time.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    transactional_id : str
        Whoever initialises it last may write; everybody before is fenced.
    observer : Observer
        Told how transactions end and how long they take.

    Attributes
    ----------
    failed_at : float
        Monotonic time, in seconds, at which a transaction last did not commit.
    """

    def __init__(self, settings: Settings, transactional_id: str, observer: Observer) -> None:
        self._settings = settings
        self._id = transactional_id
        self._observer = observer
        self._deadline = _DEADLINE * settings.transaction_timeout_seconds
        self._producer: KafkaProducer | None = None
        self._fenced_at = float("-inf")
        self.failed_at = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether there is a producer whose transactions have all been committed."""
        return self._producer is not None

    def initialise(self, stop: threading.Event, alive: Callable[[], None]) -> bool:
        """Make a new producer; ends what a predecessor left open and fences it. False when stopped."""
        self.close()
        while not stop.is_set():
            producer = connect(self._make, self._settings, stop, alive)
            if producer is None:
                return False
            try:
                producer.init_transactions()
            except kafka_errors.KafkaError as error:
                release(producer)
                self._explain(error)
                stop.wait(0.2)
                continue
            self._producer = producer
            return True
        return False

    def commit(self, units: Sequence[Unit], membership: ConsumerGroupMetadata) -> Outcome:
        """Write all of the units and their offsets, or nothing.

        Parameters
        ----------
        units : sequence of Unit
            Of one generation of the group.
        membership : ConsumerGroupMetadata
            The snapshot of the poll that fed the units: a later one would let a zombie commit.

        Returns
        -------
        {"committed", "aborted", "unknown"}
            Unless committed, the caller initialises and re-reads the committed offsets.

        Raises
        ------
        FencedError
            When others take over the transactional id again and again.
        ServiceError
            When trying again would fail again: a right that is missing, a record that is too large.
        """
        began = time.monotonic()
        outcome, error = self._in_time(units, membership)
        seconds = time.monotonic() - began
        self._observer.observe_stage("commit", seconds)
        self._observer.transaction(outcome)
        if outcome != "committed":
            # Never used again: records may still be on their way, which only a new producer shuts out, and
            # the client would commit the refused offsets with the next ones, though another member may own
            # those partitions by then.
            self.close()
            self.failed_at = time.monotonic()
        if error is not None:
            self._explain(error, expired=seconds >= self._deadline)
        return outcome

    def close(self) -> None:
        """Let the producer go; an open transaction ends with its timeout or with the next initialisation."""
        producer, self._producer = self._producer, None
        if producer is not None:
            release(producer)

    def _make(self) -> KafkaProducer:
        return transactional_producer(self._settings, self._id)

    def _in_time(self, units: Sequence[Unit], membership: ConsumerGroupMetadata) -> _Result:
        """Try on a thread of its own: the client gives commit, abort and offsets no time limit.

        Closing the producer releases most of what hangs, but an abort that begins after that never returns;
        such a thread is left behind.
        """
        producer = self._producer
        if producer is None or (membership.generation_id < 0 and any(unit.offsets for unit in units)):
            return "aborted", None  # (generation -1, no member) would be accepted from anybody
        results: SimpleQueue[_Result] = SimpleQueue()
        stream = self._settings.stream_digest()
        trial = _Trial(producer, units, membership, stream, time.monotonic() + self._deadline)
        threading.Thread(target=lambda: results.put(trial.run()), name="transaction", daemon=True).start()
        for seconds in (self._deadline + _MORE_SECONDS, _CLOSE_SECONDS):
            with suppress(Empty):
                return results.get(timeout=seconds)
            self.close()
        return "unknown", kafka_errors.KafkaTimeoutError("the brokers do not answer")

    def _explain(self, error: Exception, expired: bool = True) -> None:
        """Raise what a person must mend; write the rest to the log."""
        if isinstance(error, kafka_errors.TransactionalIdAuthorizationFailedError):
            error.args = (self._id,)  # the client does not say which
        sentence = mended_by_a_person(error)
        if sentence is not None:
            raise sentence from error
        if isinstance(error, _FENCED) and not expired:  # else the coordinator may have ended it for its age
            self._fenced(error)
        log.warning("transaction not committed, trying again", id=self._id, reason=str(error))

    def _fenced(self, error: Exception) -> None:
        """Once may be an initialisation of our own that we had given up, and that came through late."""
        before, self._fenced_at = self._fenced_at, time.monotonic()
        if self._fenced_at - before < _FENCED_AGAIN * self._settings.transaction_timeout_seconds:
            raise FencedError(
                "Another process with the same name and instance has taken over the transactional id "
                f"{self._id}; give each process its own `instance`, or stop the other one."
            ) from error


@dataclass(frozen=True)
class _Trial:
    """One transaction."""

    producer: KafkaProducer
    units: Sequence[Unit]
    membership: ConsumerGroupMetadata
    stream: str
    deadline: float

    def run(self) -> _Result:
        try:
            self._write()
        except Exception as error:
            return "aborted", self._abort(_cause(error))
        try:
            self.producer.commit_transaction()
        except Exception as error:
            return "unknown", _cause(error)
        return "committed", None

    def _write(self) -> None:
        self.producer.begin_transaction()
        futures = [_send(self.producer, output) for unit in self.units for output in unit.outputs]
        with suppress(kafka_errors.KafkaError):  # it only hurries: it fails too where a batch is merely split
            self.producer.flush(self._remaining())
        for future in futures:  # a commit succeeds though a record was lost: every one is looked at
            future.get(timeout=self._remaining())
        offsets = _offsets(self.units, self.stream)
        if offsets:
            self._send_offsets(offsets)

    def _send_offsets(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        try:
            self.producer.send_offsets_to_transaction(offsets, self.membership)
        except kafka_errors.FencedInstanceIdError as error:
            # So it looks, too, when we ourselves have joined anew since the snapshot. Another process of this
            # instance is for the next poll to tell.
            raise kafka_errors.CommitFailedError("the membership is no longer in force") from error

    def _remaining(self) -> float:
        return max(0.001, self.deadline - time.monotonic())

    def _abort(self, error: Exception) -> Exception:
        """Abort where the brokers answered; else the next initialisation of the id does it."""
        if isinstance(error, kafka_errors.CommitFailedError) or mended_by_a_person(error) is not None:
            try:
                self.producer.abort_transaction()
            except Exception as another:
                return another if mended_by_a_person(error) is None else error
        return error


def _cause(error: Exception) -> Exception:
    """The fencing that the client, asked again, tells as a general error."""
    return next((one for one in (error, *error.args) if isinstance(one, _FENCED)), error)


def _send(producer: KafkaProducer, output: Output) -> FutureRecordMetadata:
    return producer.send(
        output.topic,
        value=output.value,
        key=output.key,
        headers=list(output.headers),
        partition=output.partition,
        timestamp_ms=output.timestamp_ms if (output.timestamp_ms or 0) > 0 else None,
    )


def _offsets(units: Sequence[Unit], stream: str) -> dict[TopicPartition, OffsetAndMetadata]:
    ends = {partition: end for unit in units for partition, end in unit.offsets.items()}
    return {TopicPartition(*partition): OffsetAndMetadata(end, stream, -1) for partition, end in ends.items()}
