"""What clusters say of the examples of a window: their scores, and the order in which they are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters, estimated_losses
from stream_coreset.kernels import nearest
from stream_coreset.known_losses import KnownLosses
from stream_coreset.prediction import Prediction
from stream_coreset.weighted import Assignment

__all__ = ["Cut", "cluster_scores", "draw_order", "expected_losses", "joined", "known_spreads", "promised"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Cut = Callable[[Float], Float]

_DRAWS_EACH = 4  # fewer a neighbourhood serve training on a few dozen examples, and cost their estimate
_MOST_NEIGHBOURHOODS = 128


def cluster_scores(
    assignment: Assignment,
    clusters: Clusters,
    cut: Cut = lambda unmeasured: unmeasured,
    *,
    z: float,
    probes: int,
) -> list[Float]:
    """The scores of every example, each of any scale.

    *Center loss* + L v and *spread* + L v with v = distance**z, each with its own L; the center loss alone
    with probes = 1; 1 and v as long as no loss is known.

    Parameters
    ----------
    assignment : Assignment
        Labels and distances of n examples.
    clusters : Clusters
        The centers that the labels point to.
    cut : callable, optional
        Given that part of a score which nobody has measured: v, and what stands for the loss of a cluster
        that was not asked. Returns what counts of it (`Limits.cut`).
    z : float
        Exponent of the distance.
    probes : int
        Queries a cluster.

    Returns
    -------
    list of (n,) float64
    """
    labels, v = assignment.labels, assignment.distances.astype(np.float64) ** z
    known = np.isfinite(clusters.losses)
    if not known.any():
        return [np.ones(len(v)), cut(v)]
    levels = [_losses(clusters, z), known_spreads(clusters, z)][: 1 if probes == 1 else 2]
    return [
        np.where(known, level, 0.0)[labels] + cut(np.where(known, 0.0, level)[labels] + holder * v)
        for level, holder in zip(levels, clusters.holders, strict=False)
    ]


def joined(
    scores: list[Float], predicted: Prediction | None, known: KnownLosses | None, draws: float
) -> tuple[list[Float], Float]:
    """The scores of clusters and those predicted, with what is known in their place, and the shares of all.

    Parameters
    ----------
    scores : list of (n,) float64
        Of the clusters, in the unit of losses where some are known.
    predicted, known
        As in `SensitivitySampler.sample`.
    draws : float
        Expected size of what is drawn by scores: an example that has one of so many parts of them is certain.
        0 where none ever is.

    Returns
    -------
    list of (n,) float64, and (that many,) float64
    """
    if known is not None:
        draws *= 1.0 if predicted is None else 1.0 - float(predicted.shares[-1])  # the last is uniform
        enough = 1.0 / draws if draws > 1 else 1.0
        scores = [known.put_into_score(score, enough) for score in scores]
        predicted = None if predicted is None else predicted.with_known(known, enough)
    shares = np.full(len(scores), 1.0 / len(scores))
    return (scores, shares) if predicted is None else predicted.joined(scores)


def draw_order(labels: Int, clusters: Clusters, promises: Float, s: float) -> Int:
    """Rows in the order in which a design passes through them, fixed before the draw; ties as they came.

    Neighbours rarely enter the sample together, so they should be alike in what they add to the estimate, and
    lie near to each other, which is what training needs. So the order passes through neighbourhoods of
    clusters, one for every four draws, each near to the one before; in each by promise, rising and falling
    in turn.

    Parameters
    ----------
    labels : (n,) int64
        The cluster of each example.
    clusters : Clusters
        The centers that the labels point to.
    promises : (n,) float64
        See `promised`.
    s : float
        Expected size of the sample.

    Returns
    -------
    (n,) int64
    """
    place = np.zeros(len(promises), np.int64)
    if clusters.k:
        _, place = np.unique(_neighbourhoods(clusters, s)[labels], return_inverse=True)
    return np.lexsort((np.where(place % 2, -promises, promises), place))


def expected_losses(
    labels: Int,
    clusters: Clusters,
    predicted: Prediction | None = None,
    known: KnownLosses | None = None,
    *,
    z: float,
) -> Float:
    """The known or else predicted or else center loss of every example, (n,); 1 where no center has one."""
    if not np.isfinite(clusters.losses).any():
        return np.ones(len(labels)) if predicted is None else predicted.means
    expected = _losses(clusters, z)[labels] if predicted is None else predicted.means
    return expected if known is None else known.put_into(expected)


def promised(expected: Float, p: Float) -> Float:
    """Expected loss / p: what an example is expected to add to the estimate if it is drawn; 0 where p is."""
    return np.divide(expected, p, out=np.zeros(len(p)), where=p > 0)


def _neighbourhoods(clusters: Clusters, s: float) -> Int:
    """Of each cluster, the nearest of some centers chosen at random, in the order of a path."""
    count = int(np.clip(s / _DRAWS_EACH, 1, min(_MOST_NEIGHBOURHOODS, clusters.k)))
    chosen = clusters.centers[np.random.default_rng(0).choice(clusters.k, count, replace=False)]
    places = nearest(clusters.centers, chosen)[0]
    path: Int = np.argsort(_path(chosen.astype(np.float64)))
    return path[places]


def _path(points: Float) -> Int:
    """From the point farthest from their mean to the nearest one left, and so on through all."""
    left = np.arange(len(points))
    at = int(np.argmax(np.square(points - points.mean(axis=0)).sum(axis=1)))
    visited = []
    while len(left) > 1:
        visited.append(at)
        left = left[left != at]
        at = int(left[np.argmin(np.square(points[left] - points[at]).sum(axis=1))])
    return np.array([*visited, at])


def _losses(clusters: Clusters, z: float) -> Float:
    """Center losses; where one is not known, estimated from the nearest center whose loss is."""
    unknown = np.isnan(clusters.losses)
    if not unknown.any():
        return clusters.losses
    losses = clusters.losses.copy()
    losses[unknown] = estimated_losses(clusters, clusters.centers[unknown], z)
    return losses


def known_spreads(clusters: Clusters, z: float) -> Float:
    """Spreads (k,); where one is not known, that of all clusters together, or else the center's loss.

    At least one loss must be known.
    """
    losses = _losses(clusters, z)
    instead = np.where(np.isnan(clusters.mean_square), losses, np.sqrt(clusters.mean_square))
    return np.where(np.isnan(clusters.spreads), instead, clusters.spreads)
