"""Arrow messages of many rows explained, on a real Apache Kafka with topics written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from kafka import KafkaProducer, TopicPartition

from consumers import ipc
from consumers.codecs import SampleColumns, codec_for
from consumers.errors import ServiceError
from consumers.explaining.example import explain
from consumers.reader import read_to_end
from consumers.records import encode_publication
from consumers.records.dead_letters import dead_letter
from consumers.records.ledger import Range

WEIGHT_IN = 4.0


@pytest.fixture
def deployment(make_settings, make_topic, make_entry, make_publication, kafka, name):
    """One window of one message: row 0 was left, row 1 taken, row 2 is dead; each weighed 4 before."""
    given = {"format": "arrow", "chain": True}
    settings = make_settings(make_topic(name=f"{name}-raw"), input=given)
    for role in ("coreset", "windows", "dead_letters", "clusters"):
        make_topic(name=settings.topic(role))
    producer = KafkaProducer(bootstrap_servers=kafka)
    vectors = pa.array([[1.0, 2.0], [21.0, 2.0], None], pa.list_(pa.float32()))
    table = pa.table({"embedding": vectors, "coreset-weight": np.full(3, WEIGHT_IN)})
    producer.send(settings.input.topic, ipc.write_stream(table)).get(10)
    (record,) = read_to_end(settings, settings.input.topic)
    codec = codec_for(settings.input)
    decoded, half = codec.decode(record), np.array([0.8])
    columns = SampleColumns(
        f"{record.topic}/0/0", 6, 1 / half, half, np.array([0]), np.array([8]), *[half] * 6
    )
    outputs = codec.emit(decoded, np.array([1]), columns, 100_000)
    at = {"timestamp_ms": record.timestamp_ms}
    for output in outputs:
        producer.send(settings.topic("coreset"), output.value, headers=list(output.headers), **at)
    (error,) = decoded.errors
    letter = dead_letter(
        settings.topic("dead_letters"), record, stage="decode", exception=error.exception,
        message=error.message, row=error.row, value=codec.example(decoded, 2),
    )  # fmt: skip
    producer.send(letter.topic, letter.value, letter.key, list(letter.headers), **at)
    entry = make_entry(ranges=(Range(record.topic, 0, 0, 1),), valid=2, dead=1, emitted=1, s=1.0)
    producer.send(settings.topic("windows"), entry.encode(), entry.key)
    publication = replace(make_publication(), settings_digest=settings.stream_digest())
    for key, value in encode_publication(publication):
        producer.send(settings.topic("clusters"), value, key)
    producer.close()
    return settings


def test_rows_of_a_message(deployment, admin):
    settings, topic = deployment, deployment.input.topic
    taken = explain(settings, topic, 0, 0, 1)
    assert (taken.outcome, taken.source) == ("taken", f"{topic}/0/0/1")
    assert taken.probability == pytest.approx(0.8)  # what it weighed before is no preference of ours
    assert taken.draws[0].weight == WEIGHT_IN / 0.8
    assert taken.times_uniform == pytest.approx(1.6)
    assert taken.today.cluster == "8"
    assert replace(explain(settings, settings.topic("coreset"), 0, 0), today=taken.today) == taken

    left = explain(settings, topic, 0, 0, 0)
    assert left.outcome == "not taken"
    assert left.today.cluster == "3"
    assert left.today.probability == pytest.approx(0.5)  # no cluster takes more than half, and there are two
    dead = explain(settings, topic, 0, 0, 2)
    assert dead.outcome == "dead letter"
    assert dead.letter.exception == "NoEmbedding"

    for where, says in (
        ((topic, 0, 0), "is a message of 3 examples: say which with --row"),
        ((topic, 0, 0, 3), "has the rows 0 to 2, not 3"),
        ((settings.topic("coreset"), 0, 0, 1), "has the rows 0 to 0, not 1"),
    ):
        with pytest.raises(ServiceError, match=says):
            explain(settings, *where)
    unknown = explain(settings, topic, 0, 0, 0, most=0)
    assert (unknown.outcome, "raise --scan" in unknown.sentence) == ("unknown", True)

    admin.delete_records({TopicPartition(topic, 0): 1})  # its message is gone; the coreset and ledger are not
    taken = explain(settings, topic, 0, 0, 1)
    assert (taken.outcome, taken.probability) == ("taken", None)  # what it weighed before is gone, too
    assert "is not known" in taken.sentence
    assert explain(settings, topic, 0, 0, 2).outcome == "dead letter"
    lost = explain(settings, topic, 0, 0, 0)
    assert lost.outcome == "unknown"
    assert "its own message is gone" in lost.sentence
    with pytest.raises(ServiceError, match="say which with --row"):
        explain(settings, topic, 0, 0)
