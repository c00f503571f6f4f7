"""/metrics, /healthz and /readyz over HTTP, from a thread of their own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol

import orjson
from prometheus_client.exposition import choose_encoder

from consumers.errors import ServiceError
from consumers.metrics import LoopMetrics
from consumers.sections import Monitoring

__all__ = ["Loop", "StatusServer"]

_CLIENT_SECONDS = 5.0  # from the connection to the end of the answer
_MOST_CLIENTS = 32


class Loop(Protocol):
    """What is watched; :class:`consumers.transactions.TransactionalLoop` is one."""

    @property
    def last_seen(self) -> float:
        """Monotonic time, in seconds, at which the loop last came round."""

    @property
    def assigned(self) -> Sequence[tuple[str, int]]:
        """The partitions of now."""

    @property
    def leaderless(self) -> Sequence[tuple[str, int]]:
        """Those of them that no broker serves."""


class StatusServer:
    """Answers monitoring for one process; a context manager.

    Healthy means that the loop came round lately, whatever Kafka and the endpoint do: a restart helps a loop
    that is stuck, and nobody whose broker is down. Ready means that partitions are assigned.

    Parameters
    ----------
    monitoring : Monitoring
        Where to listen (loopback unless told otherwise; port 0 is any free one) and how old a loop may be.
    metrics : LoopMetrics
        What /metrics shows; the age of the loop is added to it.
    loop : Loop
        What is healthy and ready, or not.
    standby : bool
        Ready also without partitions: for a role in which most members stand by.

    Raises
    ------
    ServiceError
        On entering, when the address cannot be listened on.
    """

    def __init__(
        self,
        monitoring: Monitoring,
        metrics: LoopMetrics,
        loop: Loop,
        *,
        standby: bool = False,
    ) -> None:
        self._monitoring = monitoring
        self._metrics = metrics
        self._loop = loop
        self._standby = standby
        metrics.loop_age.labels(metrics.role).set_function(self._loop_age)

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8000``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> StatusServer:
        where = (self._monitoring.host, self._monitoring.port)
        try:
            self._server = _Server(where, _handler(self._answer))
        except (OSError, OverflowError) as error:
            raise ServiceError(
                f"monitoring cannot listen on {where[0]}:{where[1]} ({error}): choose another monitoring.port"
            ) from None
        threading.Thread(target=self._server.serve_forever, name="status", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _loop_age(self) -> float:
        return time.monotonic() - self._loop.last_seen

    def _answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            with self._metrics.lock:
                return 200, content_type, encode(self._metrics.registry)
        if path == "/healthz":
            return _report(self._health())
        if path == "/readyz":
            return _report(self._readiness())
        return 404, "text/plain; charset=utf-8", b"There are /metrics, /healthz and /readyz.\n"

    def _health(self) -> dict[str, Any]:
        age, limit = self._loop_age(), self._monitoring.max_loop_age_seconds
        return {"ok": age <= limit, "loop_age_seconds": round(age, 3), "max_loop_age_seconds": limit}

    def _readiness(self) -> dict[str, Any]:
        names = _names(self._loop.assigned)
        without = _names(self._loop.leaderless)
        return {"ok": self._standby or bool(names), "partitions": names, "without_leader": without}


def _names(partitions: Sequence[tuple[str, int]]) -> list[str]:
    return [f"{topic}-{partition}" for topic, partition in partitions]


class _Server(ThreadingHTTPServer):
    """A thread for each client, but not for many, and not for long."""

    daemon_threads = True
    request_queue_size = _MOST_CLIENTS
    block_on_close = False  # a slow client must not hold the process back at its end

    def __init__(self, where: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._since: dict[Any, float] = {}  # by connection, the oldest first
        super().__init__(where, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a client in; the one that has been there longest makes room."""
        for oldest in list(self._since)[: -_MOST_CLIENTS + 1]:
            self._hang_up(oldest)
        self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called twice a second: whoever asks or reads byte by byte has had enough time."""
        for request, since in list(self._since.items()):
            if time.monotonic() - since > _CLIENT_SECONDS:
                self._hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        """Let a client go that has its answer."""
        self._since.pop(request, None)
        super().shutdown_request(request)

    def _hang_up(self, request: Any) -> None:
        self._since.pop(request, None)
        with suppress(OSError):  # it has just gone by itself
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


def _report(report: dict[str, Any]) -> tuple[int, str, bytes]:
    return 200 if report["ok"] else 503, "application/json", orjson.dumps(report) + b"\n"


def _handler(answer: Callable[[str, str], tuple[int, str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS  # to say the next byte
        server_version = "stream-coreset"
        sys_version = ""

        def do_GET(self) -> None:
            status, content_type, body = answer(self.path.split("?")[0], self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are no news."""

    return Handler
