"""Mini-batch k-means over weighted points whose centers follow a stream and keep their identity."""

from __future__ import annotations

from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, check_points, check_weights, random_stream, resolve_device, to_host
from stream_coreset.identity import Identity
from stream_coreset.kernels import cluster_sums, nearest, totals
from stream_coreset.lloyd import lloyd, means
from stream_coreset.reach import reaches
from stream_coreset.seeding import kmeans_plus_plus
from stream_coreset.split_merge import split_merge
from stream_coreset.weighted import Assignment, WeightedPoints, clustering_cost, summary

__all__ = ["Assignment", "MiniBatchKMeans", "WeightedPoints", "clustering_cost", "kmeans_plus_plus"]

Floats = NDArray[np.float64]
Rng = np.random.Generator

_NONE = np.zeros((0, 0), np.float32)


class MiniBatchKMeans:
    """k-means on a stream of weighted points.

    `partial_fit` is the mini-batch update of Sculley 2010 (scikit-learn's MiniBatchKMeans without
    reassignment), `adapt` fits the centers to one window by split-merge and Lloyd steps, `merge` adapts to
    summaries of points and keeps all mass ever seen, decayed ("clusters of clusters are clusters").

    Parameters
    ----------
    n_clusters : int
        The most centers there are.
    half_life : float, optional
        Weight of points after which older counts have halved; None never forgets.
    lloyd_steps : int
        Lloyd steps after a split-merge round.
    split_fraction : float
        Share of `n_clusters` that a round may move, rounded up.
    candidates_per_split : int
        Candidates drawn for each of these.
    seed : int, bytes or str
        Seed of the random stream for seeds and candidates.
    device : {"cpu", "cuda", "auto"}
        Where passes over points run; the attributes stay on the host.

    Attributes
    ----------
    cluster_centers_ : shape (k, d)
        Of the dtype of the points. k <= n_clusters: as many as there were distinct points for.
    counts_ : float64, shape (k,)
        Weight that each center stands for: of all batches after `partial_fit` and `merge` (decayed), of the
        window after `adapt`.
    ids_ : int64, shape (k,)
        Identity of each center. It stays while the center moves and is never used again.
    generations_ : int64, shape (k,)
        Grows when a center has moved by more than half its root mean square radius since the generation
        began: what was asked of it earlier no longer describes it.
    next_id_ : int
        First id not used yet.

    Examples
    --------
    >>> model = MiniBatchKMeans(2, seed=1).adapt([[0.0], [1.0], [9.0], [11.0]])
    >>> sorted(model.cluster_centers_.ravel().tolist()), model.counts_.tolist()
    ([0.5, 10.0], [2.0, 2.0])

    References
    ----------
    Axiotis et al. 2024, section 2 (the clustering that sampling builds on); Sculley 2010, "Web-scale k-means
    clustering"; Bahmani et al. 2012 (oversampled candidates).
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        half_life: float | None = None,
        lloyd_steps: int = 1,
        split_fraction: float = 0.25,
        candidates_per_split: int = 4,
        seed: int | bytes | str = 0,
        device: str = "cpu",
    ) -> None:
        _check_parameters(n_clusters, half_life, lloyd_steps, split_fraction, candidates_per_split)
        self.n_clusters, self.half_life, self.lloyd_steps = n_clusters, half_life, lloyd_steps
        self.split_fraction, self.candidates_per_split = split_fraction, candidates_per_split
        self._device, self._rng = resolve_device(device), random_stream(seed, "kmeans")
        self.cluster_centers_: NDArray[np.floating] = _NONE
        self.counts_ = np.zeros(0)
        self._identity = Identity.none()

    @classmethod
    def from_centers(
        cls,
        centers: Array,
        counts: Array | None = None,
        ids: Array | None = None,
        generations: Array | None = None,
        *,
        next_id: int | None = None,
        **parameters: Any,
    ) -> Self:
        """A model that goes on from given centers.

        Parameters
        ----------
        centers : array_like, shape (k, d)
            Of more than `n_clusters` the heaviest are kept.
        counts, ids, generations : array_like, shape (k,), optional
            Zeros, 0 .. k-1 and zeros when missing. A generation is taken to begin here.
        next_id : int, optional
            First id not used yet; the largest of `ids` plus one when missing.
        **parameters
            Those of the class; `n_clusters` is k when missing.

        Raises
        ------
        ValueError
            Two centers have one id, or an array does not fit.
        """
        centers = to_host(check_points(centers, "centers"))
        k = len(centers)
        model = cls(**{"n_clusters": k, **parameters})
        counts = np.zeros(k) if counts is None else check_weights(counts, k, "counts")
        identity = Identity.begin(centers, ids, generations, next_id)
        kept = np.sort(np.argsort(-counts, kind="stable")[: model.n_clusters])
        model.cluster_centers_, model.counts_ = centers[kept], counts[kept]
        model._identity = identity.heir(kept, centers[kept])
        return model

    @property
    def ids_(self) -> NDArray[np.int64]:
        """Identity of each center."""
        return self._identity.ids

    @property
    def generations_(self) -> NDArray[np.int64]:
        """Generation of each center."""
        return self._identity.generations

    @property
    def next_id_(self) -> int:
        """First id not used yet."""
        return self._identity.next_id

    def assign(self, X: Array) -> Assignment:
        """The nearest center of every point.

        Raises
        ------
        ValueError
            There are no centers yet, or `X` is not usable.
        """
        if len(self.cluster_centers_) == 0:
            raise ValueError("there are no centers yet; call partial_fit, adapt or merge first")
        X, _ = self._checked(X, None)
        labels, squares = nearest(X, self.cluster_centers_)
        return Assignment(to_host(labels), np.sqrt(to_host(squares)))

    def partial_fit(self, X: Array, sample_weight: Array | None = None) -> Self:
        """One mini-batch step: each center moves to the mean of all the weight it has ever stood for.

        The first batch seeds the centers by k-means++. Equal to scikit-learn's
        ``MiniBatchKMeans(reassignment_ratio=0).partial_fit`` from the same centers and counts.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The batch.
        sample_weight : array_like, shape (n,), optional
            Ones when missing.
        """
        X, weight = self._checked(X, sample_weight)
        self._seed_if_none(X, weight, self._rng)
        ancestors = self._ancestors(np.arange(len(self.cluster_centers_)))
        labels, squares = map(to_host, nearest(X, self.cluster_centers_))
        sums, arrived = cluster_sums(X, labels, len(self.cluster_centers_), weight)
        self._decay(float(weight.sum()))
        before, total = self.cluster_centers_ * self.counts_[:, None], self.counts_ + arrived
        self.cluster_centers_ = means(before + sums, np.where(arrived > 0, total, 0), self.cluster_centers_)
        self.counts_, self._identity = total, self._identity.heir(ancestors, self.cluster_centers_)
        self._follow(labels, weight, weight * squares)
        return self

    def adapt(self, X: Array, sample_weight: Array | None = None, rng: Rng | None = None) -> Self:
        """Fit the centers to one window; see `adapt_assign`, which this calls."""
        self.adapt_assign(X, sample_weight, rng)
        return self

    def adapt_assign(
        self,
        X: Array,
        sample_weight: Array | None = None,
        rng: Rng | None = None,
        *,
        exact: bool = True,
    ) -> Assignment:
        """Fit the centers to one window and assign it, in `lloyd_steps` + 2 passes over its points.

        One round of split-merge, then Lloyd steps; the clustering cost of the window never grows. Without
        centers k-means++ seeds them first; while there are fewer than `n_clusters`, more are added.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The window.
        sample_weight : array_like, shape (n,), optional
            Ones when missing.
        rng : numpy.random.Generator, optional
            The model's own stream when missing. Never the stream of the draw: a sample drawn with it would
            depend on the centers and be biased.
        exact : bool
            Whether to assign once more after the last Lloyd step. Without that pass each point keeps the
            center that moved to it; its distance is to where the center is now. On drifting streams the
            cost of that assignment is half a percent above the exact one.
        """
        X, weight = self._checked(X, sample_weight)
        labels, squares = self._fit(X, weight, rng or self._rng, exact=exact)
        self.counts_ = totals(labels, weight, len(self.cluster_centers_))
        self._follow(labels, weight, weight * squares)
        return Assignment(labels, np.sqrt(squares).astype(X.dtype))

    def merge(self, points: WeightedPoints) -> Self:
        """Adapt to weighted points that stand for many, keeping the decayed mass of the centers.

        Afterwards the sum of `counts_` is the decayed mass before plus the mass that arrived. A light center
        does not keep its place by being far away: its distance counts up to the `reach` of what arrives.
        """
        if len(points) == 0:
            return self
        own = len(self.cluster_centers_)
        self._decay(float(points.counts.sum()))
        X = np.concatenate([self.cluster_centers_, points.points]) if own else points.points
        X, weight = self._checked(X, np.concatenate([self.counts_, points.counts]))
        limits = reaches(X, self.cluster_centers_, self.counts_, points.counts)
        labels, squares = self._fit(X, weight, self._rng, limits)
        self._follow(labels[own:], points.counts, points.counts * squares[own:] + points.costs)
        self.counts_ = totals(labels, weight, len(self.cluster_centers_))
        return self

    def summarize(
        self, X: Array, assignment: Assignment, sample_weight: Array | None = None
    ) -> WeightedPoints:
        """Mean, weight and cost of the members of each center that has any, in the order of the centers."""
        X, weight = self._checked(X, sample_weight)
        return summary(X, assignment, self.cluster_centers_, weight)

    def _checked(self, X: Array, sample_weight: Array | None) -> tuple[Array, Floats]:
        X = self._device.put(check_points(X, n_features=self.cluster_centers_.shape[1] or None))
        return X, check_weights(sample_weight, X.shape[0])

    def _seed_if_none(self, X: Array, weight: Floats, rng: Rng) -> None:
        if len(self.cluster_centers_) == 0:
            rows = kmeans_plus_plus(X, self.n_clusters, weight, rng)
            self.cluster_centers_ = to_host(X[self._device.put(rows)])
            self.counts_ = np.zeros(len(rows))

    def _ancestors(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Seeds have no identity until they have moved to the middle of their points."""
        return rows if len(self._identity.ids) else np.full(len(rows), -1)

    def _decay(self, weight: float) -> None:
        if self.half_life is not None:
            self.counts_ = self.counts_ * 2.0 ** (-weight / self.half_life)

    def _fit(
        self, X: Array, weight: Floats, rng: Rng, limits: Floats | float = np.inf, exact: bool = True
    ) -> tuple[NDArray[np.int64], Floats]:
        """Split-merge and Lloyd; labels and squared distances, which count up to their limits."""
        self._seed_if_none(X, weight, rng)
        centers = self.cluster_centers_.astype(X.dtype)
        room, swaps = self.n_clusters - len(centers), ceil(self.split_fraction * self.n_clusters)
        how = {"room": room, "swaps": swaps, "candidates_per_split": self.candidates_per_split}
        change = split_merge(X, weight, centers, **how, rng=rng, limits=limits)
        change = lloyd(X, weight, change, self.lloyd_steps, limits, exact=exact)
        self.cluster_centers_ = change.centers
        self._identity = self._identity.heir(self._ancestors(change.ancestors), change.centers)
        return change.labels, change.squares

    def _follow(self, labels: NDArray[np.int64], weight: Floats, costs: Floats) -> None:
        """End the generation of centers that have moved; radii are those of the points that just came."""
        k = len(self.cluster_centers_)
        mass, cost = totals(labels, weight, k), totals(labels, costs, k)
        mean_squares = np.divide(cost, mass, out=np.full(k, np.nan), where=mass > 0)
        self._identity = self._identity.follow(self.cluster_centers_, mean_squares)


def _check_parameters(
    n_clusters: int, half_life: float | None, lloyd_steps: int, split_fraction: float, candidates: int
) -> None:
    if n_clusters < 1 or candidates < 1 or lloyd_steps < 0:
        raise ValueError("n_clusters and candidates_per_split must be at least 1, lloyd_steps at least 0")
    if not 0 <= split_fraction <= 1 or (half_life is not None and not half_life > 0):
        raise ValueError("split_fraction must be from 0 to 1, half_life above 0 or None")
