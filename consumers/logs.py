"""The log: structlog and the standard library's loggers through one formatter, as text or JSON, to stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from consumers.sections import Monitoring

__all__ = ["configure_logs"]

# Libraries that tell much: their warnings are enough, ours are shown from the level that is set.
_CHATTY = ("kafka", "httpx", "httpcore", "urllib3", "asyncio")
_PAUSE_SECONDS = 30.0


class _Sparingly(logging.Filter):
    """Lets each line of a library's code speak once in half a minute, or never; our own always.

    A client whose broker is away repeats itself several times a second.
    """

    def __init__(self, libraries: bool) -> None:
        super().__init__()
        self._libraries = libraries
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _CHATTY:
            return True
        place = (record.pathname, record.lineno)
        if not self._libraries or record.created - self._said.get(place, 0.0) < _PAUSE_SECONDS:
            return False
        self._said[place] = record.created
        return True


def configure_logs(
    monitoring: Monitoring, stream: TextIO | None = None, *, libraries: bool = True, **context: str
) -> None:
    """Set up the logging of this process.

    Parameters
    ----------
    monitoring : Monitoring
        Says the least level shown, and text or json.
    stream : file, optional
        Where to write; stderr by default.
    libraries : bool
        Whether warnings of libraries are shown; not by a command that says in a sentence what went wrong.
    **context
        What every entry carries, such as ``role="sampler"``.
    """
    out = stream if stream is not None else sys.stderr
    before = _before()
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(monitoring.log_format, before, out.isatty(), context))
    handler.addFilter(_Sparingly(libraries))
    _install(handler, monitoring.log_level.upper())


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [one for one in root.handlers if getattr(one, "ours", False)]:
        root.removeHandler(old)
    handler.ours = True  # type: ignore[attr-defined]
    handler.setLevel(level)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:  # at all levels: others listen to the warnings for the reason of a failure
        logging.getLogger(name).setLevel(logging.WARNING)


def _before() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(
    kind: str, before: Sequence[Processor], colors: bool, context: dict[str, str]
) -> logging.Formatter:
    def add_context(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        return {**context, **event}

    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if kind == "json":
        last += [add_context, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
    else:
        last += [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_plain)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=last)


def _plain(out: TextIO, exception: Any) -> None:
    structlog.dev.plain_traceback(out, exception)


def _json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
