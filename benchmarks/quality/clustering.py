"""Clustering cost of the adapted centers, relative to k-means from scratch on the same window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.quality.following import HALF_LIFE, N_CLUSTERS
from benchmarks.quality.streams import STREAMS
from benchmarks.report import Goal
from stream_coreset import SensitivitySampler
from stream_coreset.kernels import nearest
from stream_coreset.stream import ClusterModel, WindowSampler

__all__ = ["ClusteringRow", "clustering_goals", "clustering_table", "show_clustering"]

DRIFTING = "drifting and abrupt"
_BATCHES = 3  # of k-means from scratch, whose mean cost counts
_WARM_UP = 1  # window


@dataclass(frozen=True)
class ClusteringRow:
    """Cost after the adaptation with one Lloyd step / that of scikit-learn's KMeans, over the windows."""

    stream: str
    mean: float
    worst: float
    windows: int


def clustering_table(size: int, count: int, streams: Iterable[str] = STREAMS) -> list[ClusteringRow]:
    """Every stream, through the two halves of the service."""
    return [_row(name, size, count) for name in streams]


def show_clustering(rows: list[ClusteringRow]) -> None:
    print(f"\n{'clustering cost / batch k-means on the window':48}{'mean':>8}{'worst':>8}{'windows':>9}")
    for row in rows:
        print(f"{row.stream:48}{row.mean:8.3f}{row.worst:8.3f}{row.windows:9d}")


def clustering_goals(rows: list[ClusteringRow]) -> list[Goal]:
    """What was asked of the drifting stream."""
    return [
        goal
        for row in rows
        if row.stream == DRIFTING
        for goal in (
            Goal("clustering cost / batch, mean", 1.06, row.mean, at_least=False),
            Goal("clustering cost / batch, worst window", 1.2, row.worst, at_least=False),
        )
    ]


def _row(name: str, size: int, count: int) -> ClusteringRow:
    ratios, halves, rng = list[float](), None, np.random.default_rng(0)
    for number, window in enumerate(STREAMS[name](size, count)):
        halves = halves or _halves(window.X.shape[1], size)
        windows, model = halves
        adapted = windows.adapt(window.X, rng)
        model.merge(adapted.statistics)
        windows.update(model.publish(number))
        cost = float(nearest(window.X, adapted.clusters.centers)[1].sum(dtype=np.float64))
        ratios.append(cost / _batch_cost(window.X))
    late = ratios[_WARM_UP:]
    return ClusteringRow(name, float(np.mean(late)), max(late), len(late))


def _halves(dimension: int, size: int) -> tuple[WindowSampler, ClusterModel]:
    return (
        WindowSampler(SensitivitySampler(rate=0.02), n_clusters=N_CLUSTERS, dimension=dimension),
        ClusterModel(n_clusters=N_CLUSTERS, dimension=dimension, half_life=HALF_LIFE * size, seed=0),
    )


def _batch_cost(X: np.ndarray) -> float:
    fits = (KMeans(N_CLUSTERS, n_init=1, random_state=seed).fit(X) for seed in range(_BATCHES))
    return float(np.mean([fit.inertia_ for fit in fits]))
