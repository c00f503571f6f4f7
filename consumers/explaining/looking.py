"""Looks things up in topics without reading all of them: by offset, by time, and no further than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kafka import errors as kafka_errors

from consumers.clients import plain_consumer
from consumers.connecting import mended_by_a_person
from consumers.errors import BrokerError, ServiceError
from consumers.reader import offset_range, read_spans, read_to_end, undecided
from consumers.records.ledger import LedgerEntry, parse_source
from consumers.settings import Settings
from consumers.transform import InputRecord, Partition

__all__ = ["Search", "begin_at", "message_at", "newest", "reading", "search"]


class Sourced(Protocol):
    """Something that came from an example of the input."""

    @property
    def source(self) -> str:
        """Source id."""


T = TypeVar("T", bound=Sourced)


@dataclass(frozen=True)
class Search(Generic[T]):
    """What was found of a source in a topic.

    Attributes
    ----------
    found : tuple
    looked : int
        Messages that were read.
    certain : bool
        Whether there is surely no more of it.
    """

    found: tuple[T, ...] = ()
    looked: int = 0
    certain: bool = True


@contextmanager
def reading() -> Iterator[None]:
    """Turn what the brokers refuse into one sentence."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise mended_by_a_person(error) or BrokerError(
            f"The topics cannot be read (see what is wrong with: stream-coreset check): {error}"
        ) from error


def message_at(settings: Settings, topic: str, partition: int, offset: int) -> InputRecord | None:
    """The message of an offset; None where retention, compaction or an abort has taken it away.

    Raises
    ------
    ServiceError
        When there is no such partition, or the offset has not been written yet.
    """
    with closing(plain_consumer(settings)) as consumer:
        _, ends = offset_range(consumer, topic)
    end = {one.partition: offset for one, offset in ends.items()}
    if partition not in end:
        raise ServiceError(f"The topic {topic} has the partitions 0 to {len(end) - 1}, not {partition}.")
    if offset >= end[partition]:
        raise ServiceError(
            f"{topic}/{partition} ends before offset {end[partition]}: nothing is at {offset} yet."
        )
    return next(read_spans(settings, {(topic, partition): (offset, offset + 1)}), None)


def newest(settings: Settings, topic: str, messages: int) -> Iterator[InputRecord]:
    """Yield about the last `messages` of a topic."""
    with closing(plain_consumer(settings)) as consumer:
        _, ends = offset_range(consumer, topic)
    each = -(-messages // len(ends))
    start = {(one.topic, one.partition): max(0, end - each) for one, end in ends.items()}
    return read_to_end(settings, topic, start=start)


def begin_at(settings: Settings, topic: str, since_ms: int) -> tuple[dict[Partition, int], set[int], bool]:
    """Where the messages of a time begin, in each partition of a topic.

    Returns
    -------
    start : dict
        The first offset of that time or later.
    left : set of int
        The partitions in which there is one.
    whole : bool
        Whether retention has surely deleted none of these.
    """
    with closing(plain_consumer(settings)) as consumer:
        first, ends = offset_range(consumer, topic)
        at = consumer.offsets_for_times(dict.fromkeys(first, max(0, since_ms)))
    start = {one: ends[one] if at.get(one) is None else at[one].offset for one in first}
    whole = all(first[one] == 0 or start[one] > first[one] for one in first)
    left = {one.partition for one in first if start[one] < ends[one]}
    return {(one.topic, one.partition): offset for one, offset in start.items()}, left, whole


def search(
    settings: Settings,
    topic: str,
    source: str,
    entry: LedgerEntry,
    *,
    since_ms: int,
    most: int,
    items: Callable[[InputRecord], Iterable[T]],
) -> Search[T]:
    """Look for what came of a source, in a topic that the samplers write window by window.

    Coreset messages and dead letters keep the time of their source, so that it cannot lie before the first
    message of this time or later. In each partition it lies before anything of a later window.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    topic : str
        Where to look.
    source : str
        Source id.
    entry : LedgerEntry
        Of its window.
    since_ms : int
        Time of the source.
    most : int
        Messages to read at most.
    items : callable
        What a message holds.
    """
    settled = not undecided(settings, topic)  # behind an open transaction lies what cannot be seen yet
    start, left, whole = begin_at(settings, topic, since_ms)
    found: list[T] = []
    looked = 0
    for record in read_to_end(settings, topic, start=start) if left else ():
        if looked >= most:
            return Search(tuple(found), looked, certain=False)
        looked += 1
        held = list(items(record))
        found += [item for item in held if item.source == source]
        if found and entry.design != "iid":  # which alone draws an example more than once
            break
        if any(_is_later(item.source, entry) for item in held):
            left.discard(record.partition)
            if not left:
                break
    return Search(tuple(found), looked, certain=whole and settled)


def _is_later(source: str, entry: LedgerEntry) -> bool:
    """Whether a source lies behind a window."""
    try:
        topic, partition, offset, _ = parse_source(source)
    except ValueError:
        return False
    return any(
        (part.topic, part.partition) == (topic, partition) and offset >= part.end for part in entry.ranges
    )
