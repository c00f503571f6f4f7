"""Losses that were asked before the draw: they take the place of scores, and cost no bias."""

from __future__ import annotations

import numpy as np
import pytest
from support.traps import UNBIASED, window_of, z_score

from stream_coreset import KnownLosses, Prediction, StreamingCoreset, select
from stream_coreset.design_variance import design_variance
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.sensitivity import SensitivitySampler

N = 200


def test_p_follows_what_is_known() -> None:
    assignment, clusters, losses = window_of(N, seed=1)
    losses += 1
    known = KnownLosses(np.arange(N), losses)
    p = SensitivitySampler(rate=0.1).probabilities(assignment, clusters, known=known)
    np.testing.assert_allclose(p, 0.8 * losses / losses.sum() + 0.2 / N)


@pytest.mark.parametrize("shares", [(1.0, 0, 0, 0, 0), (0, 0, 0, 1.0, 0)])
def test_whatever_a_prediction_is_trusted_in(shares: tuple[float, ...]) -> None:
    assignment, clusters, losses = window_of(N, seed=2)
    losses += 1
    predicted = Prediction(np.ones(N), np.ones(N), np.array(shares))
    known = KnownLosses(np.arange(N), losses)
    p = SensitivitySampler(rate=0.1).probabilities(assignment, clusters, predicted=predicted, known=known)
    np.testing.assert_allclose(p, 0.8 * losses / losses.sum() + 0.2 / N)


def test_the_estimate_stays_unbiased() -> None:
    assignment, clusters, losses = window_of(N, seed=3)
    rows = np.argsort(-losses)[:20]  # even where what is asked was chosen by the losses themselves
    known = KnownLosses(rows, losses[rows])
    sampler, rng = SensitivitySampler(rate=0.1), np.random.default_rng(3)
    samples = [sampler.sample(assignment, clusters, rng, known=known) for _ in range(3000)]
    assert z_score(one.weights @ losses[one.indices] - losses.sum() for one in samples) < UNBIASED


@pytest.mark.parametrize("large", [1e3, 1e6, 1e12, 1e90])
def test_one_huge_loss_leaves_the_others_what_they_had(large: float) -> None:
    assignment, clusters, losses = window_of(N, seed=8)
    known = KnownLosses(np.arange(0, N, 2), np.where(np.arange(0, N, 2) == 8, large, losses[::2]))
    sampler = SensitivitySampler(rate=0.1)
    for shares in (None, (0.2, 0.2, 0.2, 0.2, 0.2), (0, 0, 0.5, 0.5, 0)):
        predicted = None if shares is None else Prediction(losses, losses, np.array(shares))
        p = sampler.probabilities(assignment, clusters, predicted=predicted, known=known)
        pi = inclusion_probabilities(p, 20.0)
        assert pi[8] == pytest.approx(1.0)
        without = sampler.probabilities(assignment, clusters, predicted=predicted)
        others = np.arange(N) != 8
        assert p[others].sum() > 0.9 * without[others].sum()


def test_a_known_loss_of_zero_leaves_a_chance() -> None:
    assignment, clusters, _ = window_of(N, seed=9)
    known = KnownLosses(np.arange(10), np.zeros(10))
    p = SensitivitySampler(rate=0.1, floor=0).probabilities(assignment, clusters, known=known)
    assert (p > 0).all()
    assert p[:10].max() < p[10:].max() / 10


def test_the_bound_by_epsilon_is_about_the_other_scores() -> None:
    assignment, clusters, losses = window_of(N, seed=10)
    known = KnownLosses(np.arange(N), losses)
    sampler = SensitivitySampler(epsilon=0.5)
    p = sampler.probabilities(assignment, clusters, known=known)
    np.testing.assert_array_equal(p, sampler.probabilities(assignment, clusters))


def test_one_large_loss_that_is_known_costs_the_estimate_nothing() -> None:
    assignment, clusters, losses = window_of(N, seed=4)
    losses[7] = 1000.0
    sampler, rng = SensitivitySampler(rate=0.1), np.random.default_rng(4)
    variances = {}
    for name, known in (("known", KnownLosses(np.array([7]), losses[[7]])), ("not known", None)):
        one = sampler.sample(assignment, clusters, rng, known=known)
        variances[name] = design_variance(losses, one.scores, one.expected_size, order=one.order)
    assert variances["known"] < variances["not known"] / 100


def test_without_a_known_cluster_there_is_no_unit_to_use_it_in() -> None:
    assignment, clusters, losses = window_of(N, seed=5)
    unknown = type(clusters).empty(1)
    known = KnownLosses(np.arange(N), losses)
    p = SensitivitySampler(rate=0.1).probabilities(assignment, unknown, known=known)
    np.testing.assert_allclose(p, 1 / N)


@pytest.mark.parametrize("surrogate", ["auto", None])
def test_select_draws_by_the_losses_that_it_asked(surrogate: str | None) -> None:
    rng = np.random.default_rng(6)
    X, losses = rng.normal(size=(500, 3)), rng.lognormal(0, 0.5, 500)  # noise: nothing else tells of them
    asked: list[int] = []
    chosen = select(
        X,
        lambda rows: asked.extend(rows) or losses[rows],
        n_clusters=5,
        size=10,
        surrogate=surrogate,
        floor=0,
        seed=1,
    )
    if surrogate is None:  # else some of p may be uniform
        p = chosen.scores[asked] / losses[asked]
        assert p.max() < 1.001 * p.min()
    np.testing.assert_array_equal(chosen.expected_losses[asked], losses[asked])


def test_a_step_draws_by_the_losses_that_it_asked() -> None:
    rng = np.random.default_rng(7)
    X, losses = rng.normal(size=(500, 3)), rng.lognormal(0, 0.5, 500)
    asked: list[int] = []
    stream = StreamingCoreset(n_clusters=5, size=10, floor=0, seed=1)
    sample = stream.step(X, lambda rows: asked.extend(rows) or losses[rows])
    p = sample.scores[asked] / losses[asked]
    assert p.max() < 1.001 * p.min()


@pytest.mark.parametrize(
    ("rows", "losses", "says"),
    [
        ([-1], [1.0], "known: expected rows"),
        ([3, 3], [1.0, 1.0], "known: expected rows"),
        ([0], [-1.0], "losses"),
        ([0, 1], [1.0], "losses"),
    ],
)
def test_what_cannot_be_known_is_refused(rows: list[int], losses: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        KnownLosses(np.array(rows), np.array(losses))


def test_rows_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="row 5 of 5 examples"):
        KnownLosses(np.array([5]), np.array([1.0])).put_into(np.ones(5))
