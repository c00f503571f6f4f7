"""Assignments, weighted points and their clustering cost: the currency between clustering and all else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import LARGEST_VALUE, Array, check_points, check_weights, to_host
from stream_coreset.kernels import cluster_sums, nearest, totals

__all__ = ["Assignment", "WeightedPoints", "clustering_cost", "summary"]


@dataclass(frozen=True)
class Assignment:
    """The nearest center of every point, on the host.

    Attributes
    ----------
    labels : int64, shape (n,)
        Row of the nearest center.
    distances : floats, shape (n,)
        Distance to it, not squared.
    """

    labels: NDArray[np.int64]
    distances: NDArray[np.floating]

    def check(self, k: int) -> None:
        """Look that it is one to k centers.

        Raises
        ------
        ValueError
            Shapes disagree, a label points to no center, or a distance is negative or not finite.
        """
        if self.labels.shape != self.distances.shape or self.labels.ndim != 1:
            shapes = f"{self.labels.shape} and {self.distances.shape}"
            raise ValueError(f"assignment: shapes {shapes} should be (n,) both")
        bad = (self.labels < 0) | (self.labels >= k)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"assignment: row {row} has label {self.labels[row]}, but there are {k} centers; "
                "assign and sample with the same clusters"
            )
        bad = ~(np.isfinite(self.distances) & (self.distances >= 0))
        if bad.any():
            raise ValueError(f"assignment: row {np.argmax(bad)} has distance {self.distances[bad][0]}")


@dataclass(frozen=True)
class WeightedPoints:
    """A summary of many points: means, each with the weight and the clustering cost of what it stands for.

    Attributes
    ----------
    points : float32, shape (k, d)
        Weighted means.
    counts : float64, shape (k,)
        Total weights.
    costs : float64, shape (k,)
        Sums of weight times squared distance to the mean.
    """

    points: NDArray[np.float32]
    counts: NDArray[np.float64]
    costs: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def cost(self) -> float:
        """The total clustering cost of what is summarized."""
        return float(self.costs.sum())


def clustering_cost(X: Array, centers: Array, sample_weight: Array | None = None) -> float:
    """Sum of weight times squared distance to the nearest center (scikit-learn's inertia).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points.
    centers : array_like, shape (k, d)
        Centers.
    sample_weight : array_like, shape (n,), optional
        Ones when missing.

    Examples
    --------
    >>> clustering_cost([[0.0], [3.0]], [[1.0]], [2.0, 1.0])
    6.0
    """
    X = check_points(X)
    squares = to_host(nearest(X, check_points(centers, "centers", X.shape[1]))[1])
    return float(check_weights(sample_weight, len(squares)) @ squares.astype(np.float64))


def summary(
    X: Array, assignment: Assignment, centers: NDArray[np.floating], weight: NDArray[np.float64]
) -> WeightedPoints:
    """Mean, weight and cost of the members of each center that has members of positive weight.

    Parameters
    ----------
    X : shape (n, d)
        Points, NumPy or CuPy.
    assignment : Assignment
        Of these points to `centers`.
    centers : shape (k, d)
        Centers.
    weight : float64, shape (n,)
        Weights of the points.

    Examples
    --------
    >>> assigned = Assignment(np.array([1, 1]), np.array([1.0, 3.0]))
    >>> found = summary(np.array([[1.0], [3.0]]), assigned, np.array([[9.0], [0.0]]), np.ones(2))
    >>> found.points.ravel().tolist(), found.counts.tolist(), found.cost
    ([2.0], [2.0], 2.0)
    """
    k = len(centers)
    sums, counts = cluster_sums(X, assignment.labels, k, weight)
    squares = np.square(assignment.distances, dtype=np.float64)
    about_center = totals(assignment.labels, weight * squares, k)
    kept = np.flatnonzero(counts)
    means, counts = np.clip(sums[kept] / counts[kept, None], -LARGEST_VALUE, LARGEST_VALUE), counts[kept]
    shift = np.square(means - centers[kept]).sum(axis=1)
    costs = np.maximum(about_center[kept] - counts * shift, 0)
    return WeightedPoints(means.astype(np.float32), counts, costs)
