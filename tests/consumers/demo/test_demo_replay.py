"""Replay and trainer on a real Apache Kafka, without the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from kafka import KafkaProducer

from consumers.demo.data import Events
from consumers.demo.joining import CoresetWindow
from consumers.demo.model import Learner, LinearModel
from consumers.demo.replay import BLOCK, PARTITIONS, create_input, event_numbers, replay
from consumers.demo.server import LossServer
from consumers.demo.trainer import Trainer
from consumers.errors import TopicError
from consumers.reader import read_to_end
from consumers.records import LedgerEntry, Range, RecordError, emitted_digest
from consumers.settings import Settings

MakeSettings = Callable[..., Settings]


def events(n: int) -> Events:
    rng = np.random.default_rng(0)
    return Events(rng.normal(size=(n, 9)).astype(np.float32), rng.integers(0, 2, n))


@pytest.fixture
def settings(make_settings: MakeSettings, name: str) -> Settings:
    return make_settings(f"{name}-examples", input={"dimension": 9})


def test_events_lie_where_their_numbers_say(settings: Settings) -> None:
    create_input(settings)
    create_input(settings)  # twice does no harm
    told: list[int] = []
    n = 2 * BLOCK + 100
    assert replay(settings, events(n), 1e6, threading.Event(), told.append) == n
    records = list(read_to_end(settings, settings.input.topic))
    assert len(records) == n
    for record in records:
        (number,) = event_numbers(record.partition, record.offset, record.offset + 1)
        assert orjson.loads(record.value)["event"] == number
    assert told[-1] == n


def test_every_event_has_one_place() -> None:
    places = [event_numbers(partition, 0, 3 * BLOCK) for partition in range(PARTITIONS)]
    assert sorted(number for numbers in places for number in numbers) == list(range(PARTITIONS * 3 * BLOCK))


def test_replay_keeps_its_rate_and_stops_when_told(settings: Settings) -> None:
    create_input(settings)
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    sent = replay(settings, events(10_000), 400, stop)
    timer.join()
    assert 100 <= sent <= 260


class Emitter:
    """Writes windows as the service does."""

    def __init__(self, settings: Settings, make_topic: Callable[..., str]) -> None:
        self._settings, self._start = settings, 0
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
        self._make_topic = make_topic

    def make_topics(self) -> None:
        for role in ("coreset", "windows"):
            self._make_topic(1, self._settings.topic(role))  # type: ignore[arg-type]

    def emit(self, sampled: Events) -> None:
        topic, start = self._settings.input.topic, self._start
        self._start += 100
        window = f"{topic}/0/{start}"
        for value in sampled.messages():
            headers = [("coreset-window", window.encode()), ("coreset-weight", b"10.0")]
            self._producer.send(self._settings.topic("coreset"), value, headers=headers)
        entry = LedgerEntry(
            window=window,
            ranges=(Range(topic, 0, start, start + 100),),
            valid=100,
            dead=0,
            emitted=len(sampled),
            emitted_digest=emitted_digest([]),
            s=10.0,
            design="pivotal",
            rate=0.1,
            eta=0.2,
            clusters_version=0,
            clusters_digest="0" * 64,
            surrogate_digest=None,
            weight_sum=0.0,
            anticipated_se=None,
            cost=0.0,
            closed_ms=1,
        )
        self._producer.send(self._settings.topic("windows"), entry.encode(), entry.key)
        self._producer.flush()

    def emit_strange(self) -> None:
        self._producer.send(self._settings.topic("coreset"), b"{}")
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def emitter(settings: Settings, make_topic: Callable[..., str]) -> Any:
    made = Emitter(settings, make_topic)
    yield made
    made.close()


def test_trainer_learns_window_by_window_and_serves_each_model(
    settings: Settings, emitter: Emitter, wait: Callable[..., None]
) -> None:
    emitter.make_topics()
    learner, order = Learner(refit_windows=1), []

    def learn(window: CoresetWindow) -> LinearModel | None:
        order.append(window.entry.ranges[0].start)
        return learner.model if learner.learn(window.sampled, window.weights) else None

    after: list[int] = []
    with (
        LossServer() as server,
        Trainer(settings, server, learn, lambda: after.append(len(order))) as trainer,
    ):
        emitter.emit(events(12))
        wait(lambda: len(trainer.history) == 1)
        assert server.ready
        emitter.emit(events(5))
        wait(lambda: len(after) == 2)
        emitter.emit(events(0))  # whole at once: it may overtake a window whose examples are on their way
        wait(lambda: len(after) == 3)
        assert trainer.failure is None
        now = time.time_ns() // 1_000_000
        assert trainer.history.at(now) is learner.model
    assert order == [0, 100, 200]
    assert after == [1, 2, 3]


def test_trainer_waits_for_its_topics(
    settings: Settings, emitter: Emitter, wait: Callable[..., None]
) -> None:
    seen: list[CoresetWindow] = []
    with LossServer() as server, Trainer(settings, server, seen.append) as trainer:
        time.sleep(1.0)
        assert trainer.failure is None
        emitter.make_topics()
        emitter.emit(events(3))
        wait(lambda: len(seen) == 1)
    assert not isinstance(trainer.failure, TopicError)


def test_trainer_says_what_it_cannot_read(
    settings: Settings, emitter: Emitter, wait: Callable[..., None]
) -> None:
    emitter.make_topics()
    with LossServer() as server, Trainer(settings, server, lambda window: None) as trainer:
        emitter.emit_strange()
        wait(lambda: trainer.failure is not None)
    assert isinstance(trainer.failure, RecordError)
