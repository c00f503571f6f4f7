"""The clusterer's transform, without Kafka: statistics in, versions of the clusters out."""

from __future__ import annotations

import threading

import numpy as np
import orjson
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.endpoint import EndpointError
from consumers.refresher import Refresher
from consumers.transform import InputRecord


class Model:
    """Answers with a loss that each example carries; can be told to fail."""

    def __init__(self) -> None:
        self.version, self.asked, self.fails = "1", 0, False

    def losses(self, examples, embeddings):
        self.asked += len(examples)
        if self.fails:
            raise EndpointError("connect", "nobody there")
        assert len(examples) == len(embeddings)
        return np.array([orjson.loads(one)["loss"] for one in examples], float), self.version


def _stream(n: int, seed: int) -> list[bytes]:
    return [example(x, loss=1.0 + max(0.0, x[0])) for x in blobs(n, seed)]


def _run(loop: Loop, turns: int, first: int = 0) -> None:
    for seed in range(first, first + turns):
        loop.feed(_stream(200, seed))
        wait_idle(loop)
        loop.turn()


def wait_idle(loop: Loop) -> None:
    if loop.refresher is not None:
        done = threading.Event()
        for _ in range(500):
            if loop.refresher.idle:
                return
            done.wait(0.01)
        pytest.fail("the refresher never became idle")


@pytest.fixture
def model():
    return Model()


def _with_endpoint(model, **endpoint) -> Loop:
    asked = {"url": "http://unused", "refresh_seconds": 1e-6, **endpoint}
    return Loop(settings(endpoint=asked, sampling={"probes": 3}), Refresher(model))


@pytest.fixture
def loop(model):
    return _with_endpoint(model)


def test_without_an_endpoint_clusters_are_published():
    loop = Loop(settings())
    _run(loop, 3)
    clusters = loop.publication.clusters
    assert clusters.version == loop.ledger()[-1].clusters_version + 1
    assert clusters.k == 4
    assert not clusters.known.any()
    assert clusters.counts.sum() == pytest.approx(600, rel=1e-3)


def test_losses_are_asked_and_published(loop, model):
    _run(loop, 6)
    clusters = loop.publication.clusters
    assert clusters.known.all()
    assert clusters.model_version == "1"
    expected = 1.0 + np.maximum(0.0, clusters.centers[:, 0])
    np.testing.assert_allclose(clusters.losses, expected, atol=1.5)
    assert model.asked % 3 == 0


def test_a_failing_endpoint_keeps_old_losses_in_use(loop, model):
    _run(loop, 6)
    model.fails = True
    _run(loop, 3, first=6)
    assert loop.publication.clusters.known.all()


def test_a_new_model_version_makes_all_losses_due(model):
    loop = _with_endpoint(model, max_age_seconds=1e-6, queries_per_refresh=3)
    _run(loop, 8)
    model.version, asked = "2", model.asked
    _run(loop, 8, first=8)
    assert model.asked > asked
    assert loop.publication.clusters.model_version == "2"


def test_goes_on_from_what_was_published(loop):
    _run(loop, 6)
    before = loop.publication.clusters
    successor = Loop(loop.settings, publication=loop.publication)
    successor.feed(_stream(200, 99))
    after = successor.publication.clusters
    assert after.version == before.version + 1
    assert set(after.ids) & set(before.ids)
    kept = np.isin(after.ids, before.ids)
    assert after.known[kept].all()


def test_an_aborted_publication_is_not_skipped(loop):
    _run(loop, 2)
    version = loop.publication.clusters.version
    loop.clusterer.reset([("statistics", 0)])
    loop.feed(_stream(200, 7))
    assert loop.publication.clusters.version == version + 1


def test_k_may_change_at_a_restart():
    loop = Loop(settings())
    _run(loop, 3)
    for k in (2, 6):
        other = Loop(settings(clustering={"n_clusters": k}), publication=loop.publication)
        _run(other, 3)
        assert other.publication.clusters.k == k


def test_statistics_that_cannot_be_used_are_left_out(loop):
    _run(loop, 2)
    topic = loop.settings.topic("statistics")
    records = [InputRecord(topic, 0, 100 + i, None, value) for i, value in enumerate([b"", None, b"x" * 99])]
    (merge,) = loop.clusterer.cut(records, loop.now + 10)
    unit = loop.clusterer.apply(merge)
    assert unit.offsets == {(topic, 0): 103}


def test_a_standby_holds_nothing(loop):
    _run(loop, 2)
    loop.clusterer.reset([])
    assert loop.clusterer.pending_bytes() == 0
    assert loop.clusterer_metrics.registry.get_sample_value("stream_coreset_clusterer_active") == 0


def test_losses_that_were_refused_are_left_out(loop, model):
    """The client gives NaN for them; here for a third of the examples, whichever they are."""
    plain = model.losses

    def some_refused(examples, embeddings):
        losses, version = plain(examples, embeddings)
        return np.where(np.arange(len(losses)) % 3 == 1, np.nan, losses), version

    model.losses = some_refused
    _run(loop, 8)
    clusters = loop.publication.clusters
    assert clusters.known.any()
    assert (clusters.losses[clusters.known] >= 1).all()


def test_an_answer_of_which_everything_was_refused_changes_nothing(loop, model):
    model.losses = lambda examples, embeddings: (np.full(len(examples), np.nan), "1")
    _run(loop, 4)
    assert not loop.publication.clusters.known.any()
