"""The loop on a real Apache Kafka: exactly once, through everything that goes wrong."""

from __future__ import annotations


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


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
    assert len(set(read(target))) == len(read(target)) == 100
    with running(make_settings(source), copy_to(target, size=5)):
        wait(lambda: len(read(target)) == 105)
    assert sorted(read(target)) == numbers(105)
