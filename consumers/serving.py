"""How a process of the service lives: a signal asks it to stop, a second one ends it at once.

Exit codes: 0 after SIGTERM or SIGINT, whatever it was waiting for, at most `grace_seconds` and 3 s later;
128 and the number of the signal (143, 130) after a second one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import structlog

from consumers.errors import ServiceError
from consumers.settings import Settings

__all__ = ["CRASHED", "serve", "stop_on_signals"]

_M_ARENA_MAX = -8  # of malloc.h
_TRIM_SECONDS = 10.0
_CLOSING_SECONDS = 3.0  # after the grace, to let go of clients and group
CRASHED = 70  # exit code of a mistake of ours, after its traceback in the log; worth another start


def serve(role: Callable[[Settings, threading.Event], None], settings: Settings, *, supervised: bool) -> int:
    """Run `role` until a signal, or where it is `supervised` the end of stdin, asks it to stop.

    It then has the grace period and three seconds to end, or is ended.

    Raises
    ------
    ServiceError
        What a person must mend, as the role raised it.
    """
    stop = stop_on_signals()
    threading.Thread(target=_keep_memory_low, name="memory", daemon=True).start()
    threading.Thread(target=_end_in_time, args=(stop, settings.grace_seconds), daemon=True).start()
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


def _keep_memory_low() -> None:
    """Have the C library (glibc) use two heaps, and give back what is free in them from time to time.

    It has eight heaps a core, gives them to new threads in turn, and each keeps what it once held: a service
    that makes a thread for each transaction would grow until all of them have met the largest backlog.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 2)
        while library.malloc_trim(0) >= 0:
            time.sleep(_TRIM_SECONDS)


def _end_in_time(stop: threading.Event, grace: float) -> None:
    """A client whose broker hangs is not waited for: what is not committed by now counts as never read."""
    stop.wait()
    time.sleep(grace + _CLOSING_SECONDS)
    structlog.get_logger("stream-coreset").warning("ended without taking leave: the brokers do not answer")
    os._exit(0)


def _stop_at_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held at the end
        pass
    stop.set()
