"""The demo's model endpoint: a trainer's own losses over the Open Inference Protocol, on loopback."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import orjson

from consumers.demo.data import DIMENSION, Events, decode_examples
from consumers.demo.model import LinearModel

__all__ = ["LossServer"]

_LARGEST_REQUEST = 64_000_000


class LossServer:
    """Serves the losses of the latest model; says that it is not ready while there is none.

    A context manager. `queries` counts the losses answered.

    Parameters
    ----------
    name : str
        Of the model, in the url.
    host, port
        Where to listen; port 0 is any free one.
    """

    def __init__(self, name: str = "shuttle", host: str = "127.0.0.1", port: int = 0) -> None:
        self.name, self.queries = name, 0
        self._served: tuple[LinearModel, str] | None = None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer((host, port), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.1,), name="losses", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> LossServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def serve(self, model: LinearModel, version: str) -> None:
        """Answer with this model from now on."""
        self._served = (model, version)

    @property
    def ready(self) -> bool:
        """Whether there is a model."""
        return self._served is not None

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the answer to an inference request; ValueError, KeyError, TypeError where it is none."""
        assert self._served is not None
        model, version = self._served
        losses = model.losses(_events(orjson.loads(body)))
        with self._lock:
            self.queries += len(losses)
        output = {"name": "loss", "datatype": "FP64", "shape": [len(losses)], "data": losses.tolist()}
        return {"model_name": self.name, "model_version": version, "outputs": [output]}


def _events(request: dict[str, Any]) -> Events:
    """Labels from the examples, vectors from the embeddings."""
    tensors = {tensor["name"]: tensor for tensor in request["inputs"]}
    sent = decode_examples(text.encode() for text in tensors["examples"]["data"])
    embeddings = np.array(tensors["embeddings"]["data"], np.float32).reshape(-1, DIMENSION)
    if len(embeddings) != len(sent):
        raise ValueError(f"{len(sent)} examples but {len(embeddings)} embeddings")
    return Events(embeddings, sent.labels)


class _Handler(BaseHTTPRequestHandler):
    owner: ClassVar[LossServer]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        known = (f"/v2/models/{self.owner.name}/ready", "/v2/health/ready", "/v2/health/live")
        if self.path not in known:
            self._reply(HTTPStatus.NOT_FOUND, {"error": "no such model"})
        elif self.owner.ready or self.path.endswith("live"):
            self._reply(HTTPStatus.OK, {})
        else:
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "nothing has been learned yet"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST_REQUEST:
            self.close_connection = True
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "state a length of at most 64 MB"})
            return
        body = self.rfile.read(int(length))
        if self.path != f"/v2/models/{self.owner.name}/infer":
            self._reply(HTTPStatus.NOT_FOUND, {"error": "no such model"})
        elif not self.owner.ready:
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "nothing has been learned yet"})
        else:
            self._infer(body)

    def _infer(self, body: bytes) -> None:
        try:
            answer = self.owner.answer(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._reply(HTTPStatus.BAD_REQUEST, {"error": f"not a request for losses: {error!r:.200}"})
        else:
            self._reply(HTTPStatus.OK, answer)

    def _reply(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        body = orjson.dumps(value)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
