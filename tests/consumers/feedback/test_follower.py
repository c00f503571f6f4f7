"""The reader of returned losses on a real Apache Kafka."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from support.loop import settings
from support.returning import collected, committed, report, stream

from consumers.errors import ServiceError
from consumers.feedback import ReturnedLosses
from consumers.feedback.checking import check_feedback
from consumers.metrics import ClustererMetrics
from consumers.settings import Settings
from consumers.topics import ensure_topics


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
