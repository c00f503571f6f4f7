"""Records of ours that somebody else wrote, or that a disk changed: refused, or read as something valid."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers import ipc
from consumers.ipc_guard import _Walk
from consumers.records import (
    ClustersAssembler,
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
)
from consumers.records.format import pack_points, scaling
from consumers.records.publication_head import Head
from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import WeightedPoints

POINTS = np.array([[1, 2], [3, 5], [-4, 0]], np.float32)
UNKNOWN = np.array([1.0, np.nan, 3.0])
CLUSTERS = Clusters(
    3, "v", np.arange(3), np.zeros(3, int), POINTS, np.ones(3), UNKNOWN, UNKNOWN, UNKNOWN, 2.0, np.ones(2)
)
PUBLICATION = Publication(CLUSTERS, "b" * 64, np.array([1, 2]), 0.2, None, 5)
STATISTICS = encode_statistics(
    Statistics(
        "s",
        1,
        2,
        WeightedPoints(POINTS, np.ones(3), np.ones(3)),
        np.arange(3),
        (Probe(1, True, 0.5, 3.0, b"x"),),
    )
)[0]
ENTRY = LedgerEntry(
    "t/0/1", (Range("t", 0, 1, 2),), 1, 0, 0, emitted_digest([]), 0.1, "iid", None, 0.2, 0, "0" * 64,
    None, 0.0, None, 0.0, 1,
).encode()  # fmt: skip


def read_statistics(value: bytes) -> None:
    found = decode_statistics(value, 2)
    k = len(found.ids)
    assert found.points.points.shape == (k, 2)
    assert found.points.counts.shape == found.points.costs.shape == (k,)
    assert np.isfinite(found.points.points).all()
    assert np.isfinite(found.points.counts).all()
    assert all(0 <= probe.point < k for probe in found.probes)


def read_chunk(value: bytes) -> None:
    records = dict(encode_publication(PUBLICATION))
    assembler = ClustersAssembler(2)
    assembler.feed(b"chunk-00000", value)
    assert assembler.feed(b"head", records[b"head"]) is None or value == records[b"chunk-00000"]


def read_head(value: bytes) -> None:
    records = dict(encode_publication(PUBLICATION))
    assembler = ClustersAssembler(2)
    assembler.feed(b"chunk-00000", records[b"chunk-00000"])
    found = assembler.feed(b"head", value)
    assert found is None or Head.decode(value) == Head.decode(records[b"head"])


def read_ledger(value: bytes) -> None:
    LedgerEntry.decode(value)


def read_stream(value: bytes) -> None:
    try:
        ipc.read_stream(value)
    except ipc.IpcError as error:
        raise RecordError(str(error)) from None


RECORDS = {
    "statistics": (read_statistics, STATISTICS),
    "chunk": (read_chunk, encode_publication(PUBLICATION)[0][1] or b""),
    "head": (read_head, encode_publication(PUBLICATION)[-1][1] or b""),
    "ledger": (read_ledger, ENTRY),
    "stream": (read_stream, STATISTICS),
}


def try_to_read(name: str, value: bytes) -> None:
    with suppress(RecordError):
        RECORDS[name][0](value)


@pytest.mark.parametrize("name", RECORDS)
@given(value=st.binary(max_size=400))
def test_random_bytes_are_refused(name: str, value: bytes) -> None:
    try_to_read(name, value)


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=300)
@given(data=st.data())
def test_changed_bytes_are_refused_or_valid(name: str, data: st.DataObject) -> None:
    value = bytearray(RECORDS[name][1])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(value) - 1))
        value[position] ^= data.draw(st.integers(1, 255))
    try_to_read(name, bytes(value))


@pytest.mark.parametrize("name", RECORDS)
def test_every_bit_flip_is_refused_or_valid(name: str) -> None:
    original = RECORDS[name][1]
    for position in range(len(original)):
        value = bytearray(original)
        value[position] ^= 1 << (position % 8)
        try_to_read(name, bytes(value))


@pytest.mark.parametrize("name", RECORDS)
def test_every_truncation_is_refused_or_valid(name: str) -> None:
    original = RECORDS[name][1]
    for length in range(0, len(original), 3):
        try_to_read(name, original[:length])


@pytest.mark.parametrize("name", ["ledger", "head"])
@pytest.mark.parametrize("key", ["x" * 100_000, "a\\nb", "\\u0000"])
def test_a_refusal_is_one_short_sentence(name: str, key: str) -> None:
    value = RECORDS[name][1].replace(b"{", b'{"' + key.encode() + b'":1,', 1)
    with pytest.raises(RecordError, match="Unexpected keyword") as caught:
        RECORDS[name][0](value)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_signalling_nans_are_refused_without_a_warning() -> None:
    packed = pack_points(POINTS, *scaling(POINTS)).values.to_numpy().tobytes()
    assert STATISTICS.count(packed) == 1
    with pytest.raises(RecordError, match="a point is not finite"):
        read_statistics(STATISTICS.replace(packed, b"\x01\x7c" + packed[2:]))


def test_a_flood_of_chunks_takes_little_time_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.records.assembler.MAX_HELD_BYTES", 10_000_000)
    assembler = ClustersAssembler(2)
    began = time.process_time()
    for _ in range(2):  # again, in the place of the first
        for number in range(50_000):
            assembler.feed(b"chunk-%05d" % number, b"x" * 200)
    assert time.process_time() - began < 2.0
    with pytest.raises(RecordError, match="too large"):
        assembler.feed(b"chunk-99999", b"x")
    for number in range(50_000):
        assembler.feed(b"chunk-%05d" % number, None)
    records = [assembler.feed(key, value) for key, value in encode_publication(PUBLICATION)]
    assert records[-1] is not None


def test_a_changed_head_never_passes_its_digest() -> None:
    head = RECORDS["head"][1]
    for old, new in ((b'"eta":0.2', b'"eta":0.9'), (b'"k":3', b'"k":2'), (b"[1,2]", b"[1,0]")):
        assert old in head
        with pytest.raises(RecordError, match="its digest does not match"):
            read_head(head.replace(old, new))


def small(compression: str | None = None) -> bytes:
    table = pa.table({"a": [1, 2, 3], "b": pa.array(["x", "y", "x"]).dictionary_encode()})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    value: bytes = sink.getvalue().to_pybytes()
    return value


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_streams_are_refused(compression: str) -> None:
    assert len(ipc.read_stream(small())) == 3
    with pytest.raises(ipc.IpcError, match="compressed Arrow bodies are refused"):
        ipc.read_stream(small(compression))


def test_a_compressed_dictionary_alone_is_refused() -> None:
    """Only the dictionary is large enough for the writer to compress it; its batch says so all the same."""
    compressed, plain = small("zstd"), small()
    messages = [list(pa.ipc.MessageReader.open_stream(value)) for value in (compressed, plain)]
    sink = pa.BufferOutputStream()
    for message in (messages[1][0], messages[0][1], messages[1][2]):
        message.serialize_to(sink)
    with pytest.raises(ipc.IpcError, match="compressed"):
        ipc.read_stream(sink.getvalue().to_pybytes())


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(ipc.IpcError, match="5 bytes follow the end"):
        ipc.read_stream(small() + b"extra")
    with pytest.raises(ipc.IpcError, match="follow the end"):
        ipc.read_stream(small() + small())


def test_columns_that_share_bytes_are_refused() -> None:
    """Columns that point at one buffer would be as many copies of it when rows are taken."""
    table = pa.table({f"c{i}": np.zeros(1000) for i in range(200)})
    value = bytearray(ipc.write_stream(table))
    metadata = list(pa.ipc.MessageReader.open_stream(pa.py_buffer(bytes(value))))[1].metadata.to_pybytes()
    at = bytes(value).index(metadata)
    # each column has two buffers of (offset, length), validity and data: let all data begin at 0
    first = bytes(value).index(bytes(24) + (8000).to_bytes(8, "little"), at)
    for column in range(200):
        position = first + 16 + 32 * column
        assert int.from_bytes(value[position : position + 8], "little") == 8000 * column
        value[position : position + 8] = bytes(8)
    body = bytes(value).index((200 * 8000).to_bytes(8, "little"), at)
    value[body : body + 8] = (8000).to_bytes(8, "little")
    with pytest.raises(ipc.IpcError, match="overlap"):
        ipc.read_stream(bytes(value[: at + len(metadata) + 8000]))


def test_a_dictionary_may_serve_many_batches() -> None:
    words = pa.array(["x" * 1000 + str(i) for i in range(100)])
    batch = pa.record_batch({"a": pa.DictionaryArray.from_arrays(pa.array([1, 2], pa.int8()), words)})
    value = ipc.write_stream(pa.Table.from_batches([batch] * 50))
    assert len(value) < 150_000
    assert len(ipc.read_stream(value)) == 100


def test_metadata_that_is_shared_many_times_is_refused() -> None:
    """A thousand entries that point at one long text would be as many copies of it."""
    many = {"long": "x" * 50_000, **{f"k{i}": "" for i in range(1000)}}
    value = bytearray(ipc.write_stream(pa.table({"a": [1]}).replace_schema_metadata(many)))
    assert len(ipc.read_stream(bytes(value))) == 1
    start = 8
    walk = _Walk(bytes(value[start:]), 10**9)
    found = walk.field(walk.table(walk.follow(0), 2), 2)
    assert found is not None
    vector = walk.follow(found)
    slots = [vector + 4 + 4 * i for i in range(len(many))]
    target = walk.follow(slots[0])
    for slot in slots:
        value[start + slot : start + slot + 4] = (target - slot).to_bytes(4, "little")
    with pytest.raises(ipc.IpcError, match="more than it holds"):
        ipc.read_stream(bytes(value))


def test_fields_that_are_their_own_grandchildren_are_refused() -> None:
    kind = pa.int8()
    for _ in range(18):
        kind = pa.struct([("a", kind), ("b", pa.int8())])
    value = bytearray(ipc.write_stream(pa.table({"a": pa.nulls(1, kind)})))
    start, walk = 8, _Walk(bytes(value[8:]), 10**9)
    owner, index = walk.table(walk.follow(0), 2), 1
    for _ in range(17):
        vector = walk.follow(walk.field(owner, index) or 0)
        slots = [vector + 4 + 4 * i for i in range(int.from_bytes(value[start + vector :][:4], "little"))]
        nested = max(slots, key=lambda slot: sum(1 for _ in walk.elements(walk.follow(slot), 5)))
        owner, index = walk.follow(nested), 5
        for slot in slots:
            assert owner > slot
            value[start + slot : start + slot + 4] = (owner - slot).to_bytes(4, "little")
    with pytest.raises(ipc.IpcError, match="more than it holds"):
        ipc.read_stream(bytes(value))
