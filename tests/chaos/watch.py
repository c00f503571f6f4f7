"""Watches the ledgers from outside: when was each partition last served, and how soon after a fault."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

__all__ = ["Served", "Watch"]


@dataclass(frozen=True)
class Served:
    """A committed window: when it was closed and when it was seen (seconds of the clock), and where."""

    closed: float
    seen: float
    deployment: str
    partitions: frozenset[int]


class Watch:
    """Follows the ledgers of all deployments on a thread; a context manager.

    Parameters
    ----------
    servers : str
        Bootstrap servers, not through the proxy.
    ledgers : mapping of str to str
        From the ledger's topic to its deployment.
    """

    def __init__(self, servers: str, ledgers: Mapping[str, str]) -> None:
        self._servers = servers.split(",")
        self._ledgers = dict(ledgers)
        self._positions = dict.fromkeys((TopicPartition(topic, 0) for topic in ledgers), 0)
        self._began = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.served: list[Served] = []  # only ever appended to

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def next_window(self, deployment: str, moment: float) -> float | None:
        """Seconds from the moment to the first window cut and committed after it; None: not yet."""
        for one in self._after(deployment, moment):
            return one.seen - moment
        return None

    def all_served(self, deployment: str, moment: float, partitions: int) -> float | None:
        """Seconds from the moment until a window of each partition was cut and committed; None: not yet."""
        missing = set(range(partitions))
        for one in self._after(deployment, moment):
            missing -= one.partitions
            if not missing:
                return one.seen - moment
        return None

    def unserved(self, deployment: str, partitions: int, now: float) -> dict[int, float]:
        """By partition: seconds since a window of it was committed, or since the watch began."""
        last: dict[int, float] = {}
        for one in reversed(self.served):
            if one.deployment == deployment:
                for partition in one.partitions:
                    last.setdefault(partition, one.seen)
                if len(last) == partitions:
                    break
        return {partition: now - last.get(partition, self._began) for partition in range(partitions)}

    def _after(self, deployment: str, moment: float) -> list[Served]:
        found = []
        for one in reversed(self.served):
            if one.seen < moment:
                break
            if one.deployment == deployment and one.closed >= moment:
                found.append(one)
        return found[::-1]

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(kafka_errors.KafkaError):
                self._follow()
            self._stop.wait(0.5)

    def _follow(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            request_timeout_ms=5_000,
            fetch_max_wait_ms=100,
        )
        with closing(consumer):
            consumer.assign(list(self._positions))
            for partition, position in self._positions.items():
                consumer.seek(partition, position)
            while not self._stop.is_set():
                for partition, records in consumer.poll(timeout_ms=100).items():
                    self._note(self._ledgers[partition.topic], records)
                    self._positions[partition] = records[-1].offset + 1

    def _note(self, deployment: str, records: list[object]) -> None:
        now = time.time()
        for record in records:
            entry = json.loads(record.value)  # type: ignore[attr-defined]
            partitions = frozenset(int(one["partition"]) for one in entry["ranges"])
            self.served.append(Served(entry["closed_ms"] / 1000, now, deployment, partitions))
