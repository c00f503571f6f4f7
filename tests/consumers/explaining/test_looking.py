"""Looking things up on a real Apache Kafka: near their time, no further than needed, never too sure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaProducer, TopicPartition

from consumers.clients import transactional_producer
from consumers.errors import ServiceError
from consumers.explaining.ledger import find_entry
from consumers.explaining.looking import message_at, newest, search
from consumers.records.dead_letters import DeadLetter
from consumers.records.ledger import Range
from consumers.transform import InputRecord

PAST = 1_700_000_000_000


@pytest.fixture
def send(kafka: str) -> Iterator[Callable[..., None]]:
    """``send(topic, partition, [(source, time), ...])``: messages that name their source."""
    producer = KafkaProducer(bootstrap_servers=kafka)

    def write(topic: str, partition: int, sources: list[tuple[str, int]]) -> None:
        for source, time in sources:
            producer.send(topic, source.encode(), partition=partition, timestamp_ms=PAST + time)
        producer.flush()

    yield write
    producer.close()


def items(record: InputRecord) -> list[DeadLetter]:
    return [DeadLetter((record.value or b"").decode(), "", "", "")]


@pytest.fixture
def kept(make_topic):
    return make_topic(2, configs={"retention.ms": "-1"})


def test_a_source_is_found_from_its_time_on(make_settings, kept, send, make_entry, admin):
    settings = make_settings("raw")
    send(kept, 0, [(f"raw/0/{i}", i) for i in range(300)])
    send(kept, 1, [("raw/2/5", 120), ("raw/1/20", 121), ("raw/1/20", 122)])
    send(kept, 1, [(f"raw/1/{i}", i) for i in range(160, 180)])

    def look(source: str, since: int, most: int = 1_000, **given):
        found = search(
            settings, kept, source, make_entry(**given), since_ms=PAST + since, most=most, items=items
        )
        return len(found.found), found.certain, found.looked

    assert look("raw/0/110", 110)[0] == 1
    assert look("raw/0/110", 110)[2] <= 195  # nothing before its time
    assert look("raw/1/20", 121)[0] == 1
    assert look("raw/1/20", 121, design="iid")[0] == 2
    # not there: both partitions have come to a later window, or to their end
    gone = "raw/0/7777"
    count, certain, looked = look(gone, 100)
    assert (count, certain) == (0, True)
    assert looked < 223  # of all that is of its time or later
    assert look(gone, 290)[:2] == (0, True)
    assert look(gone, 5_000) == (0, True, 0)
    # not looked through
    assert look("raw/0/7777", 0, most=40) == (0, False, 40)
    # retention has deleted what it may have been among
    admin.delete_records({TopicPartition(kept, 0): 130})
    assert look(gone, 110)[:2] == (0, False)
    assert look(gone, 140)[:2] == (0, True)


def test_what_lies_behind_an_open_transaction_is_waited_for(make_settings, kept, send, make_entry, name):
    settings = make_settings("raw")
    producer = transactional_producer(settings, name)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(kept, b"raw/9/9", partition=0, timestamp_ms=PAST).get(10)
    send(kept, 0, [("raw/0/110", 110)])  # committed, and not to be seen yet
    ending = threading.Timer(0.5, producer.abort_transaction)
    ending.start()
    found = search(settings, kept, "raw/0/110", make_entry(), since_ms=PAST + 110, most=100, items=items)
    ending.join()
    producer.close()
    assert len(found.found) == 1


def test_messages_by_offset(make_settings, kept, send, admin):
    settings = make_settings("raw")
    send(kept, 1, [(f"raw/0/{i}", i) for i in range(10)])
    assert message_at(settings, kept, 1, 7).value == b"raw/0/7"
    with pytest.raises(ServiceError, match="ends before offset 10: nothing is at 10 yet"):
        message_at(settings, kept, 1, 10)
    with pytest.raises(ServiceError, match="has the partitions 0 to 1, not 2"):
        message_at(settings, kept, 2, 0)
    assert [record.offset for record in newest(settings, kept, 6)] == [7, 8, 9]
    admin.delete_records({TopicPartition(kept, 1): 5})
    assert message_at(settings, kept, 1, 4) is None


def test_the_window_of_an_offset(make_settings, make_topic, make_entry, name, kafka):
    ledger = make_topic(name=f"{name}-windows", configs={"retention.ms": "-1"})
    settings = make_settings("raw")
    with pytest.raises(ServiceError, match="No sampler has processed raw/0 yet"):
        find_entry(settings, "raw", 0, 120, PAST)
    spans = [(100, 150), (150, 200), (210, 260)]
    entries = [make_entry(ranges=(Range("raw", 0, *span), Range("raw", 1, *span))) for span in spans]
    producer = KafkaProducer(bootstrap_servers=kafka)
    for i, entry in enumerate(entries):
        producer.send(ledger, entry.encode(), timestamp_ms=PAST + 1_000_000 * i)
    producer.send(ledger, b"not an entry", timestamp_ms=PAST)
    producer.close()
    assert find_entry(settings, "raw", 0, 149, PAST) == entries[0]
    assert find_entry(settings, "raw", 1, 150) == entries[1]
    assert find_entry(settings, "raw", 0, 100, PAST + 9_000_000) == entries[0]  # whatever its time says
    for offset, says in (
        (99, "lies before offset 100, where the ledger begins"),
        (205, "lies in no window of the ledger"),
        (260, "has not been processed yet: samplers have come to offset 260 of raw/0"),
    ):
        with pytest.raises(ServiceError, match=says):
            find_entry(settings, "raw", 0, offset, PAST)
