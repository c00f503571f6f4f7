"""The transactional producer: the only place that begins, commits and aborts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog
from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from consumers.clients import transactional_producer
from consumers.connecting import connect, mended_by_a_person
from consumers.errors import FencedError
from consumers.settings import Settings
from consumers.transform import Observer, Outcome, Output, Unit

__all__ = ["Committer"]

log = structlog.get_logger()

_CLOSE_SECONDS = 2.0
_DEADLINE = 0.9  # of the transaction's timeout: we give up before the coordinator does
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
    """

    def __init__(self, settings: Settings, transactional_id: str, observer: Observer) -> None:
        self._settings = settings
        self._id = transactional_id
        self._observer = observer
        self._deadline = _DEADLINE * settings.transaction_timeout_seconds
        self._producer: KafkaProducer | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a producer whose state is surely clean."""
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
                _release(producer)
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
            Unless committed, the caller re-reads the committed offsets; unless `ready`, it initialises first.

        Raises
        ------
        FencedError
            When another process has taken over the transactional id.
        ServiceError
            When trying again would fail again: a right that is missing, a record that is too large.
        """
        began = time.monotonic()
        outcome = self._attempt(units, membership, began)
        self._observer.observe_stage("commit", time.monotonic() - began)
        self._observer.transaction(outcome)
        return outcome

    def close(self) -> None:
        """Let the producer go; an open transaction ends with its timeout or with the next initialisation."""
        producer, self._producer = self._producer, None
        if producer is not None:
            _release(producer)

    def _make(self) -> KafkaProducer:
        return transactional_producer(self._settings, self._id)

    def _attempt(self, units: Sequence[Unit], membership: ConsumerGroupMetadata, began: float) -> Outcome:
        producer = self._producer
        if producer is None or (membership.generation_id < 0 and any(unit.offsets for unit in units)):
            return "aborted"  # (generation -1, no member) would be accepted from anybody
        with self._watchdog(producer):
            try:
                self._write(producer, units, membership, began)
            except Exception as error:
                self._abort(producer, error, began)
                return "aborted"
            try:
                producer.commit_transaction()
            except Exception as error:
                self.close()
                self._explain(error, began)
                return "unknown"
        return "committed"

    def _write(
        self, producer: KafkaProducer, units: Sequence[Unit], membership: ConsumerGroupMetadata, began: float
    ) -> None:
        producer.begin_transaction()
        futures = [_send(producer, output) for unit in units for output in unit.outputs]
        with suppress(kafka_errors.KafkaError):  # it only hurries: it fails too where a batch is merely split
            producer.flush(self._remaining(began))
        for future in futures:  # a commit succeeds though a record was lost: every one is looked at
            future.get(timeout=self._remaining(began))
        offsets = _offsets(units)
        if offsets:
            producer.send_offsets_to_transaction(offsets, membership)

    def _remaining(self, began: float) -> float:
        return max(0.001, began + self._deadline - time.monotonic())

    def _abort(self, producer: KafkaProducer, error: Exception, began: float) -> None:
        """Abort; the producer stays only where nothing of the transaction can be on its way any more."""
        try:
            producer.abort_transaction()
            clean = isinstance(error, kafka_errors.CommitFailedError)
        except Exception as another:
            error = another if isinstance(another, _FENCED) else error
            clean = False
        if not clean:
            self.close()
        self._explain(error, began)

    def _explain(self, error: Exception, began: float | None = None) -> None:
        """Raise what a person must mend; write the rest to the log."""
        sentence = mended_by_a_person(error)
        if sentence is not None:
            raise sentence from error
        expired = began is not None and time.monotonic() - began >= self._deadline
        if isinstance(error, _FENCED) and began is not None and not expired:
            raise FencedError(
                "Another process with the same name and instance has taken over the transactional id "
                f"{self._id}; give each process its own `instance`, or stop the other one."
            ) from error
        log.warning(
            "transaction not committed, trying again", id=self._id, reason=f"{type(error).__name__}: {error}"
        )

    @contextmanager
    def _watchdog(self, producer: KafkaProducer) -> Iterator[None]:
        """Release a commit, an abort or offsets that hang: the client gives them no time limit."""
        timer = threading.Timer(self._deadline, _release, [producer])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _send(producer: KafkaProducer, output: Output):  # type: ignore[no-untyped-def]
    return producer.send(
        output.topic,
        value=output.value,
        key=output.key,
        headers=list(output.headers),
        partition=output.partition,
        timestamp_ms=output.timestamp_ms,
    )


def _offsets(units: Sequence[Unit]) -> dict[TopicPartition, OffsetAndMetadata]:
    ends = {partition: end for unit in units for partition, end in unit.offsets.items()}
    return {TopicPartition(*partition): OffsetAndMetadata(end, "", -1) for partition, end in ends.items()}


def _release(producer: KafkaProducer) -> None:
    """Close a producer whatever its state; records still on their way fail."""
    try:
        producer.close(_CLOSE_SECONDS)
    except Exception:  # it waits for its records first, and gives up the closing when they take too long
        with suppress(Exception):
            producer._sender.force_close()
            producer.close(_CLOSE_SECONDS)
