"""Statistics: what a sampler tells the clusterer, the adapted centers as weighted points, and probes.

They are soft state. A flush larger than one message is several records, each complete in itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers import ipc
from consumers.record_format import (
    FORMAT,
    MAX_CHUNK,
    RecordError,
    column,
    metadata,
    pack_points,
    points_type,
    read_table,
    scaling,
    text,
    unpack_points,
    whole,
)
from stream_coreset.kmeans import WeightedPoints

__all__ = ["Probe", "Statistics", "decode_statistics", "encode_statistics"]

MAX_PROBES = 100_000


@dataclass(frozen=True)
class Probe:
    """A real example whose loss may be asked.

    Parameters
    ----------
    point : int
        Position of the center it belongs to, in the statistics that carry it.
    is_nearest : bool
        The member nearest to the center, else a member drawn uniformly.
    distance : float
        To the center, not squared.
    member_count : float
        Members of the center in the window (how much a uniform member stands for).
    example : bytes
        The example alone, as `Codec.example` gives it.
    """

    point: int
    is_nearest: bool
    distance: float
    member_count: float
    example: bytes


@dataclass(frozen=True, eq=False)
class Statistics:
    """One flush of a sampler.

    Parameters
    ----------
    sampler : str
        Which sampler speaks.
    clusters_version : int
        The version of the clusters that its centers were adapted from.
    closed_ms : int
        When its last window closed, milliseconds since 1970.
    points : WeightedPoints
        Points (k, d), counts (k,) and costs (k,).
    ids : (k,) int64
        Id of the published ancestor of each point, -1 for a center just placed.
    probes : tuple of Probe
    """

    sampler: str
    clusters_version: int
    closed_ms: int
    points: WeightedPoints
    ids: NDArray[np.int64]
    probes: tuple[Probe, ...] = ()
