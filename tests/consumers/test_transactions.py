"""The loop on a real Apache Kafka: every record once, through whatever happens to it and to its group."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from consumers.errors import RecordError, ServiceError
from consumers.transactions import Output, Unit


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def _with_options(settings, **options):
    return {**settings.kafka.model_dump(), "options": options}


def test_every_record_of_two_partitions_comes_out_once(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(2), make_topic(2)
    fill(source, numbers(60), 0)
    fill(source, numbers(45, 60), 1)
    transform = copy_to(target, size=10)
    with running(make_settings(source), transform) as it:
        wait(lambda: sum(transform.committed) == 100)
        assert it.loop.assigned == ((source, 0), (source, 1))
    assert len(set(read(target))) == len(read(target)) == 100, "an open window is not committed at the end"
    with running(make_settings(source), copy_to(target, size=5)):
        wait(lambda: len(read(target)) == 105)
    assert sorted(read(target)) == numbers(105)


def test_windows_close_by_age_without_any_records(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(3))
    with running(make_settings(source), copy_to(target, size=1000, age=0.3)):
        wait(lambda: len(read(target)) == 3)


def test_key_headers_and_time_are_handed_on(make_settings, make_topic, copy_to, running, wait, kafka):
    from kafka import KafkaConsumer, KafkaProducer

    source, target = make_topic(), make_topic()
    now_ms = round(1000 * time.time()) - 1234  # much older, and retention would take it
    producer = KafkaProducer(bootstrap_servers=kafka)
    producer.send(source, b"value", key=b"key", headers=[("a", b"\xff"), ("a", b"")], timestamp_ms=now_ms)
    producer.close()
    transform = copy_to(target, size=1)
    with running(make_settings(source), transform):
        wait(lambda: transform.committed == [1])
    consumer = KafkaConsumer(
        target, bootstrap_servers=kafka, auto_offset_reset="earliest", consumer_timeout_ms=5000
    )
    (record,) = next(iter(consumer.poll(timeout_ms=5000).values()))
    consumer.close()
    assert (record.key, record.value, record.timestamp) == (b"key", b"value", now_ms)
    assert record.headers == (("a", b"\xff"), ("a", b"")) or record.headers == [("a", b"\xff"), ("a", b"")]


def test_an_uncommitted_transaction_of_the_input_is_not_read(
    make_settings, make_topic, fill, read, copy_to, running, wait, name
):
    from consumers.clients import transactional_producer

    source, target = make_topic(), make_topic()
    settings = make_settings(source)
    theirs = transactional_producer(settings, f"{name}-theirs")
    theirs.init_transactions()
    theirs.begin_transaction()
    theirs.send(source, b"aborted").get(timeout=5)
    theirs.abort_transaction()
    fill(source, numbers(1))
    transform = copy_to(target, size=1)
    with running(settings, transform) as it:
        wait(lambda: read(target) == numbers(1))
        wait(lambda: it.loop.lag == {(source, 0): 0})
    theirs.close()


def test_an_abort_goes_back_to_the_committed_offsets(
    make_settings, make_topic, fill, read, copy_to, running, wait, monkeypatch
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(40))
    transform = copy_to(target, size=10)
    with running(make_settings(source), transform) as it:
        wait(lambda: it.loop.assigned != ())
        commit, broken = it.loop._committer.commit, iter([True, True])

        def sometimes(units, membership):
            stale = membership._replace(generation_id=membership.generation_id + 7)
            return commit(units, stale if next(broken, False) else membership)

        monkeypatch.setattr(it.loop._committer, "commit", sometimes)
        fill(source, numbers(40, 40))
        wait(lambda: sum(transform.committed) == 80)
    assert sorted(read(target)) == numbers(80)
    assert len(transform.resets) == 3


def test_a_record_that_is_refused_ends_the_loop(make_settings, make_topic, fill, read, copy_to, running):
    source, target = make_topic(), make_topic(configs={"max.message.bytes": "1000"})
    fill(source, [bytes(5000)])
    with running(make_settings(source), copy_to(target, size=1)) as it:
        assert isinstance(it.error(), RecordError)
    assert read(target) == []


def test_an_error_of_the_transform_ends_the_loop(make_settings, make_topic, fill, read, copy_to, running):
    source, target = make_topic(), make_topic()
    fill(source, numbers(1))

    def fail(window):
        raise ZeroDivisionError("a bug")

    with running(make_settings(source), copy_to(target, size=1, before_apply=fail)) as it:
        assert isinstance(it.error(), ZeroDivisionError)
    assert read(target) == []


def test_a_stop_finishes_the_window_at_hand(make_settings, make_topic, fill, read, copy_to, running, wait):
    source, target = make_topic(), make_topic()
    fill(source, numbers(6))
    begun = []
    transform = copy_to(target, size=2, slow=0.5, before_apply=begun.append)
    with running(make_settings(source, grace_seconds=10.0), transform) as it:
        wait(lambda: len(begun) == 1)
        it.end()
    assert read(target) == numbers(6)


def test_a_stop_drops_what_does_not_fit_the_grace(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(6))
    begun = []
    transform = copy_to(target, size=2, slow=1.2, before_apply=begun.append)
    with running(make_settings(source, grace_seconds=0.1), transform) as it:
        wait(lambda: len(begun) == 1)
        asked = time.monotonic()
        it.end()
        assert time.monotonic() - asked < 4
    assert len(read(target)) < 6


def test_publications_need_no_input(make_settings, make_topic, read, copy_to, running, wait):
    source, target = make_topic(), make_topic()

    class Publishing(copy_to):
        def cut(self, records, now):
            return [[]] if not self.windows and not super().cut(records, now) else []

        def apply(self, window):
            self.windows += 1
            return Unit([Output(target, b"published", key=b"k")], {})

    with running(make_settings(source), Publishing(target)):
        wait(lambda: b"published" in read(target))


def test_an_option_that_is_ours_is_refused(make_settings, make_topic, copy_to, running):
    settings = make_settings(make_topic())
    options = _with_options(settings, isolation_level="read_uncommitted")
    with running(make_settings(settings.input.topic, kafka=options), copy_to("any")) as it:
        error = it.error()
    assert isinstance(error, ServiceError)
    assert "kafka.options.isolation_level is set by the service itself" in str(error)


KILLED = """
import os, signal, sys, threading, time
from kafka import KafkaProducer
from consumers.settings import Settings
from consumers.transactions import Output, TransactionalLoop, Unit

settings = Settings.model_validate_json(sys.argv[1])
commit, done = KafkaProducer.commit_transaction, []

def commit_or_die(producer):
    done.append(commit(producer) if len(done) < 3 else os.kill(os.getpid(), signal.SIGKILL))

KafkaProducer.commit_transaction = commit_or_die

class Copy:
    def reset(self, partitions): pass
    def cut(self, records, now): return [[record] for record in records]
    def apply(self, window):
        (one,) = window
        time.sleep(0.02)
        return Unit([Output(sys.argv[2], one.value)], {(one.topic, one.partition): one.offset + 1})
    def pending_bytes(self): return 0
    def window_bytes(self, window): return 1

TransactionalLoop(
    settings, group=settings.name, transactional_id=settings.name + "-0",
    input_topics=[settings.input.topic], transform=Copy(),
).run(threading.Event())
"""


def test_a_process_killed_between_sends_and_commit_leaves_no_trace(
    make_settings, make_topic, fill, read, copy_to, running, wait
):
    source, target = make_topic(), make_topic()
    fill(source, numbers(30))
    settings = make_settings(source, window={"commit_interval_seconds": 0.001})
    command = [sys.executable, "-c", KILLED, settings.model_dump_json(), target]
    killed = subprocess.run(command, timeout=30, check=False)
    assert killed.returncode == -signal.SIGKILL
    visible = len(read(target))  # of the open transaction nothing, or the end of what is stable is before it
    assert 0 < visible < 30
    with running(settings, copy_to(target, size=1)):
        wait(lambda: len(read(target)) == 30)
    assert sorted(read(target)) == numbers(30)
    assert len(read(target, "read_uncommitted")) > 30, "the kill did not hit between sends and commit"
