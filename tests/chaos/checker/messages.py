"""Messages as they were read, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["OURS", "Batch", "Message", "Partition"]

Partition = tuple[str, int]
"""Topic and partition."""

OURS = "coreset-"
"""What the names of the service's headers and columns begin with."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of any topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int

    @classmethod
    def of(cls, record: Any) -> Message:
        """The message of kafka-python's record."""
        return cls(
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            tuple(record.headers or ()),
            record.timestamp,
        )

    @property
    def place(self) -> str:
        """Topic, partition and offset, as the sources of examples name them."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def header(self, name: str) -> str | None:
        """The text of the last header of that name; None without one, or where it is no text."""
        for given, value in reversed(self.headers):
            if given == name and value is not None:
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    return None
        return None

    def own_headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """The headers that are not of the service."""
        return tuple(pair for pair in self.headers if not pair[0].startswith(OURS))


@dataclass(frozen=True)
class Batch:
    """Messages of one partition in their order; everything before `read_to` has been read by then."""

    committed: bool
    partition: Partition
    messages: Sequence[Message]
    read_to: int
