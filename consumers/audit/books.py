"""The invariants themselves, checked record by record; knows no Kafka.

Order of use: `add_ledger`; `check_offsets`; `add_emitted` and `add_dead_letter` for every record of theirs;
`judge_only`, where retention has deleted something; `add_input` for every message of the input; `close`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from consumers.audit.account import Account
from consumers.audit.bias import BiasTest, bias_tests
from consumers.audit.coverage import Coverage, named
from consumers.audit.report import Violations
from consumers.codecs import Codec, Decoded, EmittedExample
from consumers.records.ledger import LedgerEntry, source_id
from consumers.transform import Partition

__all__ = ["Books"]


class Books:
    """Checks one deployment.

    Parameters
    ----------
    codec : Codec
        Of the input.
    dimension : int
        Of the embeddings.
    many_rows : bool
        Whether a message holds many examples.
    running : bool
        Whether the service goes on meanwhile: what is read later may be newer than the ledger.
    compacted : bool
        Whether messages of the input may vanish later: windows that have lost some are not judged.
    """

    def __init__(
        self, codec: Codec, dimension: int, *, many_rows: bool, running: bool = False, compacted: bool = False
    ) -> None:
        self._codec = codec
        self._dimension = dimension
        self._many_rows = many_rows
        self._running = running
        self._compacted = compacted
        self._trimmed = False
        self._accounts: list[Account] = []
        self._by_window: dict[str, int] = {}
        self._dead_letters: set[str] = set()
        self._judged: set[int] | None = None
        self.coverage = Coverage([])
        self.violations = Violations()

    def add_ledger(self, entries: Iterable[LedgerEntry], *, trimmed: bool = False) -> None:
        """Take the ledger in the order in which it was written: no window twice, no overlap (invariant 1).

        With `trimmed`, its beginning has been deleted.
        """
        self._trimmed = trimmed
        for entry in entries:
            if entry.window in self._by_window:
                self.violations.add(f"window {entry.window} is in the ledger twice")
                continue
            self._by_window[entry.window] = len(self._accounts)
            self._accounts.append(Account(entry, self._dimension))
        self.coverage = Coverage(self.entries())
        self._complain(self.coverage.overlaps())

    def check_offsets(self, committed: Mapping[Partition, int]) -> None:
        """Compare the group's offsets, read before the ledger, with its ends (invariant 5)."""
        self._complain(self.coverage.wrong_offsets(committed, running=self._running))

    def add_emitted(self, examples: Iterable[EmittedExample]) -> None:
        """Take examples of the coreset (invariant 3)."""
        for example in examples:
            place = self._by_window.get(example.window)
            if place is not None:
                self._complain(self._accounts[place].add_example(example))
            elif not self._beyond(example.window):
                self.violations.add(f"example {example.source} names a window that the ledger does not have")

    def add_dead_letter(self, source: str) -> None:
        """Take a dead letter."""
        place = self.place(source)
        if place is None or (place not in range(len(self._accounts)) and not self._beyond(source)):
            self.violations.add(f"{source} is a dead letter, but no window of the ledger covers it")
        elif source in self._dead_letters:
            self.violations.add(f"{source} is a dead letter twice")
        elif 0 <= place < len(self._accounts):
            self._dead_letters.add(source)
            self._accounts[place].letters += 1

    def judge_only(self, places: Iterable[int]) -> None:
        """Judge only the windows at these places of the ledger: of the others something has been deleted."""
        self._judged = set(places)

    def add_input(self, decoded: Decoded) -> None:
        """Take a message of the input (invariants 1, 2, 3 and the sums of 4)."""
        record = decoded.record
        partition = (record.topic, record.partition)
        place = self.coverage.at(partition, record.offset)
        if place is not None and self._is_judged(place):
            self._check_dead(decoded)
            account = self._accounts[place]
            self._complain(account.add_input(decoded, self._codec, many_rows=self._many_rows))
        elif place is None and self.coverage.in_gap(partition, record.offset):
            self.violations.add(f"{named(partition)}/{record.offset} lies in a gap of the ledger")

    def close(self) -> list[BiasTest]:
        """Check what needs everything to have been read; the tests of invariant 4."""
        accounts = [self._accounts[place] for place in self.checked()]
        for account in accounts:
            self._complain(account.check())
        tests = bias_tests(self._errors(accounts)) if accounts else []
        self._complain(test.sentence() for test in tests if test.biased)
        return tests

    def checked(self) -> list[int]:
        """Places of the windows that are judged, of which the input still has everything."""
        return [
            place
            for place, account in enumerate(self._accounts)
            if self._is_judged(place) and not (self._compacted and account.unread)
        ]

    def place(self, source: str) -> int | None:
        """Place in the ledger of a source id or window id, see `Coverage.place`; None where it has none."""
        try:
            return self.coverage.place(source)
        except ValueError:
            return None

    def short(self) -> set[int]:
        """Places of the windows with fewer examples or dead letters than the ledger says."""
        return {place for place, account in enumerate(self._accounts) if account.short}

    def entries(self) -> Sequence[LedgerEntry]:
        """The entries of the ledger, in their order."""
        return [account.entry for account in self._accounts]

    def totals(self) -> dict[str, int]:
        """Windows, and the examples that their entries account for."""
        entries = self.entries()
        return {
            "windows": len(entries),
            "examples": sum(entry.valid for entry in entries),
            "dead": sum(entry.dead for entry in entries),
            "emitted": sum(entry.emitted for entry in entries),
        }

    def _complain(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.violations.add(sentence)

    def _beyond(self, source: str) -> bool:
        """Whether something may rightly be unknown: older than what is left of the ledger, or newer."""
        place = self.place(source)
        if self._trimmed and place == len(self._accounts):
            return self._running or self._unknown_partition(source)
        return (self._trimmed and place == -1) or (self._running and place == len(self._accounts))

    def _unknown_partition(self, source: str) -> bool:
        topic, partition, *_ = source.split("/")
        return (topic, int(partition)) not in self.coverage.ends

    def _is_judged(self, place: int) -> bool:
        return self._judged is None or place in self._judged

    def _check_dead(self, decoded: Decoded) -> None:
        record = decoded.record
        for error in decoded.errors:
            source = source_id(record.topic, record.partition, record.offset, error.row)
            if source not in self._dead_letters:
                self.violations.add(f"{source} cannot be used, but is no dead letter")

    def _errors(self, accounts: Collection[Account]) -> dict[str, Iterator[tuple[float, float, float]]]:
        """By quantity, one at a time: together they would take a lot of memory."""
        coordinates = [f"coordinate {i}" for i in range(self._dimension)]
        names = ["the sum of the weights", *coordinates, "payload bytes"]
        errors = {name: _quantity(accounts, i) for i, name in enumerate(names)}
        for partition in sorted({partition for one in accounts for partition in one.by_partition}):
            errors[f"partition {named(partition)}"] = _of_partition(accounts, partition)
        return errors


def _quantity(accounts: Iterable[Account], i: int) -> Iterator[tuple[float, float, float]]:
    return ((one.entry.s, float(one.errors[i]), float(one.sizes[i])) for one in accounts)


def _of_partition(accounts: Iterable[Account], partition: Partition) -> Iterator[tuple[float, float, float]]:
    for one in accounts:
        if partition in one.by_partition:
            error, n = one.by_partition[partition]
            yield one.entry.s * n / max(1, one.valid), error, n
