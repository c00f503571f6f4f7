"""What a reader with read_committed sees of the service, and when it sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import orjson
from kafka import KafkaConsumer, TopicPartition

from consumers.records import LedgerEntry
from consumers.records.publication_head import HEAD_KEY
from consumers.settings import Settings

__all__ = ["Seen", "Witness"]

DEADLINE = 120.0


@dataclass(frozen=True)
class Seen:
    """A committed window, or a published version.

    Attributes
    ----------
    at : float
        When it could be read, in seconds since 1970.
    made : float
        When it was written, before its commit.
    partitions : frozenset of int
        Of the input, in this window; none for a version.
    """

    at: float
    made: float
    partitions: frozenset[int] = frozenset()


class Witness:
    """Follows the ledger and the clusters from now on, on a thread."""

    def __init__(self, settings: Settings) -> None:
        self.windows: list[Seen] = []
        self.versions: list[Seen] = []
        self._topics = {settings.topic("windows"): self._window, settings.topic("clusters"): self._version}
        self._consumer = KafkaConsumer(
            bootstrap_servers=settings.kafka.bootstrap_servers,
            group_id=None,
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
        )
        self._newest = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Witness:
        partitions = [TopicPartition(topic, 0) for topic in self._topics]
        self._consumer.assign(partitions)
        self._consumer.seek_to_end(*partitions)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def window(self, since: float, wanted: Callable[[frozenset[int]], bool] = bool) -> Seen:
        """Wait for the first window written after `since` whose partitions are `wanted`."""
        return self._wait(lambda: [one for one in self.windows if wanted(one.partitions)], since)

    def version(self, since: float) -> Seen:
        """Wait for the first version written after `since`."""
        return self._wait(lambda: self.versions, since)

    def gap(self, begin: float, end: float) -> float:
        """The longest time without a new window of anybody, between `begin` and `end` (seconds)."""
        time.sleep(max(0.0, end - time.time()))
        before = max((one.at for one in self.windows if one.at <= begin), default=begin)
        times = [before, *sorted(one.at for one in self.windows if begin < one.at <= end), end]
        return max(after - before for before, after in pairwise(times))

    def _wait(self, look: Callable[[], list[Seen]], since: float) -> Seen:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = [one for one in look() if one.made > since]
            if found:
                return found[0]
            time.sleep(0.02)
        raise SystemExit(f"nothing came for {DEADLINE:.0f} s: the service stands still")

    def _run(self) -> None:
        while not self._stop.is_set():
            for batch in self._consumer.poll(timeout_ms=50).values():
                for record in batch:
                    self._topics[record.topic](record.key, record.value, record.timestamp / 1000)

    def _window(self, key: bytes, value: bytes, made: float) -> None:
        partitions = frozenset(part.partition for part in LedgerEntry.decode(value).ranges)
        self.windows.append(Seen(time.time(), made, partitions))

    def _version(self, key: bytes, value: bytes | None, made: float) -> None:
        if key == HEAD_KEY and value is not None and orjson.loads(value)["version"] > self._newest:
            self._newest = orjson.loads(value)["version"]
            self.versions.append(Seen(time.time(), made))
