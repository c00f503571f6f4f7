"""Windows: which messages are consumed together, and when that is decided. Time is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

__all__ = ["Reason", "Window", "WindowBuilder"]

T = TypeVar("T")
Reason = Literal["size", "bytes", "age", "flush"]


@dataclass(frozen=True)
class Window(Generic[T]):
    """Whole messages that are consumed together; a batch of its own.

    Attributes
    ----------
    items : tuple
        The messages, in the order in which they were added.
    rows : int
        Examples in them.
    nbytes : int
        The most that they, or any sample of them, can take.
    opened, closed : float
        Seconds on the caller's clock: the first message's arrival, and the decision to close.
    reason : {"size", "bytes", "age", "flush"}
        Why it closed.
    """

    items: tuple[T, ...]
    rows: int
    nbytes: int
    opened: float
    closed: float
    reason: Reason


class WindowBuilder(Generic[T]):
    """Cuts a stream of messages into windows by number of examples, by bytes and by age.

    A window never splits a message and never exceeds `size` rows or `max_bytes`, unless one message does
    so alone. Whether it closes depends on nothing that is drawn later: were a window refused because its
    *sample* is too large, retries would condition on the draw and bias it.

    Parameters
    ----------
    size : int
        Largest number of rows.
    max_bytes : int
        Largest number of bytes of a window and of any sample that could be drawn from it.
    age : float
        Seconds after which a window closes, counted from its first message.
    draws : callable, optional
        For draws with replacement: the expected sample size of a window of so many rows. A sample may then
        repeat the largest example ceil(s) times. Without replacement it never exceeds the messages.

    Raises
    ------
    ValueError
        When a limit is not positive.

    Examples
    --------
    >>> builder = WindowBuilder(size=3, max_bytes=1000, age=10.0)
    >>> [len(builder.add(name, 1, 10, now=0.0)) for name in "abc"]
    [0, 0, 1]
    >>> builder.add("d", 1, 10, now=1.0), builder.due(now=11.0)[0].reason
    ([], 'age')
    """

    def __init__(
        self, size: int, max_bytes: int, age: float, *, draws: Callable[[int], float] | None = None
    ) -> None:
        for name, limit in (("size", size), ("max_bytes", max_bytes), ("age", age)):
            if not limit > 0:
                raise ValueError(f"{name}: expected a limit above 0, got {limit}")
        self.size, self.max_bytes, self.age = size, max_bytes, age
        self._draws = draws
        self.clear()

    def clear(self) -> None:
        """Forget everything pending, as after a rebalance."""
        self._items: list[T] = []
        self._rows = self._nbytes = self._largest = 0
        self._opened = 0.0

    @property
    def pending_bytes(self) -> int:
        """Bytes of the messages in the open window."""
        return self._nbytes

    @property
    def deadline(self) -> float | None:
        """When the open window becomes too old; None when nothing is pending."""
        return self._opened + self.age if self._items else None

    def add(
        self, item: T, rows: int, nbytes: int, now: float, *, largest: int | None = None
    ) -> list[Window[T]]:
        """Add one message and return the windows that closed, oldest first.

        Parameters
        ----------
        item : T
            The message itself, kept whole.
        rows : int
            Examples in it; 0 is allowed (all of them dead).
        nbytes : int
            What it takes when all of it is emitted.
        now : float
            Seconds on a clock that never runs backwards.
        largest : int, optional
            Bytes of its largest example; the whole message by default.
        """
        if rows < 0 or nbytes < 0:
            raise ValueError(f"rows and nbytes: expected 0 or more, got {rows} and {nbytes}")
        largest = nbytes if largest is None else largest
        closed = self.due(now)
        reason = self._refuses(rows, nbytes, largest)
        if self._items and reason:
            closed.append(self._close(reason, now))
        self._append(item, rows, nbytes, largest, now)
        full: Reason | None = "size" if self._rows >= self.size else None
        if full or self._worst(self._rows, self._nbytes, self._largest) >= self.max_bytes:
            closed.append(self._close(full or "bytes", now))
        return closed

    def due(self, now: float) -> list[Window[T]]:
        """The open window if it has reached its age, else nothing."""
        deadline = self.deadline
        return [self._close("age", now)] if deadline is not None and now >= deadline else []

    def flush(self, now: float) -> list[Window[T]]:
        """The open window whatever its age, as at a shutdown that drains."""
        return [self._close("flush", now)] if self._items else []

    def _refuses(self, rows: int, nbytes: int, largest: int) -> Reason | None:
        """Why the open window cannot take one more message of that kind."""
        if self._rows + rows > self.size:
            return "size"
        worst = self._worst(self._rows + rows, self._nbytes + nbytes, max(self._largest, largest))
        return "bytes" if worst > self.max_bytes else None

    def _worst(self, rows: int, nbytes: int, largest: int) -> int:
        """Bytes of the window or of the largest sample that it could give, whichever is more."""
        return nbytes if self._draws is None else max(nbytes, math.ceil(self._draws(rows)) * largest)

    def _append(self, item: T, rows: int, nbytes: int, largest: int, now: float) -> None:
        if not self._items:
            self._opened = now
        self._items.append(item)
        self._rows += rows
        self._nbytes += nbytes
        self._largest = max(self._largest, largest)

    def _close(self, reason: Reason, now: float) -> Window[T]:
        worst = self._worst(self._rows, self._nbytes, self._largest)
        window = Window(tuple(self._items), self._rows, worst, self._opened, now, reason)
        self.clear()
        return window
