"""Runs a part of the demo as a program of its own, with the settings of the service and its manners."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Sequence

from consumers.errors import ServiceError
from consumers.flags import add_settings, read_settings
from consumers.logs import configure_logs
from consumers.serving import stop_on_signals
from consumers.settings import Settings

__all__ = ["run_alone"]


def run_alone(
    parser: argparse.ArgumentParser,
    words: Sequence[str] | None,
    role: str,
    body: Callable[[Settings, argparse.Namespace, threading.Event], None],
) -> int:
    """Parse the command line, run `body` until a signal sets its event, return the exit code.

    Parameters
    ----------
    parser : ArgumentParser
        With the options of its own; those of the settings are added.
    words : sequence of str, optional
        The command line, by default the process's.
    role : str
        Shown in the log.
    body : callable
        Takes the settings, the options and the event.
    """
    add_settings(parser)
    arguments = parser.parse_args(words)
    try:
        settings = read_settings(arguments)
        configure_logs(settings.monitoring, role=role)
        body(settings, arguments, stop_on_signals())
    except ServiceError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0
