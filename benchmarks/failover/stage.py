"""The service under load: a producer that goes on, and processes of the command to end and to start."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import yaml
from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import KafkaAdminClient, NewTopic

from consumers.broker.node import free_ports
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics

__all__ = ["Load", "Process", "Stage"]

DIMENSION, CLUSTERS, PARTITIONS = 16, 64, 4
EXAMPLES_PER_SECOND = 2_000
QUICK = {"flush_seconds": 0.2, "publish_seconds": 0.2}
_ACTIVE = re.compile(r"^stream_coreset_clusterer_active 1", re.M)
_TICK = 0.05


class Load:
    """Produces examples at a steady rate until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, linger_ms=5)
        self._topic = settings.input.topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.close()

    def _run(self) -> None:
        rows = np.random.default_rng(0).normal(size=(1_000, DIMENSION)).tolist()
        values = [orjson.dumps({"embedding": row}) for row in rows]
        began, sent = time.monotonic(), 0
        while not self._stop.wait(_TICK):
            due = round((time.monotonic() - began) * EXAMPLES_PER_SECOND)
            for number in range(sent, due):
                self._producer.send(self._topic, values[number % 1_000], partition=number % PARTITIONS)
            sent = due


class Process:
    """One process of the service, started anew as often as it is ended."""

    def __init__(self, role: str, instance: str, config: Path) -> None:
        self.instance = instance
        self._port = free_ports(1)[0]
        self._log = config.with_name(f"{role}-{instance}.log")
        self._command = [
            sys.executable, "-m", "consumers.cli", role, "--config", str(config), "--instance", instance,
            f"--monitoring.port={self._port}",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; the moment, in seconds since 1970."""
        began = time.time()
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out)
        return began

    def end(self, number: int) -> tuple[float, float]:
        """Send a signal; when it was sent and when the process had ended."""
        assert self._process is not None
        began = time.time()
        self._process.send_signal(number)
        self._process.wait(60)
        return began, time.time()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def is_active(self) -> bool:
        """Whether this is the clusterer that owns the model."""
        try:
            return _ACTIVE.search(httpx.get(f"http://127.0.0.1:{self._port}/metrics").text) is not None
        except httpx.HTTPError:
            return False


class Stage:
    """Two samplers, two clusterers and their topics."""

    def __init__(self, servers: str, folder: Path) -> None:
        values: dict[str, Any] = {
            "name": "failover",
            "kafka": {"bootstrap_servers": servers},
            "input": {"topic": "examples", "dimension": DIMENSION, "start": "latest"},
            "window": {"size": 250},
            "sampling": {"rate": 0.05},
            "clustering": {
                "n_clusters": CLUSTERS,
                "device": "cpu",
                "flush_seconds": 0.2,
                "publish_seconds": 0.2,
            },
        }
        config = folder / "failover.yaml"
        config.write_text(yaml.safe_dump(values))
        self.settings = load_settings(config)
        self._admin = KafkaAdminClient(bootstrap_servers=servers)
        self._admin.create_topics([NewTopic(self.settings.input.topic, PARTITIONS, 1)])
        ensure_topics(self.settings)
        self.a, self.b = (Process("sampler", instance, config) for instance in "ab")
        self.clusterers = [Process("clusterer", instance, config) for instance in "xy"]

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.a, self.b, *self.clusterers):
            process.kill()
        self._admin.close()

    def settle(self, role: str, members: int) -> None:
        """Wait until a group has so many members and is stable."""
        group = f"{self.settings.name}-{role}"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(kafka_errors.KafkaError):  # at first there is no coordinator
                found = self._admin.describe_groups([group])[group]
                if found["group_state"] == "Stable" and len(found["members"]) == members:
                    return
            time.sleep(0.1)
        raise SystemExit(f"the group {group} did not settle with {members} members")

    def active(self) -> Process:
        """The clusterer that owns the model."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for one in self.clusterers:
                if one.is_active():
                    return one
            time.sleep(0.1)
        raise SystemExit("no clusterer is active")
