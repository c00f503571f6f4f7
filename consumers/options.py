"""The options of each command, added to its parser when it is the one that is run."""

# ruff: noqa: PLC0415  (a command imports what it needs when it runs, so that help comes at once)

from __future__ import annotations

import argparse

__all__ = [
    "nothing",
    "settings_only",
    "with_centers",
    "with_example",
    "with_file",
    "with_json",
    "with_principal",
    "with_role",
    "with_sampler",
    "with_samplers",
    "with_selection",
    "with_supervised",
    "with_verify",
]


def nothing(parser: argparse.ArgumentParser) -> None:
    """For a command that parses its own options."""


def settings_only(parser: argparse.ArgumentParser) -> None:
    """Add every setting."""
    from consumers.flags import add_settings

    add_settings(parser)


def with_samplers(parser: argparse.ArgumentParser) -> None:
    """Add how many samplers are run, and every setting."""
    parser.add_argument("--samplers", type=int, default=1, metavar="N", help="sampler processes (default 1)")
    settings_only(parser)


def with_sampler(parser: argparse.ArgumentParser) -> None:
    """Add what a dry run is asked to do, what a supervisor tells its children, and every setting."""
    from consumers.shadow.options import add_options

    add_options(parser)
    with_supervised(parser)


def with_supervised(parser: argparse.ArgumentParser) -> None:
    """Add what a supervisor tells its children, and every setting."""
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    settings_only(parser)


def with_json(parser: argparse.ArgumentParser) -> None:
    """Add where a report goes as JSON, and every setting."""
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the report as JSON to FILE, or to the terminal",
    )
    settings_only(parser)


def with_centers(parser: argparse.ArgumentParser) -> None:
    """Add how many centers are shown, where they go as JSON, and every setting."""
    from consumers.explaining.centers import add_options

    with_json(parser)
    add_options(parser)


def with_example(parser: argparse.ArgumentParser) -> None:
    """Add which example is explained, where it goes as JSON, and every setting."""
    from consumers.explaining.example import add_options

    with_json(parser)
    add_options(parser)


def with_role(parser: argparse.ArgumentParser) -> None:
    """Add the role that is looked at, and every setting."""
    parser.add_argument(
        "--role", choices=("sampler", "clusterer"), help="check what this role needs (default: both)"
    )
    settings_only(parser)


def with_principal(parser: argparse.ArgumentParser) -> None:
    """Add whose rights are printed, and every setting."""
    from consumers.rights import PARTS

    parser.add_argument("--part", choices=PARTS, help="of this part of the service alone (default: of each)")
    parser.add_argument(
        "--principal",
        metavar="TEXT",
        help="who is granted them, as the brokers call it (default User:{kafka.sasl_username} where that is "
        "set, else User:{name}-{part})",
    )
    settings_only(parser)


def with_selection(parser: argparse.ArgumentParser) -> None:
    """Add which dead letters are replayed, and every setting."""
    from consumers.replay.selection import add_options

    add_options(parser)
    settings_only(parser)


def with_file(parser: argparse.ArgumentParser) -> None:
    """Add what a one-shot selection is asked to do; it needs no settings."""
    from consumers.one_shot import add_options

    add_options(parser)


def with_verify(parser: argparse.ArgumentParser) -> None:
    """Add whether topics are only verified, and every setting."""
    parser.add_argument(
        "--verify", action="store_true", help="create nothing, only say what is missing or wrong"
    )
    settings_only(parser)
