"""The client of the model endpoint, against a real HTTP server that misbehaves on request."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stamina

from consumers.endpoint import CircuitOpen, EndpointError, ModelEndpoint
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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


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


def test_sends_what_the_protocol_says_and_reads_the_losses(server: Server) -> None:
    observer = Observer()
    points = np.array([[0.5, -1.0], [2.0, 3.0]], dtype=np.float16)
    values, version = client(server, observer).losses([b"a", "zwölf".encode()], points)
    assert values.dtype == np.float64
    assert values.tolist() == [1.0, 5.0]
    assert version == "7"
    (asked,) = server.requests
    assert asked["path"] == "/v2/models/my%2Fmodel/infer"
    examples, embeddings = asked["inputs"]
    assert examples == {"name": "examples", "shape": [2], "datatype": "BYTES", "data": ["a", "zwölf"]}
    assert embeddings["datatype"] == "FP32"
    assert embeddings["shape"] == [2, 2]
    assert embeddings["data"] == [0.5, -1.0, 2.0, 3.0]
    assert asked["outputs"] == [{"name": "loss", "parameters": {"binary_data": False}}]
    assert "parameters" not in asked
    assert (observer.outcomes, observer.asked, observer.open) == (["ok"], 2, [False])


@pytest.mark.parametrize("version", ["1", None])
def test_takes_a_column_and_a_model_without_a_version(server: Server, version: str | None) -> None:
    server.script = [losses(version, column=True)]
    values, said = ask(client(server))
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert said == (version or "")


def test_examples_that_are_not_text_travel_as_base64(server: Server) -> None:
    client(server).losses([b"\xff\x00", b"text"], np.zeros((2, 1)))
    (asked,) = server.requests
    assert asked["parameters"] == {"examples_encoding": "base64"}
    assert [base64.b64decode(text) for text in asked["inputs"][0]["data"]] == [b"\xff\x00", b"text"]


def test_binary_tensors_both_ways(server: Server) -> None:
    def respond(handler: Handler, asked: dict[str, Any]) -> None:
        sizes = [tensor["parameters"]["binary_data_size"] for tensor in asked["inputs"]]
        tail = asked["raw"][-sum(sizes) :]
        assert tail[: sizes[0]] == struct.pack("<I", 2) + b"\xff\x00" + struct.pack("<I", 4) + b"text"
        assert np.frombuffer(tail[sizes[0] :], "<f4").tolist() == [1.5, 2.5]
        parameters = {"binary_data_size": 8}
        output = {"name": "loss", "datatype": "FP32", "shape": [2], "parameters": parameters}
        head = json.dumps({"model_version": "b", "outputs": [output]}).encode()
        values = np.array([0.25, 4.0], "<f4").tobytes()
        handler.reply(head + values, Inference_Header_Content_Length=str(len(head)))

    server.script = [respond]
    values, version = client(server, binary=True).losses([b"\xff\x00", b"text"], np.array([[1.5], [2.5]]))
    assert values.tolist() == [0.25, 4.0]
    assert version == "b"


def test_nothing_to_ask_asks_nothing(server: Server) -> None:
    values, version = client(server).losses([], np.empty((0, 2)))
    assert (values.size, version, server.requests) == (0, "", [])


def test_batches_in_order(server: Server) -> None:
    values, _ = ask(client(server, batch=4), 10)
    assert values.tolist() == list(range(1, 11))
    assert [request["inputs"][1]["shape"] for request in server.requests] == [[4, 2], [4, 2], [2, 2]]


def test_batches_of_two_model_versions_are_asked_again_not_mixed(server: Server) -> None:
    server.script = [losses("old"), losses("old"), losses("new")]
    values, version = ask(client(server, batch=4), 10)
    assert version == "new"
    assert values.tolist() == list(range(1, 11))
    assert len(server.requests) == 5


def test_a_model_that_changes_all_the_time_is_given_up(server: Server) -> None:
    server.script = [losses(str(i)) for i in range(40)]
    with pytest.raises(EndpointError, match="version") as error:
        ask(client(server, batch=4), 10)
    assert error.value.reason == "model_version"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_retries_until_it_works(server: Server, status: int) -> None:
    observer = Observer()
    server.script = [reply(b"no", status), reply(b"no", status), losses()]
    with no_waits():
        assert ask(client(server, observer))[0].tolist() == [1.0, 2.0, 3.0]
    assert observer.outcomes == [str(status), str(status), "ok"]


def test_gives_up_after_the_attempts(server: Server) -> None:
    server.script = [reply(b"out of memory", 500)]
    with no_waits(3), pytest.raises(EndpointError, match=r"500.*out of memory"):
        ask(client(server, attempts=3))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_does_not_repeat_what_cannot_help(server: Server, status: int) -> None:
    server.script = [reply(b"no such model", status)]
    with pytest.raises(EndpointError, match="no such model") as error:
        ask(client(server))
    assert error.value.reason == str(status)
    assert len(server.requests) == 1


def test_follows_no_redirect(server: Server) -> None:
    server.script = [reply(b"", 307, Location="http://elsewhere.example/"), losses()]
    with pytest.raises(EndpointError, match=r"redirects to 'http://elsewhere.example/'"):
        ask(client(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["Retry-After: 9", "http://[", "//:x", "http://a:99999/", "x" * 10_000])
def test_a_redirect_to_nowhere_is_one_short_sentence(server: Server, location: str) -> None:
    server.script = [reply(b"", 307, Location=location)]
    with no_waits(1), pytest.raises(EndpointError) as error:
        ask(client(server, attempts=1))
    assert error.value.reason in ("307", "connect")
    assert len(str(error.value)) <= 600


@pytest.mark.parametrize(
    "when",
    [
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Fri, 31 Dec 1999 23:59:59 +99999999999999999999",
        "Fri, 31 Dec 1999 23:59:99999999999999999999 GMT",
    ],
)
def test_a_retry_after_beyond_time_is_none(server: Server, when: str) -> None:
    server.script = [reply(b"", 503, Retry_After=when), losses()]
    with no_waits():
        assert ask(client(server))[0].tolist() == [1.0, 2.0, 3.0]


def test_honours_retry_after(server: Server) -> None:
    server.script = [reply(b"", 429, Retry_After="1"), losses()]
    began = time.monotonic()
    ask(client(server))
    assert 1.0 <= time.monotonic() - began < 3.0


def test_does_not_wait_for_a_retry_after_beyond_the_deadline(server: Server) -> None:
    server.script = [reply(b"", 503, Retry_After="60"), losses()]
    began = time.monotonic()
    with pytest.raises(EndpointError, match="503"):
        ask(client(server, deadline_seconds=5))
    assert time.monotonic() - began < 2.0


def test_a_slow_attempt_is_repeated(server: Server) -> None:
    server.script = [lambda handler, asked: time.sleep(0.6), losses()]
    observer = Observer()
    with no_waits():
        ask(client(server, observer, timeout_seconds=0.2))
    assert observer.outcomes == ["timeout", "ok"]


def drip(handler: Handler, asked: dict[str, Any]) -> None:
    """A header line every 50 ms: no single read is slow."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for i in range(40):
        handler.wfile.write(b"X-%d: y\r\n" % i)
        time.sleep(0.05)


def test_the_deadline_holds_for_an_answer_that_drips(server: Server) -> None:
    server.script = [drip]
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"within 0\.4 s") as error:
        ask(client(server, deadline_seconds=0.4))
    assert error.value.reason == "timeout"
    assert time.monotonic() - began < 1.0


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


def test_an_untrusted_certificate_is_refused(server: Server, tmp_path: Path) -> None:
    # A plain server answers the TLS handshake with an HTTP error: not a certificate we trust either.
    url = f"https://127.0.0.1:{server.server_address[1]}"
    with no_waits(1), pytest.raises(EndpointError, match=r"reached.*(SSL|TLS)"):
        ask(ModelEndpoint(Endpoint(url=url, attempts=1)))


def test_the_token_is_read_again_when_its_file_changes(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    endpoint = client(server, token_file=token)
    for value in ("first", "second"):
        token.write_text(value + "\n")
        ask(endpoint)
    sent = [request["headers"]["Authorization"] for request in server.requests]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"a\r\nX-Evil: 1", b"\xff"])
def test_a_token_that_cannot_be_one(server: Server, tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    with pytest.raises(EndpointError, match="token file") as error:
        ask(client(server, token_file=token))
    assert error.value.reason == "token"
    assert server.requests == []


def test_the_circuit_opens_and_closes_again(server: Server) -> None:
    now, observer = [0.0], Observer()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    settings = Endpoint(url=url, attempts=2)
    endpoint = ModelEndpoint(settings, observer=observer, clock=lambda: now[0])
    server.script = [reply(b"", 500)]
    with no_waits(2):
        for _ in range(3):
            with pytest.raises(EndpointError, match="500"):
                ask(endpoint)
        with pytest.raises(CircuitOpen, match="tried again in 10 s"):
            ask(endpoint)
        assert len(server.requests) == 6
    now[0] = 11.0
    with pytest.raises(EndpointError, match="500"):
        ask(endpoint)
    assert len(server.requests) == 7  # a trial is one attempt
    with pytest.raises(CircuitOpen):
        ask(endpoint)
    now[0] = 22.0
    server.script = [losses()]
    ask(endpoint)
    assert endpoint.breaker.state == "closed"
    assert observer.open == [False, False, True, True, False]
    assert observer.outcomes[6] == "open"


def test_check_says_whether_the_model_is_ready(server: Server) -> None:
    def get(handler: Handler) -> None:
        ready = handler.path == "/v2/models/my%2Fmodel/ready" and server.script == ["ready"]
        handler.reply(b"" if ready else b"still loading", 200 if ready else 400)

    server.RequestHandlerClass = type("Getter", (Handler,), {"do_GET": get})
    server.script = ["ready"]  # type: ignore[list-item]
    client(server).check()
    server.script = []
    with pytest.raises(EndpointError, match="still loading"):
        client(server).check()


def test_needs_a_url() -> None:
    with pytest.raises(ValueError, match=r"endpoint\.url"):
        ModelEndpoint(Endpoint())


def test_as_many_embeddings_as_examples(server: Server) -> None:
    with pytest.raises(ValueError, match="2 examples but 1 embeddings"):
        client(server).losses([b"a", b"b"], np.zeros((1, 2)))
