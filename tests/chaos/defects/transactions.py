"""Defects of the loop: what commits together, and who may commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from chaos.defects.registry import changed, defect, die, freeze, nth
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

import consumers.clients
import consumers.committer
from consumers.clients import admin_client, transactional_producer
from consumers.committer import Committer
from consumers.transactions import TransactionalLoop
from consumers.transform import Output, Unit

_LONG_SECONDS = 600.0
_BEYOND_SECONDS = (2.0, 4.0, 8.0, 16.0, 32.0)  # until the others have had the time


def _is_of_samplers(units: Sequence[Unit]) -> bool:
    return any(output.topic.endswith("-windows") for unit in units for output in unit.outputs)


def _without_offsets(units: Sequence[Unit]) -> list[Unit]:
    return [replace(unit, offsets={}) for unit in units]


def _only_offsets(units: Sequence[Unit]) -> list[Unit]:
    return [replace(unit, outputs=()) for unit in units]


@defect("offsets before their transaction", finding="gap")
def _offsets_first() -> None:
    """Offsets in a transaction of their own; the process ends before what they stand for is written."""
    first = nth(1)

    def commit(original: Any, self: Committer, units: Sequence[Unit], membership: Any) -> Any:
        if not _is_of_samplers(units):
            return original(self, units, membership)
        original(self, _only_offsets(units), membership)
        if first():
            die()
        return original(self, _without_offsets(units), membership)

    changed(Committer, "commit", commit)


@defect("offsets after their transaction", finding="overlap")
def _offsets_last() -> None:
    first = nth(1)

    def commit(original: Any, self: Committer, units: Sequence[Unit], membership: Any) -> Any:
        if not _is_of_samplers(units):
            return original(self, units, membership)
        original(self, _without_offsets(units), membership)
        if first():
            die()
        return original(self, _only_offsets(units), membership)

    changed(Committer, "commit", commit)


@defect("group metadata taken late", finding="overlap")
def _late_metadata() -> None:
    """The member is stopped until others have its partitions, and commits as the member it is by then."""
    first = nth(1)

    def init(original: Any, self: Any, settings: Any, **named: Any) -> None:
        original(self, settings, **named)
        commit, group = self._committer.commit, self._membership

        def late(units: Sequence[Unit], membership: Any) -> Any:
            if not (_is_of_samplers(units) and first()):
                return commit(units, membership)
            for beyond in _BEYOND_SECONDS:
                freeze(settings.session_timeout_seconds + beyond)
                if _overtaken(settings, units):
                    break
            while not _joined_anew(group, membership):
                time.sleep(0.05)
            while commit(units, group.consumer.group_metadata()) != "committed":
                self._committer.initialise(threading.Event(), lambda: None)
            print("committed late", flush=True)
            return "unknown"

        self._committer.commit = late

    changed(TransactionalLoop, "__init__", init)


def _overtaken(settings: Any, units: Sequence[Unit]) -> bool:
    """Whether somebody else has committed what these units used up."""
    group = settings.group("sampler")
    with closing(admin_client(settings)) as admin:
        committed = admin.list_group_offsets(group)[group]
    reached = {(one.topic, one.partition): said.offset for one, said in committed.items()}
    return all(reached[one] >= end for one, end in units[0].offsets.items())


def _joined_anew(group: Any, before: Any) -> bool:
    now = group.consumer.group_metadata()
    return group.stable(now) and now.member_id != before.member_id


@defect("a lost future", finding="examples")
def _lost_future() -> None:
    """A send that fails is not looked at, and one does fail."""
    fails = nth(3)

    def send(original: Any, producer: Any, output: Output) -> Any:
        if output.topic.endswith("-coreset") and fails():
            return _Ignored(Future().failure(KafkaTimeoutError("the batch has expired")))
        return _Ignored(original(producer, output))

    changed(consumers.committer, "_send", send)


class _Ignored:
    """A future whose failure nobody notices."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def get(self, timeout: float | None = None) -> None:
        with suppress(Exception):
            self._future.get(timeout=timeout)


@defect("a window committed twice", finding="overlap")
def _twice() -> None:
    """A commit of unknown outcome is simply tried again."""
    again = nth(1)

    def commit(original: Any, self: Committer, units: Sequence[Unit], membership: Any) -> Any:
        outcome = original(self, units, membership)
        return original(self, units, membership) if _is_of_samplers(units) and again() else outcome

    changed(Committer, "commit", commit)


@defect("a transaction left open", finding="hanging")
def _left_open() -> None:
    """A second producer writes to the coreset, and its transaction is forgotten."""
    first, kept = nth(1), []

    def commit(original: Any, self: Any, units: Sequence[Unit], membership: Any) -> Any:
        outcome = original(self, units, membership)
        if _is_of_samplers(units) and first():
            settings = self._settings.model_copy(update={"transaction_timeout_seconds": _LONG_SECONDS})
            producer = transactional_producer(settings, f"{self._id}-second")
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(settings.topic("coreset"), b"{}").get(timeout=10)
            kept.append(producer)
        return outcome

    changed(Committer, "commit", commit)


@defect("input read before it is committed", finding="count")
def _read_uncommitted() -> None:
    def consumer(original: Any, *arguments: Any, **named: Any) -> Any:
        return {**original(*arguments, **named), "isolation_level": "read_uncommitted"}

    changed(consumers.clients, "_reading", consumer)
