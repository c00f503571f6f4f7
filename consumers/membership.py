"""Our membership of the consumer group: joining, polling, pausing, how far behind we are."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.base import MemberState
from kafka.structs import ConsumerGroupMetadata

from consumers.claims import Holder, holder, refuse_another_stream
from consumers.clients import (
    input_consumer,
    keep_joining,
    leave_for_good,
    require_membership,
    share_fetches,
)
from consumers.connecting import connect, mended_by_a_person
from consumers.errors import TopicError
from consumers.reader import input_record
from consumers.settings import Settings
from consumers.transform import InputRecord, Partition

__all__ = ["Membership"]

log = structlog.get_logger()

_LAG_MS = 1_000
_CLOSE_MS = 2_000
_TOPIC_LOOKS = 4
_SAY_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_SETTLED = 1.5  # session timeouts for which another has our place without a break


class Membership:
    """One member of a consumer group, used by one thread.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    group : str
        The group to join.
    topics : sequence of str
        What it reads.
    instance_id : str, optional
        Makes the member static.
    outputs : sequence of str
        What is written; these topics must exist, too.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Sequence[str],
        instance_id: str | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = list(topics)
        self._needed = [*topics, *outputs]
        self._instance_id = instance_id
        self._mark = secrets.token_hex(8)
        self._consumer: KafkaConsumer | None = None
        self._say_again = 0.0
        self._ours = False
        self.paused = False

    @property
    def consumer(self) -> KafkaConsumer:
        """The client; there is one between :meth:`join` and :meth:`leave`."""
        assert self._consumer is not None
        return self._consumer

    def join(self, stop: threading.Event, alive: Callable[[], None]) -> bool:
        """Connect and subscribe; False when stopped.

        Raises
        ------
        TopicError
            When a topic does not exist.
        """
        self.paused = False
        return connect(self._subscribed, self._settings, stop, alive) is not None

    def _subscribed(self) -> KafkaConsumer:
        self._consumer = input_consumer(self._settings, self._group, self._instance_id, self._mark)
        try:
            self.require_topics()  # before the subscription: that would create them, where brokers do that
            self._consumer.subscribe(self._topics)
            self._consumer.topics()  # known before the group is joined, the topics cost no second rebalance
        except kafka_errors.KafkaError:
            self.leave()
            raise
        return self._consumer

    def poll(self, timeout_ms: int) -> list[InputRecord]:
        """Return records that have come, none after an error that passes by itself.

        Raises
        ------
        OffsetOutOfRangeError, LogTruncationError
            When what is to be read next has been deleted.
        ServiceError
            When polling again would fail again.
        """
        try:
            require_membership(self.consumer)
            batches = self.consumer.poll(timeout_ms=timeout_ms)
        except kafka_errors.NoOffsetForPartitionError:
            time.sleep(timeout_ms / 1000)  # a new assignment: the new epoch sets the positions
            return []
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError):
            raise
        except kafka_errors.KafkaError as error:
            sentence = mended_by_a_person(error)
            if sentence is not None:
                raise sentence from error
            self.say("poll failed, trying again", error)
            time.sleep(timeout_ms / 1000)
            return []
        finally:
            keep_joining(self.consumer)
        return [input_record(record) for batch in batches.values() for record in batch]

    def say(self, what: str, error: Exception) -> None:
        """Write to the log what goes wrong again and again, now and then."""
        if time.monotonic() >= self._say_again:
            self._say_again = time.monotonic() + _SAY_SECONDS
            log.warning(what, reason=f"{type(error).__name__}: {error}")

    def snapshot(self) -> tuple[ConsumerGroupMetadata, tuple[Partition, ...]]:
        """The membership and the assignment as they are after the last poll."""
        assigned = sorted((one.topic, one.partition) for one in self.consumer.assignment() or ())
        return self.consumer.group_metadata(), tuple(assigned)

    @staticmethod
    def stable(membership: ConsumerGroupMetadata) -> bool:
        """Whether the group has settled with us in it."""
        return membership.state is MemberState.STABLE and membership.generation_id >= 0

    def confirmed(self, since: float) -> bool:
        """Whether the group has taken us for a member after a moment (monotonic, seconds).

        One that slept learns only by its next heartbeat that another has its place.
        """
        heartbeat = self.consumer._coordinator.heartbeat
        answered = heartbeat.last_receive >= heartbeat.last_send >= since
        return bool(answered or heartbeat.last_reset >= since)  # reset by the join

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on at these offsets, and no longer paused."""
        share_fetches(self.consumer, len(positions), self._settings.window.max_bytes)
        for partition, offset in positions.items():
            self.consumer.seek(TopicPartition(*partition), offset)
        self.resume()

    def pause(self) -> None:
        """Go on polling, to stay in the group, but read nothing."""
        self.consumer.pause(*(self.consumer.assignment() or ()))
        self.paused = True

    def resume(self) -> None:
        """Read again."""
        self.consumer.resume(*self.consumer.paused())
        self.paused = False

    def lag(self, committed: Mapping[Partition, int], idle: bool) -> dict[Partition, int]:
        """Messages between the committed offsets and the last stable ones.

        Where we are `idle`, the position counts: it is past the markers of the producers' transactions. Of
        partitions without a leader nothing is known.
        """
        assigned = self._assigned(led=True)
        ends = self.consumer.end_offsets(assigned, timeout_ms=_LAG_MS)
        reached = {one: self.consumer.position(one, timeout_ms=_LAG_MS) if idle else None for one in assigned}
        done = {one: reached[one] or committed.get((one.topic, one.partition), 0) for one in assigned}
        return {(one.topic, one.partition): max(0, ends[one] - done[one]) for one in assigned}

    def leaderless(self) -> tuple[Partition, ...]:
        """Assigned partitions that no broker serves at the moment."""
        return tuple(sorted((one.topic, one.partition) for one in self._assigned(led=False)))

    def _assigned(self, *, led: bool) -> list[TopicPartition]:
        cluster = self.consumer._cluster
        assigned = self.consumer.assignment() or ()
        return [one for one in assigned if (cluster.leader_for_partition(one) in (None, -1)) is not led]

    def topic_ids(self) -> dict[str, UUID]:
        """The brokers' own ids of the topics that are read: a topic created anew has another."""
        ids = {topic: self.consumer._cluster.topic_id(topic) for topic in self._topics}
        return {topic: topic_id for topic, topic_id in ids.items() if topic_id is not None}

    def require_topics(self) -> None:
        """A deleted topic is silent otherwise: nothing to read, or writes that wait for their time limit.

        Raises
        ------
        TopicError
            When a topic does not exist.
        """
        missing = self._needed
        for attempt in range(_TOPIC_LOOKS):
            time.sleep(attempt * 0.2)  # a broker that has just started does not know them all at once
            there = self.consumer.topics()
            missing = [topic for topic in self._needed if topic not in there]
            if not missing:
                return
        raise TopicError(
            f"The topic {missing[0]} does not exist, or we lack the right to see it; "
            "check its name, or create it (ours with: stream-coreset topics)."
        )

    def require_stream(self) -> None:
        """Once, and as a member: from then on the group keeps out who reads another stream.

        Raises
        ------
        StreamError
            When our name has been used for another stream.
        """
        if not self._ours:
            refuse_another_stream(self._settings, self._group)
            self._ours = True

    def place_is_free(self, stop: threading.Event, alive: Callable[[], None]) -> bool:
        """Whether we may join anew at the place that we were shut out of: nobody has it, or our own past.

        A static member can be shut out by itself: where the answer to its join was lost, the group holds a
        member that nobody is. Another process that lives may be missing for less than a session.
        """
        if self._instance_id is None:
            return False
        session = self._settings.session_timeout_seconds
        seen = began = time.monotonic()
        while not stop.wait(_LOOK_SECONDS):
            alive()
            who, now = self._holder(), time.monotonic()
            if who == "ourselves" or (who == "nobody" and now - seen > session):
                return True
            seen = seen if who == "nobody" else now
            began = began if who == "another" else now
            if now - began > _SETTLED * session:
                return False
        return True

    def _holder(self) -> Holder:
        """Who has our place; while the brokers do not say, it is not settled."""
        with suppress(kafka_errors.KafkaError):
            return holder(self._settings, self._group, str(self._instance_id), self._mark)
        return "unsettled"

    def leave(self) -> None:
        """Leave the group, so that others have our partitions at once, and close."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            leave_for_good(consumer)
            with suppress(kafka_errors.KafkaError):
                consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
