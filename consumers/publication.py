"""A published version of the clusters: Arrow chunks and a head, applied only when whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters

__all__ = ["ClustersAssembler", "Publication", "encode_publication"]

HEAD_KEY = b"head"


@dataclass(frozen=True, eq=False)
class Publication:
    """What the clusterer says to every sampler at once.

    Parameters
    ----------
    clusters : Clusters
        Their centers travel in float16: use those that come back, not those that were given.
    settings_digest : str
        `Settings.stream_digest` of the deployment.
    wanted : (w,) int64
        Ids of the centers whose losses are wanted, the most urgent first.
    eta : float
        Share of the probability spread evenly, in force.
    rate : float or None
        Sampling rate in force; None where the budget is a size or an error bound.
    published_ms : int
    surrogate_digest : str or None
    """

    clusters: Clusters
    settings_digest: str
    wanted: NDArray[np.int64]
    eta: float
    rate: float | None
    published_ms: int
    surrogate_digest: str | None = None
