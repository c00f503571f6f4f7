"""What the brokers say: the offsets of the groups, the ends of the topics, transactions (invariant 5)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from chaos.checker.findings import Findings
from chaos.checker.following import client_options
from chaos.checker.messages import Partition
from chaos.checker.stream import Stream
from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import OffsetSpec

__all__ = ["Ends", "OffsetWatch", "ends", "group_offsets", "overdue_transactions"]

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
_GRACE_SECONDS = 10.0  # that the coordinator may take to end a transaction that is too old
_RUNNING = ("Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence")
Offsets = dict[Partition, int]


@dataclass(frozen=True)
class Ends:
    """Where partitions end: for everybody, and for readers of committed messages."""

    high: Offsets
    stable: Offsets


def admin(servers: str) -> Any:
    """A client that asks."""
    return closing(KafkaAdminClient(**client_options(servers)))


def group_offsets(client: Any, groups: Sequence[str]) -> dict[str, Offsets]:
    """The committed offsets of each group."""
    found = client.list_group_offsets(list(groups))
    return {
        group: {(one.topic, one.partition): said.offset for one, said in offsets.items() if said.offset >= 0}
        for group, offsets in found.items()
    }


def ends(client: Any, topics: Sequence[str]) -> Ends:
    """The ends of every partition of the topics."""
    there = {one["name"]: one["partitions"] for one in client.describe_topics(list(topics))}
    parts = [TopicPartition(name, one["partition_index"]) for name, found in there.items() for one in found]
    latest = dict.fromkeys(parts, OffsetSpec.LATEST)
    high, stable = (
        {(one.topic, one.partition): said.offset for one, said in found.items()}
        for found in (client.list_partition_offsets(latest, isolation_level=level) for level in (0, 1))
    )
    return Ends(high, stable)


def overdue_transactions(client: Any, topics: Sequence[str]) -> list[str]:
    """Ids of transactions on these topics that go on though their own time is over."""
    listed = [one for found in client.list_transactions().values() for one in found]
    names = [one.transactional_id for one in listed if one.state.value in _RUNNING]
    now = 1000 * (time.time() - _GRACE_SECONDS)
    return [
        name
        for name, said in (client.describe_transactions(names) if names else {}).items()
        if said.state.value in _RUNNING
        and now > said.transaction_start_time_ms + said.transaction_timeout_ms
        and any(one.topic in topics for one in said.topic_partitions)
    ]


class OffsetWatch:
    """Looks at the offsets of the groups again and again: they never go back."""

    def __init__(self, stream: Stream, found: Findings) -> None:
        self._stream = stream
        self._found = found
        self._last: dict[str, Offsets] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="offsets", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(kafka_errors.KafkaError, OSError), admin(self._stream.servers) as client:
                while not self._stop.wait(_LOOK_SECONDS):
                    self._compare(group_offsets(client, self._stream.groups))
            self._stop.wait(_AGAIN_SECONDS)

    def _compare(self, now: dict[str, Offsets]) -> None:
        for group, offsets in now.items():
            last = self._last.setdefault(group, {})
            for partition, offset in offsets.items():
                if offset < last.get(partition, 0):
                    where = "/".join(map(str, partition))
                    went = f"from {last[partition]} back to {offset}"
                    self._found.add("offsets", f"group {group} went {went} in {where}")
                last[partition] = offset
