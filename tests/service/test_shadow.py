"""The dry run on a live topic: it reports, and leaves nothing behind."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from kafka import KafkaProducer

from consumers.clients import admin_client, plain_consumer
from consumers.reader import offset_range, read_to_end
from consumers.settings import Settings

pytestmark = pytest.mark.timeout(180)


def report_losses(settings: Settings, topic: str) -> int:
    """Report the losses of every third example, as training on a uniform sample would; how many."""
    reports = []
    for number, record in enumerate(read_to_end(settings, settings.input.topic)):
        if number % 3:
            continue
        example = orjson.loads(record.value)
        loss = 0.1 + (5.0 if example["label"] == 0 else 0.2) * float(np.linalg.norm(example["embedding"]))
        source = f"{record.topic}/{record.partition}/{record.offset}"
        reports.append({"window": "-", "source": source, "loss": loss, "model_version": "1"})
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for report in reports:
            producer.send(topic, orjson.dumps(report))
    return len(reports)


def left_behind(settings: Settings) -> tuple[list[Any], dict[str, int]]:
    """The groups of the cluster that are ours, and how many records each of our topics has."""
    with closing(admin_client(settings)) as admin:
        groups = [group for group in admin.list_groups() if settings.name in str(group)]
    with closing(plain_consumer(settings)) as consumer:
        topics = [settings.topic(role) for role in settings.roles]
        return groups, {topic: sum(offset_range(consumer, topic)[1].values()) for topic in topics}


def test_reported_losses_judge_and_nothing_is_left_behind(
    make_service: Any, make_stream: Any, make_topic: Any, name: str, tmp_path: Path
) -> None:
    feedback = make_topic(2, name=f"{name}-losses")
    losses = {"feedback": {"topic": feedback}, "learning": {"surrogate": "none"}}
    service = make_service(window={"size": 200}, **losses)
    settings = service.settings
    make_stream(service).send(12_000)
    report_losses(settings, feedback)
    before = left_behind(settings)
    assert (before[0], set(before[1].values())) == ([], {0})

    file = tmp_path / "report.json"
    process = service.start("sampler", "--shadow", "--judged-by", "400", "--json", str(file))
    assert process.wait(90) == 0, service.logs()
    found = json.loads(file.read_text())
    assert found["judged_examples"] >= 400
    own = found["comparisons"][0]
    assert own["rate"] == pytest.approx(0.1, abs=0.01)
    assert own["error_to_uniform"] < 0.8
    said = " ".join(service.logs().split())
    assert "losses reported" in said
    assert "nothing was written" in said
    assert left_behind(settings) == before


def test_a_signal_ends_it_with_the_report(make_service: Any, make_stream: Any, make_topic: Any, name: str):
    service = make_service(feedback={"topic": make_topic(1, name=f"{name}-losses")})
    make_stream(service).send(2_000)
    process = service.start("sampler", "--shadow")
    service.wait("it reads", lambda: "2,000 examples in" in service.logs())
    assert service.stop(process) == 0
    assert "Too few losses are known to judge" in service.logs()


def test_without_losses_it_says_what_to_set(make_service: Any) -> None:
    service = make_service()
    process = service.start("sampler", "--shadow")
    assert process.wait(30) == 1
    assert "set endpoint.url to the model, or feedback.topic" in service.logs().replace("\n", " ")
