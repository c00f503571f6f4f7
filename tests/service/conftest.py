"""The service as a user runs it: processes of the command, a real Apache Kafka, a stream that goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from kafka import KafkaProducer
from support.secured import Secured, secured_broker

from consumers.audit import AuditReport, audit
from consumers.reader import latest_publication, read_to_end
from consumers.records import LedgerEntry
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics

DIMENSION = 4
DEADLINE = 60.0


# Users of the secured broker.
PARTS = ("sampler", "clusterer", "topics", "audit", "explain", "check", "shadow", "trainer")


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker with TLS, logins and an authorizer; a user for each part, without any rights yet."""
    with secured_broker(tmp_path_factory.mktemp("secured"), PARTS) as it:
        yield it


class Service:
    """One deployment: its settings, its processes, and what can be read of it."""

    def __init__(self, settings: Settings, config: Path) -> None:
        self.settings = settings
        self.config = config
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, role: str, *flags: str) -> subprocess.Popen[bytes]:
        """Start a process of the command ``stream-coreset``."""
        log = self.config.with_name(f"{role}-{len(self.processes)}.log")
        command = [sys.executable, "-m", "consumers.cli", role, "--config", str(self.config), *flags]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Ask a process to stop, as an orchestrator does; its exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=30)

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait(timeout=30)

    def ledger(self) -> list[LedgerEntry]:
        topic = self.settings.topic("windows")
        return [LedgerEntry.decode(record.value) for record in read_to_end(self.settings, topic)]

    def processed(self) -> int:
        """Examples that the ledger accounts for."""
        return sum(entry.valid + entry.dead for entry in self.ledger())

    def version(self) -> int:
        """Version of the clusters that is published, 0 without any."""
        publication = latest_publication(self.settings)
        return 0 if publication is None else publication.clusters.version

    def wait(self, what: str, until: Callable[[], bool], seconds: float = DEADLINE) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:.0f} s in vain: {what}\n{self.logs()}")
            time.sleep(0.2)

    def wait_processed(self, examples: int) -> None:
        self.wait(f"{examples} examples processed", lambda: self.processed() >= examples)

    def logs(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in self.config.parent.glob("*.log"))

    def audit(self) -> AuditReport:
        return audit(self.settings)


class Stream:
    """Produces JSON examples of a few clusters; the n-th example is always the same."""

    def __init__(self, servers: str, topic: str, **how: Any) -> None:
        self._producer = KafkaProducer(bootstrap_servers=servers, **how)
        self._topic = topic
        self._means = np.random.default_rng(1).normal(0, 5, (6, DIMENSION))
        self.sent = 0

    def send(self, n: int) -> None:
        """Send the next n examples."""
        for _ in range(n):
            rng = np.random.default_rng(self.sent)
            label = int(rng.integers(len(self._means)))
            embedding = (self._means[label] + rng.normal(size=DIMENSION)).tolist()
            value = orjson.dumps({"id": self.sent, "label": label, "embedding": embedding})
            self.send_bytes(value)
        self._producer.flush()

    def send_bytes(self, value: bytes, **how: Any) -> None:
        self._producer.send(self._topic, value, **how)
        self.sent += 1

    def close(self) -> None:
        self._producer.flush()
        self._producer.close()


MakeService = Callable[..., Service]


@pytest.fixture
def make_service(kafka: str, name: str, tmp_path: Path, make_topic: Any) -> Iterator[MakeService]:
    """Make a deployment with its topics: ``make_service(partitions=2, sampling={...}, ...)``."""
    made: list[Service] = []

    def make(partitions: int = 2, **sections: Any) -> Service:
        values: dict[str, Any] = {
            "name": name,
            "kafka": {"bootstrap_servers": kafka},
            "input": {"topic": f"{name}-examples", "dimension": DIMENSION, "start": "earliest"},
            "window": {"size": 500, "age_seconds": 1.0},
            "sampling": {"rate": 0.1, "seed": "a secret"},
            "clustering": {"n_clusters": 8, "device": "cpu", "flush_seconds": 0.2, "publish_seconds": 0.2},
            "session_timeout_seconds": 6.0,
        }
        for section, given in sections.items():
            values[section] = {**values.get(section, {}), **given} if isinstance(given, dict) else given
        config = tmp_path / "settings.yaml"
        config.write_text(yaml.safe_dump(values))
        service = Service(load_settings(config), config)
        make_topic(partitions, service.settings.input.topic)
        ensure_topics(service.settings)
        made.append(service)
        return service

    yield make
    for service in made:
        service.stop_all()


@pytest.fixture
def make_stream(kafka: str) -> Iterator[Callable[..., Stream]]:
    """Make a producer of examples for a deployment; options of the client are passed on."""
    made: list[Stream] = []

    def make(service: Service, **how: Any) -> Stream:
        made.append(Stream(kafka, service.settings.input.topic, **how))
        return made[-1]

    yield make
    for stream in made:
        stream.close()
