"""The seam between the loop and what it runs: records in, units of output out.

Knows no Kafka client, so that transforms and their tests need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

__all__ = [
    "InputRecord",
    "LoopStage",
    "Observer",
    "Outcome",
    "Output",
    "Partition",
    "Silent",
    "Transform",
    "Unit",
    "UnreadableName",
]

Partition = tuple[str, int]
"""Topic and partition."""

Headers = tuple[tuple[str, bytes], ...]
LoopStage = Literal["poll", "commit"]
Outcome = Literal["committed", "aborted", "unknown"]


class UnreadableName(str):
    """The name of a header that is no UTF-8, readable: its message can be a dead letter, not an example."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A message as it was read; nothing in it is trusted."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = -1

    @property
    def nbytes(self) -> int:
        """Bytes of key, value and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True)
class Output:
    """A message to write; without a partition the key decides, as in Kafka's own client."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    partition: int | None = None


def _nothing() -> None:
    """Do nothing after the commit."""


@dataclass(frozen=True)
class Unit:
    """What one window comes to: messages and offsets that commit together or not at all.

    Attributes
    ----------
    outputs : sequence of Output
        Written in this order.
    offsets : mapping from (topic, partition) to int
        Where to read on, exclusive end of what this window used up; empty when it used up nothing.
    on_commit : callable
        Called once after the transaction has surely been committed, on the commit thread: counters
        advance here. Must be quick and must not raise.
    """

    outputs: Sequence[Output]
    offsets: Mapping[Partition, int]
    on_commit: Callable[[], None] = _nothing


W = TypeVar("W")


class Transform(Protocol[W]):
    """What a role does with its input. `cut` and `reset` are never called at the same time; `apply` runs on a
    thread of its own, on one window after the other, while `cut` goes on.
    """

    def reset(self, partitions: Sequence[Partition]) -> None:
        """Forget everything pending: a new assignment, or a transaction that did not commit.

        Called with no `apply` in flight, after the transactional id was initialised (so that a predecessor
        can write no more), before the first record of the committed offsets is read (again). Without
        partitions: this process stands by.
        """

    def cut(self, records: Sequence[InputRecord], now: float) -> list[W]:
        """Take records, return the windows that closed; cheap. Called without records too: age closes.

        `now` is monotonic, in seconds.
        """

    def apply(self, window: W) -> Unit:
        """Do the expensive part. An error here stops the service: bad input belongs in dead letters."""

    def pending_bytes(self) -> int:
        """Bytes of records taken but not yet in a returned window."""

    def window_bytes(self, window: W) -> int:
        """Bytes that a returned window holds; with `pending_bytes` they are bounded by backpressure."""


class Observer(Protocol):
    """Told what the loop does; :class:`consumers.metrics.LoopMetrics` is one."""

    def transaction(self, outcome: Outcome) -> None:
        """Count a transaction that ended."""

    def observe_stage(self, stage: LoopStage, seconds: float) -> None:
        """Take note of the time of a poll that brought records, or of a transaction."""

    def set_lag(self, lag: Mapping[Partition, int]) -> None:
        """Take note of the messages between the committed position and the last stable offset."""

    def set_load(self, partitions: int, pending_bytes: int) -> None:
        """Take note of the partitions assigned and of the bytes held in windows not yet committed."""


class Silent:
    """An observer that takes note of nothing."""

    def transaction(self, outcome: Outcome) -> None:
        """Count nothing."""

    def observe_stage(self, stage: LoopStage, seconds: float) -> None:
        """Take no note."""

    def set_lag(self, lag: Mapping[Partition, int]) -> None:
        """Take no note."""

    def set_load(self, partitions: int, pending_bytes: int) -> None:
        """Take no note."""
