"""``stream-coreset check``: connects to everything, says what is wrong and how to mend it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from consumers.clients import admin_client, plain_consumer
from consumers.codecs import codec_for
from consumers.codecs.examples import Codec, Decoded
from consumers.connecting import attempt
from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.errors import BrokerError, ServiceError
from consumers.feedback.checking import check_feedback
from consumers.reader import offset_range, read_to_end
from consumers.rights import Part, missing_rights
from consumers.settings import Settings
from consumers.topics import verify_topics
from consumers.transform import InputRecord
from stream_coreset.arrays import resolve_device

__all__ = ["Finding", "check"]

_LAST_MESSAGES = 10  # of each partition are looked at
_MOST_MESSAGES = 100
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """What was found about one thing; `says` of a wrong one says how to mend it."""

    about: str
    state: Literal["ok", "wrong", "skipped"]
    says: str

    def __str__(self) -> str:
        return f"{self.state:8} {self.about:10} {self.says}"


@dataclass
class _Example:
    """One example of the stream, to ask the model about."""

    value: bytes
    embedding: NDArray[np.floating[Any]]


def check(
    settings: Settings, say: Callable[[str], object], roles: Sequence[Part] = ("sampler", "clusterer")
) -> bool:
    """Look at everything these roles need, tell `say` line by line; returns whether all is well."""
    well = True
    for finding in _Check(settings, roles).findings():
        say(str(finding))
        well &= finding.state != "wrong"
    return well


class _Unknown(Exception):  # noqa: N818
    """Something could not be looked at, which need not be a mistake."""


class _Check:
    def __init__(self, settings: Settings, roles: Sequence[Part]) -> None:
        self._settings = settings
        self._roles = roles
        self._example: _Example | None = None

    def findings(self) -> Iterator[Finding]:
        yield self._look("device", self._device)
        brokers = self._look("brokers", self._brokers)
        yield brokers
        steps = {"topics": self._topics, "rights": self._rights, "messages": self._messages}
        if self._settings.feedback.topic is not None:
            steps["feedback"] = self._feedback
        for about, look in steps.items():
            known = brokers.state == "ok"
            yield self._look(about, look) if known else Finding(about, "skipped", "the brokers come first")
        yield self._look("endpoint", self._endpoint)

    def _look(self, about: str, look: Callable[[], str]) -> Finding:
        try:
            return Finding(about, "ok", look())
        except _Unknown as error:
            return Finding(about, "skipped", str(error))
        except (ServiceError, EndpointError) as error:
            return Finding(about, "wrong", str(error))

    def _device(self) -> str:
        asked = self._settings.clustering.device
        try:
            return f"clustering runs on {resolve_device(asked).name} (asked for {asked})"
        except (RuntimeError, ValueError) as error:
            raise ServiceError(f"clustering.device is {asked}: {error}") from error

    def _brokers(self) -> str:
        servers = [one.strip() for one in self._settings.kafka.bootstrap_servers.split(",")]
        silent = {one: why for one in servers if (why := _silence(one))}
        if len(silent) == len(servers):
            whys = "; ".join(f"{server}: {why}" for server, why in silent.items())
            raise ServiceError(
                f"nobody answers ({whys}); start the brokers or correct kafka.bootstrap_servers"
            )
        with closing(self._admin()) as admin:
            nodes = admin.describe_cluster()["brokers"]
        down = f", but not {', '.join(silent)}" if silent else ""
        return f"{len(nodes)} at {self._settings.kafka.bootstrap_servers}{down}"

    def _admin(self) -> Any:
        kafka = self._settings.kafka
        admin, reason = attempt(lambda: admin_client(self._settings), self._settings)
        if admin is None:
            raise ServiceError(
                f"{kafka.bootstrap_servers} listens but hangs up on us; check kafka.security_protocol "
                f"(now {kafka.security_protocol}) and the advertised listeners of the brokers: {reason}"
            )
        return admin

    def _topics(self) -> str:
        try:
            verify_topics(self._settings)
        except BrokerError as error:  # the brokers answer: it is the right to look that is not granted
            raise _Unknown(f"not verified: {error}") from error
        return "all there, configured as the service needs them"

    def _rights(self) -> str:
        with closing(self._admin()) as admin:
            missing = missing_rights(self._settings, admin, *self._roles)
        if missing:
            raise ServiceError(
                f"the brokers do not grant us: {', '.join(map(str, missing))}; add these ACLs "
                "(the commands: stream-coreset rights)"
            )
        return f"all granted that {' and '.join(self._roles)} need"

    def _messages(self) -> str:
        if "sampler" not in self._roles:
            raise _Unknown("samplers alone read them")
        codec = codec_for(self._settings.input)
        rows, mistakes = 0, list[str]()
        for record in islice(self._last_messages(), _MOST_MESSAGES):
            decoded = codec.decode(record)
            rows += decoded.rows
            mistakes += [error.message for error in decoded.errors]
            self._remember(codec, decoded)
        return self._judge(rows, mistakes)

    def _judge(self, rows: int, mistakes: list[str]) -> str:
        given = self._settings.input
        if not rows:
            return f"{given.topic} is empty: nothing to look at yet"
        if not mistakes:
            return f"the last {rows} examples of {given.topic} have vectors of {given.dimension}"
        said = f"{len(mistakes)} of the last {rows} examples of {given.topic} cannot be used: {mistakes[0]}"
        if 2 * len(mistakes) < rows:
            return f"{said}; such go to dead letters"
        raise ServiceError(f"{said}; check input.format, input.embedding, input.dimension, or the producer")

    def _last_messages(self) -> Iterator[InputRecord]:
        topic = self._settings.input.topic
        with closing(plain_consumer(self._settings)) as consumer:
            first, ends = offset_range(consumer, topic)
        start = {(topic, one.partition): max(first[one], end - _LAST_MESSAGES) for one, end in ends.items()}
        return read_to_end(self._settings, topic, start=start)

    def _remember(self, codec: Codec, decoded: Decoded) -> None:
        if self._example is None and len(decoded.valid_rows):
            row = int(decoded.valid_rows[0])
            self._example = _Example(codec.example(decoded, row), decoded.embeddings[:1])

    def _feedback(self) -> str:
        if "clusterer" not in self._roles:
            raise _Unknown("the clusterer alone reads it")
        return check_feedback(self._settings)

    def _endpoint(self) -> str:
        asked = self._settings.endpoint
        if asked.url is None:
            return "none is set: the sample is drawn by distance alone"
        model = ModelEndpoint(asked)
        model.check()
        if self._example is None:
            return f"{asked.model} at {asked.url} is ready; without an example its losses were not tried"
        losses, version = model.losses([self._example.value], self._example.embedding)
        said = version or "not said"
        return f"{asked.model} at {asked.url} answers: loss {losses[0]:.4g}, model version {said}"


def _silence(server: str) -> str:
    """Why nobody can be reached there; empty when somebody can."""
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise ServiceError(f"kafka.bootstrap_servers: {server!r} is not host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return str(error)
    return ""
