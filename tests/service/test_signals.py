"""SIGTERM and SIGINT end every process in time and well, whatever it is waiting for; a second one at once."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import NewTopic

from consumers.broker import Broker
from consumers.errors import BrokerError

pytestmark = pytest.mark.timeout(240)
ROLES = ("sampler", "clusterer", "run")
NOBODY = "--kafka.bootstrap_servers=127.0.0.1:1"
GRACE = 2.0
IN_TIME = GRACE + 3.0 + 5.0  # the last for a busy machine


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One of our own: it is frozen."""
    try:
        own = Broker().__enter__()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield own
    own.stop()


@pytest.fixture(scope="module")
def kafka(broker: Broker) -> str:
    return broker.bootstrap_servers


@pytest.fixture(scope="module")
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.fixture
def frozen(broker, admin) -> Iterator[Callable[[], None]]:
    """Freezes the broker until the test has ended."""
    yield broker.freeze
    broker.thaw()
    deadline = time.monotonic() + 60
    while True:  # for a while its controller does not trust it
        with suppress(kafka_errors.KafkaError):
            admin.create_topics([NewTopic(f"thawed-{uuid.uuid4().hex}", 1, 1)])
            return
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def quick(make_service):
    return make_service(grace_seconds=GRACE, transaction_timeout_seconds=20.0)


def end(process: subprocess.Popen[bytes], number: int) -> tuple[int, float]:
    """Exit code and seconds after a signal."""
    began = time.monotonic()
    process.send_signal(number)
    return process.wait(60), time.monotonic() - began


def end_all(processes, number: int) -> None:
    """Each ends in time with code 0; signalled together, as by an orchestrator."""
    ended: dict[str, tuple[int, float]] = {}
    threads = [
        threading.Thread(target=lambda role=role: ended.update({role: end(processes[role], number)}))
        for role in processes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {role: code for role, (code, _) in ended.items()} == dict.fromkeys(processes, 0)
    assert max(seconds for _, seconds in ended.values()) < IN_TIME, ended


def said(service, what: str, times: int = 1):
    service.wait(what, lambda: service.logs().count(what) >= times)


def test_while_the_brokers_are_down(quick):
    processes = {role: quick.start(role, NOBODY) for role in ROLES}
    said(quick, "monitoring", 4)
    end_all(processes, signal.SIGINT)


def test_while_a_broker_that_hangs_is_waited_for(frozen, quick):
    frozen()
    processes = {role: quick.start(role) for role in ROLES}
    said(quick, "monitoring", 4)
    time.sleep(1.0)
    end_all(processes, signal.SIGTERM)


def test_while_a_transaction_hangs(frozen, quick, make_stream):
    processes = {role: quick.start(role) for role in ("sampler", "clusterer")}
    stream = make_stream(quick)
    stream.send(3000)
    quick.wait("clusters", lambda: quick.version() >= 1)
    stream.send(3000)
    frozen()
    time.sleep(1.0)
    end_all(processes, signal.SIGTERM)
    assert "Traceback" not in quick.logs()


def test_while_the_endpoint_hangs(make_service, make_stream):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        endpoint = {"url": url, "model": "m", "deadline_seconds": 60}
        service = make_service(grace_seconds=GRACE, endpoint=endpoint)
        service.start("sampler")
        clusterer = service.start("clusterer")
        stream = make_stream(service)
        service.wait("a question", lambda: [stream.send(600)] and Hanging.asked.is_set())
        code, seconds = end(clusterer, signal.SIGTERM)
        Hanging.end.set()
        server.shutdown()
    assert code == 0
    assert seconds < IN_TIME


class Hanging(BaseHTTPRequestHandler):
    asked, end = threading.Event(), threading.Event()

    def do_POST(self) -> None:
        self.asked.set()
        self.end.wait(120)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_second_signal_ends_it_at_once(frozen, quick):
    """As a shell expects of a process that was ended by a signal: 128 and its number."""
    frozen()
    processes = [quick.start(role) for role in ROLES]
    said(quick, "monitoring", 4)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert [process.poll() for process in processes] == [None] * 3
    assert [end(process, signal.SIGTERM)[0] for process in processes] == [143] * 3


def test_it_has_left_the_group(quick, make_stream, admin):
    """A sampler that is asked to stop does not leave others waiting until its session ends."""
    sampler, other = quick.start("sampler", "--instance=a"), quick.start("sampler", "--instance=b")
    said(quick, " reading ", 2)
    code, _ = end(sampler, signal.SIGTERM)
    group = quick.settings.group("sampler")
    members = admin.describe_groups([group])[group]["members"]
    assert code == 0
    assert [member["group_instance_id"][-1] for member in members] == ["b"]
    assert end(other, signal.SIGTERM)[0] == 0
