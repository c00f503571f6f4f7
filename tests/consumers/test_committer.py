"""Transactions on a real Apache Kafka: what a read_committed reader sees when they go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.producer.future import FutureRecordMetadata

from consumers.clients import input_consumer, keep_joining, transactional_producer
from consumers.committer import Committer, _cause
from consumers.errors import FencedError, RecordError
from consumers.transform import Output, Silent, Unit


class Outcomes(Silent):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def transaction(self, outcome: str) -> None:
        self.seen.append(outcome)


def nothing() -> None:
    """Not watched."""


@pytest.fixture
def member(wait: Callable[..., None]) -> Callable[..., Iterator]:
    """``with member(settings) as consumer``: a member of the group that has its assignment."""

    @contextmanager
    def join(settings, instance=None):
        consumer = input_consumer(settings, settings.name, instance)
        consumer.subscribe([settings.input.topic])

        def assigned() -> bool:
            with suppress(kafka_errors.NoOffsetForPartitionError):
                consumer.poll(timeout_ms=50)
            keep_joining(consumer)
            return bool(consumer.assignment())

        wait(assigned)
        yield consumer
        consumer.close(autocommit=False, timeout_ms=2000)

    return join


@pytest.fixture
def committer() -> Iterator[Callable[..., Committer]]:
    made: list[Committer] = []

    def make(settings, observer=None, **changes) -> Committer:
        made.append(Committer(settings, f"{settings.name}-0", observer or Silent()))
        assert made[-1].initialise(threading.Event(), nothing)
        return made[-1]

    yield make
    for one in made:
        one.close()


def unit(source: str, target: str, *values: bytes, end: int = 1) -> Unit:
    return Unit([Output(target, value) for value in values], {(source, 0): end})


def test_outputs_and_offsets_commit_together(make_settings, make_topic, member, committer, read):
    source, target = make_topic(), make_topic()
    settings, outcomes = make_settings(source), Outcomes()
    with member(settings) as consumer:
        done = committer(settings, outcomes).commit(
            [unit(source, target, b"a", b"b"), unit(source, target, b"c", end=7)], consumer.group_metadata()
        )
        assert done == "committed"
        assert outcomes.seen == ["committed"]
        assert consumer.committed(TopicPartition(source, 0)) == 7
    assert read(target) == [b"a", b"b", b"c"]


def test_a_transaction_that_was_aborted_is_invisible(make_settings, make_topic, member, committer, read):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        subject = committer(settings)
        stale = consumer.group_metadata()._replace(generation_id=99)
        assert subject.commit([unit(source, target, b"lost")], stale) == "aborted"
        assert consumer.committed(TopicPartition(source, 0)) is None
        assert subject.initialise(threading.Event(), nothing)
        assert subject.commit([unit(source, target, b"kept")], consumer.group_metadata()) == "committed"
    assert read(target) == [b"kept"]
    assert read(target, "read_uncommitted") == [b"lost", b"kept"], "the fault did not hit"


def test_offsets_of_an_aborted_transaction_are_not_committed_by_the_next(
    make_settings, make_topic, member, committer
):
    """kafka-python 3.0.12 keeps offsets that were refused, and would commit them with the next ones.

    By then they may belong to another member: its progress would be undone, and its windows emitted twice.
    """
    source, target = make_topic(2), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        subject = committer(settings)
        refused = Unit([Output(target, b"a")], {(source, 0): 5, (source, 1): 50})
        stale = consumer.group_metadata()._replace(generation_id=99)
        assert subject.commit([refused], stale) == "aborted"
        if not subject.ready:
            subject.initialise(threading.Event(), nothing)
        assert subject.commit([unit(source, target, b"b", end=7)], consumer.group_metadata()) == "committed"
        assert consumer.committed(TopicPartition(source, 0)) == 7
        assert consumer.committed(TopicPartition(source, 1)) is None


def test_a_zombie_is_fenced_by_the_generation_of_its_poll(
    make_settings, make_topic, member, committer, read, wait
):
    source, target = make_topic(2), make_topic()
    settings = make_settings(source)
    with member(settings) as zombie:
        stale = zombie.group_metadata()
        zombie.close(autocommit=False, timeout_ms=2000)
        with member(settings) as successor:
            assert successor.group_metadata().generation_id > stale.generation_id
            assert committer(settings).commit([unit(source, target, b"zombie")], stale) == "aborted"
    assert read(target) == []


def test_a_static_member_that_joined_anew_does_not_take_itself_for_another(
    make_settings, make_topic, member, committer, read
):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings, "static") as consumer:
        before = consumer.group_metadata()
    subject = committer(settings)
    with member(settings, "static"):  # as after its session has ended
        assert subject.commit([unit(source, target, b"stale")], before) == "aborted"
    assert read(target) == []


def test_a_member_without_a_generation_commits_nothing(make_settings, make_topic, committer, read):
    """Apache Kafka would accept (generation -1, no member) from anybody."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    outsider = input_consumer(settings, settings.name)
    try:
        subject = committer(settings)
        assert subject.commit([unit(source, target, b"zombie")], outsider.group_metadata()) == "aborted"
        assert outsider.committed(TopicPartition(source, 0)) is None
    finally:
        outsider.close()
    assert read(target, "read_uncommitted") == []


def test_a_zombie_is_fenced_by_its_transactional_id(make_settings, make_topic, member, committer, read):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        zombie, successor = committer(settings), committer(settings)
        assert zombie.commit([unit(source, target, b"zombie")], consumer.group_metadata()) == "aborted"
        assert not zombie.ready
        assert successor.commit([unit(source, target, b"mine")], consumer.group_metadata()) == "committed"
    assert read(target) == [b"mine"]


def test_two_that_take_the_id_from_each_other_do_not_go_on_for_ever(
    make_settings, make_topic, member, committer, read
):
    """Once may be an initialisation of our own that we had given up; twice is another process."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        one, other = committer(settings), committer(settings)
        assert one.commit([unit(source, target, b"1")], consumer.group_metadata()) == "aborted"
        one.initialise(threading.Event(), nothing)
        assert other.commit([unit(source, target, b"2")], consumer.group_metadata()) == "aborted"
        other.initialise(threading.Event(), nothing)
        with pytest.raises(FencedError, match="Another process with the same name and instance"):
            one.commit([unit(source, target, b"3")], consumer.group_metadata())
    assert read(target) == []


def test_a_fencing_that_the_client_tells_as_a_general_error_is_recognised():
    fenced = kafka_errors.ProducerFencedError()
    assert (
        _cause(kafka_errors.KafkaError("Cannot perform send because of an earlier error", fenced)) is fenced
    )
    assert _cause(fenced) is fenced
    other = kafka_errors.KafkaError("another")
    assert _cause(other) is other


def test_a_transaction_with_a_lost_record_does_not_commit(
    make_settings, make_topic, member, committer, read, monkeypatch
):
    """After a delivery timeout the client would commit all the same: every future has to be looked at."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        subject, get = committer(settings), FutureRecordMetadata.get

        def expired(future, timeout=None):
            get(future, timeout)
            raise kafka_errors.KafkaTimeoutError("delivery_timeout_ms has passed")

        monkeypatch.setattr(FutureRecordMetadata, "get", expired)
        assert subject.commit([unit(source, target, b"a", b"b")], consumer.group_metadata()) == "aborted"
        monkeypatch.undo()
        assert not subject.ready, "a record may still be on its way: only a new epoch shuts it out"
        assert consumer.committed(TopicPartition(source, 0)) is None
    assert read(target) == []


def test_what_a_killed_process_left_open_ends_when_its_id_comes_back(
    make_settings, make_topic, member, committer, read
):
    """Killed between the sends and the commit: readers wait for the successor, and then see nothing of it."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        killed = transactional_producer(settings, f"{settings.name}-0")
        killed.init_transactions()
        killed.begin_transaction()
        killed.send(target, b"half").get(timeout=5)
        killed.send_offsets_to_transaction({}, consumer.group_metadata())
        subject = committer(settings)
        assert subject.commit([unit(source, target, b"whole")], consumer.group_metadata()) == "committed"
        killed.close(timeout=0)
    assert read(target) == [b"whole"]


@pytest.mark.parametrize("limit", ["client", "topic"])
def test_a_record_that_is_too_large_is_said_not_repeated(
    limit, make_settings, make_topic, member, committer, read
):
    source = make_topic()
    target = make_topic(configs={"max.message.bytes": "10000"})
    settings = make_settings(source)
    size = 20_000 if limit == "topic" else 2_000_000
    with member(settings) as consumer:
        units = [unit(source, target, b"small"), unit(source, target, bytes(size))]
        with pytest.raises(RecordError, match=r"larger than its topic allows.*max.message.bytes"):
            committer(settings).commit(units, consumer.group_metadata())
    assert read(target) == []


def test_publications_without_offsets_need_no_group(make_settings, make_topic, member, committer, read):
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        alone = Unit([Output(target, b"version 1", key=b"head")], {})
        assert committer(settings).commit([alone], consumer.group_metadata()) == "committed"
    assert read(target) == [b"version 1"]


def test_a_transaction_costs_milliseconds(make_settings, make_topic, member, committer):
    """A transaction waits for the markers of the last; with the client's own backoff that takes 100 ms."""
    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    with member(settings) as consumer:
        subject, membership = committer(settings), consumer.group_metadata()
        subject.commit([unit(source, target, b"first")], membership)
        began = time.monotonic()
        for number in range(20):
            subject.commit([unit(source, target, b"%d" % number, end=number + 2)], membership)
        assert (time.monotonic() - began) / 20 < 0.08
