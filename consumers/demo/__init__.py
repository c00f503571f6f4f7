"""The demo: space shuttle telemetry through Apache Kafka, and a model that learns from 1 % of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from consumers.errors import ServiceError

__all__ = ["main"]

_MISSING = "The demo needs more packages ({}); run: pip install 'stream-coreset[demo]'"


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0, or 1 where the audit is not clean.

    Raises
    ------
    ServiceError
        When something does not work on this machine; says what.
    """
    arguments = _parser().parse_args(words)
    _forget_settings()
    _interrupted.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        from consumers.demo.data import load_shuttle  # noqa: PLC0415 - an extra may be missing
        from consumers.demo.display import Display  # noqa: PLC0415
        from consumers.demo.show import Options, show  # noqa: PLC0415

        events = load_shuttle()
    except ModuleNotFoundError as error:
        raise ServiceError(_MISSING.format(error.name)) from error
    try:
        with Display(len(events)) as display:
            report = show(Options(arguments.seed, arguments.kill, arguments.rate), display, events)
    except ServiceError:
        if _interrupted.is_set():  # who was told to end as well may say so while we take leave
            raise KeyboardInterrupt from None
        raise
    display.show(report.render())
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.json(), indent=2) + "\n", "utf-8")
    return 0 if report.clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("stream-coreset demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws (default 1)")
    parser.add_argument("--kill", action="store_true", help="end a sampler with SIGKILL in mid-stream")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome as JSON as well")
    parser.add_argument(
        "--rate", type=_positive, default=1_200.0, metavar="X", help="events a second (default 1200)"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return value


def _forget_settings() -> None:
    """Settings in the environment are for a service of one's own; the demo brings its own."""
    for name in [name for name in os.environ if name.startswith("STREAM_CORESET_")]:
        del os.environ[name]


_interrupted = threading.Event()


def _interrupt(*_: object) -> NoReturn:
    _interrupted.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
