"""Reads topics to their ends and beyond, whatever happens to the brokers meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

from chaos.checker.messages import Batch, Message, Partition
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

__all__ = ["Follower", "client_options"]

_POLL_MS = 200
_AGAIN_SECONDS = 0.5
_LOOK_POLLS = 50  # after so many polls it looks for partitions that were added


def client_options(servers: str) -> dict[str, Any]:
    """Options of every client here: brokers that went away are soon found again."""
    return {
        "bootstrap_servers": servers.split(","),
        "request_timeout_ms": 5_000,
        "bootstrap_timeout_ms": 5_000,
        "reconnect_backoff_max_ms": 500,
        "metadata_max_age_ms": 5_000,
    }


class Follower:
    """Follows topics from their first message on, on a thread of its own.

    Parameters
    ----------
    servers : str
        Bootstrap servers.
    topics : sequence of str
    committed : bool
        Whether messages of aborted and open transactions are left out.
    take : callable
        Given every batch, in order within a partition; may block.
    """

    def __init__(
        self, servers: str, topics: Sequence[str], *, committed: bool, take: Callable[[Batch], None]
    ) -> None:
        self._servers = servers
        self._topics = topics
        self._committed = committed
        self._take = take
        self._read_to: dict[Partition, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follower {committed=}", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was read has been handed on by then."""
        self._stop.set()
        self._thread.join()

    def has_read(self, ends: dict[Partition, int]) -> bool:
        """Whether everything before these offsets, of the topics that it follows, has been handed on."""
        mine = {partition: end for partition, end in ends.items() if partition[0] in self._topics}
        return all(self._read_to.get(partition, 0) >= end for partition, end in mine.items())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
                self.failure = None
            except (kafka_errors.KafkaError, OSError, ValueError) as error:
                self.failure = error  # the brokers are away: once more from where we were
                self._stop.wait(_AGAIN_SECONDS)

    def _follow(self) -> None:
        isolation = "read_committed" if self._committed else "read_uncommitted"
        consumer = KafkaConsumer(
            **client_options(self._servers),
            auto_offset_reset="none",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            isolation_level=isolation,
            fetch_max_wait_ms=100,
            max_poll_records=5_000,
        )
        with closing(consumer):
            while not self._stop.is_set():
                self._assign(consumer)
                for _ in range(_LOOK_POLLS):
                    self._hand_on(consumer, consumer.poll(timeout_ms=_POLL_MS))
                    if self._stop.is_set():
                        break

    def _assign(self, consumer: Any) -> None:
        there = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        missing = set(there) - set(consumer.assignment() or ())
        if not missing:
            return
        first = consumer.beginning_offsets(there)
        consumer.assign(there)
        for one in there:
            consumer.seek(one, self._read_to.setdefault((one.topic, one.partition), first[one]))

    def _hand_on(self, consumer: Any, found: dict[Any, list[Any]]) -> None:
        for one in consumer.assignment() or ():
            partition = (one.topic, one.partition)
            messages = [Message.of(record) for record in found.get(one, ())]
            position = self._read_to[partition]
            with suppress(kafka_errors.KafkaTimeoutError):
                position = consumer.position(one, timeout_ms=_POLL_MS) or position  # past markers, too
            if messages or position > self._read_to[partition]:
                self._take(Batch(self._committed, partition, messages, position))
                self._read_to[partition] = position
