"""The command ``stream-coreset``: every part of the service, and what looks after it."""

# ruff: noqa: PLC0415  (a command imports what it needs when it runs, so that help comes at once)

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from consumers import options
from consumers.errors import ServiceError

if TYPE_CHECKING:
    from consumers.settings import Settings

__all__ = ["main"]

# Exit codes: 0 well, also after SIGTERM or SIGINT; 1 a person must mend something, or an audit is not clean;
# 2 wrong usage or settings; 70 a mistake of ours; 143 or 130 after a second SIGTERM or SIGINT.
_MEND, _USAGE = 1, 2


@dataclass(frozen=True)
class _Command:
    says: str
    run: Callable[[argparse.Namespace], int]
    prepare: Callable[[argparse.ArgumentParser], None]


class _Report(Protocol):
    def render(self) -> str: ...
    def json(self) -> object: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["demo"]:
            return _demo(words[1:])
        arguments = _parser(words).parse_args(words)
        command: _Command = _COMMANDS[arguments.command]
        return command.run(arguments)
    except ServiceError as error:
        return _explain(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails again
        return 128 + signal.SIGPIPE


def _explain(error: ServiceError) -> int:
    from consumers.settings import SettingsError

    print(f"stream-coreset: {error}", file=sys.stderr)
    return _USAGE if isinstance(error, SettingsError) else _MEND


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stream-coreset",
        description="A small weighted sample of a live Kafka stream, exactly once.",
        epilog="Every command explains itself: stream-coreset COMMAND --help.",
    )
    version = importlib.metadata.version("stream-coreset")
    parser.add_argument("--version", action="version", version=f"stream-coreset {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        own = commands.add_parser(name, help=command.says, description=command.says, allow_abbrev=False)
        if name in words[:1]:  # the settings take time to describe
            command.prepare(own)
    return parser


def _settings(arguments: argparse.Namespace, role: str = "") -> Settings:
    """Load the settings and set up the log of `role`, or of a command that ends by itself."""
    from consumers.flags import read_settings
    from consumers.logs import configure_logs

    settings = read_settings(arguments)
    configure_logs(
        settings.monitoring, libraries=bool(role), role=role, name=settings.name, instance=settings.instance
    )
    return settings


def _sampler(arguments: argparse.Namespace) -> int:
    from consumers.serving import serve

    if arguments.shadow:
        return _shadow(arguments)

    def role(settings: Settings, stop: threading.Event) -> None:
        from consumers.roles.sampler import run_sampler  # takes time, in which signals must find us ready

        run_sampler(settings, stop)

    return serve(role, _settings(arguments, "sampler"), supervised=arguments.supervised)


def _shadow(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.serving import stop_on_signals
    from consumers.shadow import shadow

    stop = stop_on_signals()
    report = shadow(settings, arguments.judged_by, stop, lambda text: print(text, file=sys.stderr))
    _show(report, arguments.json)
    return 0


def _clusterer(arguments: argparse.Namespace) -> int:
    from consumers.serving import serve

    def role(settings: Settings, stop: threading.Event) -> None:
        from consumers.roles.clusterer import run_clusterer  # takes time, in which signals must find us ready

        run_clusterer(settings, stop)

    return serve(role, _settings(arguments, "clusterer"), supervised=arguments.supervised)


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, "supervisor")
    from consumers.flags import flags_of
    from consumers.serving import stop_on_signals
    from consumers.supervisor import Supervisor, children

    supervisor = Supervisor(
        children(settings, arguments.samplers, flags_of(arguments)),
        grace=settings.grace_seconds + 5,
        prefix=settings.monitoring.log_format == "text",
    )
    return supervisor.run(stop_on_signals(supervisor.kill))


def _topics(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.topics import ensure_topics, verify_topics

    for line in (verify_topics if arguments.verify else ensure_topics)(settings):
        print(line)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.check import check

    one = {"roles": (arguments.role,)} if arguments.role else {}
    return 0 if check(settings, print, **one) else _MEND


def _rights(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.rights import PARTS, acl_commands

    user = settings.kafka.sasl_username
    for part in [arguments.part] if arguments.part else PARTS:
        principal = arguments.principal or f"User:{user or f'{settings.name}-{part}'}"
        print(f"# {part}", *acl_commands(settings, part, principal), sep="\n")
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.audit import audit

    report = audit(settings, lambda text: print(f"{text} ...", file=sys.stderr))
    _show(report, arguments.json)
    return 0 if report.clean else _MEND


def _select(arguments: argparse.Namespace) -> int:
    from consumers.one_shot import read_options, run

    _show(run(read_options(arguments)), arguments.json)
    return 0


def _clusters(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.explaining.centers import report

    _show(report(settings, arguments), arguments.json)
    return 0


def _explain_example(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.explaining.example import report

    _show(report(settings, arguments), arguments.json)
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from consumers.replay import replay
    from consumers.replay.selection import read_options

    report = replay(settings, read_options(arguments), lambda text: print(f"{text} ...", file=sys.stderr))
    print(report.render())
    return _MEND if report.stayed else 0


def _show(report: _Report, where: str | None) -> None:
    """Show a report to people, or to programs, or both: `where` is that of ``--json``."""
    if where != "-":
        print(report.render())
    if where is not None:
        _write_json(where, report.json())


def _write_json(where: str, value: object) -> None:
    text = json.dumps(value, indent=2) + "\n"
    if where == "-":
        sys.stdout.write(text)
        return
    try:
        Path(where).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServiceError(f"the report cannot be written: {error}") from error


def _demo(words: Sequence[str]) -> int:
    from consumers.demo import main as demo

    return demo(words)


_COMMANDS = {
    "run": _Command(
        "run samplers and the clusterer on this machine, restarted when they end", _run, options.with_samplers
    ),
    "sampler": _Command("run one sampler; start more of them to scale out", _sampler, options.with_sampler),
    "clusterer": _Command("run one clusterer; a second one stands by", _clusterer, options.with_supervised),
    "topics": _Command("create the topics of the service, or verify them", _topics, options.with_verify),
    "check": _Command(
        "connect to everything, say what is wrong and how to mend it", _check, options.with_role
    ),
    "rights": _Command(
        "print the least rights (ACLs) of each part, as commands", _rights, options.with_principal
    ),
    "audit": _Command(
        "verify from the topics that nothing was lost, repeated or biased", _audit, options.with_json
    ),
    "replay-dead-letters": _Command(
        "put dead letters back into the stream, once their cause is mended", _replay, options.with_selection
    ),
    "clusters": _Command(
        "show the centers: mass, losses, share of the sample", _clusters, options.with_centers
    ),
    "explain": _Command("tell why an example was taken, or was not", _explain_example, options.with_example),
    "select": _Command(
        "select a weighted sample of the rows of a file, without Kafka", _select, options.with_file
    ),
    "demo": _Command(
        "show it all on a replayed stream (own options: demo --help)", lambda _: 0, options.nothing
    ),
}

if __name__ == "__main__":
    sys.exit(main())
