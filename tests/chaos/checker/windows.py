"""Invariants 2 and 3 for one window: what it counted, what it emitted, with which weights."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from chaos.checker.bias import Sums
from chaos.checker.clusters import Publications
from chaos.checker.entries import Entry
from chaos.checker.findings import Findings
from chaos.checker.formats import Drawn, Format, Rows
from chaos.checker.letters import row_of, wrong_with
from chaos.checker.messages import Message
from numpy.typing import NDArray

__all__ = ["Window"]

_RELATIVE = 1e-9
Place = tuple[str, int, int]
"""Topic, partition and offset."""


@dataclass(eq=False)
class _Read:
    """A message of the window: its rows, and which of them are dead."""

    message: Message
    rows: Rows
    letters: list[Message]
    dead: NDArray[np.bool_] = field(init=False)
    weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        whole = any(row_of(letter) is None for letter in self.letters)
        if whole and len(self.rows) != 1:  # a message that is dead as a whole is one dead row
            self.rows = Rows(self.rows.embeddings[:1], self.rows.sound[:1] & False, self.rows.nbytes[:1])
        self.dead = np.zeros(len(self.rows), bool)
        self.dead[[row or 0 for row in map(row_of, self.letters) if (row or 0) < len(self.rows)]] = True
        self.weights = np.zeros(len(self.rows))


class Window:
    """A window of the ledger with everything that belongs to it.

    Parameters
    ----------
    entry : Entry
    messages : iterable of Message
        The visible messages of its ranges.
    of : Format
        Of the input.
    """

    def __init__(self, entry: Entry, messages: Iterable[Message], of: Format) -> None:
        self.entry = entry
        self.messages = list(messages)
        self._format = of

    @property
    def places(self) -> list[Place]:
        """Topic, partition and offset of its messages."""
        return [(one.topic, one.partition, one.offset) for one in self.messages]

    def judge(
        self,
        drawn: list[Drawn],
        letters: Mapping[Place, list[Message]],
        published: Publications,
        found: Findings,
    ) -> tuple[Sums, int]:
        """Check it; its sums for invariant 4, and its visible rows.

        Parameters
        ----------
        drawn : list of Drawn
            The examples that name this window.
        letters : mapping
            Dead letters by the place of their message.
        published : Publications
        found : Findings
        """
        parts = zip(self.places, self.messages, strict=True)
        read = {place: _Read(one, self._format.rows(one), letters.get(place, [])) for place, one in parts}
        self._count(list(read.values()), found)
        for one in read.values():
            self._check_letters(one, found)
        self._check_number(drawn, found)
        self._check_clusters(drawn, published, found)
        for example in drawn:
            self._check_weight(example, found)
            self._check_source(example, read, found)
        return self._sums(list(read.values())), sum(len(one.rows) for one in read.values())

    def _count(self, read: Sequence[_Read], found: Findings) -> None:
        entry, name = self.entry, self.entry.window
        visible = sum(len(one.rows) for one in read)
        dead = sum(int(one.dead.sum()) for one in read)
        if entry.valid + entry.dead != visible:
            found.add("count", f"{name} counts {entry.valid} + {entry.dead} rows, visible are {visible}")
        if entry.dead != dead:
            found.add("dead letter", f"{name} counts {entry.dead} dead rows, {dead} have a dead letter")

    def _check_letters(self, one: _Read, found: Findings) -> None:
        for letter in one.letters:
            for wrong in wrong_with(letter, one.message, one.rows, self._format):
                found.add("dead letter", f"dead letter {letter.offset} of {one.message.place}: {wrong}")
        keys = Counter(letter.key for letter in one.letters)
        for key, times in keys.items():
            if times > 1:
                found.add("dead letter", f"{key!r} has {times} dead letters")
        for row in np.flatnonzero(~one.rows.sound & ~one.dead):
            found.add("dead letter", f"row {row} of {one.message.place} is unusable and has no dead letter")
        for row in np.flatnonzero(one.rows.surely_usable(one.message) & one.dead):
            found.add("dead letter", f"row {row} of {one.message.place} is usable, but has a dead letter")

    def _check_number(self, drawn: list[Drawn], found: Findings) -> None:
        """How many examples there are, which, and what they weigh together."""
        entry, name = self.entry, self.entry.window
        tolerance = 1e-6 * max(1.0, entry.s)
        if entry.emitted not in (math.floor(entry.s + tolerance), math.ceil(entry.s - tolerance)):
            found.add("size", f"{name} emits {entry.emitted} examples where s = {entry.s}")
        if entry.rate is not None and not _near(entry.s, entry.rate * entry.valid):
            found.add("size", f"{name}: s = {entry.s} is not {entry.rate} of {entry.valid} examples")
        if len(drawn) != entry.emitted:
            found.add("examples", f"{name} has {len(drawn)} examples, its entry says {entry.emitted}")
            return
        lines = "".join(f"{source}\n" for source in sorted(example.source for example in drawn))
        if hashlib.sha256(lines.encode()).hexdigest() != entry.emitted_digest:
            found.add("digest", f"{name}: emitted_digest is not that of its examples")
        if sorted(example.rank for example in drawn) != list(range(len(drawn))):
            found.add("examples", f"{name}: the ranks are not 0 to {len(drawn) - 1}")
        if not _near(math.fsum(example.weight for example in drawn), entry.weight_sum):
            found.add("weight", f"{name}: weight_sum is {entry.weight_sum}, not the sum of its weights")

    def _check_clusters(self, drawn: list[Drawn], published: Publications, found: Findings) -> None:
        version, name = self.entry.clusters_version, self.entry.window
        ids = published.ids(version)
        if ids is None:
            found.add("clusters", f"{name} used version {version}, which was not published")
            return
        for example in drawn:
            if example.clusters != version or not (example.cluster == "-" or example.cluster in ids):
                said = f"cluster {example.cluster} of version {example.clusters}"
                found.add("clusters", f"{example.source}: {said}, its window used version {version}")

    def _check_source(self, example: Drawn, read: Mapping[Place, _Read], found: Findings) -> None:
        one, row = read.get(example.offset), self._row(example)
        if one is None or row is None or row >= len(one.rows) or one.dead[row]:
            found.add("source", f"{example.source} is no usable row of window {self.entry.window}")
            return
        if one.weights[row] and self.entry.design != "iid":
            found.add("examples", f"{example.source} was emitted twice")
        one.weights[row] += example.weight
        self._check_payload(example, one, row, found)

    def _row(self, example: Drawn) -> int | None:
        """The row that its source names; None where it should name one and does not, or the reverse."""
        parts = example.source.split("/")[3:]
        if not self._format.many_rows:
            return None if parts else 0
        return int(parts[0]) if len(parts) == 1 and parts[0].isdigit() else None

    def _check_weight(self, example: Drawn, found: Findings) -> None:
        entry = self.entry
        if not _near(example.weight * example.probability, 1.0):
            found.add("weight", f"{example.source}: {example.weight} is not 1 over {example.probability}")
        if entry.design != "iid" and example.probability > 1 + _RELATIVE:
            found.add("weight", f"{example.source}: its inclusion probability is {example.probability}")
        bound = entry.valid / (entry.s * entry.eta) if entry.s * entry.eta else math.inf
        if example.weight > max(1.0, bound) * (1 + _RELATIVE):
            found.add("weight", f"{example.source}: {example.weight} is above n/(s eta) = {bound}")

    def _check_payload(self, example: Drawn, one: _Read, row: int, found: Findings) -> None:
        sent, message = example.message, one.message
        wrong = [
            name
            for name, same in (
                ("key", sent.key == message.key),
                ("time", sent.timestamp == message.timestamp),
                ("headers", sent.own_headers() == message.own_headers()),
                ("value", self._format.same(example, one.rows, row, message)),
            )
            if not same
        ]
        if wrong:
            found.add("payload", f"{example.source}: its {' and '.join(wrong)} changed on the way")

    def _sums(self, read: Sequence[_Read]) -> Sums:
        """By quantity, what `chaos.checker.bias.statistics` takes."""
        if not read:
            return {}
        alive = np.concatenate([~one.dead for one in read])
        nbytes = np.concatenate([one.rows.nbytes for one in read])
        coordinates = np.concatenate([one.rows.embeddings for one in read]).T
        numbers = np.repeat([one.message.partition for one in read], [len(one.rows) for one in read])
        values = {"weights": np.ones(len(alive)), "payload bytes": nbytes}
        values |= {f"coordinate {i}": column for i, column in enumerate(coordinates)}
        values |= {f"partition {number}": numbers == number for number in np.unique(numbers)}
        off = np.concatenate([one.weights for one in read]) - alive
        return {name: self._sum(value.astype(np.float64), off, alive) for name, value in values.items()}

    def _sum(
        self, value: NDArray[np.float64], off: NDArray[np.float64], alive: NDArray[np.bool_]
    ) -> tuple[float, float, float]:
        share = float((alive & (value != 0)).sum()) / max(1, self.entry.valid)
        return self.entry.s * share, float(off @ value), float(np.abs(value[alive]).sum())


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _RELATIVE * max(abs(one), abs(other), 1e-300)
