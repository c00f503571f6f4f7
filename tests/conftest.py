"""One Apache Kafka for the whole run, started when a test first asks for it; fresh topics for every test."""

from __future__ import annotations

import logging
import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import hypothesis
import pytest
import structlog
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from consumers.broker import broker_or_environment
from consumers.broker.jars import fetch_jars
from consumers.errors import BrokerError

MakeTopic = Callable[..., str]

hypothesis.settings.register_profile("busy", deadline=None)  # a pause of the machine is no failure
hypothesis.settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download the broker before any test's clock runs; a failure is the fixture's to tell."""
    needed = any(item.get_closest_marker("kafka") for item in session.items)
    if needed and not os.environ.get("KAFKA_BOOTSTRAP_SERVERS") and not session.config.option.collectonly:
        with suppress(BrokerError):
            fetch_jars(lambda text: None)


@pytest.fixture(autouse=True)
def _process_restored() -> Iterator[None]:
    """What commands do to their process is undone after each test: its log, its signals."""
    root = logging.getLogger()
    level = root.level
    signals = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, action in signals.items():
        signal.signal(number, action)
    for handler in [one for one in root.handlers if getattr(one, "ours", False)]:
        root.removeHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of Apache Kafka: started here, or those of KAFKA_BOOTSTRAP_SERVERS."""
    broker = broker_or_environment()
    try:
        servers = broker.__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield servers
    broker.__exit__(None, None, None)


@pytest.fixture(scope="session")
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """A fresh name: of a deployment, a group, a transactional id."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def make_topic(admin: KafkaAdminClient) -> MakeTopic:
    """Create a topic: ``make_topic(partitions=1, name=None, configs=None) -> name``."""

    def make(partitions: int = 1, name: str | None = None, configs: Mapping[str, str] | None = None) -> str:
        topic = name or f"topic-{uuid.uuid4().hex[:10]}"
        new = NewTopic(
            topic, num_partitions=partitions, replication_factor=1, topic_configs=dict(configs or {})
        )
        admin.create_topics([new], wait_for_metadata=True)
        return topic

    return make
