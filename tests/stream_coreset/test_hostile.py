"""Streams on which 5 % of the examples are hostile, and windows at the limits of the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.traps import UNBIASED, z_score

from stream_coreset import Limits, StreamingCoreset, select
from stream_coreset.sample import Sample
from stream_coreset.sampling import inclusion_probabilities

D, K, N, HOSTILE = 8, 24, 500, 25
KEPT = 0.8 - 1e-9
Window = tuple[np.ndarray, np.ndarray, np.ndarray]  # points, losses, which are honest
Attack = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def one_direction(X: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Far outliers, one behind the other."""
    return 1e4 * rng.uniform(1, 2, (HOSTILE, 1)) * np.ones(D), rng.choice(losses, HOSTILE)


def scattered(X: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Outliers each in a place of its own, more than there are centers."""
    return 60 * rng.normal(size=(HOSTILE, D)), rng.choice(losses, HOSTILE)


def high_loss_cluster(X: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Copies of the example whose loss is highest, which has that loss indeed."""
    return np.tile(X[losses.argmax()], (HOSTILE, 1)), np.full(HOSTILE, losses.max())


def huge_losses(X: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Clusters of their own, near the others, whose losses are a thousand times higher."""
    places = rng.normal(0, 8, (4, D))[rng.integers(0, 4, HOSTILE)]
    return places + 0.1 * rng.normal(size=(HOSTILE, D)), np.full(HOSTILE, 1000 * losses.mean())


def tiny_clusters(X: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Many clusters of two, each with a high loss."""
    places = np.repeat(rng.normal(0, 30, (HOSTILE // 2 + 1, D)), 2, axis=0)[:HOSTILE]
    return places + 0.1 * rng.normal(size=(HOSTILE, D)), np.full(HOSTILE, 50 * losses.mean())


BY_EMBEDDINGS = [one_direction, scattered, high_loss_cluster]
BY_LOSSES = [huge_losses, tiny_clusters]  # which are true: nothing but a strict limit can hold them
ATTACKS = [(attack, Limits()) for attack in BY_EMBEDDINGS] + [
    (attack, Limits(few=0.2)) for attack in BY_LOSSES
]


def stream(attack: Attack, windows: int, seed: int) -> Iterator[Window]:
    """Windows of N examples of ten clusters, HOSTILE of them hostile, in random order."""
    rng = np.random.default_rng(seed)
    means, base = rng.normal(0, 6, (10, D)), rng.lognormal(size=10)
    for _ in range(windows):
        labels = rng.integers(0, 10, N - HOSTILE)
        X = means[labels] + rng.normal(size=(N - HOSTILE, D))
        losses = base[labels] * rng.uniform(0.5, 1.5, N - HOSTILE)
        theirs, their_losses = attack(X, losses, rng)
        order = rng.permutation(N)
        points = np.concatenate([X, theirs])[order].astype("f4")
        yield points, np.concatenate([losses, their_losses])[order], order < N - HOSTILE


def run(
    attack: Attack, windows: int, seed: int, limits: Limits | None = None, **budget: float
) -> Iterator[tuple[Sample, Window]]:
    coreset = StreamingCoreset(K, seed=seed, half_life=4 * N, limits=limits, **(budget or {"rate": 0.1}))
    for X, losses, honest in stream(attack, windows, seed):
        yield coreset.step(X, losses.__getitem__), (X, losses, honest)


def kept(expected: np.ndarray, honest: np.ndarray, without: float) -> float:
    """The honest examples' expected number in the sample, relative to that without an attack."""
    return float(expected[honest].sum() / without)


attacked = pytest.mark.parametrize(
    ("attack", "limits"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS]
)


@attacked
@pytest.mark.parametrize("budget", [{"rate": 0.1}, {"size": 30.0}])
def test_the_rest_of_the_stream_keeps_four_fifths_of_its_sample(
    attack: Attack, limits: Limits, budget: dict[str, float]
) -> None:
    """With a rate, without the attack there would be fewer examples; with a size as many are drawn."""
    without = budget.get("size", 0.1 * (N - HOSTILE))
    for sample, (_, _, honest) in run(attack, 8, 1, limits, **budget):
        expected = inclusion_probabilities(sample.scores, sample.expected_size)
        assert kept(expected, honest, without) >= KEPT


@pytest.mark.parametrize("attack", BY_LOSSES)
def test_without_limits_it_does_not(attack: Attack) -> None:
    for sample, (_, _, honest) in list(run(attack, 4, 1))[1:]:
        expected = inclusion_probabilities(sample.scores, sample.expected_size)
        assert kept(expected, honest, 0.1 * (N - HOSTILE)) < KEPT


@attacked
def test_the_estimate_stays_unbiased_under_attack(attack: Attack, limits: Limits) -> None:
    """Number and total loss of the honest examples over 120 windows, |z| < 4 each: false alarm 1.3e-4."""
    numbers, totals = [], []
    for seed in range(10):
        for sample, (_, losses, honest) in run(attack, 12, seed, limits):
            weights = np.bincount(sample.indices, sample.weights, minlength=N)[honest]
            numbers.append(weights.sum() - honest.sum())
            totals.append(weights @ losses[honest] - losses[honest].sum())
    assert z_score(numbers) < UNBIASED
    assert z_score(totals) < UNBIASED


@attacked
def test_select_keeps_four_fifths_too(attack: Attack, limits: Limits) -> None:
    X, losses, honest = next(stream(attack, 1, 2))
    chosen = select(X, losses.__getitem__, n_clusters=K, size=30, limits=limits, surrogate=None, seed=1)
    assert kept(chosen.probabilities, honest, 30.0) >= KEPT


BIG = 1e15  # the largest coordinate that is accepted


@pytest.mark.parametrize(
    "X",
    [
        np.full((60, 3), BIG),
        np.where(np.arange(60)[:, None] % 2, BIG, -BIG) * np.ones(3),
        np.full((60, 3), 1e-42),
        np.random.default_rng(0).normal(size=(60, 3)) * 1e-40,
        np.zeros((60, 3)),
        np.concatenate([np.zeros((30, 3)), np.random.default_rng(0).normal(size=(30, 3))]),
        np.concatenate([np.zeros((58, 3)), np.full((2, 3), BIG)]),
        np.arange(60)[:, None] // 20 * np.ones(3),
        np.random.default_rng(1).choice([-BIG, -1.0, 0.0, 1e-42, BIG], (60, 3)),
    ],
    ids=["far", "far-apart", "subnormal", "tiny", "zeros", "half-alike", "two-far", "fewer-than-k", "mixed"],
)
@pytest.mark.parametrize("losses", [None, np.zeros(60), np.full(60, 1e100)], ids=["none", "zero", "huge"])
def test_windows_at_the_limits_of_the_numbers(X: np.ndarray, losses: np.ndarray | None) -> None:
    coreset = StreamingCoreset(8, rate=0.2, seed=1, limits=Limits())
    for _ in range(3):
        sample = coreset.step(X.astype("f4"), None if losses is None else losses.__getitem__)
        assert sample.scores.sum() == pytest.approx(1.0, abs=1e-12)
        assert (sample.scores >= 0.2 / 60 * (1 - 1e-9)).all()
        assert len(sample) == 12
        assert (sample.weights <= 60 / (12 * 0.2) * (1 + 1e-9)).all()
    assert coreset.clusters.counts.sum() == pytest.approx(180, rel=1e-3)


@pytest.mark.parametrize("value", [1e38, -3e38, np.inf, np.nan])
def test_numbers_beyond_are_refused_by_their_row(value: float) -> None:
    X = np.zeros((10, 2), "f4")
    X[7, 1] = value
    with pytest.raises(ValueError, match="row 7"):
        StreamingCoreset(4, rate=0.5, limits=Limits()).step(X)
