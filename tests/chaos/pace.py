"""How slow this machine is now: time limits stretch with it, so that a busy machine is no finding."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache

__all__ = ["scaled", "slowness"]

_IDLE_SECONDS = 1.1  # to start a process of the service, on two idle cores
_MOST = 6.0


@cache
def slowness() -> float:
    """1 on an idle machine, up to 6 where starting a process takes so much longer; measured once."""
    return min(max(1.0, min(_start_seconds() for _ in range(2)) / _IDLE_SECONDS), _MOST)


def scaled(seconds: float) -> float:
    """Seconds that stand for so many on an idle machine."""
    return seconds * slowness()


def _start_seconds() -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import consumers.roles.sampler, consumers.roles.clusterer"], check=True
    )
    return time.monotonic() - began
