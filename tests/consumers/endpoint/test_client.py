"""The client of the model endpoint: what it sends and reads, against a real HTTP server."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.inference_server import (
    Handler,
    Observer,
    Server,
    ask,
    client,
    losses,
    no_waits,
    reply,
)

from consumers.endpoint import CircuitOpen, EndpointError, ModelEndpoint
from consumers.settings import Endpoint


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
