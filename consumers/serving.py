"""How a process of the service lives: a signal asks it to stop, a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

from consumers.errors import ServiceError
from consumers.settings import Settings

__all__ = ["CRASHED", "serve", "stop_on_signals"]

CRASHED = 70  # exit code of a mistake of ours, after its traceback in the log; worth another start


def serve(role: Callable[[Settings, threading.Event], None], settings: Settings, *, supervised: bool) -> int:
    """Run `role` until a signal, or where it is `supervised` the end of stdin, asks it to stop.

    Raises
    ------
    ServiceError
        What a person must mend, as the role raised it.
    """
    stop = stop_on_signals()
    if supervised:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        role(settings, stop)
    except (ServiceError, KeyboardInterrupt):
        raise
    except Exception:
        structlog.get_logger("stream-coreset").exception("ended by a mistake of ours")
        return CRASHED
    return 0


def stop_on_signals(at_once: Callable[[], None] = lambda: None) -> threading.Event:
    """Make the event that the first SIGTERM or SIGINT sets; the second calls `at_once` and ends us."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            at_once()
            os._exit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def _stop_at_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held at the end
        pass
    stop.set()
