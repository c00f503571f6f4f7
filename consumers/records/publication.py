"""A published version of the clusters: Arrow chunks and a head, applied only when whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers import ipc
from consumers.errors import StreamError
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
    unpack_points,
    whole,
)
from consumers.records.publication_head import HEAD_KEY, MAX_WANTED, Head, chunk_key, chunk_number
from consumers.settings import Settings
from stream_coreset.clusters import Clusters

__all__ = ["HEAD_KEY", "ClustersAssembler", "Publication", "chunk_key", "encode_publication"]

MAX_RECORD = 4 * MAX_CHUNK
MAX_HELD_BYTES = 1_000_000_000
_COLUMNS: dict[str, Any] = {
    "ids": pa.int64(),
    "generations": pa.int64(),
    "counts": pa.float64(),
    "losses": pa.float64(),
    "spreads": pa.float64(),
    "loss_ages": pa.float64(),
}
_BYTES_BESIDES = 8 * len(_COLUMNS) + 8


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
        Ids of the centers whose losses are wanted, the most urgent first; at most 40,000 travel.
    eta : float
        Share of the probability spread evenly, in force.
    rate : float or None
        Sampling rate in force; None where the budget is a size or an error bound.
    published_ms : int
        Milliseconds since 1970.
    surrogate_digest : str or None
    """

    clusters: Clusters
    settings_digest: str
    wanted: NDArray[np.int64]
    eta: float
    rate: float | None
    published_ms: int
    surrogate_digest: str | None = None

    def check_stream(self, settings: Settings) -> None:
        """Refuse clusters of another stream; StreamError says what to do."""
        if self.settings_digest != settings.stream_digest():
            raise StreamError(
                f"The topic {settings.topic('clusters')} belongs to another stream (its topic, format, "
                "embedding or dimension differ); give this deployment another `name`."
            )


def encode_publication(
    publication: Publication, previous_chunks: int = 0, max_bytes: int = MAX_CHUNK
) -> list[tuple[bytes, bytes | None]]:
    """Return keys and values in the order to send: chunks, tombstones of chunks no longer used, the head.

    Parameters
    ----------
    publication : Publication
    previous_chunks : int
        Chunks of the version before (see `ClustersAssembler.chunks`).
    max_bytes : int
        Largest chunk.
    """
    chunks = _chunks(publication.clusters, max_bytes)
    head = _head(publication, chunks)
    keyed: list[tuple[bytes, bytes | None]] = [(chunk_key(i), chunk) for i, chunk in enumerate(chunks)]
    gone: list[tuple[bytes, bytes | None]] = [
        (chunk_key(i), None) for i in range(len(chunks), previous_chunks)
    ]
    return [*keyed, *gone, (HEAD_KEY, head)]


def _chunks(clusters: Clusters, max_bytes: int) -> list[bytes]:
    offset, scale = scaling(clusters.centers)
    room = max_bytes - 8 * clusters.dimension - 8192
    rows = max(1, room // (2 * clusters.dimension + _BYTES_BESIDES))
    starts = range(0, clusters.k, rows)
    return [_chunk(clusters, i, slice(s, s + rows), offset, scale) for i, s in enumerate(starts)]


def _chunk(clusters: Clusters, number: int, rows: slice, offset: Any, scale: Any) -> bytes:
    head = {"format": FORMAT, "version": clusters.version, "chunk": number}
    schema = _schema(clusters.dimension).with_metadata(metadata(head, offset, scale))
    columns = [pa.array(getattr(clusters, name)[rows]) for name in _COLUMNS]
    columns = [pack_points(clusters.centers[rows], offset, scale), *columns]
    return ipc.write_stream(pa.Table.from_arrays(columns, schema=schema))


def _schema(dimension: int) -> pa.Schema:
    return pa.schema([("centers", points_type(dimension)), *_COLUMNS.items()])


def _head(publication: Publication, chunks: Sequence[bytes]) -> bytes:
    clusters = publication.clusters
    unsigned = Head(
        version=clusters.version,
        k=clusters.k,
        dimension=clusters.dimension,
        chunks=len(chunks),
        model_version=clusters.model_version,
        mean_square=None if math.isnan(clusters.mean_square) else clusters.mean_square,
        holders=(float(clusters.holders[0]), float(clusters.holders[1])),
        settings_digest=publication.settings_digest,
        wanted=tuple(int(i) for i in publication.wanted[:MAX_WANTED]),
        eta=float(publication.eta),
        rate=publication.rate,
        published_ms=publication.published_ms,
        surrogate_digest=publication.surrogate_digest,
        digest="",
    )
    return unsigned.signed(chunks).encode()


class ClustersAssembler:
    """Puts versions together from the records of the topic, in their order.

    Parameters
    ----------
    dimension : int
        Length of a center; another one is refused.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0

    @property
    def chunks(self) -> int:
        """Chunks that the topic holds now, whatever their version (for `encode_publication`)."""
        return max(self._held, default=-1) + 1

    def feed(self, key: bytes | None, value: bytes | None) -> Publication | None:
        """Take a record; return the version that its head completes.

        None for a chunk, and for a head whose chunks have been replaced or compacted away already.

        Raises
        ------
        RecordError
            For a record that is damaged or not of this stream; the assembler stays usable.
        """
        if key == HEAD_KEY:
            return self._complete(Head.decode(value))
        number = chunk_number(key)
        self._held_bytes -= len(self._held.pop(number, b""))
        if value is not None:
            self._hold(number, value)
        return None

    def _hold(self, number: int, value: bytes) -> None:
        if len(value) > MAX_RECORD or self._held_bytes + len(value) > MAX_HELD_BYTES:
            raise RecordError("a chunk that is too large")
        self._held[number] = value
        self._held_bytes += len(value)

    def _complete(self, head: Head) -> Publication | None:
        if head.dimension != self.dimension:
            raise RecordError(f"clusters of dimension {head.dimension}, not {self.dimension}")
        if not all(number in self._held for number in range(head.chunks)):
            return None
        chunks = [self._held[number] for number in range(head.chunks)]
        if head.signed(chunks).digest != head.digest:
            self._refuse_damaged(head, chunks)
            return None
        return _publication(head, [_read_chunk(chunk, head.dimension) for chunk in chunks])

    def _refuse_damaged(self, head: Head, chunks: list[bytes]) -> None:
        """RecordError unless a chunk belongs to a later version, as after a restart or compaction."""
        versions = [_read_chunk(chunk, head.dimension)[0] for chunk in chunks]
        if all(version == head.version for version in versions):
            raise RecordError(f"clusters version {head.version}: its digest does not match")


def _read_chunk(value: bytes, dimension: int) -> tuple[int, dict[str, NDArray[Any]]]:
    table, head, offset, scale = read_table(value, _schema(dimension), dimension, MAX_RECORD)
    arrays = {name: column(table, name) for name in _COLUMNS}
    return whole(head, "version"), {
        "centers": unpack_points(table.column("centers"), offset, scale),
        **arrays,
    }


def _publication(head: Head, chunks: list[tuple[int, dict[str, NDArray[Any]]]]) -> Publication:
    if any(version != head.version for version, _ in chunks):
        raise RecordError(f"clusters version {head.version} with chunks of another version")
    arrays = _join([arrays for _, arrays in chunks], head.dimension)
    if len(arrays["ids"]) != head.k:
        raise RecordError(f"clusters version {head.version}: {len(arrays['ids'])} centers, not {head.k}")
    clusters = _clusters(head, arrays)
    wanted = np.array(head.wanted, dtype=np.int64)
    said = (head.settings_digest, wanted, head.eta, head.rate, head.published_ms, head.surrogate_digest)
    return Publication(clusters, *said)


def _join(chunks: list[dict[str, NDArray[Any]]], dimension: int) -> dict[str, NDArray[Any]]:
    if not chunks:
        empty = Clusters.empty(dimension)
        return {name: getattr(empty, name) for name in ("centers", *_COLUMNS)}
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _clusters(head: Head, arrays: dict[str, NDArray[Any]]) -> Clusters:
    mean_square = math.nan if head.mean_square is None else head.mean_square
    holders = np.array(head.holders)
    try:
        return Clusters(head.version, head.model_version, mean_square=mean_square, holders=holders, **arrays)
    except ValueError as error:
        raise RecordError(f"clusters version {head.version}: {error}") from None
