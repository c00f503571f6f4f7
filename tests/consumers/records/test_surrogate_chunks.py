"""The surrogate beside the clusters: in chunks of its own, sent once, and never taken unless it is whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consumers.records import ClustersAssembler, Held, Publication, RecordError, encode_publication
from stream_coreset.clusters import Clusters
from stream_coreset.surrogate import digest

LARGE = 12_000
Records = list[tuple[bytes, bytes | None]]


def publication(version: int, surrogate: bytes | None) -> Publication:
    one, unknown = np.ones(2), np.full(2, np.nan)
    clusters = Clusters(
        version=version, model_version="", ids=np.arange(2), generations=np.zeros(2, np.int64),
        centers=np.zeros((2, 3), np.float32), counts=one, losses=unknown, spreads=unknown, loss_ages=unknown,
        mean_square=float("nan"), holders=np.zeros(2),
    )  # fmt: skip
    return Publication(clusters, "a" * 64, np.zeros(0, np.int64), 0.2, None, 1, surrogate)


def feed(assembler: ClustersAssembler, records: Records) -> Publication:
    *_, found = [assembler.feed(key, value) for key, value in records]
    assert found is not None
    return found


def of_surrogate(records: Records) -> list[bytes | None]:
    return [value for key, value in records if key.startswith(b"surrogate")]


@pytest.mark.parametrize("size", [1, LARGE, 2 * LARGE + 1])
def test_it_travels_in_chunks_and_comes_back(size: int) -> None:
    given = publication(1, np.random.default_rng(0).bytes(size))
    records = encode_publication(given, max_bytes=LARGE)
    assert len(of_surrogate(records)) == -(-size // LARGE)
    assembler = ClustersAssembler(3)
    found = feed(assembler, records)
    assert found.surrogate == given.surrogate
    assert found.surrogate_digest == digest(given.surrogate or b"")
    assert assembler.held == Held.after(given, LARGE)


def test_it_is_sent_once_and_stays_in_force_with_later_versions() -> None:
    first, later = publication(1, b"x" * 30_000), publication(2, b"x" * 30_000)
    assembler = ClustersAssembler(3)
    feed(assembler, encode_publication(first, max_bytes=LARGE))
    records = encode_publication(later, Held.after(first, LARGE), LARGE)
    assert of_surrogate(records) == []
    assert feed(assembler, records).surrogate == later.surrogate


def test_a_smaller_one_leaves_tombstones_and_none_is_none() -> None:
    first, second, third = publication(1, b"x" * 30_000), publication(2, b"y"), publication(3, None)
    assembler = ClustersAssembler(3)
    feed(assembler, encode_publication(first, max_bytes=LARGE))
    records = encode_publication(second, assembler.held, LARGE)
    assert of_surrogate(records) == [b"y", None, None]
    assert feed(assembler, records).surrogate == b"y"
    records = encode_publication(third, assembler.held, LARGE)
    assert of_surrogate(records) == [None]
    assert feed(assembler, records).surrogate is None


@pytest.mark.parametrize("damage", ["missing", "changed", "swapped"])
def test_one_that_is_not_whole_is_left_out_and_the_clusters_are_taken(damage: str) -> None:
    given = publication(1, np.random.default_rng(0).bytes(30_000))
    records = encode_publication(given, max_bytes=LARGE)
    if damage == "missing":
        del records[1]
    elif damage == "changed":
        records[1] = (records[1][0], b"z" + (records[1][1] or b"")[1:])
    else:
        records[0], records[1] = (records[0][0], records[1][1]), (records[1][0], records[0][1])
    found = feed(ClustersAssembler(3), records)
    assert found.surrogate is None
    assert found.clusters == given.clusters


def test_a_reader_that_begins_later_finds_it_among_what_compaction_left() -> None:
    first, later = publication(1, b"x" * 30_000), publication(2, b"x" * 30_000)
    left = dict(encode_publication(first, max_bytes=LARGE))
    left |= dict(encode_publication(later, Held.after(first, LARGE), LARGE))
    found = feed(ClustersAssembler(3), list(left.items()))
    assert (found.clusters.version, found.surrogate) == (2, later.surrogate)


def test_a_flood_of_its_chunks_is_refused() -> None:
    with pytest.raises(RecordError, match="too many chunks"):
        ClustersAssembler(3).feed(b"surrogate-00064", b"x")
    with pytest.raises(RecordError):
        encode_publication(replace(publication(1, b"x" * 100), wanted=np.zeros(0, np.int64)), max_bytes=1)
