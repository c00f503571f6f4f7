"""The two deployments under fire, JSON and Arrow: settings, members, stream and checker of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from chaos.brokers import Brokers
from chaos.checker import Checker, Stream, Topics
from chaos.endpoint import MODEL
from chaos.fleet import Member
from chaos.pace import scaled
from chaos.stream import DIMENSION, Message, Producer, arrow_message, json_message
from kafka import KafkaConsumer, TopicPartition

from consumers.settings import Settings, load_settings

__all__ = ["PARTITIONS", "Deployment", "deployments", "session_seconds", "transaction_seconds"]

PARTITIONS = 4
_SESSION_SECONDS = 4.0
_TRANSACTION_SECONDS = 6.0
_MADE: dict[str, tuple[Callable[[int], Message], float, int]] = {  # message n, messages a second, samplers
    "json": (json_message, 150.0, 3),
    "arrow": (arrow_message, 8.0, 2),
}


def session_seconds() -> float:
    """After which a member that is silent is out of its group."""
    return scaled(_SESSION_SECONDS)


def transaction_seconds() -> float:
    """After which a transaction that nobody ends is aborted."""
    return scaled(_TRANSACTION_SECONDS)


@dataclass(frozen=True)
class Deployment:
    """One deployment; its name is its format."""

    name: Literal["json", "arrow"]
    servers: str
    settings: Settings
    config: Path
    producer: Producer
    checker: Checker

    def sampler(self, instance: str) -> Member:
        """A sampler that is not started yet."""
        return self._member("sampler", instance)

    def members(self) -> list[Member]:
        """Its samplers and two clusterers, not started yet."""
        samplers = [self.sampler(str(number)) for number in range(_MADE[self.name][2])]
        return [*samplers, *(self._member("clusterer", str(number)) for number in range(2))]

    def _member(self, role: str, instance: str) -> Member:
        command = (role, "--config", str(self.config), "--instance", instance)
        log = self.config.with_name(f"{self.name}-{role}-{instance}.log")
        return Member(self.name, role, instance, command, log)

    def behind(self) -> dict[str, int]:
        """By partition of the input, messages that the group's offsets do not cover yet; none when done."""
        topic = self.settings.input.topic
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer = KafkaConsumer(
            bootstrap_servers=self.servers.split(","),
            group_id=f"{self.name}-sampler",
            enable_auto_commit=False,
            isolation_level="read_committed",
            request_timeout_ms=5_000,
        )
        with closing(consumer):
            ends = consumer.end_offsets(partitions)
            left = {one: ends[one] - (consumer.committed(one) or 0) for one in partitions}
        return {f"{one.topic}/{one.partition}": n for one, n in left.items() if n}


def deployments(brokers: Brokers, endpoint: str, logs: Path) -> list[Deployment]:
    """Both, nothing of them started; the service reaches the brokers through the proxy."""
    return [_deployment(name, brokers, endpoint, logs) for name in ("json", "arrow")]


def _deployment(name: Literal["json", "arrow"], brokers: Brokers, endpoint: str, logs: Path) -> Deployment:
    servers, config = brokers.bootstrap_servers, logs / f"{name}.yaml"
    config.write_text(yaml.safe_dump(_values(name, brokers.service_servers, endpoint, brokers.count)))
    settings = load_settings(config)
    make, rate, _ = _MADE[name]
    topics = Topics.of(name, settings.input.topic)
    groups = (f"{name}-sampler", f"{name}-clusterer")
    stream = Stream(servers, topics, groups, DIMENSION, name)
    producer = Producer(servers, settings.input.topic, PARTITIONS, make, rate)
    return Deployment(name, servers, settings, config, producer, Checker(stream, faults=True))


def _values(name: str, servers: str, endpoint: str, nodes: int) -> dict[str, Any]:
    """Everything is short, so that a fault costs seconds."""
    return {
        "name": name,
        "kafka": {"bootstrap_servers": servers},
        "input": {
            "topic": f"{name}-examples",
            "format": name,
            "dimension": DIMENSION,
            "start": "earliest",
            "max_message_bytes": 100_000,
        },
        "topics": {"replication_factor": nodes},
        "window": {"size": 100, "age_seconds": 0.5, "max_bytes": 1_000_000},
        "sampling": {"rate": 0.2, "seed": f"a secret of {name}"},
        "clustering": {"n_clusters": 8, "device": "cpu", "flush_seconds": 0.5, "publish_seconds": 0.5},
        "endpoint": {
            "url": endpoint,
            "model": MODEL,
            "timeout_seconds": 1.0,
            "deadline_seconds": 3.0,
            "attempts": 2,
            "max_response_bytes": 1_000_000,
            "refresh_seconds": 0.5,
            "max_age_seconds": 3.0,
        },
        "session_timeout_seconds": session_seconds(),
        "transaction_timeout_seconds": transaction_seconds(),
        "grace_seconds": 5.0,
    }
