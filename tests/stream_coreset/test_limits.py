"""What the limits promise, for any scores; what they leave alone; that the estimate stays unbiased."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.traps import UNBIASED, clusters_of, z_score

from stream_coreset.kmeans import Assignment
from stream_coreset.limits import Limits, Shares, normalised
from stream_coreset.sampling import DESIGNS
from stream_coreset.sensitivity import SensitivitySampler

values = st.one_of(  # shares of less than 1e-300 are subnormal numbers, and not exact
    st.just(0.0), st.floats(1e-30, 1), st.floats(1e-30, 1e250)
)
rows = st.lists(st.tuples(values, st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=120)
floors = st.sampled_from([0.0, 0.2, 0.7, 1.0])
limits = st.builds(
    Limits,
    unmeasured=st.floats(0.05, 1),
    few=st.floats(0.05, 1),
    cluster=st.floats(0.01, 1),
    source=st.floats(0.01, 1),
)


def columns(examples: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, clusters, sources = zip(*examples, strict=True)
    return np.array(scores), np.array(clusters), np.array(sources)


def assert_group_within(p: np.ndarray, labels: np.ndarray, limit: float) -> None:
    sizes, shares = np.bincount(labels) / len(p), np.bincount(labels, weights=p)
    assert (shares <= np.maximum(limit, sizes) * (1 + 1e-9)).all()


@settings(deadline=None)
@given(rows, limits, floors)
def test_p_keeps_every_bound_and_its_floor(
    examples: list[tuple[float, int, int]], given_limits: Limits, floor: float
) -> None:
    score, clusters, sources = columns(examples)
    q = given_limits.hold(score, clusters, sources, floor=floor)
    n, few = len(q), len(q) // 20
    assert q.sum() == pytest.approx(1.0, abs=1e-12)
    assert (q >= 0).all()
    p = (1 - floor) * q + floor / n
    assert np.sort(p)[n - few :].sum() <= max(given_limits.few, few / n) * (1 + 1e-9)
    assert_group_within(p, clusters, given_limits.cluster)
    assert_group_within(p, sources, given_limits.source)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=120), st.floats(0.05, 1))
def test_what_nobody_measured_is_cut_to_one_threshold(unmeasured: list[float], share: float) -> None:
    """The highest down to it, the rest not at all; and by no more than needed."""
    whole = np.array(unmeasured)
    cut, few = Limits(unmeasured=share).cut(whole), len(whole) // 20
    np.testing.assert_allclose(cut, np.minimum(whole, cut.max()), rtol=1e-9)
    top = np.sort(normalised(cut))[len(whole) - few :].sum()
    assert top <= max(share, few / len(whole)) * (1 + 1e-9)
    if cut.any() and (cut < whole * (1 - 1e-6)).any():
        assert top == pytest.approx(share)


def test_a_threshold_that_lies_on_equal_values_is_found() -> None:
    cut = Limits(unmeasured=1 / 3).cut(np.array([0.0] * 17 + [1.0, 523841595626890.0, 1.0]))
    np.testing.assert_allclose(cut, [0.0] * 17 + [1.0] * 3)


def test_limits_that_pull_against_each_other_end_in_uniform() -> None:
    """Few positive scores, and clusters and sources above their limits: rounding decides what is over."""
    rng, floor = np.random.default_rng(0), 0.2
    held_to = Limits(few=1, cluster=0.25, source=0.125)
    for _ in range(1000):
        n = int(rng.integers(5, 25))
        clusters, sources = rng.choice([0, 0, 0, 0, 2], n), rng.integers(0, 3, n)
        q = held_to.hold((rng.random(n) < 0.2).astype(float), clusters, sources, floor=floor)
        p = (1 - floor) * q + floor / n
        assert (q >= 0).all()
        assert_group_within(p, clusters, 0.25)
        assert_group_within(p, sources, 0.125)


@settings(deadline=None)
@given(rows, floors)
def test_a_score_within_its_limits_stays_as_it_is(
    examples: list[tuple[float, int, int]], floor: float
) -> None:
    score, clusters, sources = columns(examples)
    held = Limits(few=1, cluster=1, source=1).hold(score, clusters, sources, floor=floor)
    np.testing.assert_array_equal(held, normalised(score))
    even = Limits(few=0.05, cluster=0.01, source=0.01).hold(np.ones(40), np.arange(40) % 3, None, floor=floor)
    np.testing.assert_allclose(even, 1 / 40, rtol=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=5), st.floats(0.25, 0.9))
def test_a_full_group_gives_to_the_others_in_proportion(masses: list[float], limit: float) -> None:
    """Group shares are min(limit, c * share) with one c: the others keep their proportions, inside too."""
    labels, score = np.repeat(np.arange(5), 4), np.repeat(masses, 4) * np.tile([1.0, 2.0, 3.0, 4.0], 5)
    q = Limits(few=1, cluster=limit).hold(score, labels, None, floor=0.0)
    shares, wanted = np.bincount(labels, weights=q), np.bincount(labels, weights=normalised(score))
    full = shares >= limit * (1 - 1e-9)
    scale = (shares / wanted)[~full]
    np.testing.assert_allclose(scale, scale[0] if len(scale) else 1)
    assert (wanted[full] * (scale[0] if len(scale) else 1) >= limit * (1 - 1e-9)).all()
    inside = q.reshape(5, 4) / shares[:, None]
    np.testing.assert_allclose(inside, np.tile([0.1, 0.2, 0.3, 0.4], (5, 1)))


@pytest.mark.parametrize("floor", [0.0, 0.2])
@pytest.mark.parametrize("few", [0.1, 0.2, 0.4])
def test_the_few_are_cut_to_one_threshold_and_the_rest_keep_their_preferences(
    few: float, floor: float
) -> None:
    """And by no more than needed: with the floor they have exactly their limit."""
    rng = np.random.default_rng(0)
    score = np.append(rng.uniform(1, 2, 190), 10.0 ** np.arange(10, 20))
    q = Limits(few=few, cluster=1).hold(score, np.zeros(200, np.int64), None, floor=floor)
    p = (1 - floor) * q + floor / 200
    np.testing.assert_allclose(p[190:], few / 10)
    np.testing.assert_allclose(q[:190] / score[:190], q[0] / score[0])


def test_where_all_others_have_nothing_they_share_evenly() -> None:
    score, labels = np.array([5.0, 5.0] + [0.0] * 8), np.array([0, 0] + [1] * 8)
    q = Limits(few=1, cluster=0.5).hold(score, labels, None, floor=0.0)
    np.testing.assert_allclose(q, [0.25] * 2 + [0.0625] * 8)


def test_a_group_is_never_held_below_its_share_of_the_examples() -> None:
    score, labels = np.array([9.0] * 80 + [1.0] * 20), np.array([0] * 80 + [1] * 20)
    q = Limits(few=1, cluster=0.3).hold(score, labels, None, floor=0.2)
    np.testing.assert_allclose(np.bincount(labels, weights=q), [0.8, 0.2])


def window(n: int = 200) -> tuple[Assignment, Any, np.ndarray]:
    """A window in which 5 % of the examples and the cluster that they are in want nearly everything."""
    rng = np.random.default_rng(4)
    labels, distances = rng.integers(0, 3, n), rng.exponential(size=n)
    labels[: n // 20], distances[: n // 20] = 2, 1e7
    clusters = clusters_of([[0.0], [1.0], [2.0]], [1.0, 2.0, 50.0], [1.0, 2.0, 60.0], 1.0)
    return Assignment(labels, distances.astype(np.float32)), clusters, rng.lognormal(size=n)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_estimate_stays_unbiased_and_every_weight_bounded(design: str) -> None:
    """|z| < 4 over 2,000 draws: false alarm 6e-5 each."""
    assignment, clusters, losses = window()
    sources = np.arange(200) % 4
    sampler = SensitivitySampler(rate=0.1, design=design, limits=Limits())
    rng, errors = np.random.default_rng(7), []
    for _ in range(2000):
        sample = sampler.sample(assignment, clusters, rng, sources)
        assert sample.weights.max() <= 200 / (20 * 0.2) * (1 + 1e-9)
        errors.append(losses[sample.indices] @ sample.weights - losses.sum())
    assert z_score(errors) < UNBIASED


def test_distances_and_guessed_losses_earn_little_and_known_losses_what_they_are_worth() -> None:
    """5 % of the examples, in a cluster of their own: far away, of a loss that is guessed, of a high loss."""
    labels, near = np.repeat([0, 1], [190, 10]), np.full(200, 0.1, np.float32)
    far = np.where(labels == 1, 1e6, near).astype(np.float32)
    centers, sampler = [[0.0], [100.0]], SensitivitySampler(rate=0.1, limits=Limits(cluster=1.0))

    def share(losses: list[float], distances: np.ndarray) -> float:
        clusters = clusters_of(centers, losses, losses, 1.0)
        return float(sampler.probabilities(Assignment(labels, distances), clusters)[190:].sum())

    assert share([1.0, 1.0], far) <= 0.2
    assert share([1.0, math.nan], near) <= 0.2  # guessed from the distance of its center
    assert share([1.0, 1000.0], near) > 0.75


def test_the_largest_shares_are_those_without_limits() -> None:
    assignment, clusters, _ = window()
    sources = np.where(np.arange(200) < 10, 1, 0)
    sampler = SensitivitySampler(rate=0.1, limits=Limits(few=0.2))
    sample = sampler.sample(assignment, clusters, np.random.default_rng(0), sources)
    free = SensitivitySampler(rate=0.1).probabilities(assignment, clusters)
    assert sample.largest.few == pytest.approx(np.sort(free)[-10:].sum())
    assert sample.largest.cluster == pytest.approx(free[assignment.labels == 2].sum())
    assert sample.largest.source == pytest.approx(free[:10].sum())
    assert sample.largest.few > 0.8
    assert sample.scores[:10].sum() <= 0.2 * (1 + 1e-9)


def test_a_group_that_no_limit_can_hold_is_not_reported() -> None:
    shares = Limits().largest(np.full(40, 1 / 40), np.zeros(40, np.int64), np.zeros(40, np.int64))
    assert shares == Shares(few=pytest.approx(0.05), cluster=0.0, source=0.0)
    assert Limits().largest(np.full(19, 1 / 19), np.zeros(19, np.int64), None) == Shares()


@pytest.mark.parametrize(
    "wrong", [{"unmeasured": 0.04}, {"few": 0.04}, {"few": 1.1}, {"cluster": 0.0}, {"source": math.nan}]
)
def test_wrong_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a share"):
        Limits(**wrong)


def test_a_budget_by_epsilon_has_no_limits() -> None:
    with pytest.raises(ValueError, match="limits: the bound by epsilon holds for every example"):
        SensitivitySampler(epsilon=0.1, limits=Limits())


@pytest.mark.parametrize("sources", [np.zeros(3, np.int64), np.full(200, -1)])
def test_sources_that_do_not_fit_are_refused(sources: np.ndarray) -> None:
    assignment, clusters, _ = window()
    with pytest.raises(ValueError, match="sources: expected 200 numbers"):
        SensitivitySampler(rate=0.1, limits=Limits()).probabilities(assignment, clusters, sources)
