"""Targets: what a model endpoint may answer, decoded directly and through the real client and a socket."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import cache

import numpy as np
import stamina
from fuzz.contract import ACCEPTED, kind_of, require

from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.endpoint.exchange import retry_after
from consumers.endpoint.inference import RefusalError, decode_answer
from consumers.settings import Endpoint

__all__ = ["ASKED", "answer", "http", "wait_header"]

ASKED = 3
_LIMIT = 200_000


def answer(value: bytes) -> str:
    """The header with the length of the JSON part (a line, empty: there is none), then the body."""
    header, _, body = value.partition(b"\n")
    length = header.decode("latin-1") or None
    try:
        found = decode_answer(body, length, ASKED)
    except RefusalError as error:
        kind_of(error)
        return error.reason
    _check_losses(found.values)
    require(np.isfinite(found.values).any(), "an answer without a loss")
    require(len(found.model_version) <= 200, "a long version")
    return ACCEPTED


def wait_header(value: bytes) -> str:
    """A Retry-After header."""
    seconds = retry_after(value.decode("latin-1"))
    require(seconds is None or seconds >= 0, f"a wait of {seconds} s")
    return "not understood" if seconds is None else ACCEPTED


def http(value: bytes) -> str:
    """All that a server sends after it has read a request: status line, headers and body, or not."""
    server = _server()
    server.says = value
    with stamina.set_testing(True, attempts=1):
        try:
            client = _client(server.port)
            client.breaker.succeeded()
            losses, version = client.losses([b"a", b"b", b"c"], np.ones((ASKED, 2), np.float32))
        except EndpointError as error:
            kind_of(error)
            require(error.retry_after is None or error.retry_after >= 0, "a wait of less than nothing")
            return error.reason if len(error.reason) < 20 else "long"
    _check_losses(losses)
    require(len(version) <= 200, "a long version")
    return ACCEPTED


def _check_losses(values: np.ndarray) -> None:
    require(values.shape == (ASKED,) and values.dtype == np.float64, f"losses of shape {values.shape}")
    known = values[~np.isnan(values)]
    require(np.isfinite(known).all() and (known >= 0).all(), "a loss that cannot be one")


@cache
def _client(port: int) -> ModelEndpoint:
    url = f"http://127.0.0.1:{port}"
    return ModelEndpoint(
        Endpoint.model_validate(
            {"url": url, "attempts": 1, "timeout_seconds": 1.5, "max_response_bytes": _LIMIT}
        )
    )


class _Server:
    """Reads one request of each connection, answers with bytes as they are, and hangs up."""

    def __init__(self) -> None:
        self.says = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, suppress(OSError):
                connection.settimeout(2)
                asked = b""
                while b"\r\n\r\n" not in asked or not asked.endswith(b"}"):
                    asked += connection.recv(65_536) or b"\r\n\r\n}"
                connection.sendall(self.says)
                connection.shutdown(socket.SHUT_WR)


@cache
def _server() -> _Server:
    return _Server()
