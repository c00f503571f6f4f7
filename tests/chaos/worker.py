"""A process of the service under fire: ``python -m chaos.worker [--defect NAME] [--points HOST:PORT] ROLE``.

It is the command ``stream-coreset`` with two doors that only tests can open: a defect planted on purpose, and
points of the loop at which the harness decides what happens next (:mod:`chaos.points`). SIGUSR1 makes it
write the stacks of all its threads to its log.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import consumers.cli


def main(words: Sequence[str]) -> int:
    """Open the doors that are asked for, then run the command; its exit code."""
    parser = argparse.ArgumentParser(prog="chaos.worker", add_help=False, allow_abbrev=False)
    parser.add_argument("--defect")
    parser.add_argument("--points")
    asked, command = parser.parse_known_args(words)
    faulthandler.register(signal.SIGUSR1)
    _yield_to_brokers()
    if asked.defect:
        from chaos.defects import plant

        plant(asked.defect)
    if asked.points:
        from chaos.points import install

        host, _, port = asked.points.rpartition(":")
        install((host, int(port)))
    return consumers.cli.main(command)


def _yield_to_brokers() -> None:
    """What ten processes take of this machine must not slow the brokers, which are elsewhere in life."""
    os.nice(10)
    with suppress(OSError):  # Linux may share the processor out by sessions, of which each of us is one
        Path("/proc/self/autogroup").write_text("10")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
