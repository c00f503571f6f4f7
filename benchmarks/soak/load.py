"""What drives the soak: a stream that drifts, produced with bounded lead, and a model that answers."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from benchmarks.stream import message

__all__ = ["DIMENSION", "ROWS", "Lead", "LossEndpoint", "Progress", "Stream"]

DIMENSION = 16
ROWS = 1_000  # examples a message
_MODES = 200
_DRIFT = 0.02  # standard deviations that a mode moves from one message to the next

_MOST_LATE_SECONDS = 5.0  # what was missed longer ago is not made up for


class Stream:
    """Messages of `ROWS` examples around modes that wander, so that centers come and go for ever."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._modes = self._rng.normal(0, 3, (_MODES, DIMENSION))

    def message(self) -> bytes:
        """The next one: an Arrow IPC stream."""
        self._modes += _DRIFT * self._rng.standard_normal(self._modes.shape)
        labels = self._rng.integers(_MODES, size=ROWS)
        rows = self._modes[labels] + self._rng.standard_normal((ROWS, DIMENSION))
        return message(rows.astype(np.float32))


class Progress(threading.Thread):
    """Follows what a group has committed; brokers that do not answer hold nobody else up."""

    def __init__(self, servers: str, group: str, topic: str, partitions: int) -> None:
        super().__init__(name="progress", daemon=True)
        self._options = {"bootstrap_servers": servers, "group_id": group, "enable_auto_commit": False}
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]
        self._over = threading.Event()
        self.processed = 0

    def run(self) -> None:
        consumer = KafkaConsumer(**self._options)
        while not self._over.wait(0.2):
            with suppress(kafka_errors.KafkaError):
                offsets = [consumer.committed(one, timeout_ms=2_000) or 0 for one in self._partitions]
                self.processed = max(self.processed, ROWS * sum(offsets))
        consumer.close()

    def end(self) -> None:
        """Stop following."""
        self._over.set()
        self.join(30)


class Lead(threading.Thread):
    """Produces `examples` in all, `rate` a second, never more than `lead` ahead of what was processed.

    So the topic stays small, and retention never passes what is still to be read.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        progress: Progress,
        *,
        partitions: int,
        examples: int,
        lead: int,
        rate: float,
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self._servers, self._topic, self._partitions = servers, topic, partitions
        self.progress = progress
        self._examples, self._lead, self._rate = examples, lead, rate
        self._over = threading.Event()
        self.produced = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._produce()
        except BaseException as failure:
            self.failure = failure

    def end(self) -> None:
        """Stop producing."""
        self._over.set()
        self.join(30)

    def _produce(self) -> None:
        # A broker that is frozen for a while is what the soak is about: the producer just waits for it.
        patient = {"delivery_timeout_ms": 300_000, "request_timeout_ms": 60_000, "max_block_ms": 300_000}
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            client_id="soak-producer",
            acks="all",
            linger_ms=5,
            batch_size=500_000,
            **patient,
        )
        stream, due = Stream(), time.monotonic()
        while self.produced < self._examples and not self._over.is_set():
            if self.produced - self.progress.processed >= self._lead or time.monotonic() < due:
                time.sleep(0.005)
                continue
            due = max(due, time.monotonic() - _MOST_LATE_SECONDS) + ROWS / self._rate
            partition = (self.produced // ROWS) % self._partitions
            producer.send(self._topic, stream.message(), partition=partition).add_errback(self._failed)
            self.produced += ROWS
        producer.flush()
        producer.close()

    def _failed(self, error: kafka_errors.KafkaError) -> None:
        self.failure = error
        self._over.set()


class LossEndpoint:
    """A model behind the Open Inference Protocol whose loss is the squared length of the embedding.

    A context manager. While `pause` is positive, every answer takes that many seconds longer.
    """

    def __init__(self) -> None:
        self.pause = 0.0
        self.queries = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> LossEndpoint:
        threading.Thread(target=self._http.serve_forever, args=(0.1,), name="losses", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, body: bytes) -> dict[str, Any]:
        """The losses of one request."""
        time.sleep(self.pause)
        tensors = {tensor["name"]: tensor for tensor in orjson.loads(body)["inputs"]}
        embeddings = np.array(tensors["embeddings"]["data"]).reshape(tensors["embeddings"]["shape"])
        losses = (embeddings**2).sum(axis=1)
        self.queries += len(losses)
        output = {"name": "loss", "datatype": "FP64", "shape": [len(losses)], "data": losses.tolist()}
        return {"model_name": "model", "model_version": "1", "outputs": [output]}


class _Handler(BaseHTTPRequestHandler):
    owner: LossEndpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = orjson.dumps(self.owner.answer(self.rfile.read(int(self.headers["Content-Length"]))))
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # it has given up waiting
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
