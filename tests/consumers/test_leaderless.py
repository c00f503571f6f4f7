"""Partitions that no broker serves, on three nodes: waited for and named, while the others are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaTimeoutError

from consumers.broker import Broker
from consumers.clients import plain_consumer
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


def coordinator(loop) -> int:
    """The node that coordinates the loop's group."""
    return int(str(loop._membership.consumer._coordinator.coordinator_id).rpartition("-")[2])


@pytest.mark.parametrize("also_the_coordinator", [False, True])
def test_a_partition_without_a_leader_is_waited_for_and_the_others_go_on(
    broker, kafka, name, make_settings, fill, read, copy_to, running, wait, also_the_coordinator
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
        node = coordinator(it.loop)
        node = node if also_the_coordinator else node % 3 + 1
        gone = node - 1
        others = [partition for partition in range(3) if partition != gone]
        broker.kill(node)
        wait(lambda: it.loop.leaderless == ((source, gone),), 60)
        for partition in others:
            fill(source, numbers(5, 100 + 10 * partition), partition)
        wait(lambda: sum(transform.committed) == 25, 90)
        wait(lambda: set(it.loop.lag) == {(source, partition) for partition in others}, 60)
        it.end()
    again = copy_to(target, size=1)  # also one that starts now
    with running(make_settings(source), again) as it:
        fill(source, numbers(5, 130), others[0])
        wait(lambda: sum(again.committed) == 5, 60)
        wait(lambda: it.loop.leaderless == ((source, gone),), 30)
        broker.restart(node)
        wait(lambda: it.loop.leaderless == (), 60)
        fill(source, numbers(5, 140), gone)
        wait(lambda: sum(again.committed) == 10, 60)
    assert len(set(read(target))) == len(read(target)) == 35


def test_offsets_are_not_asked_of_a_part_of_the_partitions_only(kafka, name, make_settings):
    """The client itself would answer for those that have a leader, and raise KeyError for the other."""
    source = f"{name}-in"
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.create_topics([NewTopic(source, 2, 3)], wait_for_metadata=True)
    partitions = [TopicPartition(source, number) for number in range(2)]
    with closing(plain_consumer(make_settings(source))) as consumer:
        assert consumer.end_offsets(partitions, timeout_ms=10_000) == dict.fromkeys(partitions, 0)
        led = consumer._cluster.leader_for_partition
        consumer._cluster.leader_for_partition = lambda one: -1 if one.partition else led(one)
        for ask in (consumer.end_offsets, consumer.beginning_offsets):
            with pytest.raises(KafkaTimeoutError):
                ask(partitions, timeout_ms=500)
        with pytest.raises(KafkaTimeoutError):
            consumer.offsets_for_times(dict.fromkeys(partitions, 0), timeout_ms=500)
