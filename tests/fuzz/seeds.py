"""Valid inputs of every target: what mutation begins with."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import orjson
import pyarrow as pa
from fuzz.contract import SECRET
from fuzz.framing import join
from fuzz.surrogates import valid_surrogates

from consumers import ipc
from consumers.records import (
    LedgerEntry,
    Probe,
    Publication,
    Range,
    Statistics,
    dead_letter,
    emitted_digest,
    encode_publication,
    encode_statistics,
)
from consumers.records.estimates import EstimateRecord
from consumers.transform import InputRecord
from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import WeightedPoints

__all__ = ["SEEDS", "seeds"]

_X = np.array([[1, 2, 3], [-4, 0.5, 6], [7, 8, 9]], "f4")
_POINTS = np.array([[1, 2], [3, 5], [-4, 0]], np.float32)


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Return valid inputs of a target."""
    return SEEDS[target]()


def _json() -> tuple[bytes, ...]:
    return (
        b'{"id": 1, "embedding": [1, 2.5, -3e2], "text": "a \\u00fc \\"b\\""}',
        b'{"embedding":[0.1,-0.2,0.3],"nested":{"a":[1,null,true,{"b":"c"}]},"n":18446744073709551615}',
    )


def _arrow() -> tuple[bytes, ...]:
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(_X.ravel()), 3)
    offsets = pa.array([0, 3, 6, 9], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(_X.ravel().astype("f8")))
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    rich = {
        "embedding": lists,
        "text": ["ü" * 9, None, ""],
        "kind": words,
        "tags": [["x"], [], ["y", None]],
        "when": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
        "nested": [{"a": 1, "b": ["c"]}, None, {"a": None, "b": []}],
        "nothing": pa.nulls(3),
        "empty": pa.array([[], [], None], pa.list_(pa.null())),
    }
    tensor = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [3]), fixed)
    chained = {"embedding": fixed, "coreset-weight": [2.0, 0.5, 1.0]}
    tables = (
        pa.table({"embedding": fixed}),
        pa.table(rich),
        pa.table({"embedding": tensor}),
        pa.table(chained),
    )
    two = pa.Table.from_batches([*pa.table({"embedding": fixed, "kind": words}).to_batches()] * 2)
    return tuple(map(ipc.write_stream, (*tables, two)))


def _headers() -> tuple[bytes, ...]:
    weights = (b"2.5", b"1e-3", b"inf", b"1e200")
    chained = [
        join([b"k", b"coreset-weight", w, b"coreset-source", b"t/0/1", b"own", b"\xff"]) for w in weights
    ]
    said = [b"", *(part for name in _names() for part in (b"coreset-" + name, b"1"))]
    return (
        join([b"key", b"trace", b"\0\xff", b"trace", b"again"]),
        join([b"k" * 70_000, b"a" * 300, b""]),
        *chained,
        join(said),
    )


def _names() -> tuple[bytes, ...]:
    return (b"weight", b"probability", b"cluster", b"clusters", b"window", b"source", b"rank", b"why")


def _statistics() -> tuple[bytes, ...]:
    points = WeightedPoints(_POINTS, np.ones(3), np.ones(3))
    probes = (
        Probe(1, True, 0.5, 3.0, b"x"),
        Probe(1, False, 0.1, 1e9, b"y" * 50),
        Probe(2, True, 0.0, 1.0, b""),
    )
    with_probes = Statistics("s", 1, 2, points, np.arange(3), probes)
    return (
        *encode_statistics(with_probes),
        *encode_statistics(Statistics("s", 0, 2, points, -np.ones(3, np.int64))),
    )


def _publication(k: int, version: int, surrogate: bytes | None = None) -> list[tuple[bytes, bytes | None]]:
    points, unknown = np.arange(2.0 * k).reshape(k, 2).astype("f4"), np.resize([1.0, np.nan, 3.0], k)
    zeros, ids = np.zeros(k, int), np.arange(k)
    clusters = Clusters(
        version, "v", ids, zeros, points, np.ones(k), unknown, unknown, unknown, 2.0, np.ones(2)
    )
    publication = Publication(clusters, "b" * 64, ids[:2], 0.2, None, 5, surrogate)
    return encode_publication(publication, max_bytes=12_000)


def _clusters() -> tuple[bytes, ...]:
    def framed(records: list[tuple[bytes, bytes | None]]) -> bytes:
        return join(part for key, value in records for part in (key, value or b""))

    return (
        framed(_publication(3, 5)),
        framed(_publication(100, 6)),
        framed(_publication(0, 1)),
        framed(_publication(2, 7, b"onnx" * 9)),
    )


def _ledger() -> tuple[bytes, ...]:
    parts = (Range("t", 0, 1, 9), Range("t", 7, 2**40, 2**40 + 3))
    entry = LedgerEntry(
        "t/0/1",
        parts,
        8,
        1,
        0,
        emitted_digest([]),
        0.1,
        "iid",
        0.01,
        0.2,
        3,
        "0" * 64,
        None,
        1.5,
        None,
        2.5,
        1,
    )
    return (entry.encode(),)


def _dead_letters() -> tuple[bytes, ...]:
    record = InputRecord("examples", 2, 7, b"k", b"raw" * 30_000, (("own", b"1"),), 99)
    said = {"stage": "decode", "exception": "NotJson", "message": "not JSON"}
    letters = [dead_letter("dead", record, row=row, **said) for row in (None, 4)]
    return tuple(
        join([one.key or b"", *(part for name, text in one.headers for part in (name.encode(), text))])
        for one in letters
    )


def _feedback() -> tuple[bytes, ...]:
    said = {"window": "e/0/5", "source": "e/0/7", "loss": 0.25, "model_version": "m1", "mine": [1, None]}
    return (orjson.dumps(said), orjson.dumps({**said, "source": "e/0/7/3", "loss": None}))


def _estimates() -> tuple[bytes, ...]:
    none = ("standard_error", "low", "high", "uniform_ratio", "uniform_ratio_se", "anticipated_se", "bound")
    said = EstimateRecord("e/0/5", "m1", 300, 3, 3.0, 0, 42.0, 2.0, -38.1, 45.9, 0.3, 0.1, 1.5, None, 1)
    waiting = replace(said, missing=2, total=None, model_version=None, **dict.fromkeys(none))
    return (said.encode(), waiting.encode())


def answer_body(**more: object) -> bytes:
    """Return an answer with three losses."""
    output = {"name": "loss", "datatype": "FP64", "shape": [3, 1], "data": [0.5, -1.0, 2.5], **more}
    return orjson.dumps({"model_name": "m", "model_version": "7", "outputs": [output]})


def _answer() -> tuple[bytes, ...]:
    binary = answer_body(datatype="FP32", parameters={"binary_data_size": 12}).replace(
        b'"data":[0.5,-1.0,2.5],', b""
    )
    tail = np.array([0.25, 4.0, 1.0], "<f4").tobytes()
    return (b"\n" + answer_body(), b"\n" + answer_body(shape=[3]), b"%d\n" % len(binary) + binary + tail)


def _wait() -> tuple[bytes, ...]:
    return (b"120", b"Fri, 31 Dec 1999 23:59:59 GMT", b"Wednesday, 31-Dec-99 23:59:59 +0100", b"0")


def _http() -> tuple[bytes, ...]:
    body = answer_body()
    length = b"Content-Length: %d\r\n" % len(body)
    chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + length + b"\r\n" + body,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
        b"HTTP/1.0 200 OK\r\nSet-Cookie: a=b; Path=/; Max-Age=9\r\n\r\n" + body,
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/x?y#z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
        + length
        + b"\r\n"
        + body,
    )


def _yaml() -> tuple[bytes, ...]:
    return (
        b"input: {dimension: 3, topic: a, start: 2026-01-31T12:00:00Z}\nwindow:\n  size: 7\n",
        b"name: fraud\ninput:\n  dimension: 384\n  format: arrow\n  chain: true\n"
        b"sampling: {rate: .01, floor: 0.2}\n"
        b"clustering: &c {n_clusters: 10, device: cpu}\nendpoint: {url: 'http://127.0.0.1:8080', model: m}\n",
        b"input: {dimension: 3}\nkafka:\n  sasl_password: " + SECRET.encode() + b"\n  sasl_mechanism: PLAIN\n"
        b"  sasl_username: me\n"
        b"  options: {ssl_password: " + SECRET.encode() + b"}\nsampling: {seed: " + SECRET.encode() + b"}\n",
    )


def _environment() -> tuple[bytes, ...]:
    secret = SECRET.encode()
    return (
        b"INPUT__DIMENSION=3\nINPUT__TOPIC=a\nWINDOW__SIZE=8\nNAME=fraud",
        b'INPUT={"dimension": 3}\nKAFKA__OPTIONS={"ssl_password": "'
        + secret
        + b'"}\nSAMPLING__SEED='
        + secret,
        b"INPUT__DIMENSION=3\nKAFKA__SASL_PASSWORD=" + secret + b"\nENDPOINT__URL=http://localhost:1",
    )


def _flags() -> tuple[bytes, ...]:
    return (
        b"--input.dimension=3\n--input.topic=a\n--window.size=8\n--input.chain",
        b'--input.dimension=3\n--kafka.options={"a": [1]}\n--sampling.rate=null\n--endpoint.url=http://localhost:1',
        b"--input.dimension\n3\n--sampling.size\n10\n--sampling.design=iid\n--monitoring.log_format=json",
    )


SEEDS = {
    "json": _json, "arrow": _arrow, "headers": _headers, "statistics": _statistics, "clusters": _clusters,
    "ledger": _ledger, "dead-letters": _dead_letters,
    "feedback": _feedback, "estimates": _estimates, "surrogate": valid_surrogates,
    "answer": _answer, "wait": _wait, "http": _http, "yaml": _yaml, "environment": _environment,
    "flags": _flags,
}  # fmt: skip
