"""One partition of the input: its visible messages in order, and the ranges of the ledger that take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.checker.entries import Span
from chaos.checker.messages import Message

__all__ = ["Lane", "Taken"]


@dataclass(frozen=True)
class Taken:
    """What a range took: its messages, and those before it that no range took."""

    messages: list[Message]
    skipped: list[Message]


@dataclass
class Lane:
    """Ranges come in the order of the ledger, which within a partition is that of the offsets.

    Attributes
    ----------
    read_to : int
        Every visible message before this offset has been put in.
    done : int
        End of the ranges so far; 0 before the first.
    """

    read_to: int = 0
    done: int = 0
    _waiting: deque[Message] = field(default_factory=deque)

    def put(self, messages: Sequence[Message], read_to: int) -> None:
        """Add what was read."""
        self._waiting.extend(messages)
        self.read_to = read_to

    def overlaps(self, span: Span) -> bool:
        """Whether a range begins before the end of the ones so far."""
        return span.start < self.done

    def take(self, span: Span) -> Taken:
        """Take the messages of a range that does not overlap."""
        skipped = self._before(span.start)
        self.done = span.end
        return Taken(self._before(span.end), skipped)

    def left(self) -> list[Message]:
        """Messages that no range took."""
        return list(self._waiting)

    def _before(self, offset: int) -> list[Message]:
        found = []
        while self._waiting and self._waiting[0].offset < offset:
            found.append(self._waiting.popleft())
        return found
