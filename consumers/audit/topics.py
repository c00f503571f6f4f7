"""Reads what an audit needs from Kafka, in an order that is right while the service goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from kafka import errors as kafka_errors

from consumers.audit.books import Books
from consumers.audit.report import AuditReport, Violations
from consumers.audit.versions import check_versions
from consumers.clients import admin_client, plain_consumer
from consumers.codecs import Codec, codec_for
from consumers.connecting import mended_by_a_person
from consumers.errors import BrokerError
from consumers.reader import offset_range, read_to_end, undecided
from consumers.records import RecordError
from consumers.records.dead_letters import read_dead_letter
from consumers.records.ledger import LedgerEntry
from consumers.records.replays import replayed_offset
from consumers.rights import missing_rights
from consumers.settings import Settings
from consumers.transform import Partition

__all__ = ["audit"]

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """Show no progress."""


def audit(settings: Settings, progress: Progress = _silent) -> AuditReport:
    """Verify a deployment from its topics, over what retention still holds; it may go on meanwhile.

    Checked are: the ledger's ranges tile what was consumed; every message of the input is accounted for, as
    an example or a dead letter; every window's examples are those of its entry, unchanged, with weight 1/pi;
    weights are unbiased; the group's offsets, the clusters and the transactions are as they must be.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    progress : callable, optional
        Told what is being read.

    Raises
    ------
    ServiceError
        When the topics cannot be read.
    """
    try:
        return _audit(settings, progress)
    except kafka_errors.KafkaError as error:
        raise mended_by_a_person(error) or BrokerError(
            f"The topics cannot be read: {type(error).__name__}: {error}"
        ) from error


def _audit(settings: Settings, progress: Progress) -> AuditReport:
    codec = codec_for(settings.input)
    books = Books(codec, settings.input.dimension, many_rows=settings.input.format == "arrow")
    with closing(admin_client(settings)) as admin:
        _require_rights(settings, admin)
        committed, running = _group(settings, admin)  # first: the ledger can only be further
        _check_transactions(settings, admin, books)
    progress("reading the ledger")
    books.add_ledger(_read_ledger(settings, books.violations))
    books.check_offsets(committed, running=running)
    progress("reading the coreset")
    _settle(settings, books.violations, settings.topic("coreset"), settings.topic("dead_letters"))
    cut_into = _read_coreset(settings, codec, books)
    progress("reading the dead letters")
    cut_into |= _read_dead_letters(settings, books)
    whole = _whole(books, _first_held(settings, settings.input.topic), cut_into)
    books.judge_only(whole)
    progress("reading the input again")
    _read_input(settings, codec, books, progress)
    progress("reading the clusters")
    clusters = read_to_end(settings, settings.topic("clusters"))
    versions = check_versions(clusters, settings.input.dimension, books.violations)
    if books.strange_windows:
        _settle(settings, books.violations, settings.topic("windows"))
        books.committed_since(entry.window for entry in _read_ledger(settings, Violations()))
    tests = books.close()
    checked = {"windows checked": len(whole), "ranges checked": _spans(books, whole)}
    facts = {**books.totals(), "clusters versions": versions, **checked}
    return AuditReport(books.violations.sentences(), tuple(tests), facts)


def _require_rights(settings: Settings, admin: Any) -> None:
    """What we may not see is left out by the brokers without a word: an audit must not call that clean."""
    missing = missing_rights(settings, admin, "audit")
    if missing:
        raise BrokerError(
            f"The audit would not see everything: grant us {', '.join(map(str, missing))} (the commands: "
            "stream-coreset rights --part audit)."
        )


def _group(settings: Settings, admin: Any) -> tuple[dict[Partition, int], bool]:
    """The offsets of the samplers' group, and whether it has members."""
    group = f"{settings.name}-sampler"
    try:
        offsets = admin.list_group_offsets(group)[group]
        state = str(admin.describe_groups([group])[group]["group_state"])
    except kafka_errors.GroupIdNotFoundError:
        return {}, False
    found = {(one.topic, one.partition): int(at.offset) for one, at in offsets.items() if at.offset >= 0}
    return found, state.lower() not in ("empty", "dead")


def _check_transactions(settings: Settings, admin: Any, books: Books) -> None:
    """No transaction of ours may be open for longer than its timeout."""
    ours = re.compile(rf"{re.escape(settings.name)}-(sampler-.+|clusterer)")
    try:
        listed = [one for found in admin.list_transactions().values() for one in found]
        names = [one.transactional_id for one in listed if ours.fullmatch(one.transactional_id)]
        described = admin.describe_transactions(names) if names else {}
    except kafka_errors.TransactionalIdNotFoundError:
        return  # expired between the two calls
    for name, one in described.items():
        started = getattr(one, "transaction_start_time_ms", -1)
        age = time.time() - started / 1000
        if started > 0 and age > 2 * settings.transaction_timeout_seconds:
            books.violations.add(f"a transaction of {name} has been open for {age:.0f} s")


def _settle(settings: Settings, violations: Violations, *topics: str) -> None:
    """Wait until every transaction that has written to the topics by now has been decided."""
    for topic in undecided(settings, *topics):
        violations.add(f"a transaction that has written to {topic} stays open")


def _read_ledger(settings: Settings, violations: Violations) -> list[LedgerEntry]:
    entries = []
    for record in read_to_end(settings, settings.topic("windows")):
        try:
            entries.append(LedgerEntry.decode(record.value))
        except RecordError as error:
            violations.add(f"the ledger at offset {record.offset}: {error}")
    return entries


def _read_coreset(settings: Settings, codec: Codec, books: Books) -> set[str]:
    """Take the coreset; the windows that retention has cut into."""
    topic = settings.topic("coreset")
    trimmed, first = _trimmed(settings, topic), dict[int, str]()
    for record in read_to_end(settings, topic):
        try:
            examples = codec.emitted(record)
        except ValueError as error:
            books.violations.add(f"{topic}/{record.partition} at offset {record.offset}: {error}")
            continue
        books.add_emitted(examples)
        if examples:
            first.setdefault(record.partition, examples[0].window)
    emitting = [entry.window for entry in books.entries() if entry.emitted]
    return {first.get(partition, emitting[-1]) for partition in trimmed} if emitting else set()


def _read_dead_letters(settings: Settings, books: Books) -> set[str]:
    """Take the dead letters; the window that retention has cut into."""
    topic = settings.topic("dead_letters")
    first: str | None = None
    for record in read_to_end(settings, topic):
        try:
            if replayed_offset(record) is not None:
                books.add_replayed((record.key or b"").decode(errors="replace"))
                continue
            source = read_dead_letter(record.key, record.headers).source
        except RecordError as error:
            books.violations.add(f"{topic} at offset {record.offset}: {error}")
            continue
        books.add_dead_letter(source)
        first = first or books.window_of(source)
    losing = [entry.window for entry in books.entries() if entry.dead]
    return {first or losing[-1]} if losing and _trimmed(settings, topic) else set()


def _first_held(settings: Settings, topic: str) -> dict[Partition, int]:
    """The first offset of each partition that retention still holds."""
    with closing(plain_consumer(settings)) as consumer:
        first, _ = offset_range(consumer, topic)
    return {(one.topic, one.partition): offset for one, offset in first.items()}


def _trimmed(settings: Settings, topic: str) -> set[int]:
    """Partitions of which retention has deleted something."""
    return {partition for (_, partition), offset in _first_held(settings, topic).items() if offset > 0}


def _read_input(settings: Settings, codec: Codec, books: Books, progress: Progress) -> None:
    """Take every message that the ledger covers."""
    topic, ends = settings.input.topic, books.ends()
    for count, record in enumerate(read_to_end(settings, topic, start=books.starts())):
        if record.offset < ends.get((topic, record.partition), 0):
            books.add_input(codec.decode(record))
        if count and count % 100_000 == 0:
            progress(f"{count:,} messages of the input read again")


def _whole(books: Books, held: Mapping[Partition, int], cut_into: set[str]) -> list[str]:
    """Windows of which everything is still held: those after the last one that was cut into."""
    entries = list(books.entries())
    cut = max((place for place, entry in enumerate(entries) if entry.window in cut_into), default=-1)
    return [
        entry.window
        for entry in entries[cut + 1 :]
        if all(part.start >= held.get((part.topic, part.partition), 0) for part in entry.ranges)
    ]


def _spans(books: Books, whole: Iterable[str]) -> list[str]:
    """The offsets that were checked, by partition."""
    wanted, spans = set(whole), dict[Partition, tuple[int, int]]()
    for entry in books.entries():
        for part in entry.ranges if entry.window in wanted else ():
            at = part.topic, part.partition
            first, end = spans.get(at, (part.start, part.end))
            spans[at] = min(first, part.start), max(end, part.end)
    return [f"{topic}/{number} {a}-{b}" for (topic, number), (a, b) in sorted(spans.items())]
