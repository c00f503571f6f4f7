"""The whole service on Apache Kafka: several processes, kills and takeovers, each followed by an audit."""

from __future__ import annotations

import io
import time

import numpy as np
import pyarrow as pa
import pytest

from consumers.reader import read_to_end

pytestmark = pytest.mark.timeout(180)


def test_two_samplers_and_a_clusterer(make_service, make_stream):
    service = make_service()
    stream = make_stream(service)
    for instance in "ab":
        service.start("sampler", "--instance", instance)
    service.start("clusterer")
    stream.send(1000)
    service.wait("clusters", lambda: service.version() >= 1)
    for bad in (b"not json", b'{"embedding": [1, 2]}', b'{"embedding": [1, 2, 3, NaN]}', b"{}"):
        stream.send_bytes(bad)
    stream.send(5000)
    service.wait_processed(stream.sent)
    service.stop_all()

    report = service.audit()
    assert report.clean, report.violations
    entries = service.ledger()
    assert sum(entry.dead for entry in entries) == 4
    assert sum(entry.emitted for entry in entries) == pytest.approx(600, abs=len(entries))
    assert {entry.clusters_version for entry in entries} - {0}
    assert {part.partition for entry in entries for part in entry.ranges} == {0, 1}
    dead = list(read_to_end(service.settings, service.settings.topic("dead_letters")))
    assert {record.value for record in dead} >= {b"not json", b"{}"}


def test_emitted_bytes_are_the_inputs(make_service, make_stream):
    service = make_service(partitions=1)
    stream = make_stream(service)
    service.start("sampler")
    first_ms = int(time.time() * 1000) - 100_000  # older ones retention would delete
    headers = [("trace", b"\x00\xff"), ("empty", b"")]
    for i in range(1000):
        value = b'{ "embedding":[%d,0.0, 1e0,-2 ],"text":"\xc3\xa4"}' % i
        stream.send_bytes(value, key=b"k%d" % i, headers=headers, timestamp_ms=first_ms + i)
    service.wait_processed(1000)
    service.stop_all()

    given = {r.offset: r for r in read_to_end(service.settings, service.settings.input.topic)}
    emitted = list(read_to_end(service.settings, service.settings.topic("coreset")))
    assert len(emitted) == pytest.approx(100, abs=len(service.ledger()))
    for record in emitted:
        ours = dict(record.headers)
        source = given[int(ours["coreset-source"].split(b"/")[2])]
        assert (record.value, record.key) == (source.value, source.key)
        assert record.timestamp_ms == source.timestamp_ms
        assert list(record.headers[:2]) == headers
        assert float(ours["coreset-weight"]) == pytest.approx(1 / float(ours["coreset-probability"]))


def test_a_killed_sampler_is_replaced(make_service, make_stream):
    service = make_service()
    stream = make_stream(service)
    victim = service.start("sampler", "--instance", "a")
    service.start("sampler", "--instance", "b")
    service.start("clusterer")
    stream.send(2000)
    service.wait("first windows", lambda: service.processed() > 0)
    stream.send(1500)
    victim.kill()
    victim.wait()
    stream.send(1500)
    service.start("sampler", "--instance", "a")
    stream.send(1500)
    service.wait_processed(stream.sent)
    service.stop_all()
    report = service.audit()
    assert report.clean, report.violations


def test_a_standby_takes_over(make_service, make_stream):
    service = make_service()
    stream = make_stream(service)
    service.start("sampler")
    active = service.start("clusterer")
    stream.send(1500)
    service.wait("clusters", lambda: service.version() >= 1)
    service.start("clusterer")
    stream.send(1000)
    active.kill()
    active.wait()
    before = service.version()

    def grown() -> bool:
        stream.send(300)
        return service.version() > before + 1

    service.wait("a version of the standby", grown)
    service.wait_processed(stream.sent)
    service.stop_all()
    report = service.audit()
    assert report.clean, report.violations


def test_arrow_messages_of_many_rows(make_service, make_stream):
    service = make_service(partitions=1, input={"format": "arrow"})
    stream = make_stream(service)
    rng = np.random.default_rng(5)
    tables = [_table(rng.normal(size=(100, 4)), 100 * i) for i in range(30)]
    service.start("sampler")
    service.start("clusterer")
    for table in tables:
        stream.send_bytes(_ipc(table))
    service.wait_processed(3000)
    service.stop_all()

    report = service.audit()
    assert report.clean, report.violations
    rows = [
        row
        for record in read_to_end(service.settings, service.settings.topic("coreset"))
        for row in pa.ipc.open_stream(record.value).read_all().to_pylist()
    ]
    assert len(rows) == pytest.approx(300, abs=len(service.ledger()))
    for row in rows:
        offset, number = map(int, row["coreset-source"].split("/")[2:])
        assert row["id"] == 100 * offset + number
        assert row["coreset-weight"] * row["coreset-probability"] == pytest.approx(1)


def test_stops_on_request(make_service, make_stream):
    service = make_service()
    stream = make_stream(service)
    processes = [service.start("sampler"), service.start("clusterer")]
    stream.send(1200)
    service.wait("first windows", lambda: service.processed() > 0)
    assert [service.stop(process) for process in processes] == [0, 0]
    report = service.audit()
    assert report.clean, report.violations


def _table(X: np.ndarray, first: int) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.astype(np.float16).ravel()), X.shape[1])
    return pa.table({"embedding": vectors, "id": np.arange(first, first + len(X))})


def _ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
