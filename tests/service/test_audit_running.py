"""The audit while the service goes on: what is committed meanwhile, or still hidden, is no defect."""

from __future__ import annotations

import threading
import time

import pytest

from consumers.audit import audit
from consumers.clients import transactional_producer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def flowing(make_service, make_stream):
    """A service of two samplers and a clusterer, and a stream that does not end before the test."""
    service = make_service()
    stream, stop = make_stream(service), threading.Event()
    for instance in "ab":
        service.start("sampler", "--instance", instance)
    service.start("clusterer")

    def flow() -> None:
        while not stop.wait(0.01):
            stream.send(100)

    thread = threading.Thread(target=flow, daemon=True)
    thread.start()
    service.wait_processed(2000)
    yield service
    stop.set()
    thread.join()


def test_a_running_service_is_clean(flowing):
    reports = [audit(flowing.settings) for _ in range(3)]
    assert [report.violations for report in reports] == [()] * 3
    examples = [report.facts["examples"] for report in reports]
    assert examples == sorted(examples)
    assert examples[-1] > examples[0]


def test_an_open_transaction_hides_what_others_committed_until_it_is_decided(flowing, name):
    producer = transactional_producer(flowing.settings, name)
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(2):
        producer.send(flowing.settings.topic("coreset"), b"of another", partition=partition).get(timeout=5)
    time.sleep(1)  # windows are committed after its first record
    later = threading.Timer(2, producer.abort_transaction)
    later.start()
    begin = time.monotonic()
    assert audit(flowing.settings).violations == ()
    assert time.monotonic() - begin > 1
    later.join()
    producer.close()
