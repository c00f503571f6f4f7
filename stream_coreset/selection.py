"""One shot: a weighted sample of the rows of an array."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.arrays import Array, check_points, random_stream, to_host
from stream_coreset.asking import (
    LossFunction,
    ask,
    check_holder,
    check_loss,
    check_max_queries,
    check_surrogate,
    learns,
)
from stream_coreset.clusters import Clusters
from stream_coreset.fair_shares import check_groups
from stream_coreset.kernels import nearest, totals
from stream_coreset.kmeans import Assignment, MiniBatchKMeans
from stream_coreset.known_losses import KnownLosses
from stream_coreset.learning import predict_losses
from stream_coreset.limits import Limits
from stream_coreset.losses import LossBook
from stream_coreset.probes import Probes, choose_queries
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.scores import draw_order, expected_losses, promised
from stream_coreset.sensitivity import SensitivitySampler

__all__ = ["Coreset", "select"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_ROUNDS = 10
_WORTH_A_ROUND = 0.01  # relative drop of the clustering cost


@dataclass(frozen=True, eq=False)
class Coreset:
    """A weighted sample of a data set.

    Attributes
    ----------
    indices : (m,) int64
        Rows, in draw order; design="iid" may repeat a row.
    weights : (m,) float64
        ``weights @ losses[indices]`` is an unbiased estimate of ``losses.sum()``, for any losses.
    probabilities : (n,) float64
        Expected number of times that each row is drawn: pi, or s p for design="iid".
        ``weights == 1 / probabilities[indices]``.
    scores : (n,) float64
        p, the sampling probability of every row; sums to 1.
    clusters : Clusters
        Centers, their losses and spreads.
    n_queries : int
        Losses that were asked, each of another row.
    expected_size : float
        s; ``len(indices)`` is s rounded up or down.
    labels : (n,) int64
        The cluster of every row.
    expected_losses : (n,) float64
        What was expected of every row: its loss where that was asked, else the surrogate's prediction, or
        without a surrogate the loss of its center; 1 everywhere where no loss is known.
    """

    indices: Int
    weights: Float
    probabilities: Float
    scores: Float
    clusters: Clusters
    n_queries: int
    expected_size: float
    labels: Int
    expected_losses: Float

    def __len__(self) -> int:
        return len(self.indices)

    def order(self, s: float | None = None) -> Int:
        """The rows as a design without replacement passes through them, for this or another expected size."""
        promises = promised(self.expected_losses, self.scores)
        return draw_order(self.labels, self.clusters, promises, self.expected_size if s is None else s)


def select(
    X: Array,
    loss: LossFunction | None,
    *,
    n_clusters: int,
    size: float | None = None,
    rate: float | None = None,
    epsilon: float | None = None,
    delta: float = 0.1,
    z: float = 2,
    holder: float | None = None,
    probes: int = 9,
    floor: float = 0.2,
    design: str = "pivotal",
    surrogate: str | None = "auto",
    max_queries: int | None = None,
    limits: Limits | None = None,
    groups: ArrayLike | None = None,
    min_group_rate: float | None = None,
    seed: int | None = None,
    device: str = "cpu",
) -> Coreset:
    """Select a weighted sample whose weighted loss is an unbiased estimate of the loss of all rows.

    Parameters
    ----------
    X : (n, d) array_like
        Embeddings.
    loss : callable or None
        Called once with the rows whose losses are needed; answers with losses >= 0. None scores by
        distance alone.
    n_clusters : int
        Centers; at most one for each distinct row.
    size, rate, epsilon : float
        Exactly one: the expected size, the share of the rows, or the error bound that holds with probability
        ``1 - delta`` (see `size_for`).
    delta : float
        Used with `epsilon`.
    z : float
        Exponent of the distance in the scores; 2 is k-means.
    holder : float, optional
        L, with ``|l(e) - l(c)| <= L distance**z``; estimated from the center losses when missing.
    probes : int
        Queries a cluster: its nearest row, from 3 on its farthest, and uniform ones. With 1 each center is
        replaced by its nearest row, and all rows are assigned to these: the paper's scheme.
    floor : float
        Share of the probability that is spread evenly; bounds every weight by n/(s floor).
    design : {"pivotal", "systematic", "iid"}
        See `draw`.
    surrogate : {"auto", "trees", None}
        "trees" learns the losses of all rows from the probes (extra trees, and kernel ridge regression where
        that is surely better), see `Surrogate`, which needs the extra
        `surrogate`; "auto" does so where that is installed, except with `epsilon`, whose bound is about the
        other scores, and with one probe a cluster.
    max_queries : int, optional
        Most losses that may be asked. Clusters are asked from the largest to the smallest, as long as all
        probes of one more would fit; losses of the others are estimated from these.
    limits : Limits, optional
        Most that few rows or one cluster can take of the scores, for rows that nobody vouches for.
    groups : (n,) array_like, optional
        Of each row, what it has a fair share by: its class, a tenant, a country; anything that can be sorted.
    min_group_rate : float, optional
        With `groups`: expected share of the rows of every group that is drawn at least, as far as the size
        allows. Weights stay right. Not with `epsilon`.
    seed : int, optional
        Of everything random; made up when missing.
    device : {"cpu", "cuda", "auto"}
        Where passes over `X` run.

    Raises
    ------
    ValueError
        Where an argument cannot be used; names it, the row, and what to do.

    References
    ----------
    Axiotis et al. 2024. ``design="iid", floor=0, probes=1, surrogate=None`` is their algorithm 1.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> losses = np.linalg.norm(X, axis=1)
    >>> chosen = select(X, lambda rows: losses[rows], n_clusters=20, size=50, seed=1)
    >>> len(chosen), chosen.n_queries <= 180, bool(chosen.weights.max() <= 1000 / (50 * 0.2))
    (50, True, True)
    """
    check_loss(loss)
    check_holder(holder)
    check_max_queries(max_queries)
    check_surrogate(surrogate, epsilon, probes)
    sampler = SensitivitySampler(
        size=size,
        rate=rate,
        epsilon=epsilon,
        delta=delta,
        z=z,
        floor=floor,
        design=design,
        probes=probes,
        limits=limits,
        min_group_rate=min_group_rate,
    )
    secret: int | str = secrets.token_hex(16) if seed is None else seed
    X = check_points(X)
    numbered = check_groups(groups, len(X), min_group_rate)
    kmeans, assignment = _clustered(X, n_clusters, secret, device)
    if probes == 1:
        kmeans, assignment = _rounded(X, kmeans, assignment)
    chosen = _probes_of_largest(assignment, kmeans.ids_, probes, max_queries, secret)
    asked = chosen.queries() if loss is not None else np.zeros(0, np.int64)
    losses = ask(loss, asked) if loss is not None else np.zeros(0)
    book = LossBook(probes)
    for answer in chosen.answers(losses) if len(asked) else ():
        book.record(answer.label, 0, answer.nearest_loss, answer.member_losses, model_version="", now=0.0)
    clusters = _described(kmeans, book, z, holder)
    predicted = None
    if len(asked) and learns(surrogate, epsilon, probes):
        learning_seed = int(random_stream(secret, "surrogate").integers(1 << 31))
        predicted = predict_losses(
            X, assignment, clusters, chosen, losses, z=z, floor=floor, seed=learning_seed
        )
    known = KnownLosses(asked, losses)
    sample = sampler.sample(
        assignment,
        clusters,
        random_stream(secret, "draw"),
        predicted=predicted,
        known=known,
        groups=numbered,
    )
    p, s = sample.scores, sample.expected_size
    expected = s * (p / p.sum()) if design == "iid" else inclusion_probabilities(p, s)
    return Coreset(
        sample.indices,
        sample.weights,
        expected,
        p,
        clusters,
        len(asked),
        s,
        assignment.labels,
        expected_losses(assignment.labels, clusters, predicted, known, z=z),
    )


def _clustered(
    X: Array, n_clusters: int, secret: int | str, device: str
) -> tuple[MiniBatchKMeans, Assignment]:
    """k-means by rounds of split-merge and Lloyd steps, until one is not worth its passes over the rows."""
    kmeans = MiniBatchKMeans(n_clusters, seed=secret, device=device)
    cost = np.inf
    for _ in range(_ROUNDS):
        assignment = kmeans.adapt_assign(X)
        before, cost = cost, float(np.square(assignment.distances, dtype=np.float64).sum())
        if before - cost <= _WORTH_A_ROUND * before < np.inf:
            break
    return kmeans, assignment


def _rounded(X: Array, kmeans: MiniBatchKMeans, assignment: Assignment) -> tuple[MiniBatchKMeans, Assignment]:
    """Each center replaced by its nearest row, and all rows assigned to these."""
    order = np.lexsort((assignment.distances, assignment.labels))
    _, first = np.unique(assignment.labels[order], return_index=True)
    centers = to_host(X[order[first]])
    labels, squares = (to_host(found) for found in nearest(X, centers))
    counts = totals(labels, np.ones(len(labels)), len(centers))
    return MiniBatchKMeans.from_centers(centers, counts), Assignment(labels, np.sqrt(squares))


def _probes_of_largest(
    assignment: Assignment, ids: Int, probes: int, max_queries: int | None, secret: int | str
) -> Probes:
    sizes = totals(assignment.labels, np.ones(len(assignment.labels)), len(ids))
    largest = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    allowed = len(ids) if max_queries is None else max(0, max_queries // probes)
    return choose_queries(assignment, largest[:allowed], probes, random_stream(secret, "probes"))


def _described(kmeans: MiniBatchKMeans, book: LossBook, z: float, holder: float | None) -> Clusters:
    """The clusters with what is known of their losses; ids are rows of the centers."""
    centers = to_host(kmeans.cluster_centers_)
    ids = np.arange(len(centers))
    table = book.table(ids, kmeans.counts_, centers, 0.0, z)
    return Clusters(
        version=1,
        model_version="",
        ids=ids,
        generations=np.zeros(len(ids), np.int64),
        centers=centers,
        counts=kmeans.counts_,
        losses=table.losses,
        spreads=table.spreads,
        loss_ages=table.ages,
        mean_square=table.mean_square,
        holders=table.holders if holder is None else np.array([holder, holder], np.float64),
    )
