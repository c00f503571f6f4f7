"""The streams under fire: numbered examples whose bytes depend on the number alone, some of them unusable."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from kafka import KafkaProducer
from kafka import errors as kafka_errors

from consumers.clients import release

__all__ = ["DIMENSION", "Message", "Producer", "arrow_message", "json_message"]

DIMENSION = 4
ROWS = 20  # of an Arrow message
_MEANS = np.random.default_rng(1).normal(0, 5, (6, DIMENSION))
_PAUSE = 0.05


@dataclass(frozen=True)
class Message:
    """What is sent, and how many examples it is."""

    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    rows: int


def _embedding(n: int) -> list[float]:
    rng = np.random.default_rng(n)
    return [round(x, 4) for x in (_MEANS[rng.integers(len(_MEANS))] + rng.normal(size=DIMENSION)).tolist()]


def json_message(n: int) -> Message:
    """Example n; one in 50 cannot be used, for one of four reasons."""
    bad = (b"not json %d" % n, b'{"embedding": [1, 2], "id": %d}' % n, b'{"embedding": [1, 2, 3, NaN]}', None)
    value = orjson.dumps({"id": n, "embedding": _embedding(n), "text": "\u00e4" * (n % 40)})
    if n % 50 == 49:
        value = bad[n // 50 % len(bad)]  # type: ignore[assignment]
    return Message(
        value,
        b"key %d" % (n % 7) if n % 3 or value is None else None,
        (("n", b"%d" % n),) if n % 2 else (),
        1,
    )


def arrow_message(n: int) -> Message:
    """Message n, of examples 20 n to 20 n + 19; one in 60 is no Arrow, one in 7 has a bad row."""
    if n % 60 == 59:
        return Message(b"not arrow %d" % n, None, (), 1)
    numbers = range(ROWS * n, ROWS * (n + 1))
    embeddings: list[list[float] | None] = [_embedding(number) for number in numbers]
    if n % 7 == 6:
        embeddings[n % ROWS] = None
    table = pa.table({"id": list(numbers), "embedding": pa.array(embeddings, pa.list_(pa.float32()))})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Message(sink.getvalue(), b"key %d" % n if n % 2 else None, (), ROWS)


class Producer:
    """Sends one message after the other until it is stopped; waits while the brokers are away.

    Parameters
    ----------
    servers : str
        Bootstrap servers, not through the proxy.
    topic : str
    partitions : int
        Message n goes to partition n modulo this.
    make : callable
        Message n.
    rate : float
        Messages a second.
    """

    def __init__(
        self, servers: str, topic: str, partitions: int, make: Callable[[int], Message], rate: float
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._partitions = partitions
        self._make = make
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"producer of {topic}", daemon=True)
        self.messages = self.examples = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, when everything sent has arrived or is given up."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(kafka_errors.KafkaError):
                producer = KafkaProducer(bootstrap_servers=self._servers.split(","), linger_ms=5)
                try:
                    self._flow(producer)
                finally:
                    release(producer)

    def _flow(self, producer: Any) -> None:
        """Send until stopped, or until something is lost: the client can be of no more use then."""
        lost = threading.Event()
        began, first = time.monotonic(), self.messages
        while not (self._stop.wait(_PAUSE) or lost.is_set()):
            due = first + round((time.monotonic() - began) * self._rate)
            for n in range(self.messages, due):
                message = self._make(n)
                sent = producer.send(
                    self._topic,
                    message.value,
                    key=message.key,
                    headers=list(message.headers),
                    partition=n % self._partitions,
                )
                sent.add_errback(lambda error: lost.set())
                self.messages, self.examples = n + 1, self.examples + message.rows
        if self._stop.is_set():
            producer.flush(30)
