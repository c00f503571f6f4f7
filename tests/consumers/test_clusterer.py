"""The clusterer's transform, without Kafka: statistics in, versions of the clusters out."""

from __future__ import annotations

import threading

import numpy as np
import orjson
import pytest
from support.loop import Loop, blobs, example, settings

from consumers.endpoint import EndpointError
from consumers.inquiry import Inquiry
from consumers.records import Probe, Statistics
from consumers.records.statistics import encode_statistics
from consumers.refresher import Refresher
from consumers.transform import InputRecord
from stream_coreset.kmeans import WeightedPoints


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
    plain = settings(endpoint=asked, sampling={"probes": 3}, learning={"surrogate": "none"})
    return Loop(plain, Refresher(model))


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


def _statistics(loop, points, counts, probes=()):
    k = len(points)
    weighted = WeightedPoints(
        np.asarray(points, np.float32).reshape(k, 2), np.array(counts, float), np.zeros(k)
    )
    found = Statistics("s", 0, 0, weighted, np.full(k, -1), probes)
    (value,) = encode_statistics(found)
    return InputRecord(loop.settings.topic("statistics"), 0, loop.statistics, None, value)


@pytest.mark.parametrize(("points", "counts"), [([], []), ([[0, 0]], [1.5e307]), ([[1e30, 0]], [1.0])])
def test_poison_does_not_stop_it(loop, points, counts):
    _run(loop, 2)
    (merge,) = loop.clusterer.cut([_statistics(loop, points, counts)], loop.now + 10)
    loop.clusterer.apply(merge)
    _run(loop, 1, first=2)
    assert np.isfinite(loop.publication.clusters.centers).all()


def test_probes_of_several_windows_count_by_their_windows():
    """A flush brings one point's probes from a window of 1000 members and from one of 10."""
    loop = Loop(settings(sampling={"probes": 9}), Refresher(Model()))
    inquiry = Inquiry(loop.settings, Refresher(Model()))
    shares = []
    for trial in range(40):
        probes = []
        for members, loss in ((1000, 1.0), (10, 2.0)):
            near = example([trial, 0], loss=loss)
            probes += [Probe(0, True, 5.0 / loss, members, near)] + [Probe(0, False, 6.0, members, near)] * 8
        points = WeightedPoints(np.zeros((1, 2), np.float32), np.ones(1), np.zeros(1))
        inquiry.reset()
        inquiry.add(Statistics("s", 0, 0, points, np.zeros(1, np.int64), tuple(probes)), np.array([7]))
        found = inquiry._pool.take(7)
        assert orjson.loads(found.nearest[0])["loss"] == 2.0  # the closer one
        assert found.member_count == 1010
        shares.append(np.mean([orjson.loads(e)["loss"] == 2.0 for e, _ in found.members]))
    assert np.mean(shares) < 0.1


def test_a_center_that_is_refused_does_not_hold_the_others_back(model):
    loop = _with_endpoint(model, queries_per_refresh=3)
    plain = model.losses

    def refuses_a_cluster(examples, embeddings):
        losses, version = plain(examples, embeddings)
        return np.where(embeddings[:, 0] < 5, np.nan, losses), version

    model.losses = refuses_a_cluster
    _run(loop, 12)
    clusters = loop.publication.clusters
    assert clusters.known.sum() == 3
    assert not clusters.known[np.argmin(clusters.centers[:, 0])]


def test_answers_of_another_model_are_dropped(loop, model):
    _run(loop, 3)
    loop.refresher.forget()
    assert not loop.refresher.answered


def test_chunks_that_are_no_longer_used_get_tombstones():
    loop = Loop(settings(input={"dimension": 2000}, clustering={"n_clusters": 300}))
    loop.feed([example(x) for x in np.random.default_rng(0).normal(size=(300, 2000)).round(3)])
    (small,) = [settings(input={"dimension": 2000}, clustering={"n_clusters": 2})]
    successor = Loop(small, publication=loop.publication)
    successor.feed([example(x) for x in np.random.default_rng(1).normal(size=(200, 2000)).round(3)])
    sent = {output.key: output.value for output in successor.of("clusters")}
    assert sent[b"chunk-00001"] is None
    assert sent[b"chunk-00000"] is not None


def test_an_abrupt_change_asks_again_discounts_the_past_and_is_in_the_ledger(model, capsys):
    loop = Loop(
        settings(
            endpoint={"url": "http://unused", "refresh_seconds": 1e-6},
            sampling={"probes": 3},
            learning={"surrogate": "none"},
        ),
        Refresher(model),
    )
    _run(loop, 14)
    mass, asked = loop.publication.clusters.counts.sum(), model.asked
    assert loop.publication.drifts == 0
    loop.feed([example(x + 500.0, loss=1.0) for x in blobs(200, 99)])
    assert loop.publication.drifts == 1
    assert loop.publication.clusters.counts.sum() < 0.5 * mass
    assert loop.clusterer_metrics.drifts.labels("places")._value.get() == 1
    assert capsys.readouterr().out.count("the stream has changed") == 1
    _run(loop, 2, first=20)
    assert model.asked > asked  # all losses are younger than endpoint.max_age_seconds
    assert loop.ledger()[0].drifts == 0
    assert loop.ledger()[-1].drifts == 1
    loop.clusterer.reset([(loop.settings.topic("statistics"), 0)])
    loop.feed(_stream(200, 30))
    assert loop.publication.drifts == 1


def test_losses_that_jump_under_the_same_model_are_an_abrupt_change(model):
    loop = _with_endpoint(model, max_age_seconds=1e-6)
    _run(loop, 16)
    for seed in range(20, 24):
        loop.feed([example(x, loss=100.0 + 50.0 * max(0.0, x[0])) for x in blobs(200, seed)])
        wait_idle(loop)
        loop.turn()
    assert loop.clusterer_metrics.drifts.labels("losses")._value.get() == 1
