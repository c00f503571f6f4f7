"""Examples per second through the service, exactly once, beside two peers, on Apache Kafka on this machine.

Arrow messages, float32, d = 384, k = 1024, windows of 8192. Each round measures, one after the other,
(a) kafka-python only reading the messages, (b) the obvious program (scikit-learn's partial_fit and a numpy
draw, no transactions, no adaptation), and the service: one sampler and the clusterer as processes.
*The limit* is cores / (CPU seconds per example of only reading, client and broker, + CPU seconds per example
of only clustering and sampling windows that lie in memory), measured in the same round. Medians over rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks.report import Goal, arguments, publish
from benchmarks.stream import messages, produce, read_all, vectors
from consumers.broker import Broker
from consumers.records import LedgerEntry
from consumers.settings import load_settings
from consumers.topics import ensure_topics
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import WindowSampler

DIMENSION, CLUSTERS, WINDOW, RATE = 384, 1024, 8192, 0.02
BLOCK = 65_536  # distinct examples; the stream repeats them
WARM_UP_WINDOWS = 4
DEADLINE = 300.0


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    repeats, rounds = (3, 1) if given.quick else (10, given.rounds)
    X = vectors(BLOCK, DIMENSION, CLUSTERS)
    with Broker(progress=print) as broker, tempfile.TemporaryDirectory() as folder:
        measured = [_round(broker, X, repeats, Path(folder), f"bench-{number}") for number in range(rounds)]
    medians = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
    _print(medians)
    goals = [
        Goal("examples per second, service / limit", 0.6, medians["service_to_limit"]),
        Goal("examples per second, service / obvious program", 0.7, medians["service_to_obvious"]),
    ]
    publish({"examples": BLOCK * repeats, "rounds": measured, "medians": medians}, goals, given.json)


def _round(broker: Broker, X: np.ndarray, repeats: int, folder: Path, name: str) -> dict[str, float]:
    settings = _settings(broker.bootstrap_servers, name, folder)
    _create(broker.bootstrap_servers, [settings.input.topic, f"{settings.input.topic}-obvious"])
    ensure_topics(settings)
    produce(broker.bootstrap_servers, settings.input.topic, messages(X), repeats)
    before = _broker_cpu()
    reading = _peer("only_read", broker.bootstrap_servers, settings.input.topic)
    reading_cpu = reading["cpu_seconds"] + _broker_cpu() - before
    obvious = _peer("obvious", broker.bootstrap_servers, settings.input.topic)
    service = _service(broker.bootstrap_servers, settings, folder / f"{name}.yaml")
    clustering_cpu = _clustering_cpu(X)
    limit = os.cpu_count() / (reading_cpu / reading["examples"] + clustering_cpu)
    rates = {"only_read": reading["rate"], "obvious": obvious["rate"], "service": service, "limit": limit}
    ratios = {f"service_to_{peer}": service / rates[peer] for peer in ("only_read", "obvious", "limit")}
    print(f"{name}: " + ", ".join(f"{key} {value:,.0f}/s" for key, value in rates.items()))
    return {**rates, **ratios}


def _settings(servers: str, name: str, folder: Path) -> Any:
    """The settings of the service, also as the YAML file that its processes read."""
    values: dict[str, Any] = {
        "name": name,
        "kafka": {"bootstrap_servers": servers},
        "input": {
            "topic": f"{name}-examples",
            "format": "arrow",
            "dimension": DIMENSION,
            "start": "earliest",
        },
        "window": {"size": WINDOW},
        "sampling": {"rate": RATE},
        "clustering": {"n_clusters": CLUSTERS, "device": "cpu"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return load_settings(folder / f"{name}.yaml")


def _create(servers: str, topics: list[str]) -> None:
    from kafka.admin import KafkaAdminClient, NewTopic  # noqa: PLC0415

    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1) for topic in topics])
    admin.close()


def _broker_cpu() -> float:
    """CPU seconds that the broker, a child of this process, has used so far."""
    children = psutil.Process().children(recursive=True)
    used = [child.cpu_times() for child in children if child.name() == "java"]
    return sum(times.user + times.system for times in used)


def _peer(name: str, servers: str, topic: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.peers", name, "--servers", servers, "--topic", topic]
    command += ["--clusters", str(CLUSTERS), "--window", str(WINDOW)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {**found, "rate": found["examples"] / found["seconds"]}


def _service(servers: str, settings: Any, config: Path) -> float:
    """Examples per second between the commit of an early window and that of the last."""
    command = [sys.executable, "-m", "consumers.cli"]
    log = (config.parent / f"{settings.name}.log").open("wb")
    with log:
        roles = [
            subprocess.Popen([*command, role, "--config", str(config)], stdout=log, stderr=log)
            for role in ("sampler", "clusterer")
        ]
        try:
            entries = _ledger(servers, settings, roles)
            used = [psutil.Process(role.pid).cpu_times() for role in roles]
        finally:
            for role in roles:
                role.terminate()
            for role in roles:
                role.wait(timeout=30)
    first, last = entries[WARM_UP_WINDOWS], entries[-1]
    examples = sum(entry.valid for _, entry in entries[WARM_UP_WINDOWS + 1 :])
    seconds = " and ".join(f"{times.user + times.system:.1f}" for times in used)
    print(f"{settings.name}: CPU seconds of the sampler and the clusterer, start included: {seconds}")
    return examples / (last[0] - first[0]) * 1000


def _ledger(
    servers: str, settings: Any, roles: list[subprocess.Popen[bytes]]
) -> list[tuple[int, LedgerEntry]]:
    """The ledger with its times (ms), once it covers the whole input."""
    consumer, end = read_all(servers, settings.input.topic)
    consumer.close()
    ledger, _ = read_all(servers, settings.topic("windows"), isolation_level="read_committed")
    entries: list[tuple[int, LedgerEntry]] = []
    deadline = time.monotonic() + DEADLINE
    while not entries or entries[-1][1].ranges[0].end < end:
        if time.monotonic() > deadline or any(role.poll() is not None for role in roles):
            raise SystemExit(f"the service stopped or was too slow: see the log of {settings.name}")
        for records in ledger.poll(timeout_ms=500).values():
            entries += [(record.timestamp, LedgerEntry.decode(record.value)) for record in records]
    ledger.close()
    return entries


def _clustering_cpu(X: np.ndarray) -> float:
    """CPU seconds per example of the service's own clustering and sampling, on windows in memory."""
    windows = WindowSampler(SensitivitySampler(rate=RATE), n_clusters=CLUSTERS, dimension=DIMENSION)
    rng = np.random.default_rng(0)
    parts = [X[start : start + WINDOW] for start in range(0, len(X), WINDOW)]
    windows.adapt(parts[0], rng)
    began = time.process_time()
    for part in parts:
        windows.draw(windows.adapt(part, rng), rng)
    return (time.process_time() - began) / len(X)


def _print(medians: dict[str, float]) -> None:
    rows = {
        "only_read": "(a) kafka-python, only reading",
        "obvious": "(b) the obvious program",
        "service": "stream-coreset",
        "limit": "the limit of this machine",
    }
    print(f"\n{'':32}{'examples/s':>12}{'service to it':>15}")
    for key, label in rows.items():
        print(f"{label:32}{medians[key]:12,.0f}{medians['service'] / medians[key]:15.2f}")


if __name__ == "__main__":
    main()
