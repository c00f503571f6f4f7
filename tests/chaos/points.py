"""Points of the loop, inside a process of the service, at which the harness may strike.

The process connects to the harness (:mod:`chaos.director`) and is told which point is armed. When it comes
there it says so, waits, and does what it is told: goes on, sleeps, raises, kills or stops itself. An armed
point strikes once.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import errors as kafka_errors

__all__ = ["POINTS", "install"]

POINTS = (
    "before initialise",
    "after initialise",
    "before apply",
    "after apply",
    "before begin",
    "after begin",
    "after sends",
    "before offsets",
    "after offsets",
    "before commit",
    "in commit",
    "after commit",
)
_PATIENCE = 60.0  # seconds without a word from the harness after which the process goes on


class RaisedOnPurposeError(kafka_errors.KafkaError):
    """What a point raises in the transaction: an error of unknown kind and outcome."""


class Wire:
    """The line to the harness."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        self._socket.settimeout(None)
        self._armed = ""
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._say(f"pid {os.getpid()}")
        threading.Thread(target=self._listen, name="points", daemon=True).start()

    def reach(self, point: str) -> None:
        """Come to a point; does nothing unless that one is armed."""
        with self._lock:
            if point != self._armed:
                return
            self._armed = ""
        self._say(f"at {point}")
        try:
            order, _, value = self._orders.get(timeout=_PATIENCE).partition(" ")
        except queue.Empty:
            return
        _obey(order, value)

    def _say(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def _listen(self) -> None:
        with self._socket.makefile("r") as lines:
            for line in lines:
                word, _, value = line.rstrip("\n").partition(" ")
                if word == "arm":
                    self._armed = value
                else:
                    self._orders.put(value)


def _obey(order: str, value: str) -> None:
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif order == "sleep":
        time.sleep(float(value))
    elif order == "raise":
        raise RaisedOnPurposeError("raised on purpose")


def install(address: tuple[str, int]) -> None:
    """Put the points into this process."""
    from consumers import committer
    from consumers.clusterer import ClustererTransform
    from consumers.sampler import SamplerTransform

    reach = Wire(address).reach
    make = committer.transactional_producer

    def producer(*args: Any, **kwargs: Any) -> Any:
        return _with_points(make(*args, **kwargs), reach)

    committer.transactional_producer = producer
    for transform in (SamplerTransform, ClustererTransform):
        transform.apply = _around(transform.apply, reach, "before apply", "after apply")


def _with_points(producer: Any, reach: Callable[[str], None]) -> Any:
    steps = {
        "init_transactions": ("before initialise", "after initialise"),
        "begin_transaction": ("before begin", "after begin"),
        "flush": (None, "after sends"),
        "send_offsets_to_transaction": ("before offsets", "after offsets"),
        "commit_transaction": ("before commit", "after commit"),
    }
    for name, (before, after) in steps.items():
        setattr(producer, name, _around(getattr(producer, name), reach, before, after))
    manager, sender = producer._transaction_manager, producer._sender
    begin_commit = manager.begin_commit

    def in_commit() -> Any:
        result = begin_commit()
        sender.wakeup()
        time.sleep(random.uniform(0.0, 0.01))  # the request is made, under way or answered
        reach("in commit")
        return result

    manager.begin_commit = in_commit
    return producer


def _around(step: Any, reach: Callable[[str], None], before: str | None, after: str | None) -> Any:
    def with_points(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            reach(before)
        result = step(*args, **kwargs)
        if after is not None:
            reach(after)
        return result

    return with_points
