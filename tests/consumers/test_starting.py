"""Where reading begins, on a real Apache Kafka: new names, later partitions, offsets that are gone."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions
from kafka.structs import OffsetAndMetadata

import consumers.starting
from consumers.errors import OffsetError
from consumers.starting import Starting, StartingPoint, find_start


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


@pytest.fixture
def set_offsets(kafka):
    """``set_offsets(group, {(topic, partition): offset})``, as a person does with Kafka's own tool."""

    def commit(group, offsets):
        consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(*one) for one in offsets])
        consumer.commit({TopicPartition(*one): OffsetAndMetadata(at, "", -1) for one, at in offsets.items()})
        consumer.close()

    return commit


@pytest.fixture
def committed(kafka):
    def look(group, topic, partition=0):
        consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
        found = consumer.committed(TopicPartition(topic, partition))
        consumer.close()
        return found

    return look


@pytest.mark.parametrize("start", ["earliest", "latest", "moment"])
def test_a_new_name_begins_where_the_settings_say(
    start, make_settings, make_topic, fill, read, copy_to, running, wait, committed
):
    source, target = make_topic(3), make_topic()
    for partition in range(3):
        fill(source, numbers(4, 10 * partition), partition)
    time.sleep(0.05)
    moment = datetime.now(UTC)
    time.sleep(0.05)
    for partition in range(2):  # nothing new in the third
        fill(source, numbers(2, 100 + 10 * partition), partition)
    settings = make_settings(source, input={"start": moment if start == "moment" else start})
    expected = {"earliest": 16, "moment": 4, "latest": 0}[start]
    with running(settings, copy_to(target, size=1)) as it:
        wait(lambda: len(it.loop.assigned) == 3)
        wait(lambda: len(read(target)) == expected)
        fill(source, numbers(1, 900), 2)
        wait(lambda: len(read(target)) == expected + 1)
    assert committed(settings.name, source, 2) == 5, "the start is committed before the first poll"


def test_the_start_is_decided_once(make_settings, make_topic, fill, read, copy_to, running, wait):
    """`latest` at a restart does not pass over what came while nobody read."""
    source, target = make_topic(2), make_topic()
    settings = make_settings(source, input={"start": "latest"})
    with running(settings, copy_to(target, size=1)) as it:
        wait(lambda: len(it.loop.assigned) == 2)
    fill(source, numbers(3), 0)
    fill(source, numbers(3, 10), 1)
    with running(settings, copy_to(target, size=1)):
        wait(lambda: len(read(target)) == 6)


def test_members_that_start_together_agree(make_settings, make_topic, fill, read, copy_to, running, wait):
    source, target = make_topic(6), make_topic()
    for partition in range(6):
        fill(source, numbers(5, 10 * partition), partition)
    many = [make_settings(source, instance=str(n), input={"start": "latest"}) for n in range(3)]
    with (
        running(many[0], copy_to(target, size=1)) as a,
        running(many[1], copy_to(target, size=1)) as b,
        running(many[2], copy_to(target, size=1)) as c,
    ):
        wait(lambda: [len(it.loop.assigned) for it in (a, b, c)] == [2, 2, 2])
        for partition in range(6):
            fill(source, numbers(1, 100 + partition), partition)
        wait(lambda: len(read(target)) >= 6)
    assert sorted(read(target)) == numbers(6, 100)


def test_who_has_no_say_waits_for_who_has(kafka, name, make_topic, fill, set_offsets, admin):
    topic = make_topic(2)
    fill(topic, numbers(3), 0)
    fill(topic, numbers(4), 1)
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=name, metadata_max_age_ms=200)
    how = {"group": name, "start": "latest", "policy": "start", "ledger": lambda partitions: {}}
    assert find_start(consumer, [(topic, 1)], **how) is None
    both = {(topic, 0): 3, (topic, 1): 4}
    assert find_start(consumer, [(topic, 0)], **how) == StartingPoint({(topic, 0): 3}, both)
    set_offsets(name, both)
    assert find_start(consumer, [(topic, 1)], **how) == StartingPoint({(topic, 1): 4}, {})
    admin.create_partitions({topic: NewPartitions(total_count=3)})
    fill(topic, numbers(5), 2)
    assert find_start(consumer, [(topic, 2)], **how) == StartingPoint({(topic, 2): 0}, {(topic, 2): 0})
    consumer.close()


def ledger_entry(topic: str, partition: int, start: int, end: int) -> bytes:
    ranges = [{"topic": topic, "partition": partition, "start": start, "end": end}]
    return json.dumps({"window": f"{topic}/{partition}/{start}", "ranges": ranges}).encode()


@pytest.mark.parametrize("number", [0, 1])
def test_expired_offsets_stop_it_where_the_ledger_knows_better(
    number, make_settings, make_topic, fill, copy_to, running, read, set_offsets, wait
):
    source, target, ledger = make_topic(2), make_topic(), make_topic()
    fill(source, numbers(20), number)
    fill(ledger, [ledger_entry(source, number, 0, 7), ledger_entry(source, number, 7, 15), b"not ours"])
    settings = make_settings(source)
    if number == 1:
        set_offsets(settings.name, {(source, 0): 0})
    with running(settings, copy_to(target, size=1), ledger_topic=ledger) as it:
        error = it.error()
    assert isinstance(error, OffsetError)
    assert f"{source}/{number} at 15" in str(error)
    assert f"--topic {source}:{number} --reset-offsets --to-offset 15" in str(error)
    set_offsets(settings.name, {(source, number): 15, (source, 1 - number): 0})
    with running(settings, copy_to(target, size=1), ledger_topic=ledger):
        wait(lambda: read(target) == numbers(5, 15))


def test_retention_past_the_committed_offset_stops_it(
    make_settings, make_topic, fill, copy_to, running, read, set_offsets, admin, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(20))
    settings = make_settings(source)
    set_offsets(settings.name, {(source, 0): 3})
    admin.delete_records({TopicPartition(source, 0): 10})
    with running(settings, copy_to(target, size=1)) as it:
        error = it.error()
    assert isinstance(error, OffsetError)
    assert f"Messages 3 to 9 of {source}/0 were deleted by retention before they were read" in str(error)
    assert "--to-offset 10" in str(error)
    assert read(target) == []


def test_a_topic_created_anew_stops_it(make_settings, make_topic, fill, copy_to, running, set_offsets):
    source, target = make_topic(), make_topic()
    fill(source, numbers(5))
    settings = make_settings(source)
    set_offsets(settings.name, {(source, 0): 50})
    with running(settings, copy_to(target, size=1)) as it:
        error = it.error()
    assert isinstance(error, OffsetError)
    assert f"{source}/0 ends at 5 though we have read it up to 50. The topic {source} was" in str(error)


def test_soft_input_goes_on_at_what_is_left(
    make_settings, make_topic, fill, copy_to, running, read, set_offsets, admin, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(20))
    settings = make_settings(source, input={"start": "latest"})
    set_offsets(settings.name, {(source, 0): 3})
    admin.delete_records({TopicPartition(source, 0): 15})
    with running(settings, copy_to(target, size=1), on_missing_offset="earliest"):
        wait(lambda: read(target) == numbers(5, 15))


def test_soft_input_created_anew_is_read_from_its_beginning(
    make_settings, make_topic, fill, copy_to, running, read, set_offsets, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(5))
    settings = make_settings(source)
    set_offsets(settings.name, {(source, 0): 50})
    with running(settings, copy_to(target, size=1), on_missing_offset="earliest"):
        wait(lambda: read(target) == numbers(5))


def test_soft_input_goes_on_when_retention_overtakes_it(
    make_settings, make_topic, fill, copy_to, running, read, admin, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(5))
    transform = copy_to(target, size=1)
    with running(make_settings(source), transform, on_missing_offset="earliest") as it:
        wait(lambda: len(read(target)) == 5)
        it.loop._membership.pause()
        time.sleep(0.5)  # the fetch that is under way ends
        fill(source, numbers(10, 5))
        admin.delete_records({TopicPartition(source, 0): 12})
        wait(lambda: len(read(target)) == 8)
    assert read(target) == numbers(5) + numbers(3, 12)


def test_a_compacted_or_empty_topic_has_no_lag(make_settings, make_topic, copy_to, running, wait, kafka):
    source = make_topic()
    with running(make_settings(source), copy_to("any")) as it:
        wait(lambda: it.loop.lag == {(source, 0): 0})
        producer = KafkaProducer(bootstrap_servers=kafka)
        for value in numbers(7):
            producer.send(source, value)
        producer.close()
        wait(lambda: it.loop.lag == {(source, 0): 7})  # in an open window


class Coordinator:
    """Says one thing after the other, the last again and again."""

    def __init__(self, *said) -> None:
        self.said = list(said)

    def __call__(self, consumer, assigned, **how):
        found = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def starting(monkeypatch):
    """``starting(*what the coordinator says)``; patience of a fifth of a second."""

    def make(*said):
        monkeypatch.setattr(consumers.starting, "find_start", Coordinator(*said))
        monkeypatch.setattr(consumers.starting, "_DOUBT_SECONDS", 0.2)
        return Starting(group="g", start="latest", policy="start", ledger=lambda partitions: {})

    return make


def found(starting, committed):
    deadline = time.monotonic() + 10
    while (point := starting.find(None, [("t", 0)], committed)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return point.positions["t", 0]


def at(offset: int) -> StartingPoint:
    return StartingPoint({("t", 0): offset}, {})


def test_a_coordinator_that_knows_no_offsets_for_a_moment_is_asked_again(starting):
    assert found(starting(OffsetError("none"), OffsetError("none"), at(7)), {}) == 7


def test_one_that_goes_on_knowing_none_is_believed(starting):
    with pytest.raises(OffsetError, match="none"):
        found(starting(OffsetError("none")), {})


def test_one_that_says_less_than_was_committed_is_asked_again(starting):
    it = starting(at(5), at(5), at(7))
    assert found(it, {("t", 0): 7}) == 7


def test_a_person_may_have_set_the_offset_back(starting):
    assert found(starting(at(5)), {("t", 0): 7}) == 5


def test_an_offset_that_others_moved_on_is_not_doubted(starting):
    it = starting(at(9))
    assert it.find(None, [("t", 0)], {("t", 0): 7}).positions == {("t", 0): 9}
