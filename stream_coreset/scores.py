"""What clusters say of the examples of a window: their scores, and the order in which they are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters, estimated_losses
from stream_coreset.kernels import nearest
from stream_coreset.seeding import kmeans_plus_plus
from stream_coreset.weighted import Assignment

__all__ = ["Cut", "cluster_scores", "draw_order", "known_spreads"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Cut = Callable[[Float], Float]

_NEIGHBOURHOODS = 8  # more serve training on a few dozen examples, and cost the estimate of small samples


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


def draw_order(assignment: Assignment, clusters: Clusters, *, z: float, promises: Float | None = None) -> Int:
    """Rows in the order in which a design passes through them, fixed before the draw; ties as they came.

    Neighbours rarely enter the sample together, so they should be alike in what they add to the estimate.
    The order is by (cluster in order of its loss, distance). Where there are promises, it passes through
    eight neighbourhoods of clusters, in each by promise, rising and falling in turn: so the sample is spread
    over what an example adds to the estimate, and over where it lies, which is what training needs.

    Parameters
    ----------
    assignment, clusters, z
        As in `cluster_scores`.
    promises : (n,) float64, optional
        Predicted loss / p: what an example is expected to add to the estimate if it is drawn.

    Returns
    -------
    (n,) int64
    """
    if promises is not None and clusters.k:
        place = _neighbourhoods(clusters)[assignment.labels]
        return np.lexsort((np.where(place % 2, -promises, promises), place))
    place = assignment.labels
    if clusters.version and np.isfinite(clusters.losses).any():
        by_loss = np.argsort(_losses(clusters, z), kind="stable")
        place = np.argsort(by_loss, kind="stable")[place]
    # The bits of floats of 0 or more sort as the floats do: one sort instead of two.
    bits = (assignment.distances.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.argsort(place.astype(np.uint64) << np.uint64(32) | bits, kind="stable")


def _neighbourhoods(clusters: Clusters) -> Int:
    """Of each cluster, the nearest of at most eight centers that lie far from each other."""
    seeds = kmeans_plus_plus(clusters.centers, _NEIGHBOURHOODS)
    places: Int = nearest(clusters.centers, clusters.centers[seeds])[0]
    return places


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
