"""A model endpoint (Open Inference Protocol over HTTP) that can fail in every way a server can."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal, get_args

import numpy as np

__all__ = ["AILMENTS", "Ailment", "Endpoint"]

Ailment = Literal["down", "slow", "500", "429", "garbage", "nan", "wrong number", "10 GB"]
AILMENTS: tuple[Ailment, ...] = get_args(Ailment)

MODEL = "chaos"
_SLOW_SECONDS = 5.0  # longer than the client waits for one attempt
_HUGE = 10_000_000_000
_CHUNK = b" " * 1_000_000


class Endpoint:
    """Answers losses; a context manager. `ailment` says how it fails, None that it is well.

    Attributes
    ----------
    answered : int
        Losses given while it was well.
    swallowed : int
        The most bytes that one client took of an answer without end.
    """

    def __init__(self) -> None:
        self.answered = self.swallowed = 0
        self._ailment: Ailment | None = None
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ailment(self) -> Ailment | None:
        """How it fails now."""
        return self._ailment

    @ailment.setter
    def ailment(self, ailment: Ailment | None) -> None:
        if ailment == "down":
            self._close()
        elif self._server is None:
            self._open()
        self._ailment = ailment

    def __enter__(self) -> Endpoint:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _open(self) -> None:
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True
        ).start()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what we are here for."""


class _Handler(BaseHTTPRequestHandler):
    endpoint: ClassVar[Endpoint]
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        self._reply(200, b"{}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tensors = {tensor["name"]: tensor for tensor in asked["inputs"]}
        embeddings = np.array(tensors["embeddings"]["data"]).reshape(tensors["embeddings"]["shape"])
        self._answer(np.linalg.norm(embeddings, axis=1), self.endpoint.ailment)

    def _answer(self, losses: np.ndarray, ailment: Ailment | None) -> None:
        if ailment == "slow":
            time.sleep(_SLOW_SECONDS)
        if ailment in ("500", "429"):
            self._reply(int(ailment), b"not now", {"Retry-After": "1"} if ailment == "429" else {})
        elif ailment == "garbage":
            self._reply(200, b'{"outputs": [{"name": "loss", \xff\x00' + b"[" * 10_000)
        elif ailment == "10 GB":
            self._flood()
        elif ailment == "nan":
            self._losses([float("nan")] * len(losses))
        elif ailment == "wrong number":
            self._losses(losses.tolist()[1:])
        else:
            self._losses(losses.tolist())
            self.endpoint.answered += len(losses)

    def _losses(self, losses: list[float]) -> None:
        output = {"name": "loss", "datatype": "FP64", "shape": [len(losses)], "data": losses}
        self._reply(
            200, json.dumps({"model_name": MODEL, "model_version": "1", "outputs": [output]}).encode()
        )

    def _flood(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(_HUGE))
        self.end_headers()
        sent = 0
        with suppress(OSError):
            while sent < _HUGE:
                sent += self.connection.send(_CHUNK)
        self.endpoint.swallowed = max(self.endpoint.swallowed, sent)
        self.close_connection = True

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
