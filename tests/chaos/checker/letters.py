"""Dead letters: each dead row has exactly one, which says why and carries its bytes (invariant 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from chaos.checker.formats import Format, Rows
from chaos.checker.messages import Message

__all__ = ["place_of", "row_of", "wrong_with"]

PREFIX = "__coreset.errors."
_SAID = ("stage", "exception", "message", "topic", "partition", "offset")
_KEPT = 65_536


def place_of(letter: Message) -> tuple[str, int, int] | None:
    """Topic, partition and offset that its headers name; None where they do not."""
    topic, partition, offset = (letter.header(PREFIX + name) for name in ("topic", "partition", "offset"))
    try:
        return (topic, int(partition), int(offset)) if topic and partition and offset else None
    except ValueError:
        return None


def row_of(letter: Message) -> int | None:
    """The row that its key names, None for a whole message."""
    parts = (letter.key or b"").split(b"/")
    return int(parts[3]) if len(parts) == 4 and parts[3].isdigit() else None


def wrong_with(letter: Message, message: Message, rows: Rows, of: Format) -> Iterator[str]:
    """What is wrong with the dead letter of a row, or with row None of the whole message."""
    row = row_of(letter)
    source = message.place if row is None else f"{message.place}/{row}"
    if letter.key != source.encode():
        yield f"its key is {letter.key!r}, not {source}"
    lacks = [name for name in _SAID if letter.header(PREFIX + name) is None]
    if lacks:
        yield f"it does not say {', '.join(lacks)}"
    if letter.timestamp != message.timestamp:
        yield f"its time is {letter.timestamp}, not {message.timestamp}"
    if message.key is not None and _header(letter, "key") != message.key[:_KEPT]:
        yield "the message's key lacks"
    if tuple(pair for pair in letter.headers if not pair[0].startswith(PREFIX)) != message.headers:
        yield "the message's headers are not kept"
    if not _carries(letter, message, rows, of):
        yield "its bytes are not those of the row"


def _header(letter: Message, name: str) -> bytes | None:
    return dict(letter.headers).get(PREFIX + name)


def _carries(letter: Message, message: Message, rows: Rows, of: Format) -> bool:
    row = row_of(letter)
    if row is not None:
        return row < len(rows) and of.alone(rows, row, message, letter.value)
    value = message.value
    if value is None or len(value) <= _KEPT:
        return letter.value == value
    said = (_header(letter, "size"), _header(letter, "sha256"))
    true = (str(len(value)).encode(), hashlib.sha256(value).hexdigest().encode())
    return letter.value == value[:_KEPT] and said == true
