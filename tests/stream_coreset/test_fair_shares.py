"""Fair shares: the minimum holds exactly, the floor stays, nobody else is touched more than needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from stream_coreset import StreamingCoreset, select
from stream_coreset.fair_shares import with_fair_shares
from stream_coreset.sampling import draw, inclusion_probabilities


def counts_of(p: np.ndarray, s: float, repeats: bool) -> np.ndarray:
    return s * p if repeats else inclusion_probabilities(p, s)


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, float, np.ndarray, float, float, bool]:
    """p with its floor, s, groups, the minimum rate, the floor, and whether draws repeat."""
    n = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    score = rng.exponential(size=n) ** draw(st.sampled_from([0.0, 1.0, 6.0]))
    score *= rng.random(n) < draw(st.sampled_from([0.2, 1.0]))
    score = score / score.sum() if score.any() else np.full(n, 1 / n)
    floor = draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    groups = rng.integers(0, draw(st.integers(1, 20)), n)
    groups = np.unique(groups, return_inverse=True)[1]
    s = draw(st.floats(0.01, 1.0)) * n
    rate = draw(st.floats(0.001, 1.0))
    return (1 - floor) * score + floor / n, s, groups, rate, floor, draw(st.booleans())


@given(windows())
def test_every_group_has_its_minimum_and_every_example_its_floor(window: tuple) -> None:
    p, s, groups, rate, floor, repeats = window
    n = len(p)
    q = with_fair_shares(p, s, groups, rate, floor=floor, repeats=repeats)
    counts = counts_of(q, s, repeats)
    assert q.sum() == pytest.approx(1.0, abs=1e-9)
    assert q is p or counts.sum() == pytest.approx(s, rel=1e-6)
    least = min(rate, s / n) * np.bincount(groups)
    assert (np.bincount(groups, counts) >= least * (1 - 1e-6) - 1e-9).all()
    assert (counts >= floor * s / n * (1 - 1e-6)).all()


@given(windows())
def test_groups_with_enough_keep_their_proportions(window: tuple) -> None:
    """Between the floor and one, the examples of all groups that were not raised have one factor."""
    p, s, groups, rate, floor, repeats = window
    q = with_fair_shares(p, s, groups, rate, floor=floor, repeats=repeats)
    if q is p:
        return
    counts = counts_of(q, s, repeats)
    least = min(rate, s / len(p)) * np.bincount(groups)
    enough = (np.bincount(groups, counts) > least * (1 + 1e-3))[groups]
    free = enough & (counts > floor * s / len(p) * 1.001) & (repeats | (counts < 0.999)) & (p > 1e-6)
    if free.sum() > 1:
        factors = counts[free] / p[free]
        np.testing.assert_allclose(factors, factors[0], rtol=1e-4)


def test_who_has_enough_is_left_alone() -> None:
    p = np.array([0.4, 0.4, 0.1, 0.1])
    assert with_fair_shares(p, 2.0, np.array([0, 0, 1, 1]), 0.1, floor=0.0) is p
    assert with_fair_shares(np.zeros(0), 0.0, np.zeros(0, np.int64), 0.1, floor=0.0).shape == (0,)


def test_the_floor_guarantees_its_part_by_itself() -> None:
    """A minimum of at most eta times the rate never raises anybody."""
    rng = np.random.default_rng(3)
    score = rng.exponential(size=1_000) ** 4
    p = 0.8 * score / score.sum() + 0.2 / 1_000
    assert with_fair_shares(p, 20.0, rng.integers(0, 50, 1_000), 0.2 * 0.02, floor=0.2) is p


def test_a_minimum_of_the_whole_rate_is_proportional_stratification() -> None:
    rng = np.random.default_rng(4)
    score, groups = rng.exponential(size=500) ** 3, rng.integers(0, 7, 500)
    q = with_fair_shares(score / score.sum(), 50.0, groups, 1.0, floor=0.0)
    np.testing.assert_allclose(np.bincount(groups, counts_of(q, 50.0, False)), np.bincount(groups) / 10)


def test_inside_a_raised_group_counts_follow_the_scores() -> None:
    """Against a root finder: the factor at which clipped scores sum to the minimum."""
    rng = np.random.default_rng(5)
    weak = rng.exponential(size=60) ** 3 * 1e-4
    p = np.concatenate([weak, rng.exponential(size=40)])
    p = 0.9 * p / p.sum() + 0.1 / 100
    groups = np.repeat([0, 1], [60, 40])
    q = with_fair_shares(p, 30.0, groups, 0.25, floor=0.1)
    counts = counts_of(q, 30.0, False)
    c = brentq(lambda c: np.clip(c * p[:60], 0.03, 1).sum() - 15.0, 1e-6, 1e9, xtol=1e-12)
    np.testing.assert_allclose(counts[:60], np.clip(c * p[:60], 0.03, 1), rtol=1e-6)


def test_the_estimate_stays_unbiased_and_the_minimum_is_drawn() -> None:
    """4,000 draws; false alarms of the two tests together below 1e-4 (four standard errors)."""
    rng = np.random.default_rng(6)
    losses, groups = rng.exponential(size=200) ** 2, np.repeat([0, 1], [180, 20])
    p = np.where(groups == 0, losses + 0.1, 1e-6)
    q = with_fair_shares(p / p.sum(), 10.0, groups, 0.04, floor=0.0)
    totals, of_group = [], []
    for _ in range(4_000):
        indices, weights, _ = draw(q, 10.0, rng=rng)
        totals.append(float(weights @ losses[indices]))
        of_group.append(int((groups[indices] == 1).sum()))
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - losses.sum()) < 4 * error
    assert abs(np.mean(of_group) - 0.8) < 4 * np.std(of_group) / np.sqrt(len(of_group))


def test_one_shot_and_stream_take_any_values() -> None:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(2_000, 3))
    country = np.where(rng.random(2_000) < 0.05, "mt", "de")
    losses = np.where(country == "mt", 0.0, np.abs(X[:, 0]))
    how = {"n_clusters": 16, "rate": 0.05, "floor": 0.0, "min_group_rate": 0.04, "seed": 1}
    chosen = select(X, lambda rows: losses[rows], groups=country, surrogate=None, **how)
    assert chosen.probabilities[country == "mt"].sum() >= 0.04 * (country == "mt").sum() * (1 - 1e-9)
    stream = StreamingCoreset(**how)
    for rows in np.split(np.arange(2_000), 4):
        sample = stream.step(X[rows], lambda asked, rows=rows: losses[rows][asked], groups=country[rows])
        pi = inclusion_probabilities(sample.scores, sample.expected_size)
        of_group = country[rows] == "mt"
        assert pi[of_group].sum() >= 0.04 * of_group.sum() * (1 - 1e-9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"groups": [0] * 50}, "give both or neither"),
        ({"min_group_rate": 0.1}, "give both or neither"),
        ({"groups": [0] * 49, "min_group_rate": 0.1}, r"shape \(49,\), expected \(50,\)"),
        ({"groups": [0, "a", None] * 16 + [1, 2], "min_group_rate": 0.1}, "cannot be compared"),
        ({"groups": [0] * 50, "min_group_rate": 1.5}, "a share above 0 and at most 1"),
    ],
)
def test_groups_that_cannot_be_used_are_named(arguments: dict, says: str) -> None:
    X = np.random.default_rng(9).normal(size=(50, 2))
    if "None" in str(arguments):
        arguments = {**arguments, "groups": np.array(arguments["groups"], dtype=object)}
    with pytest.raises(ValueError, match=says):
        select(X, None, n_clusters=2, rate=0.1, seed=1, **arguments)
