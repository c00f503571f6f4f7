"""Losses that come back, without any endpoint: they teach the sampler, and become estimates of the stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer

from consumers.reader import latest_publication, read_to_end
from consumers.records.estimates import EstimateRecord

pytestmark = pytest.mark.timeout(180)


def loss_of(value: bytes) -> float:
    """What the model loses on an example: much on one of the six labels."""
    example = orjson.loads(value)
    return 0.1 + (5.0 if example["label"] == 0 else 0.2) * float(np.linalg.norm(example["embedding"]))


@contextmanager
def trainer(servers: str, coreset: str, feedback: str) -> Iterator[None]:
    """Reports the loss of every example that it is given, under a model that stays as it is."""
    stop = threading.Event()

    def work() -> None:
        consumer = KafkaConsumer(
            coreset, bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        producer = KafkaProducer(bootstrap_servers=servers)
        while not stop.is_set():
            for batch in consumer.poll(timeout_ms=200).values():
                for record in batch:
                    told = {name: value.decode() for name, value in record.headers}
                    report = {
                        "window": told["coreset-window"],
                        "source": told["coreset-source"],
                        "loss": loss_of(record.value),
                        "model_version": "1",
                    }
                    producer.send(feedback, orjson.dumps(report), key=report["source"].encode())
        producer.close()
        consumer.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def estimates(service: Any) -> dict[str, EstimateRecord]:
    """The last estimate of every window."""
    records = read_to_end(service.settings, service.settings.topic("estimates"))
    found = [EstimateRecord.decode(record.value) for record in records]
    return {one.window: one for one in found}


def test_losses_that_come_back_teach_and_estimate(make_service, make_stream, make_topic, name):
    feedback = make_topic(2, name=f"{name}-losses")
    service = make_service(feedback={"topic": feedback}, learning={"refit_seconds": 0.5})
    stream, settings = make_stream(service), service.settings
    service.start("sampler")
    service.start("clusterer")
    with trainer(settings.kafka.bootstrap_servers, settings.topic("coreset"), feedback):
        learned = lambda: any(entry.surrogate_digest for entry in service.ledger())  # noqa: E731
        for _ in range(30):
            stream.send(500)
            service.wait_processed(stream.sent)
            if learned():
                break
        assert learned(), service.logs()
        windows = {entry.window for entry in service.ledger()}
        service.wait("all windows estimated", lambda: windows <= estimates(service).keys())
    service.stop_all()
    found = [one for one in estimates(service).values() if one.window in windows]
    assert all(one.missing == 0 for one in found)
    truth = sum(loss_of(record.value) for record in read_to_end(settings, settings.input.topic))
    total, error = (
        sum(one.total for one in found),
        np.sqrt(sum(one.standard_error**2 for one in found if one.standard_error)),
    )
    assert abs(total - truth) < 5 * error
    assert error < 0.2 * truth
    clusters = latest_publication(settings).clusters
    assert clusters.known.sum() >= 6
    assert clusters.losses[clusters.known].max() > 3 * np.median(clusters.losses[clusters.known])
    assert [entry for entry in service.ledger() if entry.surrogate_digest][-1].anticipated_se > 0
    assert service.audit().clean
