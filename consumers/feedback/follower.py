"""Follows the coreset, the ledger and the losses that come back, on a thread of its own, with no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition

from consumers.errors import TopicError
from consumers.feedback.desk import Desk
from consumers.feedback.results import Label
from consumers.following import Follower
from consumers.reader import input_record, offset_range, read_to_end
from consumers.records.estimates import EstimateRecord
from consumers.records.format import RecordError
from consumers.records.ledger import LedgerEntry
from consumers.settings import Settings

__all__ = ["FeedbackFollower"]

log = structlog.get_logger(__name__)

_POLL_MS = 200
_MARK_SECONDS = 1.0
_DRAW_BYTES = 600  # of a draw in memory, beside its embedding
_SLACK = 2  # transaction markers and aborted messages take offsets, too

OnResults = Callable[[list[Label], list[EstimateRecord]], None]
Offsets = dict[TopicPartition, int]


@dataclass(frozen=True)
class _Mark:
    """Where the topics ended at a time: once read up to there, all that was written before is known."""

    ends: Offsets
    at_ms: int
    partitions: frozenset[TopicPartition]


class FeedbackFollower(Follower):
    """Reads from as long ago as losses may come back, then goes on.

    The coreset keeps the time stamps of the input, which may be any: there the offsets are counted back from
    the end, by what the ledger says was emitted since then.

    Parameters
    ----------
    settings : Settings
        With a feedback topic.
    desk : Desk
        Told every record; used by the thread alone.
    on_results : callable
        Told labels and estimates, on the thread; must be quick and must not raise.
    """

    def __init__(self, settings: Settings, desk: Desk, on_results: OnResults) -> None:
        super().__init__(settings, "returned losses")
        self._desk, self._tell = desk, on_results
        self._topics = [settings.topic("windows"), settings.topic("coreset"), settings.feedback.topic or ""]
        self._positions: Offsets = {}

    def _follow(self, consumer: KafkaConsumer) -> None:
        self._assign(consumer)
        mark = self._mark(consumer)
        while not self._stop.is_set() and mark.partitions == frozenset(self._positions):
            self._add(consumer.poll(timeout_ms=_POLL_MS))
            mark = self._pass(consumer, mark)

    def _add(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        for partition, batch in batches.items():
            for record in batch:
                self._positions[partition] = record.offset + 1  # whatever comes of it, it does not come twice
                self._desk.add(input_record(record), _now_ms())
        if batches:
            self._tell(*self._desk.results(_now_ms()))

    def _pass(self, consumer: KafkaConsumer, mark: _Mark) -> _Mark:
        """Once the mark is reached, let the windows age up to its time, and set the next one."""
        reached = all(consumer.position(partition) >= end for partition, end in mark.ends.items())
        if not reached or _now_ms() < mark.at_ms + 1000 * _MARK_SECONDS:
            return mark
        self._desk.expire(mark.at_ms)
        self._tell(*self._desk.results(_now_ms()))
        return self._mark(consumer)

    def _mark(self, consumer: KafkaConsumer) -> _Mark:
        at_ms = _now_ms()
        partitions = [one for topic in self._topics for one in _partitions(consumer, topic)]
        return _Mark(consumer.end_offsets(list(self._positions)), at_ms, frozenset(partitions))

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Go on where we were; where that is not possible, begin as long ago as losses may come back."""
        first, ends = Offsets(), Offsets()
        for topic in self._topics:
            _partitions(consumer, topic)
            for offsets, found in zip((first, ends), offset_range(consumer, topic), strict=True):
                offsets.update(found)
        there = self._positions.keys() == first.keys()
        if not (there and all(first[one] <= at <= ends[one] for one, at in self._positions.items())):
            begin = self._begin(consumer, ends)
            self._positions = {one: max(first[one], at) for one, at in begin.items()}
        consumer.assign(list(self._positions))
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)

    def _begin(self, consumer: KafkaConsumer, ends: Offsets) -> Offsets:
        since = _now_ms() - round(1000 * self._settings.feedback.max_age_seconds)
        coreset = self._settings.topic("coreset")
        timed = consumer.offsets_for_times({one: since for one in ends if one.topic != coreset})
        begin = {one: found.offset if found else ends[one] for one, found in timed.items()}
        back = self._read_ledger(since, begin)
        return begin | {one: end - back for one, end in ends.items() if one.topic == coreset}

    def _read_ledger(self, since_ms: int, begin: Offsets) -> int:
        """Tell the desk all windows there are, so that none of theirs is unknown; offsets they may span."""
        topic = self._settings.topic("windows")
        start = {(one.topic, one.partition): at for one, at in begin.items() if one.topic == topic}
        offsets = 0
        for record in read_to_end(self._settings, topic, start=start):
            self._desk.add(record, _now_ms())
            offsets += 1 + _emitted(record.value, since_ms)
        dimension = self._settings.input.dimension
        return _SLACK * min(offsets, self._settings.feedback.max_bytes // (4 * dimension + _DRAW_BYTES))


def _emitted(value: bytes | None, since_ms: int) -> int:
    try:
        entry = LedgerEntry.decode(value)
    except RecordError:
        return 0
    return entry.emitted if entry.closed_ms >= since_ms else 0


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    found = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not found:
        raise TopicError(
            f"The topic {topic} does not exist, or we lack the right to see it; feedback.topic is yours to "
            "create, ours are made with: stream-coreset topics."
        )
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
