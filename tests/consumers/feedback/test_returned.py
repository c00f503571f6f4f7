"""Losses that come back, from what samplers emit to labels, estimates and the floor; without Kafka."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from structlog.testing import capture_logs
from support.loop import Loop, blobs, example, settings

from consumers.feedback import ReturnedLosses
from consumers.feedback.desk import Desk
from consumers.feedback.emitted import CoresetReader
from consumers.ipc import write_stream
from consumers.metrics import ClustererMetrics
from consumers.records import LedgerEntry
from consumers.records.estimates import EstimateRecord
from consumers.settings import Feedback, Settings
from consumers.transform import InputRecord, Output

FEEDBACK = Feedback(topic="losses")


def arrow(points: np.ndarray) -> bytes:
    column = pa.FixedSizeListArray.from_arrays(pa.array(points.astype(np.float32).ravel()), points.shape[1])
    return write_stream(pa.table({"embedding": column, "id": np.arange(len(points))}))


def run(windows: int = 3, **sections: Any) -> tuple[Loop, np.ndarray]:
    """A stream through the sampler, and its embeddings."""
    loop = Loop(settings(**sections))
    points = [blobs(200, seed) for seed in range(windows)]
    for some in points:
        whole = loop.settings.input.format == "arrow"
        loop.feed([arrow(some[:150]), arrow(some[150:])] if whole else [example(one) for one in some])
    return loop, np.concatenate(points)


def read(outputs: list[Output]) -> list[InputRecord]:
    return [InputRecord(o.topic, 0, i, o.key, o.value, o.headers, 0) for i, o in enumerate(outputs)]


class Reader:
    """Stands in for the thread that reads Kafka: told records by the test."""

    def __init__(self, given: Settings, desk: Desk, tell: Any) -> None:
        self.desk, self.tell, self.running = desk, tell, False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def feed(self, records: list[InputRecord], now_ms: int = 0) -> None:
        for record in records:
            self.desk.add(record, now_ms)
        self.tell(*self.desk.results(now_ms))


class Deployment:
    """What one clusterer holds of the losses of a stream."""

    def __init__(self, loop: Loop) -> None:
        self.settings = loop.settings.model_copy(update={"feedback": FEEDBACK})
        self.metrics = ClustererMetrics()
        self.readers: list[Reader] = []
        self.returned = ReturnedLosses(self.settings, self.metrics.feedback, self._reader)
        self.returned.reset(active=True)
        self.ledger, self.coreset = read(loop.of("windows")), read(loop.of("coreset"))
        self.draws = [draw for one in self.coreset for draw in CoresetReader(loop.settings.input).draws(one)]

    def _reader(self, *given: Any) -> Reader:
        self.readers.append(Reader(*given))
        return self.readers[-1]

    @property
    def reader(self) -> Reader:
        return self.readers[-1]

    def report(
        self, loss_of: Any = lambda x: float(np.linalg.norm(x)), version: str = "m1"
    ) -> list[InputRecord]:
        """Reports of the losses of everything emitted, in any order."""
        said = [
            {"window": d.window, "source": d.source, "loss": loss_of(d.embedding), "model_version": version}
            for d in self.draws
        ]
        return [InputRecord("losses", 0, i, None, orjson.dumps(one)) for i, one in enumerate(said[::-1])]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"stream_coreset_{name}", labels)


def estimates(outputs: list[Output]) -> dict[str, EstimateRecord]:
    return {(o.key or b"").decode(): EstimateRecord.decode(o.value) for o in outputs}


@pytest.mark.parametrize("form", ["json", "arrow"])
@pytest.mark.parametrize("design", ["pivotal", "iid"])
def test_what_was_emitted_comes_back_as_labels_and_estimates(form: str, design: str) -> None:
    loop, points = run(input={"format": form}, sampling={"design": design})
    it = Deployment(loop)
    it.reader.feed([*it.report(), *it.coreset, *it.ledger])
    found = estimates(it.returned.estimates())
    entries = [LedgerEntry.decode(one.value) for one in it.ledger]
    assert list(found) == [entry.window for entry in entries]
    for entry in entries:
        draws = [draw for draw in it.draws if draw.window == entry.window]
        assert len(draws) == entry.emitted
        total = sum(float(np.linalg.norm(draw.embedding)) / draw.probability for draw in draws)
        assert found[entry.window].total == pytest.approx(total)
        assert found[entry.window].missing == 0
    (labels,) = it.returned.labels()
    assert labels.model_version == "m1"
    np.testing.assert_allclose(labels.losses, np.linalg.norm(labels.X, axis=1))
    assert len(labels.losses) == len({draw.source for draw in it.draws})
    assert labels.weights.sum() == pytest.approx(sum(1 / draw.probability for draw in it.draws))
    assert it.returned.labels() == []
    assert {tuple(x) for x in labels.X} <= {tuple(x) for x in points.astype(np.float32)}


def test_labels_of_two_versions_come_apart() -> None:
    loop, _ = run(windows=1)
    it = Deployment(loop)
    it.reader.feed([*it.ledger, *it.coreset, *it.report(version="m1")[:5], *it.report(version="m2")[5:]])
    assert {(one.model_version, len(one.losses)) for one in it.returned.labels()} == {
        ("m1", 5), ("m2", len(it.draws) - 5),
    }  # fmt: skip
    assert it.returned.estimates() == []


def test_labels_that_arrive_late() -> None:
    """Null teaches nothing; a window is given up with what lacks, and estimated once all are known."""
    loop, _ = run(windows=1)
    it = Deployment(loop)
    closed = LedgerEntry.decode(it.ledger[0].value).closed_ms
    it.reader.feed([*it.ledger, *it.coreset, *it.report(lambda x: None)], closed)
    assert (it.returned.labels(), it.returned.pending) == ([], False)
    assert it.value("losses_not_yet_known_total") == len(it.draws)
    it.reader.desk.expire(closed + 600_000)
    it.reader.feed(it.report()[:4], closed + 600_000)
    given_up = it.returned.estimates()
    (record,) = estimates(given_up).values()
    assert (record.missing, record.total, record.model_version) == (len(it.draws), None, None)
    assert sum(len(one.losses) for one in it.returned.labels()) == 4
    it.reader.feed(it.report()[4:], closed + 700_000)
    (record,) = estimates(it.returned.estimates()).values()
    assert record.missing == 0
    assert record.total > 0


def test_an_estimate_counts_more_than_that_it_was_given_up() -> None:
    it = Deployment(run(windows=1)[0])
    closed = LedgerEntry.decode(it.ledger[0].value).closed_ms
    it.reader.feed([*it.ledger, *it.coreset], closed)
    it.reader.desk.expire(closed + 600_000)
    it.reader.feed(it.report(), closed + 600_000)
    given_up, estimated = (EstimateRecord.decode(one.value) for one in it.returned.estimates())
    assert (given_up.total, estimated.missing) == (None, 0)


def test_losses_no_model_can_have_are_counted_by_reason() -> None:
    loop, _ = run(windows=1)
    it = Deployment(loop)
    source = it.draws[0]
    said = b'{"window": "%s", "source": "%s", "loss": %%s, "model_version": "m"}' % (
        source.window.encode(), source.source.encode(),
    )  # fmt: skip
    values = [said % loss for loss in (b"-1", b"NaN", b"Infinity", b"1e101", b'"3"', b"true")] + [b"{", None]
    it.reader.feed([InputRecord("losses", 0, i, None, value) for i, value in enumerate(values)])
    reasons = ("negative", "nan", "huge", "damaged")
    assert [it.value("returned_losses_refused_total", reason=one) for one in reasons] == [1, 1, 2, 4]
    assert it.value("losses_returned_total") == 0


def test_estimates_are_handed_out_until_they_are_committed() -> None:
    it = Deployment(run()[0])
    it.reader.feed([*it.ledger, *it.coreset, *it.report()])
    assert it.returned.pending
    first = it.returned.estimates()
    assert not it.returned.pending
    assert it.returned.estimates() == []
    it.returned.reset(active=True)  # the transaction was aborted
    assert it.returned.estimates() == first
    assert it.value("windows_estimated_total") == 0
    it.returned.committed(first)
    assert it.value("windows_estimated_total") == len(first) == 3
    it.returned.reset(active=True)
    assert it.returned.estimates() == []
    assert len(it.readers) == 1


def test_without_a_feedback_topic_nothing_is_read_and_the_floor_is_as_set() -> None:
    returned = ReturnedLosses(settings(sampling={"floor": 0.3}), ClustererMetrics().feedback)
    returned.reset(active=True)
    assert (returned.labels(), returned.estimates(), returned.pending, returned.floor) == ([], [], False, 0.3)
    assert returned._follower is None


def test_commits_that_overlap_are_told_apart() -> None:
    it = Deployment(run()[0])
    it.reader.feed([*it.ledger, *it.coreset, *it.report()])
    first = it.returned.estimates()
    it.reader.feed(it.report(version="m2"))
    second = it.returned.estimates()
    it.returned.committed(first)
    it.returned.reset(active=True)
    assert it.returned.estimates() == second


def test_a_standby_forgets_and_a_reader_that_was_stopped_has_no_say() -> None:
    it = Deployment(run()[0])
    everything = [*it.ledger, *it.coreset, *it.report()]
    it.reader.feed(everything)
    it.returned.reset(active=False)
    assert not it.reader.running
    assert (it.returned.labels(), it.returned.estimates()) == ([], [])
    it.reader.feed(it.report(version="m2"))
    assert (it.returned.labels(), it.returned.estimates()) == ([], [])
    it.returned.reset(active=True)
    assert len(it.readers) == 2
    it.reader.feed(everything)
    assert len(it.returned.estimates()) == 3


def test_the_metrics_show_the_last_estimate() -> None:
    it = Deployment(run()[0])
    assert math.isnan(it.value("estimated_mean_loss") or 0.0)
    it.reader.feed([*it.ledger, *it.coreset, *it.report()])
    last = list(estimates(it.returned.estimates()).values())[-1]
    assert it.value("estimated_mean_loss") == pytest.approx(last.total / last.valid)
    assert it.value("estimated_mean_loss_standard_error") == pytest.approx(last.standard_error / last.valid)
    assert last.bound is None  # no loss was known when it was drawn
    assert math.isnan(it.value("estimated_mean_loss_error_bound"))
    assert it.value("losses_returned_total") == len(it.draws)


def test_a_floor_that_changes_is_announced() -> None:
    """Losses by chance, among examples seldom taken: uniform sampling would have done better."""
    it = Deployment(run(windows=20)[0])
    luck = np.random.default_rng(1)
    by_embedding = {d.embedding.tobytes(): luck.exponential() / d.probability**2 for d in it.draws}
    with capture_logs() as logs:
        it.reader.feed([*it.ledger, *it.coreset, *it.report(lambda x: by_embedding[x.tobytes()])])
    assert it.returned.floor == it.value("floor_in_force") == 0.6
    (said,) = [one for one in logs if "floor" in one["event"]]
    assert (said["was"], said["now"]) == (0.2, 0.6)


def test_a_chained_input_is_weighted_by_all_its_draws() -> None:
    loop = Loop(settings(input={"chain": True}))
    headers = (("coreset-weight", b"8.0"),)
    loop.now += 1
    values = [example(x) for x in blobs(200)]
    for window in loop.sampler.cut(loop.records(values, headers=headers), loop.now):
        loop.take(loop.sampler.apply(window))
    it = Deployment(loop)
    it.reader.feed([*it.ledger, *it.coreset, *it.report(lambda x: 1.0)])
    (record,) = estimates(it.returned.estimates()).values()
    assert record.total == pytest.approx(8 * 200, rel=0.5)
    assert record.uniform_ratio is None


@pytest.mark.parametrize("bad", ["value", "header", "probability", "source"])
def test_messages_that_are_none_of_ours_are_left_out(bad: str) -> None:
    it = Deployment(run(windows=1)[0])
    record = it.coreset[0]
    headers = dict(record.headers)
    changed = {
        "header": {name: value for name, value in headers.items() if name != "coreset-rank"},
        "probability": headers | {"coreset-probability": b"nan"},
        "source": headers | {"coreset-source": b"x"},
    }.get(bad, headers)
    value = b"[]" if bad == "value" else record.value
    strange = InputRecord(record.topic, 0, 0, None, value, tuple(changed.items()))
    with pytest.raises(ValueError, match=r"."):
        CoresetReader(it.settings.input).draws(strange)
    with capture_logs() as logs:
        it.reader.feed([strange, strange, InputRecord(it.settings.topic("windows"), 0, 0, None, b"{}")])
    assert [one["event"] for one in logs] == ["a record left out"] * 2


def test_the_clusterer_learns_from_labels_commits_estimates_and_publishes_the_floor() -> None:
    loop, _ = run()
    it = Deployment(loop)
    loop.clusterer._returned = it.returned
    it.reader.feed([*it.ledger, *it.coreset, *it.report()])
    it.returned._floor = 0.6
    loop.turn()  # no statistics came: the estimates are news enough
    assert len(estimates(loop.of("estimates"))) == 3
    assert it.value("windows_estimated_total") == 3
    assert set(loop.clusterer._learner._labels._versions) == {"m1"}
    assert loop.publication.eta == 0.6
    loop.feed([example(one) for one in blobs(200, 10)])
    assert loop.ledger()[-1].eta == 0.6
