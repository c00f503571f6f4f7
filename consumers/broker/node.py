"""One node of Apache Kafka: its files, its ports and its process (see :mod:`consumers.broker`)."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from consumers.broker import keeper
from consumers.errors import BrokerError

__all__ = ["Node", "free_ports"]

_STARTED = b"Kafka Server started"
_OF_THE_MACHINE = {"CLASSPATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
_LOG_CONFIGURATION = """\
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=[%d] %p %m (%c)%n%throwable
rootLogger.level=warn
rootLogger.appenderRef.file.ref=file
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


@dataclass
class Node:
    """One broker that is also one of the controllers."""

    number: int
    directory: Path
    ports: Mapping[str, int]  # by the name of the listener
    java: tuple[str, ...]
    keeps_data: bool
    process: subprocess.Popen[bytes] | None = None

    @property
    def started(self) -> bool:
        """Whether it has said so in its log since it was launched."""
        log = self.directory / "broker.log"
        return log.is_file() and _STARTED in log.read_bytes()

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def write_files(self, properties: Mapping[str, str]) -> None:
        """Write ``server.properties`` and the configuration of the log."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self.directory / "server.properties").write_text(lines, "utf-8")
        log = (self.directory / "broker.log").as_posix()
        (self.directory / "log4j2.properties").write_text(_LOG_CONFIGURATION.format(log=log), "utf-8")

    def format(self, cluster_id: str, arguments: Sequence[str]) -> None:
        """Prepare the data directory; one that is prepared already stays as it is."""
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id, *arguments, "-c"]
        done = subprocess.run(
            self._command(*tool),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
            check=False,
        )
        if done.returncode:
            raise BrokerError(self._sentence((done.stdout + done.stderr).decode("utf-8", "replace")))

    def launch(self) -> None:
        """Start the process; ``started`` turns true once it serves."""
        (self.directory / "broker.log").unlink(missing_ok=True)
        folder = "-" if self.keeps_data else str(self.directory.parent)
        with (self.directory / "output.log").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-E", keeper.__file__, folder, *self._command("kafka.Kafka")],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; we then end it in good order
            )

    def terminate(self) -> None:
        """Ask it to end in good order."""
        if self.running and self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def order(self, byte: bytes) -> None:
        """Hand an order to the keeper: ``f`` freezes the node, ``t`` thaws it."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(byte)
            self.process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut would; the data stays."""
        with suppress(BrokenPipeError):  # it had ended by itself
            self.order(b"k")
        process, self.process = self.process, None
        if process is not None and process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def failure(self) -> BrokerError:
        """Say why it did not start."""
        logs = [self.directory / name for name in ("broker.log", "output.log")]
        return BrokerError(
            self._sentence("\n".join(log.read_text("utf-8", "replace") for log in logs if log.is_file()))
        )

    def _sentence(self, said: str) -> str:
        lines = [
            line for line in said.splitlines() if "ERROR" in line or "xception" in line
        ] or said.splitlines()
        reason = lines[0].strip()[:300] if lines else "it said nothing"
        return f"Apache Kafka (node {self.number}) did not start: {reason}"

    def _command(self, program: str, *arguments: str) -> list[str]:
        log = f"-Dlog4j2.configurationFile={(self.directory / 'log4j2.properties').as_uri()}"
        java, *options = self.java
        return [java, log, *options, program, *arguments, str(self.directory / "server.properties")]


def free_ports(count: int) -> list[int]:
    """Find ports of loopback that nobody listens on, below those the system gives to outgoing connections.

    So that no connection takes the port of a node while that is down.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return sorted(found)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OF_THE_MACHINE}
