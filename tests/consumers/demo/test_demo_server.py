"""The demo's endpoint, asked by the service's own client."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from consumers.demo.data import Events, encode_example
from consumers.demo.model import LinearModel
from consumers.demo.server import LossServer
from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.settings import Endpoint

MODEL = LinearModel(np.linspace(-1, 1, 9), 0.25)


@pytest.fixture
def server() -> Iterator[LossServer]:
    with LossServer() as running:
        yield running


@pytest.fixture
def client(server: LossServer) -> ModelEndpoint:
    return ModelEndpoint(Endpoint(url=server.url, model=server.name, attempts=1, batch=7))


@pytest.fixture
def events() -> Events:
    rng = np.random.default_rng(0)
    return Events(rng.normal(size=(30, 9)).astype(np.float32), rng.integers(0, 2, 30))


def test_answers_with_the_losses_of_the_latest_model(
    server: LossServer, client: ModelEndpoint, events: Events
) -> None:
    for version, model in (("1", LinearModel(np.zeros(9), 0.0)), ("2", MODEL)):
        server.serve(model, version)
        values, said = client.losses(list(events.messages()), events.embeddings)
        assert said == version
        np.testing.assert_allclose(values, model.losses(events))
    assert server.queries == 60


def test_is_not_ready_before_it_has_learned(
    server: LossServer, client: ModelEndpoint, events: Events
) -> None:
    with pytest.raises(EndpointError, match="nothing has been learned"):
        client.check()
    with pytest.raises(EndpointError, match="nothing has been learned"):
        client.losses(list(events.messages()), events.embeddings)
    server.serve(MODEL, "1")
    client.check()


def test_knows_its_own_model_only(server: LossServer, events: Events) -> None:
    server.serve(MODEL, "1")
    other = ModelEndpoint(Endpoint(url=server.url, model="other"))
    with pytest.raises(EndpointError, match="no such model"):
        other.check()
    with pytest.raises(EndpointError, match="no such model"):
        other.losses(list(events.messages()), events.embeddings)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"inputs": 3}', b'{"inputs": [{"name": "examples"}]}'])
def test_says_what_is_no_request(server: LossServer, body: bytes) -> None:
    server.serve(MODEL, "1")
    answer = httpx.post(f"{server.url}/v2/models/{server.name}/infer", content=body)
    assert answer.status_code == 400
    assert "not a request" in answer.text


def test_as_many_embeddings_as_examples(server: LossServer) -> None:
    server.serve(MODEL, "1")
    inputs = [
        {"name": "examples", "data": [encode_example(0, np.zeros(9, np.float32), 1).decode()]},
        {"name": "embeddings", "data": [0.0] * 18},
    ]
    answer = httpx.post(f"{server.url}/v2/models/{server.name}/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert "1 examples but 2 embeddings" in answer.text


def test_refuses_a_giant_request_before_reading_it(server: LossServer) -> None:
    server.serve(MODEL, "1")
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    with closing(connection):
        connection.putrequest("POST", f"/v2/models/{server.name}/infer")
        connection.putheader("Content-Length", "1000000000000")
        connection.endheaders(b"the beginning")
        assert connection.getresponse().status == 413
