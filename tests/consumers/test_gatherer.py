"""Statistics between two flushes: mass and cost are kept, probes fit, the cadence holds."""

from __future__ import annotations

import numpy as np
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.gatherer import PROBE_BYTES
from consumers.records.statistics import decode_statistics
from stream_coreset.kmeans import clustering_cost


def _sent(loop: Loop):
    return [decode_statistics(output.value, 2) for output in loop.of("statistics")]


def _sample_only(loop: Loop, windows) -> None:
    for values in windows:
        for window in loop.sampler.cut(loop.records(values), 0.0):
            loop.take(loop.sampler.apply(window))


def test_mass_and_cost_are_kept():
    loop = Loop(settings(clustering={"flush_seconds": 3600.0}))
    windows = [blobs(200, seed) for seed in range(4)]
    _sample_only(loop, [[example(x) for x in X] for X in windows])
    (statistics,) = _sent(loop)  # the first window's; the others wait
    assert statistics.points.counts.sum() == 200
    assert statistics.points.cost == pytest.approx(
        clustering_cost(windows[0], statistics.points.points), rel=0.05
    )
    loop.sampler._gatherer._next_flush = 0.0
    _sample_only(loop, [[example(x) for x in blobs(200, 9)]])
    later = _sent(loop)[-1].points
    assert later.counts.sum() == 800
    X = np.concatenate([*windows[1:], blobs(200, 9)])
    assert later.points[:, 0] @ later.counts == pytest.approx(X[:, 0].sum(), rel=0.01)
    total = later.cost + (later.counts @ np.square(later.points).sum(axis=1))
    assert total == pytest.approx(np.square(X).sum(), rel=0.01)


def test_probes_fit_a_flush():
    loop = Loop(settings(clustering={"n_clusters": 40}))
    _sample_only(loop, [[example(x, text="y" * 20_000) for x in blobs(200)]])
    (statistics,) = _sent(loop)
    assert statistics.probes
    assert sum(len(probe.example) for probe in statistics.probes) <= PROBE_BYTES
    assert any(probe.is_nearest for probe in statistics.probes)


def test_probes_belong_to_their_point():
    loop = Loop(settings())
    values = [example(x) for x in blobs(200)]
    _sample_only(loop, [values])
    (statistics,) = _sent(loop)
    points = statistics.points.points
    for probe in statistics.probes:
        x = loop.sampler._codec.embedding(probe.example)
        assert probe.example in values
        assert np.argmin(np.linalg.norm(points - x, axis=1)) == probe.point
        assert probe.distance == pytest.approx(np.linalg.norm(points[probe.point] - x), abs=0.2)


def test_a_large_flush_is_followed_by_a_longer_pause():
    loop = Loop(settings(clustering={"flush_seconds": 100.0, "flush_bytes": 100_000}))
    _sample_only(loop, [[example(x, text="y" * 5_000) for x in blobs(200)]])
    pause = loop.sampler._gatherer._next_flush
    import time

    assert pause - time.monotonic() > 100.0


def test_centers_just_placed_are_told_apart():
    loop = Loop(settings())
    _sample_only(loop, [[example(x) for x in blobs(200)]])
    (statistics,) = _sent(loop)
    assert set(statistics.ids.tolist()) == {-1}
    loop.turn()
    loop.feed([example(x) for x in blobs(200, 1)])
    loop.feed([example(x) for x in blobs(200, 2)])
    assert set(_sent(loop)[-1].ids.tolist()) & set(loop.publication.clusters.ids.tolist())
