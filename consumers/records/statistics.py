"""Statistics: what a sampler tells the clusterer, the adapted centers as weighted points, and probes.

They are soft state. A flush larger than one message is several records, each complete in itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers import ipc
from consumers.records.format import (
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
MAX_MEMBERS = 1e15
MAX_COST = 1e45  # of as many members at the largest distance there is


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


def encode_statistics(statistics: Statistics, max_bytes: int = MAX_CHUNK) -> list[bytes]:
    """Return the flush as records of at most `max_bytes`; a probe that fits no record is left out."""
    dimension = statistics.points.points.shape[1]
    room = max_bytes - 8 * dimension - 4096
    by_point = _probes_of(statistics, room - 2 * dimension - 128)
    costs = [2 * dimension + 128 + sum(len(p.example) + 64 for p in probes) for probes in by_point]
    return [_encode(statistics, by_point, start, end) for start, end in _pieces(costs, room)]


def decode_statistics(value: bytes | None, dimension: int, max_bytes: int = 4 * MAX_CHUNK) -> Statistics:
    """Read one record of a flush; RecordError where anything is odd."""
    table, head, offset, scale = read_table(value, _schema(dimension), dimension, max_bytes)
    points = WeightedPoints(
        unpack_points(table.column("point"), offset, scale),
        column(table, "count", least=0.0),
        column(table, "cost", least=0.0),
    )
    if not len(points) or points.counts.max() > MAX_MEMBERS or points.costs.max() > MAX_COST:
        raise RecordError("no points, or counts or costs that nobody can have")
    ids = column(table, "id")
    if np.any(ids < -1):
        raise RecordError("an id below -1")
    return Statistics(
        text(head, "sampler"),
        whole(head, "clusters_version"),
        whole(head, "closed_ms"),
        points,
        ids,
        _read_probes(table.column("probes").to_pylist()),
    )


def _schema(dimension: int) -> pa.Schema:
    probe = {
        "nearest": pa.bool_(),
        "distance": pa.float64(),
        "members": pa.float64(),
        "example": pa.binary(),
    }
    fields = {"id": pa.int64(), "count": pa.float64(), "cost": pa.float64()}
    probes = pa.list_(pa.struct(list(probe.items())))
    return pa.schema([("point", points_type(dimension)), *fields.items(), ("probes", probes)])


def _probes_of(statistics: Statistics, room: int) -> list[list[Probe]]:
    """Sort the probes to their points, as many as fit one record with theirs."""
    by_point: list[list[Probe]] = [[] for _ in statistics.ids]
    left = [room] * len(by_point)
    for probe in statistics.probes:
        cost = len(probe.example) + 64
        if cost <= left[probe.point]:
            left[probe.point] -= cost
            by_point[probe.point].append(probe)
    return by_point


def _pieces(costs: list[int], room: int) -> list[tuple[int, int]]:
    """Cut the points into runs whose costs fit `room`; each run has at least one."""
    pieces, start, used = [], 0, 0
    for position, cost in enumerate(costs):
        if used + cost > room and position > start:
            pieces.append((start, position))
            start, used = position, 0
        used += cost
    return [*pieces, (start, len(costs))]


def _encode(statistics: Statistics, by_point: list[list[Probe]], start: int, end: int) -> bytes:
    points = statistics.points.points[start:end]
    offset, scale = scaling(points)
    head = {
        "format": FORMAT,
        "sampler": statistics.sampler,
        "clusters_version": statistics.clusters_version,
        "closed_ms": statistics.closed_ms,
    }
    schema = _schema(points.shape[1]).with_metadata(metadata(head, offset, scale))
    columns = [
        pack_points(points, offset, scale),
        pa.array(np.asarray(statistics.ids[start:end], dtype=np.int64)),
        pa.array(np.asarray(statistics.points.counts[start:end], dtype=np.float64)),
        pa.array(np.asarray(statistics.points.costs[start:end], dtype=np.float64)),
        pa.array([[_row(p) for p in probes] for probes in by_point[start:end]], schema.field("probes").type),
    ]
    return ipc.write_stream(pa.Table.from_arrays(columns, schema=schema))


def _row(probe: Probe) -> dict[str, Any]:
    return {
        "nearest": probe.is_nearest,
        "distance": probe.distance,
        "members": probe.member_count,
        "example": probe.example,
    }


def _read_probes(rows: list[list[dict[str, Any] | None]]) -> tuple[Probe, ...]:
    if sum(map(len, rows)) > MAX_PROBES:
        raise RecordError("too many probes")
    return tuple(_read_probe(point, found) for point, probes in enumerate(rows) for found in probes)


def _read_probe(point: int, found: dict[str, Any] | None) -> Probe:
    if found is None or any(value is None for value in found.values()):
        raise RecordError("a probe with nulls")
    distance, members = found["distance"], found["members"]
    if not (0 <= distance < np.inf and 1 <= members <= MAX_MEMBERS):
        raise RecordError("a probe with an impossible distance or number of members")
    return Probe(point, found["nearest"], distance, members, found["example"])
