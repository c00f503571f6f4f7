from __future__ import annotations

import hashlib
from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.records import (
    ClustersAssembler,
    Held,
    LedgerEntry,
    Probe,
    Publication,
    Range,
    RecordError,
    Statistics,
    decode_statistics,
    emitted_digest,
    encode_publication,
    encode_statistics,
    source_id,
)
from consumers.records.ledger import parse_source, window_id
from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import WeightedPoints

ENTRY = LedgerEntry(
    window="examples/0/5", ranges=(Range("examples", 0, 5, 9), Range("examples", 3, 0, 2)), valid=5, dead=1,
    emitted=2, emitted_digest=emitted_digest(["examples/0/5", "examples/3/1"]), s=1.25, design="pivotal",
    rate=0.25, eta=0.2, clusters_version=3, clusters_digest="0" * 64, surrogate_digest=None,
    weight_sum=5.1234567890123456, anticipated_se=None, cost=1e-7, closed_ms=1_700_000_000_000,
)  # fmt: skip


def statistics(k: int, d: int = 4, probes: int = 3, size: int = 50) -> Statistics:
    rng = np.random.default_rng(k)
    points = WeightedPoints(
        rng.normal(3, 2, (k, d)).astype(np.float32), rng.uniform(1, 9, k), rng.uniform(0, 9, k)
    )
    chosen = tuple(
        Probe(i % k, i % 3 == 0, 0.5 * i, 7.0, bytes([i]) * size) for i in range(probes if k else 0)
    )
    return Statistics("sampler-0", 4, 17, points, np.arange(-1, k - 1), chosen)


def clusters(k: int, d: int = 4, version: int = 5) -> Clusters:
    rng = np.random.default_rng(k)
    losses = np.where(rng.random(k) < 0.5, np.nan, rng.uniform(0, 3, k))
    centers = rng.normal(0, 5, (k, d)).astype(np.float32)
    return Clusters(
        version, "v1", np.arange(k) * 3, np.arange(k), centers, rng.uniform(0, 99, k), losses, losses, losses,
        1.5 if k else float("nan"), np.array([0.25, 4.0]),
    )  # fmt: skip


def publication(k: int, version: int = 5) -> Publication:
    return Publication(clusters(k, version=version), "a" * 64, np.arange(0, 3 * k, 6), 0.2, 0.01, 123)


def feed(assembler: ClustersAssembler, records: list[tuple[bytes, bytes | None]]) -> Publication | None:
    found = None
    for key, value in records:
        found = assembler.feed(key, value) or found
    return found


# The ledger


def test_a_ledger_entry_has_exactly_the_documented_fields() -> None:
    found = orjson.loads(ENTRY.encode())
    assert list(found) == [
        "window", "ranges", "valid", "dead", "emitted", "emitted_digest", "s", "design", "rate", "eta",
        "clusters_version", "clusters_digest", "surrogate_digest", "weight_sum", "anticipated_se", "cost",
        "closed_ms", "drifts", "bound", "format",
    ]  # fmt: skip
    assert found["ranges"][0] == {"topic": "examples", "partition": 0, "start": 5, "end": 9}
    assert ENTRY.key == b"examples/0/5"


@given(
    st.floats(0, allow_infinity=False, allow_nan=False),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["pivotal", "iid"]),
)
def test_a_ledger_entry_round_trips(number: float, count: int, design: str) -> None:
    entry = replace(
        ENTRY, s=number, cost=number, weight_sum=number, valid=count, design=design, anticipated_se=number
    )
    assert LedgerEntry.decode(entry.encode()) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"valid": -1}, {"valid": 1.5}, {"valid": True}, {"valid": "1"},
        {"s": float("nan")}, {"s": float("inf")},
        {"ranges": ()}, {"window": "examples/0/6"}, {"emitted_digest": "x"}, {"design": "poisson"},
        {"format": 2}, {"eta": 1.5}, {"rate": 0.0}, {"ranges": (Range("examples", 0, 5, 5),)},
        {"ranges": (Range("a/b", 0, 5, 6),)}, {"closed_ms": None},
    ],
)  # fmt: skip
def test_an_odd_ledger_entry_is_refused_when_written_and_when_read(change: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        replace(ENTRY, **change).encode()  # type: ignore[arg-type]
    with pytest.raises(RecordError):
        LedgerEntry.decode(orjson.dumps({**asdict(ENTRY), **change}))


@pytest.mark.parametrize("extra", [{"more": 1}, {"s": None}])
def test_unknown_and_missing_fields_are_refused(extra: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        LedgerEntry.decode(orjson.dumps({**asdict(ENTRY), **extra}))
    with pytest.raises(RecordError):
        LedgerEntry.decode(orjson.dumps({k: v for k, v in asdict(ENTRY).items() if k != "s"}))


def test_the_emitted_digest_keeps_duplicates_and_forgets_the_order() -> None:
    lines = b"examples/0/1\nexamples/0/1\nexamples/0/10\n"
    assert (
        emitted_digest(["examples/0/10", "examples/0/1", "examples/0/1"]) == hashlib.sha256(lines).hexdigest()
    )
    assert emitted_digest([]) == hashlib.sha256(b"").hexdigest()


@given(st.integers(0, 2**31), st.integers(0, 2**62), st.none() | st.integers(0, 2**31))
def test_source_ids_round_trip(partition: int, offset: int, row: int | None) -> None:
    assert parse_source(source_id("a.b_c-d", partition, offset, row)) == ("a.b_c-d", partition, offset, row)
    assert window_id(Range("t", 1, 2, 3)) == "t/1/2"


@pytest.mark.parametrize(
    "text", ["", "a", "a/1", "a/1/2/3/4", "a/-1/2", "a/1/x", "a/1/\u0663", "a/1/" + "9" * 30]
)
def test_a_strange_source_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a source id"):
        parse_source(text)


# Statistics


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 30))
@settings(max_examples=30)
def test_statistics_round_trip(k: int, d: int, probes: int) -> None:
    given_ = statistics(k, d, probes)
    (value,) = encode_statistics(given_)
    found = decode_statistics(value, d)
    spread = np.abs(given_.points.points - np.median(given_.points.points, axis=0)).max(initial=0) if k else 0
    np.testing.assert_allclose(found.points.points, given_.points.points, atol=spread * 2**-10 + 1e-6)
    np.testing.assert_array_equal(found.points.counts, given_.points.counts)
    np.testing.assert_array_equal(found.points.costs, given_.points.costs)
    np.testing.assert_array_equal(found.ids, given_.ids)
    assert sorted(map(repr, found.probes)) == sorted(map(repr, given_.probes))
    assert (found.sampler, found.clusters_version, found.closed_ms) == ("sampler-0", 4, 17)


def test_a_large_flush_is_several_records_each_complete() -> None:
    given_ = statistics(500, 16, probes=60, size=2_000)
    values = encode_statistics(given_, max_bytes=40_000)
    assert len(values) > 3
    assert max(map(len, values)) <= 40_000
    parts = [decode_statistics(value, 16) for value in values]
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), given_.ids)
    assert sum(len(part.probes) for part in parts) == 60
    by_id = {(part.ids[p.point], p.example[:1]) for part in parts for p in part.probes}
    assert by_id == {(given_.ids[p.point], p.example[:1]) for p in given_.probes}


def test_a_probe_that_fits_no_record_is_left_out() -> None:
    given_ = statistics(2, probes=2, size=100_000)
    (value,) = encode_statistics(given_, max_bytes=40_000)
    assert decode_statistics(value, 4).probes == ()


def test_far_points_do_not_blur_the_others() -> None:
    points = np.array([[1.0], [1.001], [1.002], [1.003], [1e6]], np.float32)
    given_ = Statistics("s", 1, 1, WeightedPoints(points, np.ones(5), np.ones(5)), np.arange(5))
    found = decode_statistics(encode_statistics(given_)[0], 1).points.points
    np.testing.assert_allclose(found[:4], points[:4], rtol=0.05)


def test_identical_points_come_back_exactly() -> None:
    points = np.full((3, 2), 0.1, np.float32)
    given_ = Statistics("s", 1, 1, WeightedPoints(points, np.ones(3), np.zeros(3)), np.arange(3))
    np.testing.assert_array_equal(decode_statistics(encode_statistics(given_)[0], 2).points.points, points)


def test_statistics_of_another_dimension_or_too_large_are_refused() -> None:
    (value,) = encode_statistics(statistics(3))
    with pytest.raises(RecordError):
        decode_statistics(value, 5)
    with pytest.raises(RecordError):
        decode_statistics(value, 4, max_bytes=len(value) - 1)


@pytest.mark.parametrize("name", ["counts", "costs"])
@pytest.mark.parametrize("strange", [-1.0, np.nan, np.inf])
def test_impossible_statistics_are_refused(name: str, strange: float) -> None:
    given_ = statistics(3)
    points = replace(given_.points, **{name: np.array([1.0, strange, 1.0])})
    with pytest.raises(RecordError):
        decode_statistics(encode_statistics(replace(given_, points=points))[0], 4)


# Publications


@pytest.mark.parametrize("k", [0, 1, 7, 300])
def test_a_publication_round_trips(k: int) -> None:
    given_ = publication(k)
    records = encode_publication(given_, max_bytes=12_000)
    assert records[-1][0] == b"head"
    found = feed(ClustersAssembler(4), records)
    assert found is not None
    np.testing.assert_allclose(found.clusters.centers, given_.clusters.centers, atol=0.02)
    same = replace(found.clusters, centers=given_.clusters.centers)
    assert same == given_.clusters
    np.testing.assert_array_equal(found.wanted, given_.wanted)
    assert (found.eta, found.rate, found.published_ms, found.settings_digest) == (0.2, 0.01, 123, "a" * 64)


def test_a_version_is_applied_only_when_whole() -> None:
    records = encode_publication(publication(300), max_bytes=12_000)
    assert len(records) > 3
    for missing in range(len(records)):
        assert feed(ClustersAssembler(4), records[:missing] + records[missing + 1 :]) is None


def test_chunks_of_two_versions_are_never_mixed() -> None:
    old = encode_publication(publication(300, version=5), max_bytes=12_000)
    new = encode_publication(publication(300, version=6), max_bytes=12_000)
    assembler = ClustersAssembler(4)
    assert feed(assembler, [*old[:-1], new[0], old[-1]]) is None
    found = feed(assembler, new[1:])
    assert found is not None
    assert found.clusters.version == 6


def test_fewer_chunks_leave_tombstones() -> None:
    assembler = ClustersAssembler(4)
    many = encode_publication(publication(300), max_bytes=12_000)
    feed(assembler, many)
    assert assembler.held == Held.after(publication(300), 12_000) == Held(len(many) - 1)
    few = encode_publication(publication(2, version=6), assembler.held, max_bytes=12_000)
    assert [value is None for _, value in few] == [False, *[True] * (len(many) - 2), False]
    assert feed(assembler, few) is not None
    assert assembler.held == Held.after(publication(2)) == Held(1)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(RecordError, match="dimension 4, not 5"):
        feed(ClustersAssembler(5), encode_publication(publication(2)))


def test_one_point_at_a_sentinel_leaves_the_others_apart() -> None:
    points = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
    points[7, 0] = 1e8
    given_ = Statistics("s", 1, 1, WeightedPoints(points, np.ones(256), np.zeros(256)), np.arange(256))
    back = decode_statistics(encode_statistics(given_)[0], 4).points.points
    assert len(np.unique(back, axis=0)) == 256
    np.testing.assert_allclose(np.delete(back, 7, 0), np.delete(points, 7, 0), atol=2e-3)
