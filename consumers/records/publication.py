"""A published version of the clusters: Arrow chunks and a head, applied only when whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consumers import ipc
from consumers.errors import StreamError
from consumers.records.format import (
    FORMAT,
    MAX_CHUNK,
    metadata,
    pack_points,
    points_type,
    scaling,
)
from consumers.records.publication_head import (
    HEAD_KEY,
    MAX_WANTED,
    Head,
    chunk_key,
)
from consumers.settings import Settings
from stream_coreset.clusters import Clusters
from stream_coreset.surrogate import digest

__all__ = ["COLUMNS", "HEAD_KEY", "Held", "Publication", "chunk_key", "encode_publication", "schema_of"]

COLUMNS: dict[str, Any] = {
    "ids": pa.int64(),
    "generations": pa.int64(),
    "counts": pa.float64(),
    "losses": pa.float64(),
    "spreads": pa.float64(),
    "loss_ages": pa.float64(),
}
_BYTES_BESIDES = 8 * len(COLUMNS) + 8


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
    surrogate : bytes or None
        The surrogate as an ONNX model; untrusted where it was read.
    drifts : int
        Abrupt changes of the stream that were detected so far.
    """

    clusters: Clusters
    settings_digest: str
    wanted: NDArray[np.int64]
    eta: float
    rate: float | None
    published_ms: int
    surrogate: bytes | None = field(default=None, repr=False)
    drifts: int = 0

    @property
    def surrogate_digest(self) -> str | None:
        """What the ledger names the surrogate by."""
        return None if self.surrogate is None else digest(self.surrogate)

    def check_stream(self, settings: Settings) -> None:
        """Refuse clusters of another stream; StreamError says what to do."""
        if self.settings_digest != settings.stream_digest():
            raise StreamError(
                f"The topic {settings.topic('clusters')} belongs to another stream (its topic, format, "
                "embedding or dimension differ); give this deployment another `name`."
            )


@dataclass(frozen=True)
class Held:
    """What the topic holds: how many chunks of the clusters and of which surrogate."""

    chunks: int = 0
    surrogate_digest: str | None = None
    surrogate_chunks: int = 0

    @classmethod
    def after(cls, publication: Publication, max_bytes: int = MAX_CHUNK) -> Held:
        """What it holds once this is published."""
        chunks = -(-publication.clusters.k // _rows(publication.clusters, max_bytes))
        parts = -(-len(publication.surrogate or b"") // max_bytes)
        return cls(chunks, publication.surrogate_digest, parts)


def encode_publication(
    publication: Publication, held: Held | None = None, max_bytes: int = MAX_CHUNK
) -> list[tuple[bytes, bytes | None]]:
    """Return keys and values in the order to send: chunks, tombstones of chunks no longer used, the head.

    A surrogate that the topic holds already is not sent again.

    Parameters
    ----------
    publication : Publication
    held : Held, optional
        What the topic holds now, nothing by default.
    max_bytes : int
        Largest chunk.
    """
    held = held or Held()
    chunks = _chunks(publication.clusters, max_bytes)
    surrogate = publication.surrogate or b""
    parts = [surrogate[start : start + max_bytes] for start in range(0, len(surrogate), max_bytes)]
    head = _head(publication, chunks, len(parts))
    known = publication.surrogate_digest == held.surrogate_digest
    new = [] if known else _keyed(parts, held.surrogate_chunks, "surrogate")
    return [*new, *_keyed(chunks, held.chunks, "chunk"), (HEAD_KEY, head)]


def _keyed(parts: Sequence[bytes], before: int, of: str) -> list[tuple[bytes, bytes | None]]:
    gone = [None] * max(0, before - len(parts))
    return [(chunk_key(number, of), part) for number, part in enumerate([*parts, *gone])]


def _chunks(clusters: Clusters, max_bytes: int) -> list[bytes]:
    offset, scale = scaling(clusters.centers)
    rows = _rows(clusters, max_bytes)
    starts = range(0, clusters.k, rows)
    return [_chunk(clusters, i, slice(s, s + rows), offset, scale) for i, s in enumerate(starts)]


def _rows(clusters: Clusters, max_bytes: int) -> int:
    """Centers a chunk."""
    room = max_bytes - 8 * clusters.dimension - 8192
    return max(1, room // (2 * clusters.dimension + _BYTES_BESIDES))


def _chunk(clusters: Clusters, number: int, rows: slice, offset: Any, scale: Any) -> bytes:
    head = {"format": FORMAT, "version": clusters.version, "chunk": number}
    schema = schema_of(clusters.dimension).with_metadata(metadata(head, offset, scale))
    columns = [pa.array(getattr(clusters, name)[rows]) for name in COLUMNS]
    columns = [pack_points(clusters.centers[rows], offset, scale), *columns]
    return ipc.write_stream(pa.Table.from_arrays(columns, schema=schema))


def schema_of(dimension: int) -> pa.Schema:
    """The columns of a chunk."""
    return pa.schema([("centers", points_type(dimension)), *COLUMNS.items()])


def _head(publication: Publication, chunks: Sequence[bytes], surrogate_chunks: int) -> bytes:
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
        drifts=publication.drifts,
        surrogate_digest=publication.surrogate_digest,
        surrogate_chunks=surrogate_chunks,
        digest="",
    )
    return unsigned.signed(chunks).encode()
