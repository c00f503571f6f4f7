"""Apache Kafka for the run: the service reaches it through the proxy only, the harness directly."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from chaos.pace import scaled
from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import NewTopic

from consumers.broker import Broker
from consumers.broker.jars import Progress
from consumers.broker.node import Node, free_ports
from consumers.errors import BrokerError

__all__ = ["Brokers"]

_START_SECONDS = 60.0
_SERVICE = "SERVICE"
_LISTENERS = {"PLAINTEXT": "PLAINTEXT", _SERVICE: "PLAINTEXT"}
_LOOK_SECONDS = 2.0
# What a node writes that may refuse to coordinate until it is started again.
_CANNOT_SERVE = (b"Failed to load metadata from __", b"is out of sync with the underlying log")
_LOG_PARTITIONS = 5  # of the topics that hold offsets and transactions


class Brokers(Broker):
    """A cluster with a second listener, whose advertised ports are the proxy's.

    Parameters
    ----------
    nodes : int
    directory : Path
        Of the data, and of the nodes' logs.
    progress : callable
    """

    def __init__(self, nodes: int, directory: Path, progress: Progress) -> None:
        options = {
            "offsets.topic.num.partitions": str(_LOG_PARTITIONS),
            "transaction.state.log.num.partitions": str(_LOG_PARTITIONS),
        }
        super().__init__(nodes, directory, progress, listeners=_LISTENERS, options=options)
        self._advertised = free_ports(nodes)
        self.count = nodes
        self.down: set[int] = set()
        self.mended = 0
        self._look_at, self._broken = 0.0, list[int]()

    @property
    def routes(self) -> dict[int, int]:
        """What the proxy must forward."""
        behind = [int(server.rpartition(":")[2]) for server in self.servers(_SERVICE).split(",")]
        return dict(zip(self._advertised, behind, strict=True))

    @property
    def service_servers(self) -> str:
        """Bootstrap servers for the service: the proxy."""
        return ",".join(f"127.0.0.1:{port}" for port in self._advertised)

    def kill(self, node: int = 1) -> None:
        """End a node as a power cut would."""
        self.down.add(node)
        self._broken = []
        super().kill(node)

    def restart(self, node: int = 1) -> None:
        """Start a node again on its disk; a busy machine may take longer than others would wait."""
        try:
            super().restart(node)
        except BrokerError:
            self._outwait(self._nodes[node - 1])
        self.down.discard(node)

    def _outwait(self, node: Node) -> None:
        deadline = time.monotonic() + scaled(_START_SECONDS)
        while not node.started:
            if not node.running or time.monotonic() > deadline:
                raise node.failure()
            time.sleep(0.2)

    def freeze(self, node: int = 1) -> None:
        """Stop a node's clock."""
        self.down.add(node)
        super().freeze(node)

    def thaw(self, node: int = 1) -> None:
        """Let a frozen node go on."""
        super().thaw(node)
        self.down.discard(node)

    def broken(self) -> list[int]:
        """Nodes that run and have given up a part of what they coordinate, perhaps for ever.

        Apache Kafka 4.1 answers NOT_COORDINATOR until it is started again, when its controller took a node
        for dead that loaded its groups just then, or when it took its log for empty (too busy a machine).
        Where another node leads now, or it loads once more, it is no defect: only those who are not served
        tell.
        """
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            up = [node for node in self._nodes if node.number not in self.down and node.started]
            self._broken = [node.number for node in up if _cannot_serve(node)]
        return self._broken

    def create(self, topics: Iterable[str], partitions: int) -> None:
        """Create topics, replicated over all nodes."""
        with closing(self._admin()) as admin:
            new = [NewTopic(topic, partitions, self.count) for topic in topics]
            admin.create_topics(new, wait_for_metadata=True)

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition; 1 where nobody does."""
        with closing(self._admin()) as admin:
            (described,) = admin.describe_topics([topic])
        found = {one["partition_index"]: one["leader_id"] for one in described["partitions"]}
        return max(1, found.get(partition, 1))

    def group_coordinator(self, group: str) -> int:
        """The node that coordinates a consumer group."""
        return self.leader("__consumer_offsets", _java_hash(group) % _LOG_PARTITIONS)

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The node that coordinates a transactional id."""
        return self.leader("__transaction_state", _java_hash(transactional_id) % _LOG_PARTITIONS)

    def whole(self) -> bool:
        """Whether all nodes run and every replica of every partition is in sync."""
        if self.down:
            return False
        with suppress(kafka_errors.KafkaError), closing(self._admin()) as admin:
            partitions = [one for topic in admin.describe_topics() for one in topic["partitions"]]
            return all(set(one["isr_nodes"]) == set(one["replica_nodes"]) for one in partitions)
        return False

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.bootstrap_servers.split(","), request_timeout_ms=5_000)

    def _properties(self, node: Node) -> dict[str, str]:
        # the service finds the brokers through the proxy only: that is the port it is told
        proxied = self._advertised[node.number - 1]
        plain = f"PLAINTEXT://127.0.0.1:{node.ports['PLAINTEXT']}"
        advertised = f"{plain},{_SERVICE}://127.0.0.1:{proxied}"
        return {**super()._properties(node), "advertised.listeners": advertised}


def _cannot_serve(node: Node) -> bool:
    said = (node.directory / "broker.log").read_bytes()
    return any(one in said for one in _CANNOT_SERVE)


def _java_hash(text: str) -> int:
    """As the brokers map a name to a partition: the absolute value of Java's String.hashCode."""
    value = 0
    for unit in text.encode("utf-16-be")[1::2]:
        value = (31 * value + unit) & 0xFFFFFFFF
    value = value - (1 << 32) if value >= 1 << 31 else value
    return 0 if value == -(1 << 31) else abs(value)
