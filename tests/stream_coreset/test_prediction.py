"""A prediction that is wrong in any way costs no more than the floor allows, and never bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import Assignment
from stream_coreset.known_losses import KnownLosses
from stream_coreset.prediction import EQUAL_TRUST, Prediction
from stream_coreset.sampling import draw, inclusion_probabilities
from stream_coreset.sensitivity import SensitivitySampler

Floats = NDArray[np.float64]

N, K, RATE, FLOOR = 600, 6, 0.1, 0.2
DRAWS = 1000
LIMIT = 4.9  # standard errors: a false alarm in 10**6 of each statistical test
BAD: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "random": lambda losses, rng: rng.exponential(size=len(losses)) ** 4,
    "constant": lambda losses, rng: np.full(len(losses), 3.0),
    "inverted": lambda losses, rng: 1 / losses**2,
    "huge": lambda losses, rng: np.where(np.arange(len(losses)) == 7, 1e308, losses),
    "infinite": lambda losses, rng: np.where(losses > np.median(losses), losses, np.inf),
    "NaN": lambda losses, rng: np.full(len(losses), np.nan),
    "negative": lambda losses, rng: -losses,
    "zero": lambda losses, rng: np.zeros(len(losses)),
}
ALL_TRUST = (0.0, 0.0, 0.5, 0.5, 0.0)


@pytest.fixture(scope="module")
def losses() -> Floats:
    return np.random.default_rng(1).lognormal(0, 1, N)


@pytest.fixture(scope="module")
def clusters() -> Clusters:
    known = np.linspace(1, 3, K)
    return Clusters(
        version=1,
        model_version="",
        ids=np.arange(K),
        generations=np.zeros(K, np.int64),
        centers=np.arange(K)[:, None].astype(np.float32),
        counts=np.full(K, N / K),
        losses=known,
        spreads=known + 1,
        loss_ages=np.zeros(K),
        mean_square=4.0,
        holders=np.array([0.1, 0.1]),
    )


@pytest.fixture(scope="module")
def assignment() -> Assignment:
    rng = np.random.default_rng(2)
    return Assignment(rng.integers(0, K, N), rng.exponential(size=N))


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("shares", [EQUAL_TRUST, ALL_TRUST])
def test_a_bad_prediction_costs_no_more_than_the_floor_allows(
    kind: str, shares: tuple[float, ...], losses: Floats, clusters: Clusters, assignment: Assignment
) -> None:
    rng = np.random.default_rng(3)
    said = BAD[kind](losses, rng)
    predicted = Prediction(said, said, np.array(shares))
    sampler = SensitivitySampler(rate=RATE, floor=FLOOR)
    sample = sampler.sample(assignment, clusters, rng, predicted=predicted)
    s = RATE * N
    p, order = sample.scores, sample.order
    assert p.sum() == pytest.approx(1)
    assert p.min() >= FLOOR / N * (1 - 1e-12)
    assert (1 / inclusion_probabilities(p, s)).max() <= N / (s * FLOOR) * (1 + 1e-12)
    estimates = np.empty(DRAWS)
    for i in range(DRAWS):
        indices, weights, _ = draw(p, s, "pivotal", order, rng)
        estimates[i] = weights @ losses[indices]
    error = estimates - losses.sum()
    assert abs(error.mean()) < LIMIT * error.std() / np.sqrt(DRAWS)
    bound = N * np.square(losses).sum() / (s * FLOOR)  # of the variance, for any p with this floor
    spread_of_the_variance = np.std(error**2) / np.sqrt(DRAWS)
    assert np.mean(error**2) < bound + LIMIT * spread_of_the_variance


def test_a_right_prediction_leaves_less_than_a_third_of_the_error(
    losses: Floats, clusters: Clusters, assignment: Assignment
) -> None:
    rng = np.random.default_rng(4)
    sampler = SensitivitySampler(rate=RATE, floor=FLOOR)
    rms = {}
    for name, predicted in (("without", None), ("with", Prediction(losses, losses))):
        sample = sampler.sample(assignment, clusters, rng, predicted=predicted)
        draws = [draw(sample.scores, RATE * N, "pivotal", sample.order, rng) for _ in range(DRAWS)]
        rms[name] = np.std([weights @ losses[indices] for indices, weights, _ in draws])
    assert rms["with"] < rms["without"] / 3


def test_known_losses_take_the_place_of_predictions() -> None:
    known = KnownLosses(np.array([1, 3]), np.array([5.0, 0.0]))
    predicted = Prediction(np.ones(4), np.full(4, 2.0)).with_known(known, 1.0)
    assert predicted.means.tolist() == [1, 5, 1, 0.01]
    assert predicted.roots.tolist() == [2, 5, 2, 0.02]


def test_all_trust_in_the_mean_makes_p_its_share(clusters: Clusters, assignment: Assignment) -> None:
    means = np.random.default_rng(5).exponential(size=N)
    predicted = Prediction(means, np.ones(N), np.array([0, 0, 1.0, 0, 0]))
    p = SensitivitySampler(rate=RATE, floor=FLOOR).probabilities(assignment, clusters, predicted=predicted)
    assert np.allclose(p, (1 - FLOOR) * means / means.sum() + FLOOR / N)


def test_with_one_probe_the_center_loss_takes_both_shares(clusters: Clusters, assignment: Assignment) -> None:
    sampler = SensitivitySampler(rate=RATE, floor=0.0, probes=1)
    predicted = Prediction(np.ones(N), np.ones(N), np.array([0.5, 0.5, 0, 0, 0]))
    both = sampler.probabilities(assignment, clusters, predicted=predicted)
    assert np.allclose(both, sampler.probabilities(assignment, clusters))


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.5, 0.5, -0.5, 0], [0.1] * 5, [np.nan, 0, 0, 0, 1]])
def test_shares_that_are_none_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares: expected one of 0 or more for each"):
        Prediction(np.ones(2), np.ones(2), np.array(shares))


def test_a_prediction_of_other_examples_is_refused(clusters: Clusters, assignment: Assignment) -> None:
    with pytest.raises(ValueError, match="3 predictions for 600 examples"):
        SensitivitySampler(rate=0.1).probabilities(
            assignment, clusters, predicted=Prediction(np.ones(3), np.ones(3))
        )


def test_no_prediction_with_a_bound(clusters: Clusters, assignment: Assignment) -> None:
    with pytest.raises(ValueError, match="bound by epsilon is about the scores of clusters"):
        SensitivitySampler(epsilon=0.1).probabilities(
            assignment, clusters, predicted=Prediction(np.ones(N), np.ones(N))
        )
