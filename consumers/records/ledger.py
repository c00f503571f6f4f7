"""The ledger: one entry for each window, from which anybody can audit what was emitted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter

from consumers.records.format import RecordError, decode_json

__all__ = ["LedgerEntry", "Range", "emitted_digest", "parse_source", "source_id", "window_id"]

MAX_BYTES = 900_000
Count = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


@dataclass(frozen=True)
class Range:
    """Offsets `start` to `end` (exclusive) of one partition."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    topic: Topic
    partition: Count
    start: Count
    end: Count


@dataclass(frozen=True)
class LedgerEntry:
    """What one window was made of and what was emitted of it.

    Parameters
    ----------
    window : str
        Topic, partition and start of the first range.
    ranges : tuple of Range
    valid, dead, emitted : int
        Rows that could be used, that were dead-lettered, and examples emitted (duplicates counted).
    emitted_digest : str
        See `emitted_digest`.
    s : float
        Expected number of examples drawn.
    design : str
    rate : float or None
        In force for this window; None where the budget is a size or an error bound.
    eta : float
        Share of the probability spread evenly.
    clusters_version : int
    clusters_digest : str
        Of the centers and losses used, after adaptation to the window.
    surrogate_digest : str or None
    weight_sum : float
        Sum of the weights of this draw.
    anticipated_se : float or None
        Standard error of the estimated total that the surrogate promised before the draw.
    bound : float or None
        The paper's bound on its absolute error, see `SensitivitySampler.error_bound`.
    cost : float
        Clustering cost of the window, the sum of squared distances.
    drifts : int
        Abrupt changes of the stream that were known so far, under this name.
    closed_ms : int
        When the window closed, in milliseconds since 1970.

    Examples
    --------
    >>> entry = LedgerEntry(
    ...     window="examples/0/5", ranges=(Range("examples", 0, 5, 9),), valid=3, dead=1, emitted=0,
    ...     emitted_digest=emitted_digest([]), s=0.03, design="pivotal", rate=0.01, eta=0.2,
    ...     clusters_version=0, clusters_digest="0" * 64, surrogate_digest=None, weight_sum=0.0,
    ...     anticipated_se=None, cost=1.5, closed_ms=1)
    >>> LedgerEntry.decode(entry.encode()) == entry
    True
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    window: Annotated[str, Field(max_length=320)]
    ranges: Annotated[tuple[Range, ...], Field(min_length=1, max_length=5_000)]
    valid: Count
    dead: Count
    emitted: Count
    emitted_digest: Digest
    s: Finite
    design: Literal["pivotal", "systematic", "iid"]
    rate: Annotated[float, Field(gt=0, le=1)] | None
    eta: Annotated[float, Field(ge=0, le=1)]
    clusters_version: Count
    clusters_digest: Digest
    surrogate_digest: Digest | None
    weight_sum: Finite
    anticipated_se: Finite | None
    cost: Finite
    closed_ms: Count
    drifts: Count = 0
    bound: Finite | None = None
    format: Literal[1] = 1

    @property
    def key(self) -> bytes:
        """Key of the entry in the topic."""
        return self.window.encode()

    def encode(self) -> bytes:
        """Return the entry as JSON; RecordError for an entry that could not be read back."""
        value = orjson.dumps(self)
        LedgerEntry.decode(value)
        return value

    @classmethod
    def decode(cls, value: bytes | None) -> LedgerEntry:
        """Read an entry; RecordError where anything is odd."""
        entry = decode_json(_ADAPTER, value, "ledger entry", MAX_BYTES)
        _check_ranges(entry)
        return entry


_ADAPTER: TypeAdapter[LedgerEntry] = TypeAdapter(LedgerEntry)


def _check_ranges(entry: LedgerEntry) -> None:
    if any(part.start >= part.end for part in entry.ranges):
        raise RecordError(f"ledger entry {entry.window}: an empty range")
    if entry.window != window_id(entry.ranges[0]):
        raise RecordError(f"ledger entry {entry.window}: its first range is {window_id(entry.ranges[0])}")


def window_id(first: Range) -> str:
    """Return the name of the window whose first range this is.

    >>> window_id(Range("examples", 3, 100, 200))
    'examples/3/100'
    """
    return f"{first.topic}/{first.partition}/{first.start}"


def source_id(topic: str, partition: int, offset: int, row: int | None = None) -> str:
    """Return the name of one example: ``topic/partition/offset`` and, in messages of many rows, ``/row``.

    >>> source_id("examples", 3, 120, 7)
    'examples/3/120/7'
    """
    return f"{topic}/{partition}/{offset}" + ("" if row is None else f"/{row}")


def parse_source(source: str) -> tuple[str, int, int, int | None]:
    """Read a source id back; ValueError where it is not one.

    >>> parse_source("examples/3/120")
    ('examples', 3, 120, None)
    """
    topic, *numbers = source.split("/")
    if len(numbers) not in (2, 3) or not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
        raise ValueError(f"not a source id: {source[:300]!r}")
    partition, offset, *row = (int(n) for n in numbers)
    return topic, partition, offset, row[0] if row else None


def emitted_digest(sources: Iterable[str]) -> str:
    r"""Return the SHA-256 of the sorted source ids, one a line, duplicates kept.

    >>> emitted_digest(["b", "a", "a"]) == hashlib.sha256(b"a\na\nb\n").hexdigest()
    True
    """
    lines = "".join(f"{source}\n" for source in sorted(sources))
    return hashlib.sha256(lines.encode()).hexdigest()
