from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from consumers.budget import sensitivity_sampler
from consumers.codecs import codec_for
from consumers.explaining.today import Reread, cluster_today, example_today, read_window
from consumers.transform import InputRecord
from stream_coreset.kmeans import Assignment
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.surrogate import LabelledExamples, Surrogate, features

rng = np.random.default_rng(0)
POINTS = np.round(rng.normal(size=(100, 2)) + [10, 0] * rng.integers(0, 4, (100, 1)), 3)


def window(settings, points=POINTS):
    """The window of `make_entry`, decoded, and one message in it that cannot be."""
    codec = codec_for(settings.input)
    places = [(0, 100 + i) for i in range(50)] + [(1, 7 + i) for i in range(50)]
    values = [orjson.dumps({"embedding": point.tolist()}) for point in points]
    records = [InputRecord("raw", *place, None, value) for place, value in zip(places, values, strict=False)]
    return [codec.decode(InputRecord("raw", 0, 99, None, b"dead")), *map(codec.decode, records)]


def expected(settings, publication, entry):
    """The same probabilities, by the definition."""
    centers = publication.clusters.centers
    squares = ((POINTS[:, None] - centers) ** 2).sum(axis=2)
    assignment = Assignment(squares.argmin(axis=1), np.sqrt(squares.min(axis=1)))
    sampler = replace(sensitivity_sampler(settings), floor=entry.eta)
    return sampler.probabilities(assignment, publication.clusters, np.repeat([0, 1], 50))


@pytest.mark.parametrize("row", [0, 49, 50, 99])
def test_the_probability_is_that_of_a_draw_from_the_window(settings, make_publication, make_entry, row):
    publication, entry, items = make_publication(), make_entry(), window(settings)
    today = example_today(settings, publication, entry, Reread(items, items[row + 1], 0), 1_000_000)
    p = expected(settings, publication, entry)
    assert today.probability == pytest.approx(inclusion_probabilities(p, 10.0)[row], rel=1e-5)
    assert today.examples == 100
    assert today.cluster == str(publication.clusters.ids[round(POINTS[row, 0] / 10)])


def test_floor_and_design_are_those_of_the_window(settings, make_publication, make_entry):
    publication, items = make_publication(), window(settings)
    uniform = make_entry(eta=1.0)
    today = example_today(settings, publication, uniform, Reread(items, items[5], 0), 1_000_000)
    assert today.probability == pytest.approx(0.1)
    iid = make_entry(design="iid", s=90.0)
    today = example_today(settings, publication, iid, Reread(items, items[5], 0), 1_000_000)
    assert today.probability == pytest.approx(90 * expected(settings, publication, iid)[4], rel=1e-5)


def test_of_a_window_that_is_partly_gone_the_rest_counts(settings, make_publication, make_entry):
    items = window(settings)[76:]
    today = example_today(settings, make_publication(), make_entry(), Reread(items, items[3], 0), 1_000_000)
    assert today.examples == 25
    alone = example_today(settings, make_publication(), make_entry(), Reread(items[:1], items[0], 0), 1)
    assert alone.probability == pytest.approx(0.1)


def test_the_surrogate_of_today_predicts_where_the_window_had_one(settings, make_publication, make_entry):
    """Losses of .01 left of 5 and 10 right of it are learned; the clusters know nothing of that."""
    X = np.random.default_rng(1).uniform(-3, 33, (400, 2)).astype(np.float32)
    losses = np.where(X[:, 0] < 5, 0.01, 10.0)
    same = {name: np.ones(4) for name in ("losses", "spreads", "loss_ages")}
    publication = make_publication(**same)
    labels = np.abs(X[:, :1] - publication.clusters.centers[:, 0]).argmin(axis=1)
    distances = np.linalg.norm(X - publication.clusters.centers[labels], axis=1)
    rows = features(X, np.ones(400), distances)
    surrogate = Surrogate.fit(LabelledExamples(rows, losses, np.ones(400), np.ones((2, 400))))
    publication = replace(publication, surrogate=surrogate.to_bytes())
    items, learned = window(settings), make_entry(surrogate_digest="1" * 64)
    low, high = int(POINTS[:, 0].argmin()), int(POINTS[:, 0].argmax())

    def at(place, entry):
        return example_today(settings, publication, entry, Reread(items, items[place + 1], 0), 1)

    assert at(low, learned).predicted_loss < 1 < at(high, learned).predicted_loss
    assert at(low, make_entry()).predicted_loss is None
    assert at(low, learned).probability < at(low, make_entry()).probability
    publication = replace(publication, surrogate=b"not a model")
    assert at(low, learned).predicted_loss is None


def test_what_cannot_be_decoded_has_no_probability(settings, make_publication, make_entry):
    items = window(settings)
    assert example_today(settings, make_publication(), make_entry(), Reread(items, items[0], 0), 1) is None


def test_a_window_that_is_too_large_is_not_read(settings, make_entry):
    own = window(settings)[1]
    many = make_entry(valid=1_000_000)
    assert read_window(settings, many, own, 0).messages == [own]


def test_a_cluster_by_its_id(make_publication):
    today = cluster_today(make_publication(), "8", 1_004_000)
    assert (today.mass_share, today.loss, today.spread, today.loss_age_seconds) == (0.1, 8.0, 9.0, 104.0)
    assert (today.mean_loss, today.root_mean_square) == (pytest.approx(1.9), 3.0)
    assert today.probability is None
    for gone in ("77", "-", ""):
        assert cluster_today(make_publication(), gone, 1_004_000) is None


def test_without_any_loss_nothing_is_known(make_publication):
    nan = [float("nan")] * 4
    publication = make_publication(losses=nan, spreads=nan, loss_ages=nan, mean_square=float("nan"))
    today = cluster_today(publication, "3", 1_000_000)
    assert (today.loss, today.mean_loss, today.root_mean_square) == (None, None, None)
