"""Resident memory of the service over ten million examples while broker, endpoint and disk are slow at times.

Two samplers and a clusterer as `stream-coreset run` starts them, on Apache Kafka on this machine; Arrow
messages of 1,000 rows, d = 16, modes that drift for ever, a model endpoint that answers. The input's
retention is by size; the producer stays within a bounded lead. Memory is read every second. Slow-downs, each
for a stretch of the examples: the broker frozen (SIGSTOP) for 8 s of every 12; the endpoint answering after
20 s (its time limit is 10 s); a quota of 2 MB/s on each client of the service; a slow disk, which is
simulated: every batch is written through (flush.messages=1), and the broker is frozen for half of the time,
0.4 s at once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.report import Goal, arguments, publish
from benchmarks.soak.figure import draw
from benchmarks.soak.hardship import Phase, Schedule, phases
from benchmarks.soak.load import DIMENSION, ROWS, Lead, LossEndpoint, Progress
from benchmarks.soak.memory import Growth, Reading, Watch, growth
from consumers.broker import Broker
from consumers.broker.node import free_ports
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics

SAMPLERS = PARTITIONS = 2
LEAD = 400_000  # examples, 28 MB
RETENTION_BYTES, SEGMENT_BYTES = 128_000_000, 16_000_000  # a partition: more than the whole lead
RATE = 20_000.0
QUICK, FULL = 1_000_000, 10_000_000
STANDSTILL_SECONDS = 300.0


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--examples", type=int, metavar="N", help=f"in all (default {FULL:,})")
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help="examples a second, at most")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the memory there, as PNG")
    parser.add_argument("--keep-log", type=Path, metavar="FILE", help="write the log of the service there")
    given = parser.parse_args()
    examples = -(-(given.examples or (QUICK if given.quick else FULL)) // ROWS) * ROWS
    readings = _soak(examples, given.rate, given.keep_log)
    grown = growth(readings, examples)
    _print(grown, readings)
    if given.figure is not None:
        title = f"{examples / 1e6:g} million examples; growth from the second tenth to the last (medians)"
        draw(readings, grown, title, given.figure)
    publish(_result(examples, readings, grown), _goals(grown), given.json)


def _soak(examples: int, rate: float, log: Path | None) -> list[Reading]:
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(progress=print))
        endpoint = stack.enter_context(LossEndpoint())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = _settings(broker.bootstrap_servers, endpoint.url, folder / "soak.yaml")
        _create(settings)
        topics = [settings.input.topic, *(settings.topic(role) for role in ("coreset", "windows"))]
        where = (broker.bootstrap_servers, settings.input.topic)
        progress = Progress(where[0], settings.group("sampler"), where[1], PARTITIONS)
        lead = Lead(
            *where,
            progress,
            partitions=PARTITIONS,
            examples=examples,
            lead=LEAD,
            rate=rate,
        )
        stack.callback(progress.end)
        stack.callback(lead.end)
        service = _start(folder / "soak.yaml", log or folder / "soak.log")
        stack.callback(_end, service)
        progress.start()
        lead.start()
        first = settings.monitoring.port
        watch = Watch(service.pid, range(first, first + SAMPLERS + 1))
        hardships = phases(broker, endpoint, topics, clients=["soak-0", "soak-0-1"])
        return _watch(service, lead, hardships, watch, examples)


def _settings(servers: str, url: str, config: Path) -> Settings:
    values: dict[str, Any] = {
        "name": "soak",
        "kafka": {"bootstrap_servers": servers},
        "input": {"topic": "examples", "format": "arrow", "dimension": DIMENSION, "start": "earliest"},
        "sampling": {"rate": 0.01},
        "clustering": {"n_clusters": 128, "device": "cpu"},
        "endpoint": {"url": url},
        "monitoring": {"port": _port()},
    }
    config.write_text(yaml.safe_dump(values))
    return load_settings(config)


def _port() -> int:
    """A free port, hopefully with free ones after it."""
    return free_ports(1)[0]


def _create(settings: Settings) -> None:
    configs = {"retention.bytes": str(RETENTION_BYTES), "segment.bytes": str(SEGMENT_BYTES)}
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.create_topics([NewTopic(settings.input.topic, PARTITIONS, 1, topic_configs=configs)])
    admin.close()
    ensure_topics(settings)


def _start(config: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "consumers.cli", "run", "--samplers", str(SAMPLERS), "--config"]
    with log.open("wb") as out:
        return subprocess.Popen([*command, str(config)], stdout=out, stderr=out)


def _end(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    service.wait(timeout=60)


def _watch(
    service: subprocess.Popen[bytes], lead: Lead, hardships: Sequence[Phase], watch: Watch, examples: int
) -> list[Reading]:
    """Read memory every second until all examples are processed; turn the slow-downs on and off."""
    began = moved = time.monotonic()
    done, schedule = 0, Schedule(hardships)
    while done < examples:
        time.sleep(1.0)
        before, done = done, lead.progress.processed
        moved = time.monotonic() if done > before else moved
        phase = schedule.turn(done / examples)
        watch.read(time.monotonic() - began, done, phase)
        _say(watch.readings[-1])
        _require_well(service, lead, time.monotonic() - moved)
    return watch.readings


def _require_well(service: subprocess.Popen[bytes], lead: Lead, still: float) -> None:
    if lead.failure is not None:
        raise SystemExit(f"the producer failed: {lead.failure!r}")
    if service.poll() is not None or still > STANDSTILL_SECONDS:
        raise SystemExit("the service ended or stands still: run with --keep-log and read it")


def _say(reading: Reading) -> None:
    memory = ", ".join(f"{name} {value:.0f}" for name, value in sorted(reading.rss.items()))
    line = f"{reading.seconds:5.0f} s {reading.examples:>11,} {reading.phase or 'undisturbed':14} {memory} MB"
    print(line, end="\r" if sys.stdout.isatty() else "\n", flush=True)


def _print(grown: dict[str, Growth], readings: Sequence[Reading]) -> None:
    seconds, examples = readings[-1].seconds, readings[-1].examples
    print(f"\n{examples:,} examples in {seconds:,.0f} s; resident memory in MB, medians:")
    print(f"{'':14}{'2nd tenth':>10}{'last tenth':>11}{'growth':>8}{'most':>7}{'MB per million':>16}")
    for name, one in grown.items():
        figures = f"{one.early:10.1f}{one.late:11.1f}{one.share:8.1%}{one.most:7.0f}{one.slope:16.2f}"
        print(f"{name:14}{figures}")


def _goals(grown: dict[str, Growth]) -> list[Goal]:
    return [
        Goal(f"growth of resident memory after the first tenth, {name}", 0.05, one.share, at_least=False)
        for name, one in grown.items()
    ]


def _result(examples: int, readings: Sequence[Reading], grown: dict[str, Growth]) -> dict[str, Any]:
    return {
        "examples": examples,
        "seconds": readings[-1].seconds,
        "growth": {name: one.json() for name, one in grown.items()},
        "readings": [asdict(reading) for reading in readings[:: max(1, len(readings) // 500)]],
    }


if __name__ == "__main__":
    main()
