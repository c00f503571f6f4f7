"""The loop as a member of its group, on a real Apache Kafka: joining, leaving, waiting, being superseded."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

import pytest
from kafka.admin import MemberToRemove, NewPartitions
from kafka.errors import NoOffsetForPartitionError

from consumers.clients import input_consumer
from consumers.errors import FencedError, TopicError


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def _short(seconds: float) -> float:
    """A session: our own broker allows short ones, another may not."""
    return 6.0 if os.environ.get("KAFKA_BOOTSTRAP_SERVERS") else seconds


def test_a_member_that_joins_in_mid_stream_loses_and_doubles_nothing(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(4), make_topic(2)
    first = make_settings(source, instance="0")
    second = make_settings(source, instance="1")
    for partition in range(4):
        fill(source, numbers(500, 500 * partition), partition)
    one, two = copy_to(target, size=20, age=0.5, slow=0.02), copy_to(target, size=20, age=0.5, slow=0.02)
    with running(first, one) as a:
        wait(lambda: sum(one.committed) > 200)
        with running(second, two) as b:
            wait(lambda: len(a.loop.assigned) == len(b.loop.assigned) == 2)
            wait(lambda: sum(two.committed) > 100)
        wait(lambda: len(a.loop.assigned) == 4)
        wait(lambda: sum(one.committed) + sum(two.committed) == 2000)
    assert sorted(read(target)) == numbers(2000)
    assert len(one.resets) >= 3


def test_new_partitions_are_read_from_their_beginning_by_all(
    make_settings, make_topic, fill, read, copy_to, running, wait, admin
):
    """The leader of the group joins anew because a topic has changed, while another member takes its time."""
    source, target = make_topic(1), make_topic()
    options = {"input": {"start": "latest"}, "kafka": make_settings(source).kafka.model_dump()}
    options["kafka"]["options"] = {"metadata_max_age_ms": 500}
    fill(source, numbers(10), 0)
    one, two = copy_to(target, size=1), copy_to(target, size=1)
    with running(make_settings(source, instance="0", **options), one) as a:
        wait(lambda: a.loop.assigned == ((source, 0),))
        with running(make_settings(source, instance="1", **options), two) as b:
            wait(lambda: two.resets == [()] or b.loop.assigned)
            admin.create_partitions({source: NewPartitions(total_count=2)})
            fill(source, numbers(5, 100), 1)
            wait(lambda: len(a.loop.assigned) == len(b.loop.assigned) == 1)
            wait(lambda: len(read(target)) == 5)
    assert sorted(read(target)) == numbers(5, 100)


def test_backpressure_pauses_without_flapping_and_keeps_the_membership(
    make_settings, make_topic, fill, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, [bytes(1000)] * 12_000)
    transform = copy_to(target, size=100, slow=0.02)
    settings = make_settings(source, kafka=_with_options(make_settings(source), max_poll_records=100))
    pauses = 0
    with running(settings, transform) as it:
        wait(lambda: it.loop.assigned != ())
        client = it.loop._membership.consumer
        pause = client.pause

        def counted(*partitions):
            nonlocal pauses
            pauses += 1
            most.append(it.loop._pipeline.load()[0])
            pause(*partitions)

        most: list[int] = []
        client.pause = counted
        wait(lambda: sum(transform.committed) == 12_000, 40)
        assert len(transform.resets) == 1, "it fell out of the group"
    assert 0 < pauses <= 70, "it should pause for several windows at a time"
    assert max(most) <= 12


def _with_options(settings, **options):
    return {**settings.kafka.model_dump(), "options": options}


def test_work_longer_than_the_session_keeps_the_membership(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(4))
    session = _short(1.0)
    transform = copy_to(target, size=2, slow=session + 0.5)
    with running(make_settings(source, session_timeout_seconds=session), transform):
        wait(lambda: sum(transform.committed) == 4)
    assert len(transform.resets) == 1
    assert read(target) == numbers(4)


def test_a_member_that_was_removed_joins_anew_while_its_window_takes_long(
    make_settings, make_topic, fill, copy_to, running, wait, admin, name
):
    source, target = make_topic(2), make_topic()
    done, held = threading.Event(), threading.Event()
    transform = copy_to(target, size=1, before_apply=lambda window: held.set() or done.wait())
    with running(make_settings(source, instance="a"), copy_to(target)) as a:
        wait(lambda: a.loop.assigned)
        with running(make_settings(source, instance="b"), transform) as b:
            wait(lambda: len(a.loop.assigned) == len(b.loop.assigned) == 1)
            for partition in range(2):
                fill(source, numbers(1), partition)
            held.wait()
            group = b.loop._membership
            before = group.snapshot()[0].member_id
            admin.remove_group_members(name, [MemberToRemove(member_id=before)])
            wait(lambda: group.snapshot()[0].member_id != before and group.stable(group.snapshot()[0]), 5)
            done.set()
            wait(lambda: b.loop.assigned)


def test_a_missing_topic_is_said(make_settings, copy_to, running, name):
    with running(make_settings(f"{name}-typo"), copy_to("any")) as it:
        error = it.error()
    assert isinstance(error, TopicError)
    assert f"The topic {name}-typo does not exist" in str(error)


def test_a_topic_that_is_deleted_is_noticed(make_settings, make_topic, copy_to, running, wait, admin):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    options = _with_options(settings, metadata_max_age_ms=500)
    with running(make_settings(source, kafka=options), copy_to(target)) as it:
        wait(lambda: it.loop.assigned != ())
        admin.delete_topics([source])
        error = it.error()
    assert isinstance(error, TopicError)


def test_two_processes_with_the_same_instance_do_not_both_run(
    make_settings, make_topic, fill, copy_to, running, wait
):
    source, target = make_topic(2), make_topic()
    settings = make_settings(source)
    with running(settings, copy_to(target, size=1)) as first:
        wait(lambda: first.loop.assigned != ())
        with running(settings, copy_to(target, size=1)) as second:
            wait(lambda: second.loop.assigned != ())
            for _ in range(200):
                fill(source, numbers(10))
                if first.failure or second.failure:
                    break
                time.sleep(0.05)
            first.expected = second.expected = True
            (error,) = first.failure + second.failure
    assert isinstance(error, FencedError)
    assert "same name and instance" in str(error)


def test_a_static_member_whose_place_is_taken_ends_though_nothing_is_to_be_done(
    make_settings, make_topic, copy_to, running, wait
):
    """The client only stops its heartbeats, and would take itself for a member for ever."""
    settings, target = make_settings(make_topic(), session_timeout_seconds=_short(1.5)), make_topic()
    with running(settings, copy_to(target), group_instance_id="a") as first:
        wait(lambda: first.loop.assigned != ())
        with running(settings, copy_to(target), group_instance_id="a") as second:
            assert isinstance(first.error(), FencedError)
            wait(lambda: second.loop.assigned != ())
            assert not second.failure


def test_a_static_member_that_was_shut_out_by_nobody_joins_anew(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    """The group holds a member that nobody is, as after an answer to its own join that was lost."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source, session_timeout_seconds=_short(1.5))
    with running(settings, copy_to(target, size=1), group_instance_id="a") as it:
        wait(lambda: it.loop.assigned != ())
        ghost = input_consumer(settings, settings.name, "a")
        ghost.subscribe([source])
        wait(lambda: _joined(ghost))
        ghost.close(autocommit=False, timeout_ms=2000)  # a static member does not leave
        wait(lambda: it.loop.assigned == (), 10)
        fill(source, numbers(5))
        wait(lambda: len(read(target)) == 5, 30)
        assert not it.failure
    assert read(target) == numbers(5)


def test_a_static_member_does_not_wait_for_its_own_past(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    """Where the place is held by a member with our mark, nobody is there to be waited for."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source, session_timeout_seconds=6.0)
    with running(settings, copy_to(target, size=1), group_instance_id="a") as it:
        wait(lambda: it.loop.assigned != ())
        past = input_consumer(settings, settings.name, "a", it.loop._membership._mark)
        past.subscribe([source])
        wait(lambda: _joined(past))  # and stays: its heartbeats go on
        began = time.monotonic()
        fill(source, numbers(5))
        wait(lambda: len(read(target)) == 5, 30)
        assert time.monotonic() - began < 6.0
        past.close(autocommit=False, timeout_ms=2000)
        assert not it.failure


def _joined(consumer) -> bool:
    with suppress(NoOffsetForPartitionError):
        consumer.poll(timeout_ms=50)
    return consumer.assignment() != set()


def test_a_zombie_does_not_shut_out_its_successor(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    """Its transaction fails before a heartbeat tells it why: it must not initialise the id once more."""
    source, target = make_topic(), make_topic()
    options = _with_options(make_settings(source), heartbeat_interval_ms=2_500)
    session = {"session_timeout_seconds": _short(3.0)}
    settings, successor = make_settings(source, kafka=options, **session), make_settings(source, **session)
    with running(settings, copy_to(target, size=1), group_instance_id="a") as zombie:
        wait(lambda: zombie.loop.assigned != ())
        wait(lambda: _waits_for_heartbeat(zombie))
        with running(successor, copy_to(target, size=1), group_instance_id="a") as it:
            wait(lambda: it.loop.assigned != ())
            producer = it.loop._committer._producer
            fill(source, numbers(5))
            assert isinstance(zombie.error(), FencedError)
            fill(source, numbers(5, 5))
            wait(lambda: len(read(target)) == 10)
            assert not it.failure
            assert it.loop._committer._producer is producer, "the zombie took the id back"
    assert read(target) == numbers(10)


def _waits_for_heartbeat(running) -> bool:
    heartbeat = running.loop._membership.consumer._coordinator.heartbeat
    return heartbeat.last_receive >= heartbeat.last_send > 0 and heartbeat.time_to_next_heartbeat() > 2


def test_replicas_that_share_an_id_stand_by(make_settings, make_topic, fill, read, copy_to, running, wait):
    source, target = make_topic(), make_topic()
    fill(source, numbers(10))
    one, two = copy_to(target, size=1), copy_to(target, size=1)
    shared = {"shared_id": True, "on_missing_offset": "earliest"}
    with running(make_settings(source, instance="0"), one, transactional_id=source, **shared) as a:
        wait(lambda: sum(one.committed) == 10)
        before = a.loop._committer._producer
        with running(make_settings(source, instance="1"), two, transactional_id=source, **shared) as b:
            wait(lambda: two.resets and not any(two.resets) and len(one.resets) > 1)
            assert a.loop._committer._producer is not before, "an assignment fences whoever had it before"
            fill(source, numbers(10, 10))
            wait(lambda: len(read(target)) == 20)
            owner, standby = (a, b) if a.loop.assigned else (b, a)
            assert standby.loop.assigned == ()
            owner.end()
            wait(lambda: standby.loop.assigned == ((source, 0),))
            fill(source, numbers(10, 20))
            wait(lambda: len(read(target)) == 30)
    assert sorted(read(target)) == numbers(30)


@pytest.mark.parametrize("instance", ["0", "1"])
def test_a_static_member_is_back_without_a_rebalance(
    instance, make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(2), make_topic()
    settings = make_settings(source, instance=instance)
    static = {"group_instance_id": f"{settings.name}-{instance}"}
    for number in range(2):
        fill(source, numbers(10, 10 * number))
        transform = copy_to(target, size=1)
        began = time.monotonic()
        with running(settings, transform, **static):
            wait(lambda: sum(transform.committed) == 10)  # noqa: B023
        assert time.monotonic() - began < 5
    assert sorted(read(target)) == numbers(20)
