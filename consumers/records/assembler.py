"""Puts published versions of the clusters together from the records of their topic: untrusted bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.records.format import MAX_CHUNK, RecordError, column, read_table, unpack_points, whole
from consumers.records.publication import COLUMNS, Held, Publication, schema_of
from consumers.records.publication_head import HEAD_KEY, MAX_SURROGATE_CHUNKS, Head, chunk_number
from stream_coreset.clusters import Clusters
from stream_coreset.surrogate import digest

__all__ = ["ClustersAssembler"]

MAX_RECORD = 4 * MAX_CHUNK
MAX_HELD_BYTES = 1_000_000_000


class ClustersAssembler:
    """Puts versions together from the records of the topic, in their order.

    Parameters
    ----------
    dimension : int
        Length of a center; another one is refused.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._held: dict[str, dict[int, bytes]] = {"chunk": {}, "surrogate": {}}
        self._held_bytes = 0
        self._surrogate: tuple[str, bytes] | None = None

    @property
    def held(self) -> Held:
        """What the topic holds now, whatever its version (for `encode_publication`)."""
        chunks, parts = (max(self._held[of], default=-1) + 1 for of in ("chunk", "surrogate"))
        return Held(chunks, None if self._surrogate is None else self._surrogate[0], parts)

    def feed(self, key: bytes | None, value: bytes | None) -> Publication | None:
        """Take a record; return the version that its head completes.

        None for a chunk, and for a head whose chunks have been replaced or compacted away already. Where only
        those of the surrogate have, the version comes without one.

        Raises
        ------
        RecordError
            For a record that is damaged or not of this stream; the assembler stays usable.
        """
        if key == HEAD_KEY:
            return self._complete(Head.decode(value))
        of, number = chunk_number(key)
        if of == "surrogate" and number >= MAX_SURROGATE_CHUNKS:
            raise RecordError("a surrogate of too many chunks")
        self._held_bytes -= len(self._held[of].pop(number, b""))
        if value is not None:
            self._hold(of, number, value)
        return None

    def _hold(self, of: str, number: int, value: bytes) -> None:
        if len(value) > MAX_RECORD or self._held_bytes + len(value) > MAX_HELD_BYTES:
            raise RecordError("a chunk that is too large")
        self._held[of][number] = value
        self._held_bytes += len(value)

    def _surrogate_of(self, head: Head) -> bytes | None:
        if head.surrogate_digest is None:
            return None
        if self._surrogate is None or self._surrogate[0] != head.surrogate_digest:
            parts = [self._held["surrogate"].get(number, b"") for number in range(head.surrogate_chunks)]
            data = b"".join(parts)
            self._surrogate = (head.surrogate_digest, data) if digest(data) == head.surrogate_digest else None
        return None if self._surrogate is None else self._surrogate[1]

    def _complete(self, head: Head) -> Publication | None:
        if head.dimension != self.dimension:
            raise RecordError(f"clusters of dimension {head.dimension}, not {self.dimension}")
        held = self._held["chunk"]
        if not all(number in held for number in range(head.chunks)):
            return None
        chunks = [held[number] for number in range(head.chunks)]
        if head.signed(chunks).digest != head.digest:
            self._refuse_damaged(head, chunks)
            return None
        found = [_read_chunk(chunk, head.dimension) for chunk in chunks]
        return _publication(head, found, self._surrogate_of(head))

    def _refuse_damaged(self, head: Head, chunks: list[bytes]) -> None:
        """RecordError unless a chunk belongs to a later version, as after a restart or compaction."""
        versions = [_read_chunk(chunk, head.dimension)[0] for chunk in chunks]
        if all(version == head.version for version in versions):
            raise RecordError(f"clusters version {head.version}: its digest does not match")


def _read_chunk(value: bytes, dimension: int) -> tuple[int, dict[str, NDArray[Any]]]:
    table, head, offset, scale = read_table(value, schema_of(dimension), dimension, MAX_RECORD)
    arrays = {name: column(table, name) for name in COLUMNS}
    return whole(head, "version"), {
        "centers": unpack_points(table.column("centers"), offset, scale),
        **arrays,
    }


def _publication(
    head: Head, chunks: list[tuple[int, dict[str, NDArray[Any]]]], surrogate: bytes | None
) -> Publication:
    if any(version != head.version for version, _ in chunks):
        raise RecordError(f"clusters version {head.version} with chunks of another version")
    arrays = _join([arrays for _, arrays in chunks], head.dimension)
    if len(arrays["ids"]) != head.k:
        raise RecordError(f"clusters version {head.version}: {len(arrays['ids'])} centers, not {head.k}")
    clusters = _clusters(head, arrays)
    wanted = np.array(head.wanted, dtype=np.int64)
    said = (head.settings_digest, wanted, head.eta, head.rate, head.published_ms)
    return Publication(clusters, *said, surrogate, head.drifts)


def _join(chunks: list[dict[str, NDArray[Any]]], dimension: int) -> dict[str, NDArray[Any]]:
    if not chunks:
        empty = Clusters.empty(dimension)
        return {name: getattr(empty, name) for name in ("centers", *COLUMNS)}
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _clusters(head: Head, arrays: dict[str, NDArray[Any]]) -> Clusters:
    mean_square = math.nan if head.mean_square is None else head.mean_square
    holders = np.array(head.holders)
    try:
        return Clusters(head.version, head.model_version, mean_square=mean_square, holders=holders, **arrays)
    except ValueError as error:
        raise RecordError(f"clusters version {head.version}: {error}") from None
