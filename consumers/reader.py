"""Consumers that only read: a topic to its end, and the clusters as they are published."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, Literal

import structlog
from kafka import KafkaConsumer, TopicPartition

from consumers.clients import plain_consumer
from consumers.errors import TopicError
from consumers.following import Follower
from consumers.records import ClustersAssembler, Publication, RecordError
from consumers.settings import Settings
from consumers.transform import InputRecord, Partition

__all__ = [
    "ClustersFollower",
    "input_record",
    "latest_publication",
    "offset_range",
    "processed_before",
    "read_spans",
    "read_to_end",
    "undecided",
]

Isolation = Literal["read_committed", "read_uncommitted"]
log = structlog.get_logger()
_POLL_MS = 200
_DECIDED_AGAIN_SECONDS = 0.1
_GRACE_SECONDS = 5.0


def input_record(record: Any) -> InputRecord:
    """Make our record of kafka-python's."""
    headers = tuple((name, value or b"") for name, value in record.headers) if record.headers else ()
    return InputRecord(
        record.topic, record.partition, record.offset, record.key, record.value, headers, record.timestamp
    )


def offset_range(
    consumer: KafkaConsumer, topic: str
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return the first and the end offset of every partition of a topic.

    Raises
    ------
    TopicError
        When the topic does not exist.
    """
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    if not partitions:
        raise TopicError(
            f"The topic {topic} does not exist, or we lack the right to see it; make ours with: "
            "stream-coreset topics, and see stream-coreset rights."
        )
    return consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)


def read_to_end(
    settings: Settings,
    topic: str,
    *,
    isolation: Isolation = "read_committed",
    start: Mapping[Partition, int] | None = None,
) -> Iterator[InputRecord]:
    """Yield every record of a topic up to its end as it is now, partition by partition in order of offsets.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    topic : str
        What to read.
    isolation : {"read_committed", "read_uncommitted"}
        Whether records of aborted and open transactions are left out; the end is then before the first
        transaction that is still open.
    start : mapping, optional
        Where to begin in each partition; by default, and where that is deleted, at its first record.
    """
    with closing(plain_consumer(settings, isolation)) as consumer:
        first, ends = offset_range(consumer, topic)
        wanted = start or {}
        open_ends = {}
        for partition, end in ends.items():
            begin = max(first[partition], wanted.get((partition.topic, partition.partition), 0))
            if begin < end:
                open_ends[partition] = (begin, end)
        yield from _read(consumer, open_ends)


def read_spans(settings: Settings, spans: Mapping[Partition, tuple[int, int]]) -> Iterator[InputRecord]:
    """Yield the committed records of spans of offsets (end exclusive) as far as they are there.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    spans : mapping from (topic, partition) to (int, int)
        The partitions must exist.
    """
    with closing(plain_consumer(settings)) as consumer:
        wanted = {TopicPartition(*partition): span for partition, span in spans.items()}
        first, ends = consumer.beginning_offsets(list(wanted)), consumer.end_offsets(list(wanted))
        held = {one: (max(begin, first[one]), min(end, ends[one])) for one, (begin, end) in wanted.items()}
        yield from _read(consumer, {one: span for one, span in held.items() if span[0] < span[1]})


def _read(consumer: KafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]) -> Iterator[InputRecord]:
    consumer.assign(list(spans))
    for partition, (begin, _) in spans.items():
        consumer.seek(partition, begin)
    left = set(spans)
    while left:
        for partition, batch in consumer.poll(timeout_ms=_POLL_MS).items():
            yield from (input_record(record) for record in batch if record.offset < spans[partition][1])
        # the position, not the last record: transaction markers and compaction leave gaps at the end
        done = {partition for partition in left if consumer.position(partition) >= spans[partition][1]}
        consumer.pause(*done)
        left -= done


def undecided(settings: Settings, *topics: str) -> list[str]:
    """Wait until every transaction that has written to the topics by now has been decided.

    While one is open, readers do not see what others committed after its first record. One whose process has
    died ends by its timeout. Returns the topics of which one stays open for longer than any of ours may.
    """
    written = {topic: _ends_of(settings, topic, "read_uncommitted") for topic in topics}
    until = time.monotonic() + 2 * settings.transaction_timeout_seconds + _GRACE_SECONDS
    return [topic for topic, ends in written.items() if not _decided(settings, topic, ends, until)]


def _decided(settings: Settings, topic: str, ends: Mapping[TopicPartition, int], until: float) -> bool:
    while True:
        reached = _ends_of(settings, topic, "read_committed")
        if all(reached.get(partition, 0) >= offset for partition, offset in ends.items()):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_DECIDED_AGAIN_SECONDS)


def _ends_of(settings: Settings, topic: str, isolation: Isolation) -> dict[TopicPartition, int]:
    with closing(plain_consumer(settings, isolation)) as consumer:
        return offset_range(consumer, topic)[1]


def processed_before(
    settings: Settings, ledger: str, partitions: Iterable[Partition]
) -> dict[Partition, int]:
    """Look up in the ledger where those of the partitions that it knows were processed up to.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    ledger : str
        Topic of the ledger; its entries are JSON with ``ranges``.
    partitions : iterable of (topic, partition)
        Those of interest.
    """
    wanted, ends = set(partitions), dict[Partition, int]()
    for record in read_to_end(settings, ledger):
        for partition, end in _ends(record.value):
            if partition in wanted:
                ends[partition] = max(end, ends.get(partition, 0))
    return ends


def _ends(value: bytes | None) -> list[tuple[Partition, int]]:
    try:
        ranges = json.loads(value or b"null")["ranges"]
        return [((str(one["topic"]), int(one["partition"])), int(one["end"])) for one in ranges]
    except (ValueError, TypeError, KeyError):
        return []  # not of ours; the audit is the place to complain


def latest_publication(settings: Settings) -> Publication | None:
    """Read `clusters` to its end; the newest version that is whole, None where there is none yet."""
    assembler, newest = ClustersAssembler(settings.input.dimension), None
    for record in read_to_end(settings, settings.topic("clusters")):
        newest = _feed(assembler, record) or newest
    return newest


def _feed(assembler: ClustersAssembler, record: InputRecord) -> Publication | None:
    try:
        return assembler.feed(record.key, record.value)
    except RecordError as error:
        log.warning("a record of the clusters was not understood", offset=record.offset, reason=str(error))
        return None


class ClustersFollower(Follower):
    """Follows the clusters on a thread of its own and hands on every version that is whole.

    Versions that were overtaken before they could be read are left out; none comes twice or backwards.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    on_publication : callable
        Called with each version, on the thread; must be quick and must not raise.
    """

    def __init__(self, settings: Settings, on_publication: Callable[[Publication], None]) -> None:
        super().__init__(settings, "clusters")
        self._tell = on_publication
        self._version = 0

    def _follow(self, consumer: KafkaConsumer) -> None:
        first, _ = offset_range(consumer, self._settings.topic("clusters"))
        consumer.assign(list(first))
        for partition, offset in first.items():
            consumer.seek(partition, offset)
        assembler = ClustersAssembler(self._settings.input.dimension)
        while not self._stop.is_set():
            self._hand_on(assembler, consumer.poll(timeout_ms=_POLL_MS))

    def _hand_on(self, assembler: ClustersAssembler, batches: Mapping[Any, list[Any]]) -> None:
        newest = None
        for batch in batches.values():
            for record in batch:
                newest = _feed(assembler, input_record(record)) or newest
        if newest is not None and newest.clusters.version > self._version:
            self._version = newest.clusters.version
            self._tell(newest)
