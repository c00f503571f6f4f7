"""Where a partition is read from: its committed offset, else what the settings and the ledger say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from kafka import KafkaConsumer, TopicPartition

from consumers.errors import OffsetError
from consumers.transform import Partition

__all__ = [
    "MissingOffset",
    "Start",
    "Starting",
    "StartingPoint",
    "created_anew",
    "decide_start",
    "deleted_before_read",
    "find_start",
]

MissingOffset = Literal["start", "earliest"]
Start = Literal["earliest", "latest"] | datetime
Ledger = Callable[[Iterable[Partition]], Mapping[Partition, int]]
_TIMEOUT_MS = 5_000
_DOUBT_SECONDS = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StartingPoint:
    """The offsets to read from, and those that must be committed before the first poll."""

    positions: dict[Partition, int]
    to_commit: dict[Partition, int]


class Starting:
    """Finds where to read from, again and again in the life of a member, and does not believe all at once.

    A coordinator that had just started (Apache Kafka 4.1 on one node) was seen to know of no offsets, a
    moment before it did: where less is committed than was, it is asked again for some seconds.

    Parameters
    ----------
    group, start, policy, ledger
        As in `find_start`.
    """

    def __init__(self, *, group: str, start: Start, policy: MissingOffset, ledger: Ledger) -> None:
        self._how: dict[str, Any] = {"group": group, "start": start, "policy": policy, "ledger": ledger}
        self._furthest: dict[Partition, int] = {}
        self._doubt_until: float | None = None

    def find(
        self, consumer: KafkaConsumer, assigned: Sequence[Partition], committed: Mapping[Partition, int]
    ) -> StartingPoint | None:
        """As `find_start`; `committed` is what this member has committed last."""
        self._furthest |= committed
        try:
            found = find_start(consumer, assigned, **self._how)
        except OffsetError as error:
            if self._doubted(str(error)):
                return None
            raise
        positions = {} if found is None else found.positions
        behind = any(at < self._furthest.get(one, 0) for one, at in positions.items())
        if behind and self._doubted("less is committed than this process has committed"):
            return None
        self._doubt_until = None
        return found

    def _doubted(self, reason: str) -> bool:
        if self._doubt_until is None:
            self._doubt_until = time.monotonic() + _DOUBT_SECONDS
            log.warning("odd offsets, asking the brokers again", reason=reason)
        return time.monotonic() < self._doubt_until


def find_start(
    consumer: KafkaConsumer,
    assigned: Sequence[Partition],
    *,
    group: str,
    start: Start,
    policy: MissingOffset,
    ledger: Ledger,
) -> StartingPoint | None:
    """Find where to read each assigned partition from; None: ask again, another member is about to decide.

    A name that has no offsets yet begins at `start`: the member that has partition 0 of the topic decides for
    all of its partitions in one commit, so that members that start together agree. A partition that is
    still without an offset when partition 0 has one was created later, and is read from its beginning.

    Raises
    ------
    OffsetError
        When the ledger knows a partition that has no committed offset: its offsets have expired, or went with
        a topic that has been deleted and created anew.
    """
    if policy == "earliest":
        return _soft_start(consumer, assigned)
    topics = sorted({topic for topic, _ in assigned})
    begun = {topic: _committed(consumer, [(topic, 0)]) for topic in topics}  # before the others: see above
    positions = _committed(consumer, assigned)
    missing = [partition for partition in assigned if partition not in positions]
    if not missing:
        return StartingPoint(positions, {})
    _refuse_known(consumer, ledger(missing), group)
    new_topics = [topic for topic in topics if not begun[topic] and any(one[0] == topic for one in missing)]
    if any((topic, 0) not in assigned for topic in new_topics):
        return None
    decided = {
        one: offset for topic in new_topics for one, offset in decide_start(consumer, topic, start).items()
    }
    later = [partition for partition in missing if partition not in decided]
    decided |= _earliest(consumer, later)
    return StartingPoint({**positions, **{one: decided[one] for one in missing}}, decided)


def _soft_start(consumer: KafkaConsumer, assigned: Sequence[Partition]) -> StartingPoint:
    positions = _committed(consumer, assigned)
    first, end = _earliest(consumer, assigned), _ends(consumer, assigned)
    # what was deleted before it was read is passed over, and so is a topic that was created anew
    fits = {one: at for one, at in positions.items() if first[one] <= at <= end[one]}
    return StartingPoint({one: fits.get(one, first[one]) for one in assigned}, {})


def _committed(consumer: KafkaConsumer, partitions: Iterable[Partition]) -> dict[Partition, int]:
    found = {one: consumer.committed(TopicPartition(*one), timeout_ms=_TIMEOUT_MS) for one in partitions}
    return {one: offset for one, offset in found.items() if offset is not None}


def decide_start(consumer: KafkaConsumer, topic: str, start: Start) -> dict[Partition, int]:
    """Where `start` is in each partition of a topic that was never read."""
    partitions = [(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    if start == "earliest":
        return _earliest(consumer, partitions)
    ends = _ends(consumer, partitions)
    if isinstance(start, datetime):
        moment = round(1000 * start.timestamp())
        found = consumer.offsets_for_times(dict.fromkeys(_kafka(partitions), moment), timeout_ms=_TIMEOUT_MS)
        ends |= {(one.topic, one.partition): hit.offset for one, hit in found.items() if hit is not None}
    return ends


def _earliest(consumer: KafkaConsumer, partitions: Sequence[Partition]) -> dict[Partition, int]:
    return (
        _plain(consumer.beginning_offsets(_kafka(partitions), timeout_ms=_TIMEOUT_MS)) if partitions else {}
    )


def _ends(consumer: KafkaConsumer, partitions: Sequence[Partition]) -> dict[Partition, int]:
    return _plain(consumer.end_offsets(_kafka(partitions), timeout_ms=_TIMEOUT_MS))


def _kafka(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


def _plain(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    return {(one.topic, one.partition): offset for one, offset in offsets.items()}


def _refuse_known(consumer: KafkaConsumer, known: Mapping[Partition, int], group: str) -> None:
    if not known:
        return
    ends = _ends(consumer, list(known))
    for (topic, number), end in known.items():
        if end > ends[topic, number]:
            raise OffsetError(created_anew(topic, group))
    where = ", ".join(f"{topic}/{number} at {end}" for (topic, number), end in sorted(known.items()))
    partition, end = min(known.items())
    raise OffsetError(
        f"The group {group} has no committed offset for partitions that were processed before (they ended: "
        f"{where}); its offsets have expired or were deleted, and a new start would lose or repeat examples. "
        f"Set them, for example with: {_set_offset(group, partition, end)}"
    )


def created_anew(topic: str, group: str) -> str:
    """Say that a topic is no longer the one that was read, and what to do."""
    return (
        f"The topic {topic} was deleted and created anew since the group {group} read it: what was not read "
        "is lost, and offsets mean other messages now. Use another `name` for the new stream; or, to go on "
        "from its beginning: stop the samplers and run kafka-consumer-groups --bootstrap-server ... "
        f"--group {group} --topic {topic} --reset-offsets --to-earliest --execute"
    )


def _set_offset(group: str, partition: Partition, offset: int) -> str:
    topic, number = partition
    return (
        f"kafka-consumer-groups --bootstrap-server ... --group {group} --topic {topic}:{number} "
        f"--reset-offsets --to-offset {offset} --execute"
    )


def deleted_before_read(
    consumer: KafkaConsumer, offsets: Mapping[TopicPartition, int], group: str
) -> OffsetError:
    """Say what is lost where the committed offset is out of the range of what the topic still has."""
    (partition, offset), *_ = offsets.items()
    first = consumer.beginning_offsets([partition], timeout_ms=_TIMEOUT_MS)[partition]
    last = consumer.end_offsets([partition], timeout_ms=_TIMEOUT_MS)[partition]
    name = f"{partition.topic}/{partition.partition}"
    if offset >= first:
        anew = created_anew(partition.topic, group)
        return OffsetError(f"{name} ends at {last} though we have read it up to {offset}. {anew}")
    return OffsetError(
        f"Messages {offset} to {first - 1} of {name} were deleted by retention before they were read. So "
        "lengthen the topic's retention, or run more samplers; to go on behind the gap: stop the samplers "
        f"and run {_set_offset(group, (partition.topic, partition.partition), first)}"
    )
