"""Which dead letters a replay is about, and the command's options that say so."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from datetime import datetime

from consumers.records.replays import Letter

__all__ = ["Selection", "add_options", "read_options"]

_EXAMPLE = """
example: producers sent longer vectors than input.dimension said; after that is mended:
  stream-coreset replay-dead-letters --exception WrongDimension --since 2026-01-31T12:00Z --dry-run
  stream-coreset replay-dead-letters --exception WrongDimension --since 2026-01-31T12:00Z
"""


@dataclass(frozen=True)
class Selection:
    """What to replay, and how.

    Attributes
    ----------
    stage, exception : str or None
        Only letters that say so.
    since, until : datetime or None
        Only messages of this time: from `since` on, before `until`.
    topic, partition, offset
        Only letters of this source.
    force : bool
        Also what would become a dead letter again, or what retention may delete at once.
    limit : int or None
        At most so many.
    max_replays : int
        What has been replayed so often stays.
    dry_run : bool
        Say what would be replayed, and do nothing.
    """

    stage: str | None = None
    exception: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    force: bool = False
    limit: int | None = None
    max_replays: int = 3
    dry_run: bool = False

    def includes(self, letter: Letter) -> bool:
        """Whether it is about this letter."""
        message, about = letter.message, letter.about
        wanted = (self.stage, self.exception, self.topic, self.partition, self.offset)
        found = (about.stage, about.exception, message.topic, message.partition, message.offset)
        same = all(want is None or want == have for want, have in zip(wanted, found, strict=True))
        return same and self._in_time(message.timestamp_ms / 1000)

    def _in_time(self, seconds: float) -> bool:
        after = self.since is None or seconds >= self.since.timestamp()
        return after and (self.until is None or seconds < self.until.timestamp())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a selection to the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"{parser.description}\n{_EXAMPLE}"
    which = parser.add_argument_group("which dead letters")
    which.add_argument("--stage", metavar="TEXT", help="only those of this stage, such as decode")
    which.add_argument("--exception", metavar="TEXT", help="only those of this kind, such as WrongDimension")
    which.add_argument("--since", type=_moment, metavar="TIME", help="only messages of this time or later")
    which.add_argument("--until", type=_moment, metavar="TIME", help="only messages before this time")
    which.add_argument("--topic", metavar="TEXT", help="only those that came from this topic")
    which.add_argument("--partition", type=_count, metavar="N", help="only those of this partition")
    which.add_argument("--offset", type=_count, metavar="N", help="only those that came from this offset")
    how = parser.add_argument_group("how they are replayed")
    how.add_argument("--dry-run", action="store_true", help="say what would be replayed, and do nothing")
    how.add_argument(
        "--force", action="store_true", help="also what could not be used with the settings of now either"
    )
    how.add_argument("--limit", type=_count, metavar="N", help="replay at most so many")
    how.add_argument(
        "--max-replays",
        type=_count,
        default=3,
        metavar="N",
        help="leave what was replayed so often (default 3)",
    )


def read_options(arguments: argparse.Namespace) -> Selection:
    """Read what `add_options` has added."""
    return Selection(**{field.name: getattr(arguments, field.name) for field in fields(Selection)})


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31T12:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} lacks its time zone: write {text}Z for UTC")
    return moment


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
