"""Readers on a real Apache Kafka."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from consumers.clients import transactional_producer
from consumers.errors import TopicError
from consumers.reader import ClustersFollower, latest_publication, processed_before, read_to_end
from consumers.records import Publication, encode_publication
from stream_coreset.clusters import Clusters


def test_reads_to_the_end_and_no_further(make_settings, make_topic, fill):
    topic = make_topic(2)
    fill(topic, [b"%d" % number for number in range(2000)], 0)
    fill(topic, [b"x"], 1)
    records = list(read_to_end(make_settings(topic), topic))
    assert sorted(record.value for record in records) == sorted([b"%d" % n for n in range(2000)] + [b"x"])
    later = list(read_to_end(make_settings(topic), topic, start={(topic, 0): 1990}))
    assert [record.offset for record in later if record.partition == 0] == list(range(1990, 2000))


def test_an_empty_topic_has_an_end_too(make_settings, make_topic):
    topic = make_topic()
    assert list(read_to_end(make_settings(topic), topic)) == []


def test_a_missing_topic_is_said(make_settings, name):
    with pytest.raises(TopicError, match=f"{name}-typo does not exist"):
        list(read_to_end(make_settings("any"), f"{name}-typo"))


def test_transactions_that_are_aborted_or_open_are_left_out(make_settings, make_topic, name):
    topic = make_topic()
    settings = make_settings(topic)
    producer = transactional_producer(settings, name)
    producer.init_transactions()
    for value, end in ((b"kept", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        producer.send(topic, value).get(timeout=5)
        end()
    assert [record.value for record in read_to_end(settings, topic)] == [b"kept"]
    producer.begin_transaction()
    producer.send(topic, b"open").get(timeout=5)
    assert [record.value for record in read_to_end(settings, topic)] == [b"kept"]
    everything = read_to_end(settings, topic, isolation="read_uncommitted")
    assert [record.value for record in everything] == [b"kept", b"aborted", b"open"]
    producer.abort_transaction()
    producer.close()


def test_the_ledger_says_what_was_processed_before(make_settings, make_topic, fill):
    ledger = make_topic()
    fill(ledger, [
        b'{"ranges": [{"topic": "a", "partition": 0, "start": 0, "end": 5},'
        b' {"topic": "b", "partition": 0, "start": 0, "end": 9}]}',
        b'{"ranges": [{"topic": "a", "partition": 0, "start": 5, "end": 8}]}',
        b'{"ranges": [{"topic": "a"}]}', b"", b"nonsense", b"[1]",
    ])  # fmt: skip
    assert processed_before(make_settings(ledger), ledger, [("a", 0), ("a", 1)]) == {("a", 0): 8}


def publication(version: int, k: int = 3) -> Publication:
    rng = np.random.default_rng(version)
    clusters = Clusters(
        version=version,
        model_version="m",
        ids=np.arange(k),
        generations=np.zeros(k, np.int64),
        centers=rng.normal(size=(k, 2)).astype(np.float32),
        counts=np.ones(k),
        losses=np.full(k, np.nan),
        spreads=np.full(k, np.nan),
        loss_ages=np.full(k, np.nan),
        mean_square=float("nan"),
        holders=np.zeros(2),
    )
    return Publication(clusters, "0" * 64, np.array([0]), 0.2, 0.01, 1)


@pytest.fixture
def publish(kafka):
    from kafka import KafkaProducer

    def write(topic, *publications):
        producer = KafkaProducer(bootstrap_servers=kafka)
        for one in publications:
            for key, value in encode_publication(one):
                producer.send(topic, value, key=key, partition=0)
        producer.close()

    return write


def test_the_newest_clusters_that_are_whole(make_settings, make_topic, publish, name):
    topic = make_topic(name=f"{name}-clusters", configs={"cleanup.policy": "compact"})
    settings = make_settings("any")
    assert settings.topic("clusters") == topic
    assert latest_publication(settings) is None
    publish(topic, publication(1), publication(2))
    assert latest_publication(settings).clusters.version == 2


def test_clusters_are_followed_and_never_go_backwards(make_settings, make_topic, publish, name, wait):
    topic = make_topic(name=f"{name}-clusters", configs={"cleanup.policy": "compact"})
    publish(topic, publication(1), publication(3))
    seen, came = [], threading.Event()

    def on_publication(one):
        seen.append(one.clusters.version)
        came.set()

    follower = ClustersFollower(make_settings("any"), on_publication)
    follower.start()
    try:
        wait(lambda: seen == [3])
        publish(topic, publication(2))
        publish(topic, publication(4))
        wait(lambda: seen == [3, 4])
    finally:
        follower.stop()


def test_following_waits_for_the_topic(make_settings, make_topic, publish, name, wait):
    seen = []
    follower = ClustersFollower(make_settings("any"), seen.append)
    follower.start()
    try:
        topic = make_topic(name=f"{name}-clusters", configs={"cleanup.policy": "compact"})
        publish(topic, publication(1))
        wait(lambda: [one.clusters.version for one in seen] == [1])
    finally:
        follower.stop()
