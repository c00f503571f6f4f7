"""Partitions that no broker serves, on three nodes: waited for and named, while the others are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from consumers.broker import Broker
from consumers.errors import BrokerError

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Three nodes, one of which is killed."""
    try:
        own = Broker(nodes=3).__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.stop()


@pytest.fixture
def kafka(broker: Broker) -> str:
    return broker.bootstrap_servers


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def test_a_partition_without_a_leader_is_waited_for_and_the_others_go_on(
    broker, kafka, name, make_settings, fill, read, copy_to, running, wait
):
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    source, target = f"{name}-in", f"{name}-out"
    alone = NewTopic(source, -1, -1, replica_assignments={0: [1], 1: [2], 2: [3]})
    admin.create_topics([alone, NewTopic(target, 1, 3)], wait_for_metadata=True)
    admin.close()
    for partition in range(3):
        fill(source, numbers(5, 10 * partition), partition)
    transform = copy_to(target, size=1)
    with running(make_settings(source), transform) as it:
        wait(lambda: sum(transform.committed) == 15, 60)
        broker.kill(3)
        wait(lambda: it.loop.leaderless == ((source, 2),), 60)
        fill(source, numbers(5, 100), 0)
        fill(source, numbers(5, 110), 1)
        wait(lambda: sum(transform.committed) == 25, 60)
        wait(lambda: set(it.loop.lag) == {(source, 0), (source, 1)}, 30)
        it.end()
    again = copy_to(target, size=1)  # also one that starts now
    with running(make_settings(source), again) as it:
        fill(source, numbers(5, 120), 0)
        wait(lambda: sum(again.committed) == 5, 60)
        wait(lambda: it.loop.leaderless == ((source, 2),), 30)
        broker.restart(3)
        wait(lambda: it.loop.leaderless == (), 60)
        fill(source, numbers(5, 130), 2)
        wait(lambda: sum(again.committed) == 10, 60)
    assert len(set(read(target))) == len(read(target)) == 35
