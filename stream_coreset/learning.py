"""From the probes of one data set to a prediction of all its losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, to_host
from stream_coreset.clusters import ESTABLISHED, Clusters, nearest_established
from stream_coreset.kernels import totals
from stream_coreset.loss_statistics import shrunk
from stream_coreset.prediction import Prediction
from stream_coreset.probes import Probes
from stream_coreset.scores import cluster_scores, known_spreads
from stream_coreset.surrogate import LabelledExamples, Surrogate, features
from stream_coreset.weighted import Assignment

__all__ = ["labelled_probes", "predict_losses", "predict_window"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def labelled_probes(
    X: Array, assignment: Assignment, clusters: Clusters, probes: Probes, losses: Float, *, z: float
) -> LabelledExamples:
    """The probes as examples to learn from, each once.

    A uniform member stands for members of the cluster / probes among them; the farthest for itself alone, and
    the nearest for none, unless it was drawn as well.

    Parameters
    ----------
    X : (n, d) array
        Embeddings that `assignment` is of.
    assignment, clusters, probes
        As in `select`.
    losses : (len(probes.queries()),) float64
        Of `probes.queries()`.
    z : float
        Exponent of the distance in the scores.
    """
    rows = probes.queries()
    labels, distances = assignment.labels[rows], assignment.distances[rows].astype(np.float64)
    member = np.isin(rows, probes.rows[~probes.is_nearest])
    drawn = totals(labels, member.astype(np.float64), clusters.k)
    squares = totals(labels, np.where(member, np.square(losses), 0.0), clusters.k)
    others = np.maximum(squares[labels] - np.where(member, np.square(losses), 0.0), 0.0)
    spreads = shrunk(others, drawn[labels] - member, clusters.mean_square)
    sizes = totals(assignment.labels, np.ones(len(assignment.labels)), clusters.k)
    slopes = clusters.holders[:, None] * distances**z
    of_rows = Assignment(labels, distances)
    return LabelledExamples(
        _told(to_host(X[rows]), of_rows, clusters, spreads, clusters, z=z),
        losses,
        _weights(labels, sizes, member, np.isin(rows, probes.farthest)),
        slopes + np.stack([clusters.losses[labels], spreads]),
    )


def predict_losses(
    X: Array,
    assignment: Assignment,
    clusters: Clusters,
    probes: Probes,
    losses: Float,
    *,
    z: float,
    floor: float,
    seed: int,
) -> Prediction | None:
    """What a surrogate that learned from the probes predicts of all rows.

    Parameters
    ----------
    X, assignment, clusters, probes, losses, z
        As in `labelled_probes`.
    floor : float
        The sampler's.
    seed : int
        Of the surrogate.

    Returns
    -------
    Prediction or None
        None where the probes are too few to learn from.
    """
    examples = labelled_probes(X, assignment, clusters, probes, losses, z=z)
    surrogate = Surrogate.fit(examples, floor=floor, seed=seed)
    if surrogate is None:
        return None
    spreads = known_spreads(clusters, z)[assignment.labels]
    return surrogate.predict(_told(X, assignment, clusters, spreads, clusters, z=z))


def predict_window(
    surrogate: Surrogate,
    X: Array,
    assignment: Assignment,
    clusters: Clusters,
    published: Clusters | None = None,
    *,
    z: float,
    most: int | None = None,
) -> Prediction | None:
    """What a surrogate predicts of a window; of a part of it where that takes too long.

    Then it is asked of the examples whose scores are largest, where a wrong score costs most; the others keep
    the scores of their clusters in place of a prediction.

    Parameters
    ----------
    surrogate : Surrogate
    X : (n, d) array
        Embeddings that `assignment` is of.
    assignment, clusters
        As in `SensitivitySampler.sample`.
    published : Clusters, optional
        The version that `clusters` were adapted from, to which examples that lie alone are compared; the
        clusters themselves by default.
    z : float
        Exponent of the distance in the scores.
    most : int, optional
        Examples to predict, all by default.

    Returns
    -------
    Prediction or None
        None where no loss is known, or `most` is 0.

    Raises
    ------
    ValueError
        The surrogate expects other features, or fails.
    """
    n = len(assignment.labels)
    if not np.isfinite(clusters.losses).any() or n == 0 or most == 0:
        return None
    if published is None or not np.isfinite(published.losses).any():
        published = clusters
    spreads = known_spreads(clusters, z)[assignment.labels]
    if most is None or most >= n:
        return surrogate.predict(_told(X, assignment, clusters, spreads, published, z=z))
    means, roots = cluster_scores(assignment, clusters, z=z, probes=2)
    rows = np.sort(np.argpartition(-roots, most)[:most])
    part = Assignment(assignment.labels[rows], assignment.distances[rows])
    found = surrogate.predict(_told(to_host(X[rows]), part, clusters, spreads[rows], published, z=z))
    means[rows], roots[rows] = found.means, found.roots
    return Prediction(means, roots, found.shares)


def _told(
    X: Array, assignment: Assignment, clusters: Clusters, spreads: Float, published: Clusters, *, z: float
) -> NDArray[np.float32]:
    """What a surrogate is told of examples, with the spreads (n,) of their clusters.

    Those whose center has few members in this window moved to them, so that the distance says nothing: they
    are told of by the nearest published center that is established.
    """
    distances, spreads = assignment.distances.astype(np.float64), spreads.copy()
    few = np.flatnonzero(clusters.counts[assignment.labels] < ESTABLISHED)
    if len(few):
        instead, distances[few] = nearest_established(to_host(X[few]), published)
        spreads[few] = known_spreads(published, z)[instead]
    return features(X, spreads, distances)


def _weights(labels: Int, sizes: Float, member: NDArray[np.bool_], farthest: NDArray[np.bool_]) -> Float:
    """How many of the members of its cluster each probe stands for; all, where it is the only one drawn."""
    others = member & ~farthest
    left = sizes - totals(labels, farthest.astype(np.float64), len(sizes))
    drawn = totals(labels, others.astype(np.float64), len(sizes))
    each = np.divide(left, drawn, out=np.zeros(len(sizes)), where=drawn > 0)
    alone = np.where(drawn > 0, 1.0, sizes)
    return np.where(farthest, alone[labels], np.where(others, each[labels], 0.0))
