"""What waits is bounded, whoever is slow: the publication that is not due, the model, the flush."""

from __future__ import annotations

import threading

import numpy as np
from support.loop import Loop, blobs, example, settings

from consumers.inquiry import POOL_BYTES, Inquiry
from consumers.records import Probe, Statistics
from consumers.refresher import Refresher
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


def test_statistics_do_not_grow_with_the_windows_of_a_long_pause():
    loop = Loop(settings(clustering={"flush_seconds": 3600.0}))
    for seed in range(100):
        for window in loop.sampler.cut(loop.records([example(x) for x in blobs(200, seed)]), 0.0):
            loop.take(loop.sampler.apply(window))
    gatherer = loop.sampler._gatherer
    assert sum(part.counts.sum() for part in gatherer._points) == 99 * 200  # the first was sent
    distinct = len(set(gatherer._keys))
    assert len(gatherer._keys) <= distinct + 5 * loop.settings.clustering.n_clusters
