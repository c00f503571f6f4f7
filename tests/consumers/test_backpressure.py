"""What waits is bounded, whoever is slow: the publication that is not due, the model, the flush."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.inquiry import POOL_BYTES, Inquiry
from consumers.records import Probe, Statistics
from consumers.records.statistics import encode_statistics
from consumers.refresher import Refresher
from consumers.transform import InputRecord
from stream_coreset.kmeans import WeightedPoints


def test_reading_pauses_while_an_open_window_holds_too_much(
    make_settings, make_topic, fill, copy_to, running, wait
):
    """A transform that closes its window late (as the clusterer's does), with a backlog in front of it."""
    source, target, most = make_topic(), make_topic(), 1_000_000
    fill(source, [b"x" * 10_000] * 2_000)
    transform, held = copy_to(target, size=10**9, age=1.0), []
    transform.before_apply = lambda window: held.append(transform.window_bytes(window))
    limits = {"window": {"max_bytes": most}, "input": {"max_message_bytes": 20_000}}
    with running(make_settings(source, **limits), transform):
        wait(lambda: len(held) >= 3, 30)
    assert max(held) < 4 * most  # and not all 20 MB


def test_probes_that_wait_for_a_slow_model_are_bounded():
    answer = threading.Event()

    class Slow:
        def losses(self, examples, embeddings):
            answer.wait()
            return np.ones(len(examples)), "1"

    inquiry = Inquiry(settings(sampling={"probes": 2}), Refresher(Slow()))
    values = [example([i, 0], text="y" * 1_000_000) for i in range(100)]
    for i, value in enumerate(values):
        points = WeightedPoints(np.full((1, 2), i, np.float32), np.ones(1), np.ones(1))
        probes = (Probe(0, True, 0.5, 1.0, value), Probe(0, False, 0.5, 1.0, value))
        inquiry.add(Statistics("0", 1, 1, points, np.array([i]), probes), np.array([i]))
    waiting = [center for center in range(100) if center in inquiry._pool]
    assert waiting == list(range(POOL_BYTES // (2 * len(values[0]))))
    inquiry.keep([0])
    assert sum(inquiry._pooled.values()) == 2 * len(values[0])
    inquiry.add(Statistics("0", 1, 1, points, np.array([99]), probes), np.array([99]))
    assert 99 in inquiry._pool
    answer.set()


@pytest.mark.parametrize("flush_bytes", [100_000, 100_000_000])
def test_merging_a_backlog_takes_no_more_memory_than_merging_a_window(flush_bytes):
    """As after a standstill: 200 flushes of 250 points at once, which all together would take 8 MB."""
    given = settings(clustering={"n_clusters": 50, "flush_bytes": flush_bytes}, window={"size": 1_000})
    rng, topic = np.random.default_rng(0), given.topic("statistics")
    records = []
    for number in range(200):
        points = WeightedPoints(rng.normal(size=(250, 2)).astype(np.float32), np.ones(250), np.zeros(250))
        (value,) = encode_statistics(Statistics("0", 0, 1, points, np.full(250, -1), ()))
        records.append(InputRecord(topic, 0, number, None, value))
    loop = Loop(given)
    merges = loop.clusterer.cut(records, 1.0)
    assert max(merge.nbytes for merge in merges) <= flush_bytes + len(value)
    assert [merge.publish for merge in merges] == [False] * (len(merges) - 1) + [True]
    tracemalloc.start()
    units = [loop.clusterer.apply(merge) for merge in merges]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3_000_000
    assert [bool(unit.outputs) for unit in units] == [merge.publish for merge in merges]
    assert units[-1].offsets == {(topic, 0): 200}
    merged = loop.clusterer._model.publish(0.0).counts.sum()
    assert merged == pytest.approx(200 * 250, rel=0.05)  # but for the half-life


def test_statistics_do_not_grow_with_the_windows_of_a_long_pause():
    loop = Loop(settings(clustering={"flush_seconds": 3600.0}))
    for seed in range(100):
        for window in loop.sampler.cut(loop.records([example(x) for x in blobs(200, seed)]), 0.0):
            loop.take(loop.sampler.apply(window))
    gatherer = loop.sampler._gatherer
    assert sum(part.counts.sum() for part in gatherer._points) == 99 * 200  # the first was sent
    distinct = len(set(gatherer._keys))
    assert len(gatherer._keys) <= distinct + 5 * loop.settings.clustering.n_clusters
