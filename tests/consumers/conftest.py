"""What tests of the loop share: settings, a transform that copies, a loop on a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers.settings import Settings
from consumers.transactions import InputRecord, Output, Partition, TransactionalLoop, Unit

Window = list[InputRecord]


@dataclass
class Copy:
    """Copies records in windows of `size`, or of what has come within `age` seconds."""

    topic: str
    size: int = 10
    age: float = 3600.0
    slow: float = 0.0
    open: Window = field(default_factory=list)
    opened: float = 0.0
    resets: list[tuple[Partition, ...]] = field(default_factory=list)
    windows: int = 0
    committed: list[int] = field(default_factory=list)
    before_apply: Callable[[Window], None] = lambda window: None

    def reset(self, partitions: Sequence[Partition]) -> None:
        self.open = []
        self.resets.append(tuple(partitions))

    def cut(self, records: Sequence[InputRecord], now: float) -> list[Window]:
        closed = []
        for record in records:
            self.opened = self.opened if self.open else now
            self.open.append(record)
            if len(self.open) >= self.size:
                closed.append(self.open)
                self.open = []
        if self.open and now - self.opened >= self.age:
            closed.append(self.open)
            self.open = []
        self.windows += len(closed)
        return closed

    def apply(self, window: Window) -> Unit:
        self.before_apply(window)
        time.sleep(self.slow)
        outputs = [Output(self.topic, one.value, one.key, one.headers, one.timestamp_ms) for one in window]
        offsets: dict[Partition, int] = {}
        for one in window:
            offsets[one.topic, one.partition] = one.offset + 1
        return Unit(outputs, offsets, lambda: self.committed.append(len(window)))

    def pending_bytes(self) -> int:
        return sum(one.nbytes for one in self.open)

    def window_bytes(self, window: Window) -> int:
        return sum(one.nbytes for one in window)


@pytest.fixture
def copy_to() -> type[Copy]:
    return Copy


@pytest.fixture
def make_settings(kafka: str, name: str) -> Callable[..., Settings]:
    """Settings of a fresh deployment on the broker of the run; sections are given as dictionaries."""

    def make(topic: str, **sections: Any) -> Settings:
        given = {
            "name": name,
            "kafka": {"bootstrap_servers": kafka},
            "window": {"commit_interval_seconds": 0.05},
            "session_timeout_seconds": 6.0,
            "grace_seconds": 3.0,
            **sections,
        }
        given["input"] = {"topic": topic, "dimension": 2, "start": "earliest", **given.get("input", {})}
        return Settings(**given)

    return make


@dataclass
class Running:
    """A loop on its thread."""

    loop: TransactionalLoop[Any]
    stop: threading.Event
    thread: threading.Thread
    failure: list[BaseException]
    expected: bool = False

    def end(self, seconds: float = 15.0) -> None:
        self.stop.set()
        self.thread.join(seconds)
        assert not self.thread.is_alive()

    def error(self, seconds: float = 15.0) -> BaseException:
        """Wait for the loop to end by itself and return why."""
        self.expected = True
        self.thread.join(seconds)
        assert self.failure, "the loop did not fail"
        return self.failure[0]


@pytest.fixture
def running() -> Callable[..., Any]:
    """``with running(settings, transform, ...) as it``: a loop runs until the block ends."""

    @contextmanager
    def run(settings: Settings, transform: Any, **options: Any) -> Iterator[Running]:
        options.setdefault("group", settings.name)
        options.setdefault("transactional_id", f"{settings.name}-{settings.instance}")
        options.setdefault("input_topics", [settings.input.topic])
        loop: TransactionalLoop[Any] = TransactionalLoop(settings, transform=transform, **options)
        stop, failure = threading.Event(), []

        def body() -> None:
            try:
                loop.run(stop)
            except BaseException as error:
                failure.append(error)

        it = Running(loop, stop, threading.Thread(target=body, daemon=True), failure)
        it.thread.start()
        try:
            yield it
        finally:
            it.end()
            if failure and not it.expected:
                raise AssertionError("the loop failed") from failure[0]

    return run


@pytest.fixture
def fill(kafka: str) -> Callable[..., None]:
    """``fill(topic, values, partition=None)``: write values, and wait until they are there."""

    def write(topic: str, values: Sequence[bytes], partition: int | None = None) -> None:
        producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=5)
        for value in values:
            producer.send(topic, value, partition=partition)
        producer.flush()
        producer.close()

    return write


@pytest.fixture
def read(kafka: str) -> Callable[..., list[bytes]]:
    """``read(topic, isolation="read_committed")``: all values there are now."""

    def values(topic: str, isolation: str = "read_committed") -> list[bytes]:
        consumer = KafkaConsumer(bootstrap_servers=kafka, isolation_level=isolation, enable_auto_commit=False)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends, found = consumer.end_offsets(partitions), []
        while any(consumer.position(one) < end for one, end in ends.items()):
            for batch in consumer.poll(timeout_ms=200).values():
                found += [record.value for record in batch]
        consumer.close()
        return found

    return values


@pytest.fixture
def wait() -> Callable[..., None]:
    """``wait(condition, seconds=15)``: until it holds."""

    def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.02)

    return until
