"""What the tests of the traps share: how biased an estimate is, a window with known clusters and losses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import Assignment

Float = NDArray[np.float64]

UNBIASED, BIASED = 4.0, 8.0


def z_score(errors: Iterable[float]) -> float:
    """Mean error in standard errors."""
    values = np.array(list(errors))
    return float(abs(values.mean()) / (values.std(ddof=1) / math.sqrt(len(values))))


def clusters_of(centers: Any, losses: Any, spreads: Any, holder: float = 0.0) -> Clusters:
    k = len(losses)
    zeros: Float = np.zeros(k)
    ids = np.arange(k)
    return Clusters(1, "1", ids, zeros, centers, np.ones(k), losses, spreads, zeros, 1.0, [holder] * 2)


def window_of(n: int, seed: int) -> tuple[Assignment, Clusters, Float]:
    """A window with two clusters and the true losses of its examples."""
    rng = np.random.default_rng(seed)
    assignment = Assignment(np.arange(n) % 2, rng.exponential(size=n).astype(np.float32))
    return assignment, clusters_of([[0.0], [1.0]], [1.0, 4.0], [1.0, 4.0], 1.0), rng.exponential(size=n)
