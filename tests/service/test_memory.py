"""Memory stays within what the settings allow: a backlog of huge messages, a broker that stands still."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from consumers.broker import Broker
from consumers.errors import BrokerError

pytestmark = pytest.mark.timeout(180)

MEGABYTE = 1_000_000
# What a sampler may hold at once, in times window.max_bytes: what was fetched and not yet taken, what a poll
# has just handed on, the open window, those that wait, the one at work, what is being sent, and its copy
# in the producer. Fixed: what the libraries take whatever comes, such as their buffers for sockets.
TIMES, FIXED = 7, 40 * MEGABYTE


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One of our own: it is frozen."""
    try:
        own = Broker().__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.stop()


@pytest.fixture
def kafka(broker):
    return broker.bootstrap_servers


@pytest.fixture
def admin(kafka):
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


def most_memory(pid: int) -> int:
    """The most bytes that were ever resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_a_backlog_of_huge_messages_in_many_partitions(make_service, broker):
    """It grows while the sampler is stopped; then all of it can be read at once, while the broker stands."""
    partitions, most = 32, 4 * MEGABYTE
    service = make_service(partitions, window={"size": 500, "max_bytes": most, "age_seconds": 0.5})
    sampler = service.start("sampler")
    service.wait_processed(0)
    warm_up = orjson.dumps({"embedding": [1, 2, 3, 4]})
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, max_request_size=2 * MEGABYTE)
    producer.send(service.settings.input.topic, warm_up)
    service.wait_processed(1)
    idle = most_memory(sampler.pid)
    huge = orjson.dumps({"embedding": [1, 2, 3, 4], "text": "x" * 990_000})
    sampler.send_signal(signal.SIGSTOP)
    for number in range(256):
        producer.send(service.settings.input.topic, huge, partition=number % partitions)
    producer.flush()
    producer.close()
    sampler.send_signal(signal.SIGCONT)
    for _ in range(2):
        time.sleep(0.5)
        broker.freeze()
        time.sleep(2.0)
        broker.thaw()
    service.wait_processed(257)
    held = most_memory(sampler.pid) - idle
    assert held < TIMES * most + FIXED
