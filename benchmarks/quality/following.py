"""One stream followed by one sampler: what it asks, what comes back, and its exact error in every window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sets import DataSet
from stream_coreset import SensitivitySampler
from stream_coreset.clusters import Clusters
from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance
from stream_coreset.known_losses import KnownLosses
from stream_coreset.labels import LabelBuffer
from stream_coreset.learning import predict_window
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.sampling import draw
from stream_coreset.stream import AdaptedWindow, ClusterModel, WindowSampler
from stream_coreset.surrogate import LabelledExamples, Surrogate

__all__ = ["QUERIES", "Step", "follow"]

Int = NDArray[np.int64]

QUERIES = 96
N_CLUSTERS = 64
HALF_LIFE = 4.0  # windows


@dataclass(frozen=True, eq=False)
class Step:
    """One window.

    Attributes
    ----------
    ours, more : float
        Variances relative to uniform of the same size, of ours and of uniform at s + queries.
    losses : (n,) float64
    sample : Sample
    """

    ours: float
    more: float
    losses: NDArray[np.float64]
    sample: Sample


def follow(
    windows: Iterable[DataSet], rate: float, *, surrogate: bool, returned: bool, seed: int = 0
) -> list[Step]:
    """Sample every window; ask 96 losses before each draw; `returned`: the drawn ones' losses come back."""
    follower: _Follower | None = None
    steps = []
    for number, window in enumerate(windows):
        follower = follower or _Follower(window.X.shape[1], rate, surrogate, returned, seed)
        steps.append(follower.step(window, number))
    return steps


class _Follower:
    def __init__(self, dimension: int, rate: float, surrogate: bool, returned: bool, seed: int) -> None:
        self.sampler = SensitivitySampler(rate=rate)
        self.windows = WindowSampler(self.sampler, n_clusters=N_CLUSTERS, dimension=dimension)
        self.model = ClusterModel(n_clusters=N_CLUSTERS, dimension=dimension, half_life=200_000, seed=seed)
        self.buffer = LabelBuffer(dimension, capacity=8_000, half_life=HALF_LIFE)
        self.learns, self.returned = surrogate, returned
        self.rng = np.random.default_rng(seed)

    def step(self, data: DataSet, number: int) -> Step:
        window = self.windows.adapt(data.X, self.rng)
        self.model.merge(window.statistics)
        asked = self._ask(window, data, number)
        clusters, examples = self._described(window, number)
        predicted = self._predicted(window, clusters, examples, data)
        known = KnownLosses(asked, data.losses[asked])
        sample = self.sampler.sample(window.assignment, clusters, self.rng, predicted=predicted, known=known)
        if self.returned:
            drawn = sample.indices
            self.buffer.add(data.X[drawn], data.losses[drawn], sample.weights, number)
        self.windows.update(self.model.publish(number))
        n, s = len(data.X), sample.expected_size
        assert sample.order is not None
        uniform = uniform_variance(data.losses, s)
        ours = design_variance(data.losses, sample.scores, s, order=sample.order)
        more = uniform_variance(data.losses, min(s + QUERIES, n)) / uniform
        return Step(ours / uniform, more, data.losses, sample)

    def _described(self, window: AdaptedWindow, number: int) -> tuple[Clusters, LabelledExamples]:
        return self.buffer.describe(_versioned(window.clusters), number)

    def _ask(self, window: AdaptedWindow, data: DataSet, number: int) -> Int:
        """Rows to ask: one of every cluster of which nothing is known, then a sample by the scores."""
        clusters, _ = self._described(window, number)
        labels, distances = window.assignment.labels, window.assignment.distances
        nearest = np.lexsort((distances, labels))
        _, first = np.unique(labels[nearest], return_index=True)
        new = nearest[first]
        new = new[np.isnan(clusters.losses[labels[new]])][:QUERIES]
        p = self.sampler.probabilities(window.assignment, clusters)
        p[new] = 0.0
        rows, weights, _ = draw(p, QUERIES - len(new), "pivotal", np.argsort(labels, kind="stable"), self.rng)
        asked = np.concatenate([new, rows])
        self.buffer.add(
            data.X[asked], data.losses[asked], np.concatenate([np.ones(len(new)), weights]), number
        )
        return asked

    def _predicted(
        self, window: AdaptedWindow, clusters: Clusters, examples: LabelledExamples, data: DataSet
    ) -> Prediction | None:
        learned = Surrogate.fit(examples, seed=1) if self.learns else None
        if learned is None:
            return None
        return predict_window(learned, data.X, window.assignment, clusters, z=self.sampler.z)


def _versioned(clusters: Clusters) -> Clusters:
    return replace(clusters, version=max(clusters.version, 1))
