"""A name has one stream, on a real Apache Kafka: a second deployment with another one is refused."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers.claims import refuse_another_stream
from consumers.errors import StreamError


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def test_another_stream_is_refused_while_the_first_runs(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    """Both have the same instance, too: the second must not even fence the first."""
    source, other, target = make_topic(), make_topic(), make_topic()
    fill(source, numbers(5))
    first, static = copy_to(target, size=1), {"group_instance_id": source}
    with running(make_settings(source), first, **static) as it:
        wait(lambda: sum(first.committed) == 5)
        began = time.monotonic()
        with running(make_settings(other), copy_to("any"), **static) as second:
            error = second.error()
        assert time.monotonic() - began < 10
        assert isinstance(error, StreamError)
        assert "Another deployment with our name runs and reads another stream" in str(error)
        fill(source, numbers(5, 5))
        wait(lambda: sum(first.committed) == 10)
        assert len(first.resets) == 1, "the first was disturbed"
        assert not it.failure


def test_another_stream_is_refused_after_the_first_has_ended(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(5))
    with running(make_settings(source), copy_to(target, size=1)):
        wait(lambda: len(read(target)) == 5)
    renamed = {"embedding": "vector"}
    with running(make_settings(source, input=renamed), copy_to(target, size=1)) as it:
        error = it.error()
    assert isinstance(error, StreamError)
    assert f"has read {source}; give this deployment another `name`" in str(error)
    kept = {"sampling": {"rate": 0.5}, "clustering": {"n_clusters": 3}}  # these may change
    fill(source, numbers(5, 5))
    with running(make_settings(source, **kept), copy_to(target, size=1)):
        wait(lambda: len(read(target)) == 10)


def test_of_two_that_start_together_one_is_refused(make_settings, make_topic, copy_to, running, wait):
    one, other = make_topic(), make_topic()
    with (
        running(make_settings(one, instance="0"), copy_to("any")) as a,
        running(make_settings(other, instance="1"), copy_to("any")) as b,
    ):
        wait(lambda: bool(a.failure or b.failure))
        wait(lambda: bool(a.loop.assigned or b.loop.assigned))
        a.expected = b.expected = True
        (error,) = a.failure + b.failure
        assert isinstance(error, StreamError)


@pytest.mark.parametrize("role", ["sampler", "clusterer"])
def test_what_the_other_role_has_read_counts(role, make_settings, make_topic, kafka):
    topic, settings = make_topic(), make_settings("stream")
    refuse_another_stream(settings, "own")  # nothing is read yet
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=settings.group(role), enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    for metadata, refused in (("", False), (settings.stream_digest(), False), ("f" * 64, True)):
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(1, metadata, -1)})
        if not refused:
            refuse_another_stream(settings, "own")
    consumer.close()
    with pytest.raises(StreamError, match=f"the group {settings.group(role)} has read {topic}"):
        refuse_another_stream(settings, "own")
