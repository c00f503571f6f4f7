"""The demo's trainer: learns from the coreset topic and serves its own losses.

``python -m consumers.demo.trainer --config FILE`` runs it alone, with the settings of the service.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType

import structlog
from kafka import KafkaConsumer, TopicPartition

from consumers.clients import plain_consumer
from consumers.connecting import connect
from consumers.demo.alone import run_alone
from consumers.demo.evaluation import History
from consumers.demo.joining import CoresetWindow, WindowJoiner
from consumers.demo.model import Learner, LinearModel
from consumers.demo.server import LossServer
from consumers.errors import TopicError
from consumers.reader import input_record, offset_range
from consumers.settings import Settings

__all__ = ["Trainer", "main"]

log = structlog.get_logger("trainer")
_POLL_MS = 100
_WAIT_SECONDS = 30.0


class Trainer:
    """Follows the coreset and the ledger on a thread of its own.

    A context manager; it reads both topics from their beginnings.

    Parameters
    ----------
    settings : Settings
        Of the service: the brokers and the names of its topics.
    server : LossServer
        Where each new model is served.
    learn : callable
        Takes each window, in the order in which they become whole; returns the new model if there is one.
    afterwards : callable
        Called after `learn`, when the new model is served.
    """

    def __init__(
        self,
        settings: Settings,
        server: LossServer,
        learn: Callable[[CoresetWindow], LinearModel | None],
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        self.history = History()
        self.failure: BaseException | None = None
        self._settings, self._server = settings, server
        self._learn, self._afterwards = learn, afterwards
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trainer", daemon=True)

    def __enter__(self) -> Trainer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        try:
            consumer = connect(lambda: plain_consumer(self._settings), self._settings, self._stop)
            if consumer is not None:
                with closing(consumer):
                    self._follow(consumer)
        except BaseException as error:
            self.failure = error

    def _follow(self, consumer: KafkaConsumer) -> None:
        ledger = self._settings.topic("windows")
        joiner = WindowJoiner(ledger)
        first: dict[TopicPartition, int] = {}
        for topic in (self._settings.topic("coreset"), ledger):
            first |= _beginning(consumer, topic, self._stop)
        consumer.assign(list(first))
        for partition, offset in first.items():
            consumer.seek(partition, offset)
        while not self._stop.is_set():
            for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in batch:
                    window = joiner.feed(input_record(record))
                    if window is not None:
                        self._take(window)

    def _take(self, window: CoresetWindow) -> None:
        model = self._learn(window)
        if model is not None:
            version = str(len(self.history) + 1)
            self._server.serve(model, version)
            self.history.add(model, time.time_ns() // 1_000_000)
        self._afterwards()


def _beginning(consumer: KafkaConsumer, topic: str, stop: threading.Event) -> dict[TopicPartition, int]:
    """First offsets of a topic, for whose making we wait a while: all may have been started together."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return dict(offset_range(consumer, topic)[0])
        except TopicError:
            if time.monotonic() > deadline or stop.wait(1.0):
                raise


def main(words: Sequence[str] | None = None) -> int:
    """Run the trainer alone, until a signal ends it."""
    parser = argparse.ArgumentParser("python -m consumers.demo.trainer", description=main.__doc__)
    parser.add_argument("--listen", default="127.0.0.1", metavar="HOST", help="address of the model endpoint")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="its port (default 8080)")
    return run_alone(parser, words, "trainer", _serve)


def _serve(settings: Settings, arguments: argparse.Namespace, stop: threading.Event) -> None:
    learner = Learner()

    def learn(window: CoresetWindow) -> LinearModel | None:
        return learner.model if learner.learn(window.sampled, window.weights) else None

    def tell() -> None:
        log.info("learned a window", models=len(trainer.history), queries=server.queries)

    server = LossServer(settings.endpoint.model, arguments.listen, arguments.port)
    with server, Trainer(settings, server, learn, tell) as trainer:
        log.info("waiting for the coreset", url=server.url, model=server.name)
        while not stop.wait(0.5) and trainer.failure is None:
            pass
    if trainer.failure is not None:
        raise trainer.failure


if __name__ == "__main__":
    raise SystemExit(main())
