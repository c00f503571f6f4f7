"""What an Arrow IPC stream says of itself, read by hand before Arrow's own reader may believe it.

Flatbuffers point where they like: a hundred thousand entries may share one long string, or a field be its own
grandchild many times over, and a reader that copies them makes gigabytes out of one message. So the
descriptions of every message are walked within a budget first. Compressed bodies are refused outright: they
are a decompression bomb in waiting, and Kafka's own compression does the same job for the whole message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["SHARING", "SLACK", "IpcError", "check_stream"]

_TIMESTAMP = 10
_MAX_DEPTH = 64
# Nothing shared needs no more than the message has; some writers share a string here and there.
SHARING, SLACK = 4, 65_536


class IpcError(ValueError):
    """The bytes are not an Arrow IPC stream that can be used; the message says why, in one printable line."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence if sentence.isprintable() else repr(sentence)[1:-1])


def check_stream(value: bytes) -> None:
    """Refuse a stream that is compressed, has something after its end, or describes far more than it holds.

    Raises
    ------
    IpcError
        With the reason.
    """
    try:
        for metadata in _messages(value):
            _check_message(metadata)
    except struct.error:
        raise IpcError("not a readable Arrow IPC stream: it points outside of itself") from None


@lru_cache(maxsize=16)
def _check_message(metadata: bytes) -> None:
    """Walk a flatbuffer; those of one stream of messages are mostly the same."""
    _Walk(metadata, SHARING * len(metadata) + SLACK).message()


def _messages(value: bytes) -> Iterator[bytes]:
    """Yield the flatbuffer of every message (Arrow columnar format, "encapsulated message format")."""
    position = 0
    while position < len(value):
        length, start = _number("<i", value, position), position + 4
        if length == -1:
            length, start = _number("<i", value, start), start + 4
        if length == 0:
            position = start
            break
        metadata = value[start : start + length]
        if length < 0 or len(metadata) < length:
            raise IpcError("not a readable Arrow IPC stream: a message is cut off")
        yield metadata
        position = start + length + _body_length(metadata)
    if position != len(value):
        raise IpcError(_ending(position, len(value)))


def _ending(position: int, nbytes: int) -> str:
    if position > nbytes:
        return "not a readable Arrow IPC stream: a body is cut off"
    return f"{nbytes - position} bytes follow the end of the Arrow stream"


def _body_length(metadata: bytes) -> int:
    walk = _Walk(metadata, 0)
    found = walk.field(walk.follow(0), 3)
    length = 0 if found is None else _number("<q", metadata, found)
    if length < 0:
        raise IpcError("not a readable Arrow IPC stream: a body of negative length")
    return length


def _number(form: str, buffer: bytes, position: int) -> int:
    if position < 0:
        raise IpcError("not a readable Arrow IPC stream: it points outside of itself")
    number: int = struct.unpack_from(form, buffer, position)[0]
    return number


@dataclass
class _Walk:
    """Follows the tables of a flatbuffer (Message.fbs, Schema.fbs) until they describe more than `left`."""

    buffer: bytes
    left: int

    def message(self) -> None:
        """Check a message: its kind, its metadata and its header."""
        root = self.follow(0)
        kind = self.byte(root, 1)
        header = self.table(root, 2)
        self.pairs(root, 4)
        match kind:
            case 1:  # schema
                self.fields(header, 1, 0)
                self.pairs(header, 2)
            case 2:  # dictionary batch
                self.refuse_compressed(self.table(header, 1))
            case 3:  # record batch
                self.refuse_compressed(header)
            case _:
                raise IpcError("not a readable Arrow IPC stream: a message of another kind")

    def refuse_compressed(self, batch: int) -> None:
        """Look for the table `compression` of a batch."""
        if self.field(batch, 3) is not None:
            raise IpcError("compressed Arrow bodies are refused; let Kafka compress (compression.type)")

    def fields(self, owner: int, index: int, depth: int) -> None:
        """Spend what the fields in a vector of `owner` describe: names, metadata, time zones, children."""
        if depth > _MAX_DEPTH:
            raise IpcError("not a readable Arrow IPC stream: nested too deeply")
        for field in self.elements(owner, index):
            self.text(field, 0)
            if self.byte(field, 2) == _TIMESTAMP:
                self.text(self.table(field, 3), 1)
            self.pairs(field, 6)
            self.fields(field, 5, depth + 1)

    def pairs(self, owner: int, index: int) -> None:
        """Spend the keys and values of metadata."""
        for pair in self.elements(owner, index):
            self.text(pair, 0)
            self.text(pair, 1)

    def text(self, owner: int, index: int) -> None:
        """Spend the bytes of a string."""
        found = self.field(owner, index)
        if found is not None:
            self.spend(_number("<I", self.buffer, self.follow(found)))

    def elements(self, owner: int, index: int) -> Iterator[int]:
        """Yield the tables of a vector, four bytes spent on each."""
        found = self.field(owner, index)
        if found is None:
            return
        vector = self.follow(found)
        for place in range(_number("<I", self.buffer, vector)):
            self.spend(4)
            yield self.follow(vector + 4 + 4 * place)

    def spend(self, nbytes: int) -> None:
        """Take from what is left."""
        self.left -= nbytes
        if self.left < 0:
            raise IpcError("it describes more than it holds: names, metadata or fields are shared")

    def byte(self, owner: int, index: int) -> int:
        """Return the number in a slot of one byte; 0 where it is not set."""
        found = self.field(owner, index)
        return 0 if found is None else _number("<B", self.buffer, found)

    def table(self, owner: int, index: int) -> int:
        """Return the position of the table in a slot."""
        found = self.field(owner, index)
        if found is None:
            raise IpcError("not a readable Arrow IPC stream: a part is missing")
        return self.follow(found)

    def follow(self, position: int) -> int:
        """Return where the offset at a position points."""
        return position + _number("<I", self.buffer, position)

    def field(self, table: int, index: int) -> int | None:
        """Return the position of a slot of a table, None where it is not set."""
        vtable = table - _number("<i", self.buffer, table)
        slot = 4 + 2 * index
        if slot >= _number("<H", self.buffer, vtable):
            return None
        offset = _number("<H", self.buffer, vtable + slot)
        return table + offset if offset else None
