"""Brokers that are down, die, hang or refuse us: the loop waits, recovers and says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka import errors as kafka_errors
from kafka.admin import NewTopic
from support.loop import settings
from support.returning import collected, committed, report, stream

from consumers.broker import Broker
from consumers.connecting import connect
from consumers.errors import BrokerError, ServiceError
from consumers.feedback import ReturnedLosses
from consumers.metrics import ClustererMetrics


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One of our own: it is killed and frozen."""
    try:
        own = Broker(options={"broker.session.timeout.ms": "1500"}).__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.stop()


@pytest.fixture
def kafka(broker: Broker) -> str:
    return broker.bootstrap_servers


@pytest.fixture
def topics(broker: Broker, name: str) -> tuple[str, str]:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics([NewTopic(f"{name}-{end}", 1, 1) for end in ("in", "out")], wait_for_metadata=True)
    admin.close()
    return f"{name}-in", f"{name}-out"


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def test_a_broker_that_is_killed_in_mid_stream_loses_and_doubles_nothing(
    broker, topics, make_settings, fill, read, copy_to, running, wait
):
    source, target = topics
    fill(source, numbers(400))
    transform = copy_to(target, size=10, slow=0.02)
    with running(make_settings(source), transform) as it:
        wait(lambda: sum(transform.committed) > 50)
        broker.kill()
        time.sleep(1.0)
        broker.restart()
        back = time.monotonic()
        count = sum(transform.committed)
        wait(lambda: sum(transform.committed) > count, 30)
        assert time.monotonic() - back < 15, "flows again too late"
        wait(lambda: len(read(target)) == 400, 30)
        assert not it.failure
    assert sorted(read(target)) == numbers(400)


def test_a_broker_that_is_down_at_the_start_is_waited_for(
    broker, topics, make_settings, fill, read, copy_to, running, wait
):
    source, target = topics
    fill(source, numbers(5))
    broker.kill()
    with running(make_settings(source), copy_to(target, size=1)) as it:
        time.sleep(1.5)
        assert it.loop.assigned == ()
        assert time.monotonic() - it.loop.last_seen < 3, "waiting is not hanging"
        broker.restart()
        wait(lambda: len(read(target)) == 5, 30)


def test_a_broker_that_goes_away_while_we_join_is_waited_for(
    broker, topics, make_settings, fill, read, copy_to, running, wait, monkeypatch
):
    source, target = topics
    fill(source, numbers(5))
    topics_of, asked = KafkaConsumer.topics, []

    def gone_at_first(consumer):
        asked.append(consumer)
        if len(asked) == 1:
            raise kafka_errors.KafkaConnectionError("socket disconnected")
        return topics_of(consumer)

    monkeypatch.setattr(KafkaConsumer, "topics", gone_at_first)
    with running(make_settings(source), copy_to(target, size=1)) as it:
        wait(lambda: len(read(target)) == 5, 30)
        assert not it.failure
    assert asked[1] is not asked[0]
    assert asked[0]._closed


def test_a_stop_does_not_wait_for_a_broker_that_is_down(name, make_settings, copy_to, running, broker):
    nobody = {"bootstrap_servers": "127.0.0.1:1"}
    with running(make_settings(name, kafka=nobody), copy_to("any")) as it:
        time.sleep(0.5)
        asked = time.monotonic()
        it.end()
        assert time.monotonic() - asked < 3
        assert not it.failure


def test_a_broker_that_hangs_in_mid_transaction_is_given_up(
    broker, topics, make_settings, fill, read, copy_to, running, wait
):
    """A commit has no time limit of its own: the watchdog closes the producer from another thread."""
    source, target = topics
    fill(source, numbers(40))
    transform = copy_to(target, size=2, slow=0.05)
    quick = {"transaction_timeout_seconds": 4.0, "session_timeout_seconds": 30.0}
    with running(make_settings(source, **quick), transform) as it:
        wait(lambda: len(transform.committed) > 3)
        producer = it.loop._committer._producer
        broker.freeze()
        wait(lambda: it.loop._committer._producer is not producer, 15)
        broker.thaw()
        wait(lambda: len(read(target)) == 40, 40)
        assert not it.failure
    assert sorted(read(target)) == numbers(40)


def test_a_wrong_password_is_not_taken_for_a_broker_that_is_down(make_settings):
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    users = 'username="admin" password="of-admin" user_admin="of-admin" user_us="secret"'
    options = {
        "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.plaintext.plain.sasl.jaas.config": f"{module} required {users};",
    }
    with Broker(options=options) as secured:
        us = {
            "bootstrap_servers": secured.bootstrap_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "us",
            "options": {"bootstrap_timeout_ms": 1500},
        }
        from consumers.clients import plain_consumer

        def consumer(password: str):
            settings = make_settings("any", kafka={**us, "sasl_password": password})
            return connect(lambda: plain_consumer(settings), settings, threading.Event())

        with pytest.raises(BrokerError, match=r"password is wrong"):
            consumer("guessed")
        good = consumer("secret")
        assert good is not None
        good.close()


def test_servers_that_are_not_host_and_port_are_refused(make_settings):
    settings = make_settings("any", kafka={"bootstrap_servers": "nonsense"})
    with pytest.raises(ServiceError, match="'nonsense' is not host:port"):
        connect(lambda: None, settings, threading.Event())


def test_returned_losses_are_followed_on_when_the_broker_is_back(broker, name) -> None:
    given = settings(
        name=name,
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        feedback={"topic": f"{name}-losses"},
    )
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    partitions = {given.topic("coreset"): 2, given.topic("windows"): 1, f"{name}-losses": 1}
    kept = {"retention.ms": "-1"}  # whatever the time stamps
    new = [NewTopic(topic, n, 1, topic_configs=kept) for topic, n in partitions.items()]
    admin.create_topics(new, wait_for_metadata=True)
    admin.close()
    loop = stream(given, 0, 0)
    committed(given, loop)
    report(given, loop)
    returned = ReturnedLosses(given, ClustererMetrics().feedback)
    returned.reset(active=True)
    try:
        before = collected(returned, 1)
        broker.kill()
        time.sleep(1.0)
        broker.restart()
        report(given, loop, version="m2")
        after = collected(returned, 1)
    finally:
        returned.stop()
    assert [one.model_version for found in (before, after) for one in found.values()] == ["m1", "m2"]
