"""The client of the model endpoint: answers that are too large, or cannot be losses."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
import pytest
from support.inference_server import (
    Handler,
    Observer,
    Respond,
    Server,
    ask,
    body_of,
    client,
    losses,
    no_waits,
    reply,
)

from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.settings import Endpoint


def endless(handler: Handler, asked: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    for _ in range(10_000):
        handler.wfile.write(b" " * 65_536)


@pytest.mark.parametrize("respond", [endless, reply(b" " * 20_000)])
def test_a_giant_answer_is_refused_while_it_is_read(server: Server, respond: Respond) -> None:
    observer = Observer()
    server.script = [respond]
    began = time.monotonic()
    with pytest.raises(EndpointError, match="longer than 10,000 bytes"):
        ask(client(server, observer, max_response_bytes=10_000))
    assert time.monotonic() - began < 2.0
    assert observer.refused == [("too_large", 3)]


def test_a_giant_error_is_not_read_to_its_end(server: Server) -> None:
    server.script = [reply(b"e" * 50_000_000, 400)]
    with pytest.raises(EndpointError, match=r"400.*'e{200}'$"):
        ask(client(server))


NUMBERS = body_of([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"<html>", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b'{"error": "x"}', "malformed"),
        (b'{"outputs": 3}', "malformed"),
        (b'{"outputs": [{"name": "other", "datatype": "FP32", "shape": [3], "data": [1,2,3]}]}', "malformed"),
        (b'{"outputs": [{"name": "loss"}]}', "malformed"),
        (body_of(["a", "b", "c"], datatype="BYTES"), "malformed"),
        (body_of([1, 2, 3], datatype="INT64"), "malformed"),
        (body_of([1.0, 2.0]), "shape"),
        (body_of([1.0, 2.0, 3.0, 4.0]), "shape"),
        (body_of([1.0, 2.0], [3]), "shape"),
        (body_of([1.0, 2.0, 3.0], [1, 3]), "shape"),
        (body_of([[1.0], [2.0], [3.0, 4.0]], [3]), "shape"),
        (body_of("abc", [3]), "shape"),
        (body_of([{}, {}, {}], [3]), "shape"),
        (body_of([float("nan")] * 3), "nan"),
        (body_of([float("inf")] * 3), "infinite"),
        (body_of([1e300] * 3, datatype="FP32"), "infinite"),
        (body_of([-1.0] * 3), "negative"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_and_counted(
    server: Server, body: bytes, reason: str
) -> None:
    observer = Observer()
    server.script = [reply(body)]
    with pytest.raises(EndpointError, match="refused") as error:
        ask(client(server, observer))
    assert error.value.reason == reason
    assert observer.refused == [(reason, 3)]
    assert observer.outcomes == ["refused"]


@pytest.mark.parametrize("length", ["nonsense", "-1", "0", "1000000", "5"])
def test_a_wrong_header_length_is_refused(server: Server, length: str) -> None:
    server.script = [reply(NUMBERS, Inference_Header_Content_Length=length)]
    with pytest.raises(EndpointError) as error:
        ask(client(server))
    assert error.value.reason == "malformed"


def test_a_compressed_answer_is_refused(server: Server) -> None:
    server.script = [reply(NUMBERS, Content_Encoding="gzip")]
    with pytest.raises(EndpointError, match="compressed"):
        ask(client(server))


def test_single_bad_losses_are_left_out_and_counted(server: Server) -> None:
    observer = Observer()
    bad = [float("nan"), -0.5, 2.0, float("inf"), None, 0.0]
    server.script = [reply(body_of(bad))]
    values, _ = ask(client(server, observer), 6)
    np.testing.assert_array_equal(values, [np.nan, np.nan, 2.0, np.nan, np.nan, 0.0])
    assert dict(observer.refused) == {"nan": 2, "negative": 1, "infinite": 1}
    assert observer.outcomes == ["ok"]


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        endpoint = ModelEndpoint(Endpoint(url=f"http://127.0.0.1:{taken.getsockname()[1]}"))
        with no_waits(2), pytest.raises(EndpointError, match="cannot be reached") as error:
            ask(endpoint)
    assert error.value.reason == "connect"


def test_a_server_that_hangs_up(server: Server) -> None:
    def hang_up(handler: Handler, asked: dict[str, Any]) -> None:
        handler.close_connection = True

    server.script = [hang_up, losses()]
    observer = Observer()
    with no_waits():
        ask(client(server, observer))
    assert observer.outcomes == ["connect", "ok"]
