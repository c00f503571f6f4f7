"""The surrogate in the service, without Kafka: learned from answers, published, used, and doubted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from support.loop import Loop, blobs, example, settings

import consumers.learner
import consumers.predictor
from consumers.metrics import SamplerMetrics
from consumers.predictor import Predictor
from consumers.refresher import Refresher
from stream_coreset.labels import LabelBuffer
from stream_coreset.surrogate import LabelledExamples, Surrogate, digest

QUICK = {"half_life_seconds": 60.0, "refit_seconds": 1e-6}


class Model:
    """Answers with the loss that each example carries."""

    def losses(self, examples, embeddings):
        return np.array([orjson.loads(one)["loss"] for one in examples], float), "1"


def wait(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def stream(n: int, seed: int) -> list[bytes]:
    """The loss grows within a cluster, where its center tells nothing of it."""
    rng = np.random.default_rng(seed)
    return [example(x, loss=float(np.exp(0.7 * (x[0] - x[1]) + 0.1 * rng.normal()))) for x in blobs(n, seed)]


def run(loop: Loop, turns: int, first: int = 0) -> None:
    for seed in range(first, first + turns):
        loop.feed(stream(200, seed))
        wait(lambda: loop.refresher.idle)
        loop.turn()
        wait(lambda: not loop.clusterer.learning)
        loop.turn()


@pytest.fixture
def loop() -> Loop:
    asked = {"url": "http://unused", "refresh_seconds": 1e-6, "max_age_seconds": 1e-6}
    given = settings(endpoint=asked, sampling={"probes": 30}, learning=QUICK)
    return Loop(given, Refresher(Model()))


def test_a_surrogate_is_learned_published_and_used(loop: Loop) -> None:
    run(loop, 6)
    published = loop.publication
    assert published.surrogate_digest == digest(published.surrogate)
    last = loop.ledger()[-1]
    assert last.surrogate_digest is not None
    assert last.anticipated_se > 0
    assert loop.ledger()[0].surrogate_digest is None
    assert loop.ledger()[0].anticipated_se is None
    assert loop.ledger()[0].bound is None
    assert last.bound > last.anticipated_se
    assert loop.clusterer_metrics.labels._value.get() > 20
    assert loop.sampler_metrics.predicted_part._value.get() == 1.0


def test_it_lowers_the_error_of_the_estimate(loop: Loop) -> None:
    """By what is known of all losses of the windows: half a deviation is out of reach of chance here."""
    run(loop, 8)
    X = [orjson.loads(value) for value in stream(200, 99)]
    losses = np.array([one["loss"] for one in X])
    window = loop.sampler._windows.adapt(np.array([one["embedding"] for one in X]), np.random.default_rng(0))
    predicted = loop.sampler._predictor.predict(np.array([one["embedding"] for one in X]), window)
    errors = []
    for given in (predicted, None):
        totals = [
            float(sample.weights @ losses[sample.indices])
            for seed in range(300)
            for sample in [loop.sampler._windows.draw(window, np.random.default_rng(seed), None, given)]
        ]
        errors.append(np.sqrt(np.mean((np.array(totals) - losses.sum()) ** 2)))
    assert errors[0] < 0.8 * errors[1]


def test_it_learns_anew_when_enough_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, known = Surrogate.fit, list[int]()

    def noted(examples: LabelledExamples, **how: Any) -> Surrogate | None:
        known.append(len(examples))
        return fit(examples, **how)

    monkeypatch.setattr(Surrogate, "fit", noted)
    asked = {"url": "http://unused", "refresh_seconds": 1e-6, "max_age_seconds": 1e-6}
    given = settings(endpoint=asked, sampling={"probes": 30}, learning={**QUICK, "refit_share": 0.5})
    loop = Loop(given, Refresher(Model()))
    run(loop, 8)
    assert len(known) > 1
    assert all(later >= 2 * sooner for sooner, later in pairwise(known))
    assert len(loop.clusterer._learner._labels) < 2 * known[-1]


def test_without_it_nothing_is_learned() -> None:
    asked = {"url": "http://unused", "refresh_seconds": 1e-6}
    loop = Loop(settings(endpoint=asked, learning={**QUICK, "surrogate": "none"}), Refresher(Model()))
    run(loop, 4)
    assert loop.publication.surrogate is None
    assert {entry.surrogate_digest for entry in loop.ledger()} == {None}


def test_a_restarted_clusterer_goes_on_with_the_surrogate_that_is_published(loop: Loop) -> None:
    run(loop, 4)
    published, before = loop.publication.surrogate, len(loop.of("clusters"))
    loop.clusterer.reset([(loop.settings.topic("statistics"), 0)])
    loop.feed(stream(200, 50))
    assert loop.publication.surrogate == published
    since = loop.of("clusters")[before:]
    assert since
    assert not [output.key for output in since if output.key.startswith(b"surrogate")]


def republished(loop: Loop, surrogate: bytes) -> None:
    """Let the sampler take another surrogate, and one window."""
    clusters = replace(loop.publication.clusters, version=loop.publication.clusters.version + 1)
    loop.publication = replace(loop.publication, clusters=clusters, surrogate=surrogate)
    (window,) = loop.sampler.cut(loop.records(stream(200, 50)), loop.now)
    loop.take(loop.sampler.apply(window))


@pytest.mark.parametrize("bad", [b"", b"no model", b"\x08\x07" * 1000])
def test_one_that_is_no_model_is_left_out_and_said(loop: Loop, bad: bytes, capsys: Any) -> None:
    run(loop, 3)
    republished(loop, bad)
    assert loop.ledger()[-1].surrogate_digest is None
    assert capsys.readouterr().out.count("the published surrogate is not used") == 1


def test_one_that_fails_on_its_input_is_left_out_and_said(loop: Loop, capsys: Any) -> None:
    """It expects examples of another dimension."""
    run(loop, 3)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 5))
    buffer = LabelBuffer(5)
    buffer.add(X, np.exp(X[:, 0]), np.ones(100), 0.0)
    strange = replace(
        loop.publication.clusters, centers=np.zeros((loop.publication.clusters.k, 5), np.float32)
    )
    other = Surrogate.fit(buffer.describe(strange, 0.0)[1])
    republished(loop, other.to_bytes())
    assert loop.ledger()[-1].surrogate_digest is None
    assert "failed and is not used" in capsys.readouterr().out


def test_a_fit_that_fails_is_counted_and_the_surrogate_stays(
    monkeypatch: pytest.MonkeyPatch, loop: Loop
) -> None:
    def fails(*given: Any, **how: Any) -> Any:
        raise MemoryError

    run(loop, 3)
    monkeypatch.setattr(consumers.learner.Surrogate, "fit", fails)
    run(loop, 1, first=10)
    before = loop.publication.surrogate
    run(loop, 1, first=11)
    assert loop.clusterer_metrics.fit_failures._value.get() >= 1
    assert loop.publication.surrogate == before != b""


def test_clusters_keep_the_losses_that_the_surrogate_was_told_of(
    monkeypatch: pytest.MonkeyPatch, loop: Loop
) -> None:
    """Trees know clusters by their spreads: with others they would take one for another."""
    run(loop, 3)
    monkeypatch.setattr(loop.clusterer._learner._fit, "begin", lambda *given: False)
    run(loop, 1, first=10)
    before = loop.publication.clusters
    run(loop, 3, first=20)
    now = loop.publication.clusters
    assert now.version > before.version
    both, of_now, of_before = np.intersect1d(now.ids, before.ids, return_indices=True)
    assert len(both) > 0
    assert now.spreads[of_now] == pytest.approx(before.spreads[of_before])
    assert now.losses[of_now] == pytest.approx(before.losses[of_before])


# The time that it may take


class Clock:
    """Time goes on when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(consumers.predictor, "time", clock)
    return clock


def predictor_of(loop: Loop, clock: Clock, seconds: float, metrics: SamplerMetrics) -> Predictor:
    """A predictor whose surrogate takes so many seconds for each example."""
    predictor = Predictor(loop.settings, metrics)
    predictor.take(loop.publication)
    inner = predictor._surrogate
    asked = []

    def predict(told: Any) -> Any:
        asked.append(len(told))
        clock.now += seconds * len(told)
        return inner.predict(told)

    predictor._surrogate = type("Slow", (), {"predict": staticmethod(predict)})()
    predictor.asked = asked
    return predictor


@pytest.mark.parametrize(("seconds", "part"), [(0.4, 1.0), (1.0, 0.5), (4.0, 0.125), (6.0, 0.0)])
def test_it_takes_no_more_than_its_share_of_the_time(
    loop: Loop, clock: Clock, seconds: float, part: float, capsys: Any
) -> None:
    """Others take 1 s for each example, and it may take half of that."""
    run(loop, 4)
    metrics = SamplerMetrics()
    predictor = predictor_of(loop, clock, seconds, metrics)
    X = blobs(200, 60)
    window = loop.sampler._windows.adapt(X, np.random.default_rng(0))
    for _ in range(3):
        predictor.predict(X, window)
        predictor.note(200, 200 * 1.0 + predictor._spent)
    assert predictor.asked == [200, *[int(200 * part)] * 2][: 1 + 2 * (part > 0)]
    assert metrics.predicted_part._value.get() == pytest.approx(part, abs=0.01)
    assert capsys.readouterr().out.count("more than learning.time_share") == (part < 1)


def test_in_part_it_is_asked_of_those_with_the_largest_scores(loop: Loop, clock: Clock) -> None:
    run(loop, 4)
    X = blobs(200, 60)
    window = loop.sampler._windows.adapt(X, np.random.default_rng(0))
    whole = predictor_of(loop, clock, 0.0, SamplerMetrics()).predict(X, window)
    slow = predictor_of(loop, clock, 1.0, SamplerMetrics())
    slow.predict(X, window)
    slow.note(200, 400.0)
    part = slow.predict(X, window)
    same = np.isclose(part.means, whole.means)
    assert 100 <= same.sum() < 200
    scores = loop.sampler._sampler.probabilities(window.assignment, window.clusters)
    assert scores[same].mean() > scores[~same].mean()


def test_labels_outlive_an_aborted_transaction_but_not_a_standby(loop: Loop) -> None:
    run(loop, 2)
    known = len(loop.clusterer._learner._labels)
    loop.clusterer.reset([(loop.settings.topic("statistics"), 0)])
    assert len(loop.clusterer._learner._labels) == known > 0
    loop.clusterer.reset([])
    assert len(loop.clusterer._learner._labels) == 0


def test_what_was_learned_before_a_reset_is_forgotten(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    """The fit on its way was for another epoch: its result must not be published by the next owner."""
    learner = loop.clusterer._learner
    slow = Surrogate.fit
    monkeypatch.setattr(
        consumers.learner.Surrogate, "fit", lambda *a, **k: (time.sleep(0.3), slow(*a, **k))[1]
    )
    loop.feed(stream(200, 0))
    loop.feed(stream(200, 1))
    wait(lambda: loop.refresher.idle)
    loop.turn()
    wait(lambda: loop.clusterer.learning)
    learner.begin(None, loop.publication.clusters)
    wait(lambda: not loop.clusterer.learning)
    assert learner._fit.learned() is None
