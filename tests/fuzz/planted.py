"""Targets with a defect planted in each, so that the driver can be seen to find them."""

from __future__ import annotations

import os
import signal
import time
from itertools import count

__all__ = ["FATAL", "TARGETS"]


FATAL = 40
_calls = count(1)


def _seldom(value: bytes) -> bool:
    """Whether this is the one call of a process that goes wrong."""
    return next(_calls) == FATAL


def crash(value: bytes) -> str:
    """Die as a parser in C does."""
    if _seldom(value):
        os.kill(os.getpid(), signal.SIGSEGV)
    return "accepted"


def hang(value: bytes) -> str:
    """Stand still."""
    if _seldom(value):
        time.sleep(3600)
    return "accepted"


def slow(value: bytes) -> str:
    """Take too much of the processor's time."""
    until = time.process_time() + (2.2 if _seldom(value) else 0)
    while time.process_time() < until:
        pass
    return "accepted"


def memory(value: bytes) -> str:
    """Make much of little."""
    return f"{len(bytearray(os.urandom(1)) * 300_000_000)}" if _seldom(value) else "accepted"


def exception(value: bytes) -> str:
    """Raise what nobody expects."""
    return f"{1 / 0}" if _seldom(value) else "accepted"


def refusal(value: bytes) -> str:
    """Behave."""
    return "seldom" if _seldom(value) else "accepted"


# By the names of real targets, for which inputs can be made.
TARGETS = {
    "json": crash,
    "wait": hang,
    "ledger": slow,
    "answer": memory,
    "headers": exception,
    "dead-letters": refusal,
}
