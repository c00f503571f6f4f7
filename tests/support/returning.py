"""A sampler's output and the losses of its examples, written to Apache Kafka."""

from __future__ import annotations

import time

import numpy as np
import orjson
from kafka import KafkaProducer
from support.loop import Loop, blobs, example

from consumers.clients import transactional_producer
from consumers.feedback import ReturnedLosses
from consumers.feedback.emitted import CoresetReader
from consumers.records.estimates import EstimateRecord
from consumers.settings import Feedback, Settings
from consumers.transform import InputRecord

OLD = 1_000_000_000_000  # of the input's messages, long before now


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


def report(given: Settings, loop: Loop, share: slice = slice(None), version: str = "m1") -> None:
    outputs = loop.of("coreset")
    records = [InputRecord(o.topic, 0, 0, None, o.value, o.headers) for o in outputs]
    draws = [draw for record in records for draw in CoresetReader(given.input).draws(record)]
    producer = KafkaProducer(bootstrap_servers=given.kafka.bootstrap_servers)
    for draw in draws[share]:
        loss = float(np.linalg.norm(draw.embedding))
        said = {"window": draw.window, "source": draw.source, "loss": loss, "model_version": version}
        producer.send(given.feedback.topic, orjson.dumps(said), key=draw.source.encode())
    producer.flush()
    producer.close()


def stream(given: Settings, seed: int, offset: int) -> Loop:
    loop = Loop(given.model_copy(update={"feedback": Feedback()}), offset=offset)
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
