"""Defects by name, each with the kind of finding that it must lead to."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

__all__ = ["DEFECTS", "Defect", "changed", "defect", "die", "freeze", "nth"]


@dataclass(frozen=True)
class Defect:
    """What is planted: `plant` changes the running process, `finding` is the kind that must be found."""

    name: str
    finding: str
    plant: Callable[[], None]


DEFECTS: dict[str, Defect] = {}


def defect(name: str, *, finding: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function that plants a defect."""

    def register(plant: Callable[[], None]) -> Callable[[], None]:
        DEFECTS[name] = Defect(name, finding, plant)
        return plant

    return register


def changed(owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Replace a function or method: `change` is given the original and its arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def instead(*arguments: Any, **named: Any) -> Any:
        return change(original, *arguments, **named)

    setattr(owner, name, instead)


def nth(wanted: int) -> Callable[[], bool]:
    """A function that is true at its call number `wanted` (from 1) and at no other."""
    calls = count(1)
    return lambda: next(calls) == wanted


def die() -> None:
    """End at once, as by a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(seconds: float) -> None:
    """Stop this whole process for a while, as a machine that stalls does."""
    command = f"sleep {seconds}; kill -CONT {os.getpid()}"
    waker = subprocess.Popen(["sh", "-c", command], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    waker.wait()
