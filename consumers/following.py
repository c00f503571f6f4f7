"""A thread that reads topics with no group, and goes on whatever becomes of the brokers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import closing

import structlog
from kafka import KafkaConsumer

from consumers.clients import plain_consumer
from consumers.connecting import connect, mended_by_a_person
from consumers.settings import Settings

__all__ = ["Follower"]

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 1.0


class Follower(ABC):
    """Follows topics on a thread of its own; what goes wrong is said once, and tried again.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    what : str
        What is followed, in the plural, for the log.
    """

    def __init__(self, settings: Settings, what: str) -> None:
        self._settings, self._what = settings, what
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def start(self) -> None:
        """Start following."""
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """Stop; wait so long for the thread to end."""
        self._stop.set()
        if seconds and self._thread.is_alive():
            self._thread.join(seconds)

    @abstractmethod
    def _follow(self, consumer: KafkaConsumer) -> None:
        """Read with a new client until it has to be another, or stopped."""

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                consumer = connect(lambda: plain_consumer(self._settings), self._settings, self._stop)
                if consumer is not None:
                    with closing(consumer):
                        self._follow(consumer)
            except Exception as error:
                reason = str(mended_by_a_person(error) or f"{type(error).__name__}: {error}")
                if reason != said:
                    log.warning(f"{self._what} cannot be read, trying again", reason=reason)
                said = reason
            self._stop.wait(_AGAIN_SECONDS)
