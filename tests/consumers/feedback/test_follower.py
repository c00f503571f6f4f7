"""The reader of returned losses on a real Apache Kafka."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import orjson
import pytest
from kafka import KafkaProducer
from support.loop import Loop, blobs, example, settings

from consumers.clients import transactional_producer
from consumers.errors import ServiceError
from consumers.feedback import ReturnedLosses
from consumers.feedback.checking import check_feedback
from consumers.feedback.emitted import CoresetReader
from consumers.metrics import ClustererMetrics
from consumers.records.estimates import EstimateRecord
from consumers.settings import Settings
from consumers.topics import ensure_topics
from consumers.transform import InputRecord

Write = Any
OLD = 1_000_000_000_000  # of the input's messages, long before now


@pytest.fixture
def deployment(kafka: str, name: str, make_topic: Any) -> Settings:
    given = settings(
        name=name,
        kafka={"bootstrap_servers": kafka},
        input={"topic": make_topic(2, f"{name}-examples"), "dimension": 2},
        feedback={"topic": make_topic(2, f"{name}-losses"), "wait_seconds": 3.0},
        topics={"retention_hours": 10**6},
    )
    lines = ensure_topics(given)
    assert f"{name}-estimates: created" in lines
    return given


def committed(given: Settings, loop: Loop, commits: bool = True) -> None:
    """Write what the sampler made in one transaction."""
    producer = transactional_producer(given, f"{given.name}-sampler-0")
    producer.init_transactions()
    producer.begin_transaction()
    for role in ("coreset", "windows"):
        for i, o in enumerate(loop.of(role)):
            where = {"partition": i % 2, "timestamp_ms": OLD} if role == "coreset" else {}
            producer.send(o.topic, o.value, headers=list(o.headers), key=o.key, **where)
    producer.commit_transaction() if commits else producer.abort_transaction()
    producer.close()


def report(given: Settings, loop: Loop, share: slice = slice(None)) -> None:
    outputs = loop.of("coreset")
    records = [InputRecord(o.topic, 0, 0, None, o.value, o.headers) for o in outputs]
    draws = [draw for record in records for draw in CoresetReader(given.input).draws(record)]
    producer = KafkaProducer(bootstrap_servers=given.kafka.bootstrap_servers)
    for draw in draws[share]:
        loss = float(np.linalg.norm(draw.embedding))
        said = {"window": draw.window, "source": draw.source, "loss": loss, "model_version": "m1"}
        producer.send(given.feedback.topic, orjson.dumps(said), key=draw.source.encode())
    producer.flush()
    producer.close()


def stream(given: Settings, seed: int, offset: int) -> Loop:
    loop = Loop(given, offset=offset)
    loop.feed([example(x) for x in blobs(200, seed)])
    return loop


def collected(returned: ReturnedLosses, windows: int, seconds: float = 30.0) -> dict[str, EstimateRecord]:
    """The estimates, once there are so many."""
    found: dict[str, EstimateRecord] = {}
    until = time.monotonic() + seconds
    while len(found) < windows and time.monotonic() < until:
        found |= {(o.key or b"").decode(): EstimateRecord.decode(o.value) for o in returned.estimates()}
        time.sleep(0.05)
    return found


def test_losses_are_followed_from_before_a_takeover_on(deployment: Settings) -> None:
    """What came before the start is read back, whatever the time stamps; aborted windows are not."""
    before, after, aborted = (stream(deployment, seed, 1000 * seed) for seed in range(3))
    committed(deployment, aborted, commits=False)
    committed(deployment, before)
    report(deployment, before)
    metrics = ClustererMetrics()
    returned = ReturnedLosses(deployment, metrics.feedback)
    began = time.monotonic()
    returned.reset(active=True)
    assert time.monotonic() - began < 0.5, "it waits for nobody"
    try:
        found = collected(returned, 1)
        committed(deployment, after)
        report(deployment, after, slice(5))
        late = collected(returned, 1)
        report(deployment, after, slice(5, None))
        estimated = collected(returned, 1)
        labels = returned.labels()
    finally:
        returned.stop()
    (first,) = before.ledger()
    (second,) = after.ledger()
    assert [(one.window, one.missing) for one in found.values()] == [(first.window, 0)]
    assert [(one.window, one.missing) for one in late.values()] == [(second.window, second.emitted - 5)]
    assert [(one.window, one.missing) for one in estimated.values()] == [(second.window, 0)]
    assert sum(len(one.losses) for one in labels) == first.emitted + second.emitted


def test_check_looks_at_the_reports(deployment: Settings, fill: Any) -> None:
    topic = deployment.feedback.topic or ""
    assert check_feedback(deployment) == f"{topic} is empty: nothing to look at yet"
    fill(topic, [orjson.dumps({"window": "w", "source": "e/0/1", "loss": None, "model_version": "m"})], 1)
    assert check_feedback(deployment) == f"the last 1 reports of {topic} can be used"
    fill(topic, [b"{}", b"[]"])
    with pytest.raises(ServiceError, match=f"2 of the last 3 reports of {topic} cannot be used: a report: "):
        check_feedback(deployment)
    typo = settings(kafka=deployment.kafka.model_dump(), feedback={"topic": f"{topic}-typo"})
    with pytest.raises(ServiceError, match=f"There is no topic {topic}-typo"):
        check_feedback(typo)


def test_brokers_that_go_away_hold_nobody_up(kafka: str) -> None:
    given = settings(kafka={"bootstrap_servers": "127.0.0.1:1"}, feedback={"topic": "losses"})
    returned = ReturnedLosses(given, ClustererMetrics().feedback)
    began = time.monotonic()
    returned.reset(active=True)
    assert (returned.labels(), returned.estimates(), returned.pending) == ([], [], False)
    returned.reset(active=False)
    assert time.monotonic() - began < 0.5
