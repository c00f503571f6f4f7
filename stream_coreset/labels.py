"""A bounded memory of labelled examples, from which clusters get their losses and a surrogate learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, check_losses, check_points, check_weights, to_host
from stream_coreset.clusters import Clusters, nearest_established
from stream_coreset.kernels import nearest, totals
from stream_coreset.loss_statistics import FACTOR_LIMITS, MIN_PAIRS, PRIOR_MEMBERS, holder_constants
from stream_coreset.surrogate import LabelledExamples, features

__all__ = ["LabelBuffer"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class LabelBuffer:
    """The newest labelled examples of a stream: probes, and emitted examples whose losses came back.

    Weights say how many examples of the stream each one stands for: members / probes of a cluster, or 1/pi.
    They halve with age. Losses keep the model version they came from; the newest is that of the last ones
    added. Time is passed in: any clock, always the same one.

    Parameters
    ----------
    dimension : int
        Features of an example.
    capacity : int
        Examples kept; the oldest leave first.
    half_life : float
        Age at which an example counts half.

    Examples
    --------
    >>> buffer = LabelBuffer(1, capacity=3, half_life=10.0)
    >>> buffer.add(np.array([[1.0], [2.0]]), np.array([5.0, 6.0]), np.array([1.0, 1.0]), now=0.0)
    >>> buffer.add(np.array([[3.0], [4.0]]), np.array([7.0, 8.0]), np.array([1.0, 1.0]), now=10.0)
    >>> buffer.losses.tolist(), buffer.weights(now=10.0).tolist()
    ([6.0, 7.0, 8.0], [0.5, 1.0, 1.0])
    """

    def __init__(self, dimension: int, *, capacity: int = 20_000, half_life: float = float("inf")) -> None:
        if capacity < 1 or not half_life > 0:
            raise ValueError(f"capacity {capacity}, half_life {half_life}: expected 1 or more, and above 0")
        self.capacity, self.half_life = capacity, half_life
        self._X = np.zeros((0, dimension), np.float32)
        self.losses: Float = np.zeros(0)
        self._weights: Float = np.zeros(0)
        self._born: Float = np.zeros(0)
        self._versions: NDArray[np.object_] = np.zeros(0, object)

    def __len__(self) -> int:
        return len(self.losses)

    def add(self, X: Array, losses: Array, weights: Array, now: float, version: str = "") -> None:
        """Keep labelled examples: embeddings (m, d), losses (m,) of one model version, weights (m,).

        Raises
        ------
        ValueError
            Where a value cannot be used; names the argument and the row.
        """
        points = to_host(check_points(X, "X", self._X.shape[1])).astype(np.float32)
        m = len(points)
        self._X = self._newest(self._X, points)
        self.losses = self._newest(self.losses, check_losses(losses, m, "losses"))
        self._weights = self._newest(self._weights, check_weights(weights, m, "weights"))
        self._born = self._newest(self._born, np.full(m, now))
        self._versions = self._newest(self._versions, np.full(m, version, object))

    def weights(self, now: float) -> Float:
        """The weights as they count now, decayed by age."""
        ages = np.maximum(now - self._born, 0.0)
        decayed: Float = self._weights * 2.0 ** (-ages / self.half_life)
        return decayed

    def discount(self, factor: float) -> None:
        """Let all labels there are count less."""
        self._weights = self._weights * factor

    def _newest(self, held: NDArray[Any], added: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([held, added])[-self.capacity :]

    def describe(self, clusters: Clusters, now: float, z: float = 2.0) -> tuple[Clusters, LabelledExamples]:
        """The clusters with the losses of their labelled examples, and these as examples to learn from.

        Losses of older model versions are multiplied by (sum of the new / sum of the old mean losses) over
        the clusters that have examples of both, clipped to [0.1, 10]; by 1 where there are fewer than five.

        Center loss and spread are the weighted mean and root mean square over the labelled examples of the
        cluster, both shrunk toward those of all by two examples. Where a cluster has none, what was known of
        it stays; so it does of centers that are not established: their labels may come from afar, and these
        examples are told of by the nearest established center.

        Parameters
        ----------
        clusters : Clusters
            At least one center.
        now : float
            As in `add`.
        z : float
            Exponent of the distance in the scores.
        """
        weights = self.weights(now)
        kept = weights > 0
        X, of_kept, weights = self._X[kept], self.losses[kept], weights[kept]
        if len(X) == 0:
            return clusters, LabelledExamples(features(X, [], []), of_kept, weights, np.zeros((2, 0)))
        labels, squares = nearest(X, clusters.centers)
        of_kept = of_kept * _scales(self._versions[kept], labels, of_kept, weights)
        table = _Table.of(labels, of_kept, weights, clusters.k)
        known = np.where(clusters.established, table.shrunk(), np.nan)
        described = _described(clusters, known[0], known[1], table.mean_square, z)
        without = np.stack(table.shrunk_without(labels, of_kept, weights))
        distances = np.sqrt(squares.astype(np.float64))
        alone = np.flatnonzero(~clusters.established[labels])
        if len(alone):
            instead, distances[alone] = nearest_established(X[alone], clusters)
            of_all = np.array([[table.mean], [np.sqrt(table.mean_square)]])
            without[:, alone] = np.where(np.isnan(known), of_all, known)[:, instead]
        scores = without + described.holders[:, None] * distances**z
        return described, LabelledExamples(features(X, without[1], distances), of_kept, weights, scores)


def _scales(versions: NDArray[np.object_], labels: Int, losses: Float, weights: Float) -> Float:
    """What each loss is multiplied by, to compare with those of the newest model version."""
    scales, newest = np.ones(len(losses)), versions[-1]
    new = _means(versions == newest, labels, losses, weights)
    for version in set(versions.tolist()) - {newest}:
        ours = versions == version
        pair = np.array([_means(ours, labels, losses, weights), new])
        old_sum, new_sum = pair[:, np.isfinite(pair).all(axis=0)].sum(axis=1)
        if np.isfinite(pair).all(axis=0).sum() >= MIN_PAIRS and old_sum > 0:
            scales[ours] = np.clip(new_sum / old_sum, *FACTOR_LIMITS)
    return scales


def _means(which: NDArray[np.bool_], labels: Int, losses: Float, weights: Float) -> Float:
    """Weighted mean loss of each cluster over some of the examples; NaN without any."""
    k = int(labels.max()) + 1
    mass = totals(labels, np.where(which, weights, 0.0), k)
    sums = totals(labels, np.where(which, weights * losses, 0.0), k)
    means: Float = np.divide(sums, mass, out=np.full(k, np.nan), where=mass > 0)
    return means


def _described(clusters: Clusters, losses: Float, spreads: Float, mean_square: float, z: float) -> Clusters:
    """The clusters with these losses; where one is NaN, what was known of it stays."""
    known = ~np.isnan(losses)
    losses, spreads = np.where(known, losses, clusters.losses), np.where(known, spreads, clusters.spreads)
    return replace(
        clusters,
        losses=losses,
        spreads=spreads,
        loss_ages=np.where(known & np.isnan(clusters.loss_ages), 0.0, clusters.loss_ages),
        mean_square=mean_square,
        holders=np.array([holder_constants(clusters.centers, values, z) for values in (losses, spreads)]),
    )


@dataclass(frozen=True)
class _Table:
    """Weighted sums over the labelled examples of each cluster."""

    weights: Float
    squared_weights: Float
    losses: Float
    squared_losses: Float

    @classmethod
    def of(cls, labels: Int, losses: Float, weights: Float, k: int) -> _Table:
        columns = (weights, weights**2, weights * losses, weights * losses**2)
        return cls(*(totals(labels, column, k) for column in columns))

    @property
    def mean(self) -> float:
        return float(self.losses.sum() / self.weights.sum())

    @property
    def mean_square(self) -> float:
        return float(self.squared_losses.sum() / self.weights.sum())

    def shrunk(self) -> tuple[Float, Float]:
        """Mean and root mean square of every cluster, NaN where it has no labelled example."""
        mean, square = self._toward(self.mean, self.mean_square)
        empty = self.weights <= 0
        return np.where(empty, np.nan, mean), np.where(empty, np.nan, np.sqrt(square))

    def shrunk_without(self, labels: Int, losses: Float, weights: Float) -> tuple[Float, Float]:
        """The same for the cluster of each example, as if that example were not there."""
        rest = _Table(
            np.maximum(self.weights[labels] - weights, 0.0),
            np.maximum(self.squared_weights[labels] - weights**2, 0.0),
            np.maximum(self.losses[labels] - weights * losses, 0.0),
            np.maximum(self.squared_losses[labels] - weights * losses**2, 0.0),
        )
        mean, square = rest._toward(self.mean, self.mean_square)
        return mean, np.sqrt(square)

    def _toward(self, mean: float, mean_square: float) -> tuple[Float, Float]:
        some = (self.weights > 0) & (self.squared_weights > 0)
        count = np.divide(self.weights**2, self.squared_weights, out=np.zeros(len(some)), where=some)
        per = np.divide(count, self.weights, out=np.zeros(len(some)), where=some)
        prior = PRIOR_MEMBERS
        of_mean = (per * self.losses + prior * mean) / (count + prior)
        return of_mean, (per * self.squared_losses + prior * mean_square) / (count + prior)
