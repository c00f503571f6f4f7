"""Several samplers adapt the same centers to what each of them sees; the model is as good as with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest

from stream_coreset.kmeans import Assignment, MiniBatchKMeans, WeightedPoints, clustering_cost
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import ClusterModel, WindowSampler

K, N, WINDOWS, CLUSTERS = 64, 4096, 8, 40
HALF_LIFE = 50_000
Window = tuple[np.ndarray, np.ndarray]  # points, true clusters


def drifting(seed: int) -> Iterator[Window]:
    """Means that move in every window; at two windows five clusters jump and the shares change."""
    rng = np.random.default_rng(seed)
    means, shares = rng.normal(0, 5, (CLUSTERS, 16)), np.arange(1, CLUSTERS + 1) ** -1.1
    for window in range(WINDOWS):
        if window in (3, 6):
            means[rng.choice(CLUSTERS, 5, replace=False)] = rng.normal(0, 8, (5, 16))
            shares = rng.permutation(shares)
        yield points_of(means, np.ones(CLUSTERS), shares, rng)
        means = means + 0.35 * rng.normal(size=means.shape)


def mixture(seed: int) -> Iterator[Window]:
    """Clusters of unequal size and width."""
    rng = np.random.default_rng(seed)
    means, scales = rng.normal(0, 6, (CLUSTERS, 16)), np.exp(rng.normal(0, 0.5, CLUSTERS))
    for _ in range(WINDOWS):
        yield points_of(means, scales, np.arange(1, CLUSTERS + 1) ** -1.2, rng)


def points_of(means: np.ndarray, scales: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> Window:
    """A window with one per cent of heavy tails."""
    labels = rng.choice(CLUSTERS, N, p=shares / shares.sum())
    X = means[labels] + scales[labels, None] * rng.normal(size=(N, 16))
    tail = rng.random(N) < 0.01
    X[tail] += 5 * rng.standard_t(2, (int(tail.sum()), 16))
    return X.astype("f4"), labels


STREAMS: dict[str, Callable[[int], Iterator[Window]]] = {"drifting": drifting, "mixture": mixture}


def together(parts: list[WeightedPoints]) -> WeightedPoints:
    """What the clusterer does with all that arrived until a publication is due."""
    return WeightedPoints(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.costs for part in parts]),
    )


@cache
def run(stream: str, samplers: int, split: str, seed: int) -> tuple[float, float]:
    """Cost of the windows after the first two to the published centers; share of the ids that stayed."""
    rng = np.random.default_rng(seed)
    all_samplers = [
        WindowSampler(SensitivitySampler(rate=0.05), n_clusters=K, dimension=16) for _ in range(samplers)
    ]
    model = ClusterModel(n_clusters=K, dimension=16, half_life=HALF_LIFE, seed=seed)
    costs, owners, stayed = [], dict[int, int](), []
    for window, (X, labels) in enumerate(STREAMS[stream](seed)):
        of = labels % samplers if split == "skewed" else rng.integers(0, samplers, N)
        parts = [
            sampler.adapt(X[of == i], np.random.default_rng([seed, window, i])).statistics
            for i, sampler in enumerate(all_samplers)
        ]
        model.merge(together(parts))
        published = model.publish(float(window))
        for sampler in all_samplers:
            sampler.update(published)
        costs.append(clustering_cost(X, published.centers))
        now = _owned(MiniBatchKMeans.from_centers(published.centers).assign(X), published.ids, labels)
        stayed += [now[center] == owners[center] for center in now if center in owners]
        owners = now
    return float(np.sum(costs[2:])), float(np.mean(stayed))


def _owned(assignment: Assignment, ids: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """The true cluster that most members of each center come from, where it has at least twenty."""
    table = np.zeros((len(ids), CLUSTERS))
    np.add.at(table, (assignment.labels, labels), 1)
    rows = np.flatnonzero(table.sum(axis=1) >= 20)
    return {int(ids[row]): int(table[row].argmax()) for row in rows}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("split", ["random", "skewed"])
@pytest.mark.parametrize("samplers", [2, 4, 8])
@pytest.mark.parametrize("stream", STREAMS)
def test_within_5_percent_of_one_sampler_that_sees_everything(
    stream: str, samplers: int, split: str, seed: int
) -> None:
    several, one = run(stream, samplers, split, seed), run(stream, 1, "random", seed)
    assert several[0] < 1.05 * one[0]


@pytest.mark.parametrize("samplers", [1, 2, 4, 8])
@pytest.mark.parametrize("split", ["random", "skewed"])
@pytest.mark.parametrize("stream", STREAMS)
def test_ids_stay_with_their_clusters(stream: str, samplers: int, split: str) -> None:
    """An id that is in two versions in a row describes the same true cluster, but for those that jumped."""
    stayed = [run(stream, samplers, split if samplers > 1 else "random", seed)[1] for seed in range(3)]
    assert np.mean(stayed) > 0.95
