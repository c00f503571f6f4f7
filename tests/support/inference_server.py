"""A server of the inference protocol that misbehaves on request, and a client of ours that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import stamina

from consumers.endpoint import ModelEndpoint
from consumers.settings import Endpoint

Respond = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's next response; the last one is repeated."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        header = int(self.headers.get("Inference-Header-Content-Length", length))
        asked = {"path": self.path, "headers": dict(self.headers), "raw": body, **json.loads(body[:header])}
        self.server.requests.append(asked)
        script = self.server.script
        respond = script.pop(0) if len(script) > 1 else script[0]
        try:
            respond(self, asked)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST  # noqa: N815

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Respond] = [losses()]
        self.requests: list[dict[str, Any]] = []

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Observer:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.refused: list[tuple[str, int]] = []
        self.open: list[bool] = []
        self.asked = 0

    def request(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)

    def circuit(self, is_open: bool) -> None:
        self.open.append(is_open)

    def queried(self, losses: int) -> None:
        self.asked += losses

    def refuse(self, reason: str, losses: int = 1) -> None:
        self.refused.append((reason, losses))


@contextmanager
def no_waits(attempts: int = 4) -> Iterator[None]:
    with stamina.set_testing(True, attempts=attempts):
        yield


def body_of(values: Any, shape: list[int] | None = None, datatype: str = "FP64", **more: Any) -> bytes:
    shape = [len(values)] if shape is None else shape
    output = {"name": "loss", "datatype": datatype, "shape": shape, "data": values}
    return json.dumps({"model_name": "model", "outputs": [output], **more}).encode()


def losses(version: str | None = "7", column: bool = False) -> Respond:
    """The loss of an example is the length of its text."""

    def respond(handler: Handler, asked: dict[str, Any]) -> None:
        values = [float(len(text)) for text in asked["inputs"][0]["data"]]
        shape = [len(values), 1] if column else [len(values)]
        more = {} if version is None else {"model_version": version}
        handler.reply(body_of(values, shape, **more))

    return respond


def reply(body: bytes, status: int = 200, **headers: str) -> Respond:
    return lambda handler, asked: handler.reply(body, status, **headers)


def client(server: Server, observer: Observer | None = None, **settings: Any) -> ModelEndpoint:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    return ModelEndpoint(Endpoint(url=url, model="my/model", **settings), observer=observer)


def ask(endpoint: ModelEndpoint, n: int = 3) -> tuple[np.ndarray, str]:
    return endpoint.losses([b"x" * (i + 1) for i in range(n)], np.ones((n, 2), np.float32))
