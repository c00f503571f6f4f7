"""Topics that are deleted, created anew or overtaken by retention, on a real Apache Kafka: said, not hung."""

from __future__ import annotations

import json
import threading
import time
from typing import NoReturn
from uuid import uuid4

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from consumers.errors import OffsetError, TopicError
from consumers.membership import Membership
from consumers.watch import Watch


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


@pytest.fixture
def quick(make_settings):
    """Settings under which metadata are seconds old at most, and transactions give up after two."""

    def make(topic: str):
        kafka = {**make_settings(topic).kafka.model_dump(), "options": {"metadata_max_age_ms": 300}}
        return make_settings(topic, kafka=kafka, transaction_timeout_seconds=4.0)

    return make


def test_retention_that_overtakes_a_running_loop_stops_it(
    make_settings, make_topic, fill, read, copy_to, running, wait, admin
):
    source, target, gate = make_topic(), make_topic(), threading.Event()
    fill(source, numbers(5))
    gate.set()

    class Gated(copy_to):
        def cut(self, records, now):
            gate.wait()  # the polling thread is held up
            return super().cut(records, now)

    with running(make_settings(source), Gated(target, size=1)) as it:
        wait(lambda: len(read(target)) == 5)
        gate.clear()
        time.sleep(0.5)  # the fetch that is under way ends
        fill(source, numbers(10, 5))
        admin.delete_records({TopicPartition(source, 0): 12})
        gate.set()
        error = it.error(10)
    assert isinstance(error, OffsetError)
    assert f"Messages 5 to 11 of {source}/0 were deleted by retention before they were read" in str(error)
    assert read(target) == numbers(5)


def test_an_output_topic_that_is_deleted_stops_it(quick, make_topic, fill, copy_to, running, wait, admin):
    source, target = make_topic(), make_topic()
    fill(source, numbers(5))
    transform = copy_to(target, size=1)
    with running(quick(source), transform, output_topics=[target]) as it:
        wait(lambda: sum(transform.committed) == 5)
        admin.delete_topics([target])
        fill(source, numbers(5, 5))
        error = it.error(15)
    assert isinstance(error, TopicError)
    assert f"The topic {target} does not exist" in str(error)


def test_an_output_topic_that_is_missing_is_said_at_the_start(quick, make_topic, copy_to, running, name):
    with running(quick(make_topic()), copy_to("any"), output_topics=[f"{name}-missing"]) as it:
        error = it.error(10)
    assert isinstance(error, TopicError)
    assert f"The topic {name}-missing does not exist" in str(error)


def test_a_topic_created_anew_while_it_is_read_stops_it(
    quick, make_topic, fill, read, copy_to, running, wait, admin
):
    """Nothing else would say so: no offset of ours is out of the range of the new one."""
    source, target = make_topic(3), make_topic()
    fill(source, numbers(1), 0)
    transform = copy_to(target, size=1)
    with running(quick(source), transform) as it:
        wait(lambda: sum(transform.committed) == 1)
        admin.delete_topics([source])
        wait(lambda: _created(make_topic, source), 10)
        fill(source, numbers(5, 100), 0)
        error = it.error(15)
    assert isinstance(error, OffsetError | TopicError)
    assert "deleted and created anew" in str(error) or "does not exist" in str(error)


def test_what_the_client_takes_for_lost_messages_is_said_to_be_another_topic(
    quick, make_topic, fill, copy_to, running, wait, monkeypatch
):
    """The client may see the new topic, and miss in it what we have read, before we look."""
    source, target = make_topic(), make_topic()
    fill(source, numbers(1))
    transform = copy_to(target, size=1)

    def truncated(self: Membership, timeout_ms: int) -> NoReturn:
        raise kafka_errors.LogTruncationError({})

    with running(quick(source), transform) as it:
        wait(lambda: sum(transform.committed) == 1)
        monkeypatch.setattr(Watch, "look", lambda self, committed, idle: None)
        monkeypatch.setattr(Membership, "topic_ids", lambda self: {source: uuid4()})
        monkeypatch.setattr(Membership, "poll", truncated)
        error = it.error(15)
    assert isinstance(error, OffsetError)
    assert f"The topic {source} was deleted and created anew" in str(error)


def _created(make_topic, name: str) -> bool:
    try:
        make_topic(1, name)
    except Exception:  # it is still being deleted
        return False
    return True


def test_a_topic_created_anew_with_fewer_partitions_stops_it_at_the_start(
    quick, make_topic, fill, read, copy_to, running, wait, admin
):
    """Kafka deletes the offsets with the topic; the ledger remembers."""
    source, target, ledger = make_topic(2), make_topic(), make_topic()
    fill(source, numbers(10), 0)
    ranges = [{"topic": source, "partition": 0, "start": 0, "end": 10}]
    fill(ledger, [json.dumps({"window": f"{source}/0/0", "ranges": ranges}).encode()])
    transform = copy_to(target, size=1)
    with running(quick(source), transform, ledger_topic=None):
        wait(lambda: sum(transform.committed) == 10)
    admin.delete_topics([source])
    wait(lambda: _created(make_topic, source), 10)
    fill(source, numbers(3, 100), 0)
    with running(quick(source), copy_to(target, size=1), ledger_topic=ledger) as it:
        error = it.error(10)
    assert isinstance(error, OffsetError)
    assert f"The topic {source} was deleted and created anew" in str(error)
    assert f"--topic {source} --reset-offsets --to-earliest" in str(error)
    assert read(target) == numbers(10)
