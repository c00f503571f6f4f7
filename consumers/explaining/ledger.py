"""Which window of the ledger an example belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.errors import ServiceError
from consumers.explaining.looking import begin_at
from consumers.reader import read_to_end
from consumers.records import RecordError
from consumers.records.ledger import LedgerEntry
from consumers.settings import Settings

__all__ = ["find_entry"]

_SLACK_MS = 60_000  # by which clocks of producers may be ahead of ours


def find_entry(
    settings: Settings, topic: str, partition: int, offset: int, since_ms: int | None = None
) -> LedgerEntry:
    """Find the window that an offset of the input belongs to.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    topic, partition, offset
        Of the input.
    since_ms : int, optional
        When its message was written: the ledger is read from there on first.

    Raises
    ------
    ServiceError
        When it belongs to none; says why.
    """
    where = f"{topic}/{partition}"
    for since in () if since_ms is None or since_ms < 0 else (since_ms - _SLACK_MS,):
        found = _look(_entries(settings, since), topic, partition, offset)
        if isinstance(found, LedgerEntry):
            return found
    found = _look(_entries(settings, None), topic, partition, offset)
    if isinstance(found, LedgerEntry):
        return found
    raise ServiceError(_why_not(where, offset, *found))


def _entries(settings: Settings, since_ms: int | None) -> Iterator[LedgerEntry]:
    ledger = settings.topic("windows")
    start = None if since_ms is None else begin_at(settings, ledger, since_ms)[0]
    for record in read_to_end(settings, ledger, start=start):
        try:
            yield LedgerEntry.decode(record.value)
        except RecordError:
            continue  # the audit is the place to complain


def _look(
    entries: Iterator[LedgerEntry], topic: str, partition: int, offset: int
) -> LedgerEntry | tuple[int, int]:
    """The entry; without one, where the ledger's ranges of the partition begin and end."""
    first, end = -1, -1
    for entry in entries:
        for part in entry.ranges:
            if (part.topic, part.partition) != (topic, partition):
                continue
            if part.start <= offset < part.end:
                return entry
            first, end = (part.start if first < 0 else first), max(end, part.end)
    return first, end


def _why_not(where: str, offset: int, first: int, end: int) -> str:
    if first < 0:
        return f"No sampler has processed {where} yet: the ledger has no window of it."
    if offset >= end:
        return f"{where}/{offset} has not been processed yet: samplers have come to offset {end} of {where}."
    if offset < first:
        return (
            f"{where}/{offset} lies before offset {first}, where the ledger begins: it was not sampled, or "
            "retention has deleted the entry of its window."
        )
    return f"{where}/{offset} lies in no window of the ledger; see what is wrong with: stream-coreset audit"
