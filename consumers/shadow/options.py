"""The options of a dry run."""

from __future__ import annotations

import argparse

__all__ = ["add_options"]

_JUDGED_BY = 4_000
_LEAST = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.description = (
        f"{parser.description}. With --shadow: a dry run on the live topic, which writes nothing to Kafka "
        "and commits nothing. It clusters, learns and draws as the service would, and says how much smaller "
        "the error of the sample is than that of a uniform one. It needs losses: an endpoint.url, or a "
        "feedback.topic on which training reports the losses of examples chosen at random, or of all "
        "(window may be any text)."
    )
    parser.add_argument("--shadow", action="store_true", help="only tell what sampling would gain")
    parser.add_argument(
        "--judged-by",
        type=_count,
        default=_JUDGED_BY,
        metavar="N",
        help=f"with --shadow: end when the losses of so many examples are known (default {_JUDGED_BY}; "
        "earlier with Ctrl-C)",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="with --shadow: write the report as JSON to FILE, or to the terminal",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= _LEAST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {_LEAST} on")
    return int(text)
