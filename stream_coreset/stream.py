"""The two halves of the loop: one samples windows with the clusters it has, one keeps these up to date.

`WindowSampler` and `ClusterModel` talk through `Clusters` and `WeightedPoints` only, so that they can run in
one program or in many.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.arrays import Array, resolve_device, to_host
from stream_coreset.clusters import Clusters, adapted
from stream_coreset.kmeans import Assignment, MiniBatchKMeans, WeightedPoints
from stream_coreset.losses import LossBook
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.sensitivity import SensitivitySampler

__all__ = ["AdaptedWindow", "ClusterModel", "WindowSampler"]

Ids = NDArray[np.int64]

_IDS_PER_VERSION = 1 << 20  # more than one can use up: after a restart ids begin above all that were retired


@dataclass(frozen=True, eq=False)
class AdaptedWindow:
    """A window and the clusters as adapted to it, before anything is drawn.

    Attributes
    ----------
    assignment : Assignment
        Labels and distances of the n examples, to the center that was nearest before the last Lloyd step.
    clusters : Clusters
        The published version with its centers adapted to this window. Ids that the published version does
        not have are of centers just placed, and mean nothing elsewhere.
    statistics : WeightedPoints
        The centers that have members, as weighted points: what the cluster model wants to know.
    members : (len(statistics),) int64
        Their labels.
    published : Clusters
        The version that was adapted.
    """

    assignment: Assignment
    clusters: Clusters
    statistics: WeightedPoints
    members: Ids
    published: Clusters

    @property
    def cost(self) -> float:
        """Clustering cost: the sum of squared distances to the centers."""
        return float(np.square(self.assignment.distances, dtype=np.float64).sum())


class WindowSampler:
    """Adapts the published clusters to each window and draws its sample.

    Adapted centers are a disposable cache: they are kept from window to window until the next version.

    Parameters
    ----------
    sampler : SensitivitySampler
        Scores, budget and design.
    n_clusters, lloyd_steps, split_fraction, device
        Of the clustering, see `MiniBatchKMeans`.
    dimension : int
        Features of an example.
    """

    def __init__(
        self,
        sampler: SensitivitySampler,
        *,
        n_clusters: int,
        dimension: int,
        lloyd_steps: int = 1,
        split_fraction: float = 0.25,
        device: str = "cpu",
    ) -> None:
        self.sampler, self._device = sampler, resolve_device(device)
        self._parameters: dict[str, Any] = {
            "n_clusters": n_clusters,
            "lloyd_steps": lloyd_steps,
            "split_fraction": split_fraction,
            "device": device,
        }
        self.update(Clusters.empty(dimension))

    def update(self, clusters: Clusters) -> None:
        """Replace the adapted centers by a newly published version."""
        self.published = clusters
        if clusters.k:
            self._kmeans = MiniBatchKMeans.from_centers(
                clusters.centers, clusters.counts, clusters.ids, clusters.generations, **self._parameters
            )
        else:
            self._kmeans = MiniBatchKMeans(**self._parameters)

    def adapt(self, X: Array, rng: np.random.Generator) -> AdaptedWindow:
        """Adapt the centers to a window of shape (n, d) and assign it.

        `rng` is a stream of this adaptation alone: shared with the draw, it would bias it.

        Raises
        ------
        ValueError
            Where `X` is empty, has NaN or infinite values or another dimension.
        """
        X = self._device.put(X)
        assignment = self._kmeans.adapt_assign(X, rng=rng, exact=False)  # a pass less, at the same centers
        statistics = self._kmeans.summarize(X, assignment)
        local = adapted(self.published, self._kmeans, self.sampler.z)
        return AdaptedWindow(assignment, local, statistics, np.unique(assignment.labels), self.published)

    def draw(
        self,
        window: AdaptedWindow,
        rng: np.random.Generator,
        sources: Ids | None = None,
        predicted: Prediction | None = None,
        *,
        groups: Ids | None = None,
    ) -> Sample:
        """Draw the sample of an adapted window; `rng` is a stream of this draw alone.

        `sources` (n,) say where each example comes from, counted from 0, for the limit of a source;
        `predicted` what a surrogate says of their losses; `groups` (n,) which group each belongs to, for its
        minimum rate.
        """
        return self.sampler.sample(window.assignment, window.clusters, rng, sources, predicted, groups=groups)


class ClusterModel:
    """Merges weighted points into the centers of the stream, keeps what the model said of them, publishes.

    Time is passed in: any clock in seconds, always the same one.

    Parameters
    ----------
    n_clusters, lloyd_steps, split_fraction
        Of the clustering, see `MiniBatchKMeans`.
    dimension : int
        Features of an example.
    half_life : float, optional
        Examples after which older ones count half.
    probes : int
        Loss queries a center.
    z : float
        Exponent of the distance in the scores.
    seed : int, bytes or str
    """

    def __init__(
        self,
        *,
        n_clusters: int,
        dimension: int,
        half_life: float | None = None,
        probes: int = 9,
        z: float = 2.0,
        lloyd_steps: int = 1,
        split_fraction: float = 0.25,
        seed: int | bytes | str = 0,
    ) -> None:
        self.dimension, self.z, self.version = dimension, z, 0
        self.book = LossBook(probes)
        self._parameters: dict[str, Any] = {
            "n_clusters": n_clusters,
            "half_life": half_life,
            "lloyd_steps": lloyd_steps,
            "split_fraction": split_fraction,
            "seed": seed,
        }
        self._kmeans = MiniBatchKMeans(**self._parameters)

    @property
    def k(self) -> int:
        """Number of centers."""
        return len(self._kmeans.cluster_centers_)

    @property
    def generations(self) -> dict[int, int]:
        """Generation of each center by its id."""
        pairs = zip(self._kmeans.ids_.tolist(), self._kmeans.generations_.tolist(), strict=True)
        return dict(pairs)

    @property
    def masses(self) -> dict[int, float]:
        """Decayed number of examples of each center by its id."""
        pairs = zip(self._kmeans.ids_.tolist(), self._kmeans.counts_.tolist(), strict=True)
        return dict(pairs)

    def merge(self, points: WeightedPoints) -> None:
        """Adapt the centers to weighted points that arrived."""
        self._kmeans.merge(points)
        self.book.forget(self._kmeans.ids_.tolist())

    def squares(self, points: WeightedPoints) -> NDArray[np.float64]:
        """Mean squared distance (m,) of the examples behind each point to the nearest center as it is now."""
        distances = self._kmeans.assign(points.points).distances.astype(np.float64)
        within: NDArray[np.float64] = points.costs / np.maximum(points.counts, 1.0)
        return distances**2 + within

    def discount(self, factor: float) -> None:
        """Let everything that was merged so far count less."""
        self._kmeans.counts_ = self._kmeans.counts_ * factor

    def locate(self, points: Array) -> Ids:
        """The id of the center that each of the points (m, d) belongs to."""
        return self._kmeans.ids_[self._kmeans.assign(points).labels]

    def due(
        self,
        budget: int,
        now: float,
        max_age: float,
        *,
        among: Container[int] | None = None,
        model_version: str | None = None,
    ) -> list[int]:
        """Ids of the centers to ask, the most urgent first, see `LossBook.due`.

        The budget is spent on those that can be asked, `among` which they are (all by default).
        """
        known = self.generations
        asked = {center: known[center] for center in known if among is None or center in among}
        return self.book.due(
            asked,
            asked.values(),
            budget_queries=budget,
            now=now,
            max_age=max_age,
            model_version=model_version,
        )

    def record(
        self, center_id: int, generation: int, losses: ArrayLike, *, model_version: str, now: float
    ) -> None:
        """Note the losses of a center's probes, its nearest example first, unless the center is gone."""
        values = np.asarray(losses, np.float64)
        if center_id in self.generations:
            self.book.record(
                center_id, generation, float(values[0]), values[1:], model_version=model_version, now=now
            )

    def publish(self, now: float) -> Clusters:
        """The next version of the clusters."""
        self.version += 1
        ids, counts = self._kmeans.ids_, self._kmeans.counts_
        centers = to_host(self._kmeans.cluster_centers_)
        table = self.book.table(ids, counts, centers, now, self.z)
        return Clusters(
            version=self.version,
            model_version=self.book.model_version,
            ids=ids,
            generations=self._kmeans.generations_,
            centers=centers,
            counts=counts,
            losses=table.losses,
            spreads=table.spreads,
            loss_ages=table.ages,
            mean_square=table.mean_square,
            holders=table.holders,
        )

    def restore(self, clusters: Clusters, now: float) -> None:
        """Go on from published clusters, after a restart."""
        self.version = clusters.version
        self._kmeans = MiniBatchKMeans(**self._parameters)
        if clusters.k:
            self._kmeans = MiniBatchKMeans.from_centers(
                clusters.centers,
                clusters.counts,
                clusters.ids,
                clusters.generations,
                next_id=min(clusters.version, 1 << 40) * _IDS_PER_VERSION,
                **self._parameters,
            )
        self.book.restore(clusters, now)
