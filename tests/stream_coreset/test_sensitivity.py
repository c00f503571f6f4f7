"""Probabilities against direct evaluations of the formulas; budgets; the weighted sample."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.estimates import size_for
from stream_coreset.kmeans import Assignment
from stream_coreset.sampling import DESIGNS
from stream_coreset.scores import draw_order, expected_losses
from stream_coreset.sensitivity import SensitivitySampler

NAN = float("nan")


def clusters_of(losses: Any, spreads: Any = None, **changes: Any) -> Clusters:
    k = len(losses)
    values: dict[str, Any] = {
        "version": 1,
        "model_version": "1",
        "ids": np.arange(k),
        "generations": np.zeros(k),
        "centers": np.arange(k)[:, None] * 10.0,
        "counts": np.ones(k),
        "losses": losses,
        "spreads": np.asarray(losses) if spreads is None else spreads,
        "loss_ages": np.where(np.isnan(losses), NAN, 0.0),
        "mean_square": NAN if np.isnan(losses).all() else 16.0,
        "holders": [0.5, 0.25],
    }
    return Clusters(**(values | changes))


def assignment_of(labels: Any, distances: Any) -> Assignment:
    return Assignment(np.asarray(labels, dtype=np.int64), np.asarray(distances, dtype=np.float32))


def normalised(score: Any) -> NDArray[np.float64]:
    score = np.asarray(score, dtype=np.float64)
    return score / score.sum()


ASSIGNMENT = assignment_of([0, 0, 1, 2, 2], [0.0, 1.0, 2.0, 0.5, 3.0])
V = np.array([0.0, 1.0, 4.0, 0.25, 9.0])
CLUSTERS = clusters_of([1.0, 0.0, 5.0], [2.0, 0.5, 6.0])


def test_two_scores_and_the_floor() -> None:
    p = SensitivitySampler(rate=0.5).probabilities(ASSIGNMENT, CLUSTERS)
    center_loss = normalised(np.array([1.0, 1.0, 0.0, 5.0, 5.0]) + 0.5 * V)
    spread = normalised(np.array([2.0, 2.0, 0.5, 6.0, 6.0]) + 0.25 * V)
    np.testing.assert_allclose(p, 0.4 * center_loss + 0.4 * spread + 0.2 / 5)
    assert p.dtype == np.float64


def test_one_probe_and_no_floor_is_the_paper() -> None:
    p = SensitivitySampler(rate=0.5, probes=1, floor=0.0, design="iid").probabilities(ASSIGNMENT, CLUSTERS)
    proxy = np.array([1.0, 1.0, 0.0, 5.0, 5.0])
    np.testing.assert_allclose(p, (proxy + 0.5 * V) / (proxy.sum() + 0.5 * V.sum()))


def test_z_is_the_exponent_of_the_distance() -> None:
    p = SensitivitySampler(rate=0.5, probes=1, floor=0.0, z=1.0).probabilities(ASSIGNMENT, CLUSTERS)
    np.testing.assert_allclose(p, normalised(np.array([1.0, 1.0, 0.0, 5.0, 5.0]) + 0.5 * np.sqrt(V)))


@pytest.mark.parametrize("probes", [1, 9])
def test_without_a_loss_the_distance_decides(probes: int) -> None:
    clusters = clusters_of([NAN, NAN, NAN], holders=[0.0, 0.0])
    p = SensitivitySampler(rate=0.5, probes=probes).probabilities(ASSIGNMENT, clusters)
    np.testing.assert_allclose(p, 0.8 * (1 / 5 + normalised(V)) / 2 + 0.2 / 5)


@pytest.mark.parametrize("clusters", [Clusters.empty(1), replace(CLUSTERS, version=0)])
def test_without_clusters_it_is_uniform(clusters: Clusters) -> None:
    p = SensitivitySampler(rate=0.5).probabilities(ASSIGNMENT, clusters)
    np.testing.assert_array_equal(p, np.full(5, 0.2))


def test_a_score_that_sums_to_zero_becomes_uniform() -> None:
    clusters = clusters_of([0.0, 0.0, 0.0], [0.0, 0.0, 1.0], holders=[0.0, 0.0])
    p = SensitivitySampler(rate=0.5).probabilities(ASSIGNMENT, clusters)
    np.testing.assert_allclose(p, 0.4 / 5 + 0.4 * np.array([0, 0, 0, 0.5, 0.5]) + 0.2 / 5)


def test_a_loss_that_is_not_known_is_estimated_and_its_spread_is_that_of_all() -> None:
    clusters = clusters_of([1.0, NAN, 5.0], [2.0, NAN, 6.0])
    filled = clusters_of([1.0, 5.0, 5.0], [2.0, 4.0, 6.0])  # 1 + .5 * 10**2, capped; sqrt(16)
    sampler = SensitivitySampler(rate=0.5)
    np.testing.assert_array_equal(
        sampler.probabilities(ASSIGNMENT, clusters), sampler.probabilities(ASSIGNMENT, filled)
    )


def test_spreads_that_nobody_measured_are_replaced_by_the_losses() -> None:
    clusters = clusters_of([1.0, 2.0, 5.0], [NAN, NAN, NAN], mean_square=NAN)
    p = SensitivitySampler(rate=0.5).probabilities(ASSIGNMENT, clusters)
    assert np.isfinite(p).all()


@pytest.mark.parametrize(("k", "s", "most"), [(6, 400.0, 6), (200, 32.0, 8), (200, 1.0, 1), (400, 1e9, 128)])
def test_the_order_rises_and_falls_from_neighbourhood_to_neighbourhood(k: int, s: float, most: int) -> None:
    """One for every four draws, at most one for each cluster and 128, and each is passed through whole."""
    rng = np.random.default_rng(3)
    clusters = clusters_of(np.ones(k), centers=rng.normal(size=(k, 2)))
    assignment, promises = assignment_of(rng.integers(0, k, 20_000), np.ones(20_000)), rng.random(20_000)
    order = draw_order(assignment.labels, clusters, promises, s)
    assert sorted(order) == list(range(20_000))
    turns = np.flatnonzero(np.diff(np.sign(np.diff(promises[order]))))
    assert most / 2 <= len(turns) + 1 <= 2 * most  # a turn at a border takes two steps at most
    if k == most:
        assert (np.diff(assignment.labels[order]) != 0).sum() == k - 1


def test_neighbourhoods_that_follow_each_other_are_near_to_each_other() -> None:
    """On a line the path goes from one end to the other."""
    places = np.random.default_rng(4).permutation(40)
    clusters = clusters_of(np.ones(40), centers=places[:, None] * [1.0, 2.0])
    order = draw_order(np.arange(40), clusters, np.ones(40), 1_000.0)
    assert np.abs(np.diff(places[order])).tolist() == [1] * 39


def test_without_clusters_the_order_is_by_promise_then_row() -> None:
    assignment = assignment_of([0, 0, 0], [1.0, 0.0, 2.0])
    order = draw_order(assignment.labels, Clusters.empty(2), np.array([1.0, 0.5, 0.5]), 2.0)
    assert order.tolist() == [1, 2, 0]


def test_losses_that_are_not_known_are_estimated_for_the_order() -> None:
    assignment = assignment_of([0, 1, 2], [1.0, 1.0, 1.0])
    known = clusters_of([1.0, NAN, 5.0])
    assert np.isfinite(expected_losses(assignment.labels, known, z=2.0)).all()
    assert expected_losses(assignment.labels, known, z=2.0)[[0, 2]].tolist() == [1.0, 5.0]
    assert expected_losses(assignment.labels, clusters_of([NAN] * 3), z=2.0).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("design", ["pivotal", "systematic"])
def test_the_draw_passes_through_that_order(design: str) -> None:
    # two clusters with half of the mass each, interleaved in the window: as many of each in every sample
    assignment = assignment_of(np.arange(40) % 2, np.ones(40))
    sampler, rng = SensitivitySampler(size=8, design=design), np.random.default_rng(0)
    for _ in range(100):
        indices = sampler.sample(assignment, clusters_of([3.0, 3.0]), rng).indices
        assert (indices % 2).sum() == 4


losses_of_three = st.lists(st.one_of(st.floats(0, 1e6), st.just(NAN)), min_size=3, max_size=3)
rows = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1e6, width=32)), min_size=1, max_size=30)


@given(
    losses_of_three,
    rows,
    st.floats(0.01, 1.0),
    st.floats(0.01, 1.0),
    st.sampled_from(DESIGNS),
    st.sampled_from([1, 9]),
    st.integers(0, 2**32 - 1),
)
def test_no_weight_exceeds_n_over_s_floor(
    losses: list[float],
    examples: list[tuple[int, float]],
    floor: float,
    rate: float,
    design: str,
    probes: int,
    seed: int,
) -> None:
    sampler = SensitivitySampler(rate=rate, floor=floor, design=design, probes=probes)
    assignment = assignment_of(*zip(*examples, strict=True))
    sample = sampler.sample(assignment, clusters_of(losses), np.random.default_rng(seed))
    n = len(examples)
    assert sample.scores.sum() == pytest.approx(1.0)
    assert (sample.scores >= floor / n * (1 - 1e-12)).all()
    assert sample.expected_size == n * rate
    assert (sample.weights <= n / (sample.expected_size * floor) * (1 + 1e-9)).all()
    np.testing.assert_allclose(sample.weights * sample.probabilities, 1.0)
    assert math.floor(n * rate - 1e-7) <= len(sample) <= math.ceil(n * rate + 1e-7)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("probes", [1, 9])
def test_the_weighted_total_is_unbiased_whatever_the_clusters_believe(design: str, probes: int) -> None:
    # |z| < 4 of 3,000 windows: false alarm 6e-5 each; the believed losses have nothing to do with the true
    rng = np.random.default_rng(probes)
    assignment = assignment_of(rng.integers(0, 3, 60), rng.exponential(size=60))
    losses = rng.lognormal(size=60)
    sampler = SensitivitySampler(rate=0.055, design=design, probes=probes)
    totals = np.zeros(3000)
    for window in range(len(totals)):
        sample = sampler.sample(assignment, CLUSTERS, rng)
        totals[window] = losses[sample.indices] @ sample.weights
    z = (totals.mean() - losses.sum()) / (totals.std(ddof=1) / math.sqrt(len(totals)))
    assert abs(z) < 4


def test_good_losses_beat_uniform() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 300)
    losses = np.array([0.1, 1.0, 20.0])[labels] * rng.uniform(0.5, 1.5, 300)
    assignment = assignment_of(labels, rng.exponential(size=300) * 0.1)
    clusters = clusters_of([0.1, 1.0, 20.0])

    def squared_error(clusters: Clusters) -> float:
        sampler = SensitivitySampler(rate=0.05)
        samples = [sampler.sample(assignment, clusters, rng) for _ in range(300)]
        return float(np.mean([(losses[s.indices] @ s.weights - losses.sum()) ** 2 for s in samples]))

    assert squared_error(clusters) < 0.5 * squared_error(Clusters.empty(1))


def test_budgets() -> None:
    assert SensitivitySampler(rate=0.01).expected_size(250) == 2.5
    assert SensitivitySampler(size=40.5).expected_size(250) == 40.5
    assert SensitivitySampler(size=40).expected_size(30) == 30
    assert SensitivitySampler(size=40, design="iid").expected_size(30) == 40
    assert SensitivitySampler(size=40, design="iid").expected_size(0) == 0


@pytest.mark.parametrize(("probes", "floor", "share"), [(1, 0.0, 1.0), (1, 0.2, 0.8), (9, 0.2, 0.4)])
def test_epsilon_grows_by_the_share_of_the_papers_score(probes: int, floor: float, share: float) -> None:
    sampler = SensitivitySampler(epsilon=0.2, delta=0.05, probes=probes, floor=floor)
    assert sampler.expected_size(10**6) == pytest.approx(size_for(0.2, 0.05) / share)
    assert sampler.expected_size(10) == 10
    # and p is at least that share of the paper's
    paper = SensitivitySampler(rate=0.1, probes=1, floor=0.0).probabilities(ASSIGNMENT, CLUSTERS)
    assert (sampler.probabilities(ASSIGNMENT, CLUSTERS) >= share * paper - 1e-12).all()


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("clusters", [Clusters.empty(1), CLUSTERS])
def test_an_empty_window_and_one_example(design: str, clusters: Clusters) -> None:
    sampler = SensitivitySampler(rate=1.0, design=design)
    empty = sampler.sample(assignment_of([], []), clusters, np.random.default_rng(0))
    assert (len(empty), empty.expected_size, empty.scores.shape) == (0, 0.0, (0,))
    one = sampler.sample(assignment_of([0], [0.0]), clusters, np.random.default_rng(0))
    assert (one.indices.tolist(), one.weights.tolist()) == ([0], [1.0])


def test_ten_thousand_windows_of_five_keep_the_budget() -> None:
    # an empty sample of a small window is legitimate; sizes are 0 or 1 with mean .05
    # sd of the total size is sqrt(10000 * .05 * .95) = 21.8: false alarm at 4 sd 6e-5
    sampler, rng = SensitivitySampler(rate=0.01), np.random.default_rng(3)
    sizes = [len(sampler.sample(ASSIGNMENT, CLUSTERS, rng)) for _ in range(10_000)]
    assert set(sizes) == {0, 1}
    assert abs(sum(sizes) - 500) < 4 * 21.8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "rate, size, epsilon: give exactly one"),
        ({"rate": 0.1, "size": 3}, "rate, size, epsilon: give exactly one"),
        ({"rate": 0.0}, "rate: expected a share above 0 and at most 1"),
        ({"rate": 1.5}, "rate: expected a share above 0 and at most 1"),
        ({"rate": NAN}, "rate: expected a share"),
        ({"size": -1}, "size: expected a number above 0"),
        ({"epsilon": 0.0}, "epsilon: expected a number above 0"),
        ({"epsilon": 0.1, "delta": 0.0}, "delta: expected a probability"),
        ({"epsilon": 0.1, "floor": 1.0}, "floor: uniform sampling has no bound"),
        ({"rate": 0.1, "floor": -0.1}, "floor: expected a share from 0 to 1"),
        ({"rate": 0.1, "z": 0.0}, "z: expected an exponent above 0"),
        ({"rate": 0.1, "probes": 0}, "probes: expected at least 1"),
        ({"rate": 0.1, "design": "poisson"}, "design: expected one of pivotal, systematic, iid"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SensitivitySampler(**arguments)


@pytest.mark.parametrize(
    ("labels", "distances", "sentence"),
    [
        ([0, 3], [0.0, 0.0], "assignment: row 1 has label 3, but there are 3 centers"),
        ([0, -1], [0.0, 0.0], "assignment: row 1 has label -1"),
        ([0, 1], [0.0, NAN], "assignment: row 1 has distance nan"),
        ([0, 1], [-1.0, 0.0], "assignment: row 0 has distance -1.0"),
        ([0, 1], [1.0], r"assignment: shapes \(2,\) and \(1,\)"),
    ],
)
def test_an_assignment_to_other_clusters_is_refused(labels: Any, distances: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SensitivitySampler(rate=0.5).probabilities(assignment_of(labels, distances), CLUSTERS)
