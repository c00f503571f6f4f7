"""The invariants themselves, checked record by record; knows no Kafka.

Order of use: `add_ledger`; `add_emitted`, `add_dead_letter` and `add_replayed` for every record of theirs;
`judge_only`, where retention has deleted something; `add_input` for every message of the input; `close`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from consumers.audit.account import RELATIVE, Account
from consumers.audit.bias import BiasTest, bias_tests
from consumers.audit.letters import Letters
from consumers.audit.report import Violations
from consumers.codecs import Codec, Decoded, EmittedExample
from consumers.records.ledger import LedgerEntry, Range, parse_source, source_id
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
    """

    def __init__(self, codec: Codec, dimension: int, *, many_rows: bool) -> None:
        self._codec = codec
        self._dimension = dimension
        self._many_rows = many_rows
        self._accounts: dict[str, Account] = {}
        self._starts: dict[Partition, list[int]] = {}
        self._ranges: dict[Partition, list[tuple[Range, Account]]] = {}
        self._strange: dict[str, str] = {}
        self._judged: set[str] | None = None
        self.violations = Violations()
        self._letters = Letters(self.violations)

    def add_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Take the ledger in the order in which it was written: no window twice, no overlap (invariant 1)."""
        found: dict[Partition, list[tuple[Range, Account]]] = defaultdict(list)
        for entry in entries:
            if entry.window in self._accounts:
                self.violations.add(f"window {entry.window} is in the ledger twice")
                continue
            account = self._accounts[entry.window] = Account(entry)
            account.errors, account.sizes = np.zeros((2, self._dimension + 2))
            for part in entry.ranges:
                found[part.topic, part.partition].append((part, account))
        for partition, parts in found.items():
            parts.sort(key=lambda one: one[0].start)
            self._check_tiling(partition, [part for part, _ in parts])
            self._starts[partition] = [part.start for part, _ in parts]
        self._ranges = dict(found)

    def add_emitted(self, examples: Iterable[EmittedExample]) -> None:
        """Take examples of the coreset (invariant 3)."""
        for example in examples:
            account = self._accounts.get(example.window)
            if account is None:
                self._strange.setdefault(example.window, example.source)
                continue
            account.examples.setdefault(example.source, []).append(example)
            self._check_weight(example, account.entry)

    def add_dead_letter(self, source: str) -> None:
        """Take a dead letter."""
        topic, partition, offset, _ = parse_source(source)
        account = self._window_of((topic, partition), offset)
        if self._letters.add(source) and account is not None:
            account.letters += 1

    def add_replayed(self, source: str) -> None:
        """Take the note that a dead letter was replayed."""
        self._letters.add_replayed(source)

    def add_input(self, decoded: Decoded) -> None:
        """Take a message of the input (invariants 1, 2, 3 and the sums of 4)."""
        record = decoded.record
        partition = (record.topic, record.partition)
        found = self._window_of(partition, record.offset)
        if found is None:
            if self._within(partition, record.offset):
                self.violations.add(f"{source_id(*partition, record.offset)} lies in a gap of the ledger")
            return
        if not self._is_judged(found):
            return
        then = self._letters.as_it_was(decoded)
        found.valid += len(then.valid_rows)
        found.dead += len(then.errors)
        self._add_up(then, found, partition)

    def judge_only(self, windows: Iterable[str]) -> None:
        """Judge only these windows: of the others something has been deleted."""
        self._judged = set(windows)

    @property
    def strange_windows(self) -> set[str]:
        """Windows that examples name and the ledger does not have, or not yet."""
        return set(self._strange)

    def committed_since(self, windows: Iterable[str]) -> None:
        """Take note of windows that came into the ledger after it was read: they are not judged."""
        for window in windows:
            self._strange.pop(window, None)

    def close(self) -> list[BiasTest]:
        """Check what needs everything to have been read; the tests of invariant 4."""
        for source in self._strange.values():
            self.violations.add(f"example {source} names a window that the ledger does not have")
        self._letters.close()
        accounts = [account for account in self._accounts.values() if self._is_judged(account)]
        for account in accounts:
            for sentence in account.check():
                self.violations.add(sentence)
        tests = bias_tests(self._errors(accounts)) if accounts else []
        for test in tests:
            if test.biased:
                self.violations.add(
                    f"weights are biased: {test.about} is off by {test.z:+.1f} standard errors "
                    f"over {test.groups} groups of windows, where chance allows {test.limit:.1f}"
                )
        return tests

    def totals(self) -> dict[str, int]:
        """Windows, and the examples that their entries account for."""
        entries = [account.entry for account in self._accounts.values()]
        return {
            "windows": len(entries),
            "examples": sum(entry.valid for entry in entries),
            "dead": sum(entry.dead for entry in entries),
            "emitted": sum(entry.emitted for entry in entries),
        }

    def entries(self) -> Iterator[LedgerEntry]:
        """The entries of the ledger, in their order."""
        return (account.entry for account in self._accounts.values())

    def ends(self) -> dict[Partition, int]:
        """Where the ledger ends in each partition."""
        return {partition: max(part.end for part, _ in parts) for partition, parts in self._ranges.items()}

    def starts(self) -> dict[Partition, int]:
        """Where the ledger begins in each partition."""
        return {partition: starts[0] for partition, starts in self._starts.items()}

    def check_offsets(self, committed: Mapping[Partition, int], *, running: bool) -> None:
        """Compare the group's offsets, read before the ledger, with its ends (invariant 5)."""
        for partition, end in self.ends().items():
            offset = committed.get(partition)
            name = "/".join(map(str, partition))
            if offset is None:
                self.violations.add(f"the ledger knows {name}, but the group has no offset for it")
            elif offset > end:
                self.violations.add(f"the group is at {offset} in {name}, but the ledger ends at {end}")
            elif offset < end and not running:
                self.violations.add(f"the ledger ends at {end} in {name}, but the group is at {offset} only")

    def window_of(self, source: str) -> str | None:
        """The window that a source id belongs to, None where the ledger does not cover it."""
        topic, partition, offset, _ = parse_source(source)
        account = self._window_of((topic, partition), offset)
        return None if account is None else account.entry.window

    def _is_judged(self, account: Account) -> bool:
        return self._judged is None or account.entry.window in self._judged

    def _check_tiling(self, partition: Partition, parts: Sequence[Range]) -> None:
        for before, after in pairwise(parts):
            if after.start < before.end:
                name = "/".join(map(str, partition))
                self.violations.add(
                    f"ranges {before.start}-{before.end} and {after.start}-{after.end} of {name} overlap"
                )

    def _window_of(self, partition: Partition, offset: int) -> Account | None:
        place = bisect_right(self._starts.get(partition, []), offset) - 1
        if place < 0:
            return None
        part, account = self._ranges[partition][place]
        return account if offset < part.end else None

    def _within(self, partition: Partition, offset: int) -> bool:
        starts = self._starts.get(partition)
        return starts is not None and starts[0] <= offset < self.ends()[partition]

    def _check_weight(self, example: EmittedExample, entry: LedgerEntry) -> None:
        if not abs(example.weight * example.probability - 1) <= RELATIVE:
            self.violations.add(f"{example.source}: its weight is not 1 over its probability")
        if example.clusters != entry.clusters_version:
            self.violations.add(f"{example.source}: made by another version of the clusters than its window")

    def _add_up(self, decoded: Decoded, account: Account, partition: Partition) -> None:
        """Sums over the stream, and over the sample, of one, each coordinate and the payload's bytes."""
        n = len(decoded.valid_rows)
        if not n:
            return
        record = decoded.record
        each_bytes = len(record.value or b"") / max(1, decoded.rows)
        values = np.column_stack([np.ones(n), decoded.embeddings, np.full(n, each_bytes)]).astype(np.float64)
        drawn = self._drawn(decoded, account)
        account.errors += drawn @ values - values.sum(axis=0)
        account.sizes += np.abs(values).sum(axis=0)
        error, size = account.by_partition.get(partition, (0.0, 0.0))
        account.by_partition[partition] = error + float(drawn.sum()) - n, size + n

    def _drawn(self, decoded: Decoded, account: Account) -> NDArray[np.float64]:
        """(n,) weight of each usable row in the sample, 0 where it was not drawn; its payload is compared."""
        record = decoded.record
        weights = np.zeros(len(decoded.valid_rows))
        for place, row in enumerate(decoded.valid_rows):
            number = int(row) if self._many_rows else None
            source = source_id(record.topic, record.partition, record.offset, number)
            for example in account.examples.get(source, ()):
                account.met += 1
                weights[place] += example.weight / decoded.weights[place]
                # a chained input's weight is multiplied in; without it, this is the probability of this draw
                own = example.probability * decoded.weights[place]
                if account.entry.design != "iid" and own > 1 + RELATIVE:
                    self.violations.add(f"{source}: its inclusion probability is above 1")
                if example.fingerprint != self._codec.fingerprint(decoded, int(row)):
                    self.violations.add(f"{source}: what was emitted is not what was read")
        return weights

    def _errors(self, accounts: Sequence[Account]) -> dict[str, list[tuple[float, float, float]]]:
        names = [
            "the sum of the weights",
            *(f"coordinate {i}" for i in range(self._dimension)),
            "payload bytes",
        ]
        errors = {
            name: [(one.entry.s, float(one.errors[i]), float(one.sizes[i])) for one in accounts]
            for i, name in enumerate(names)
        }
        for partition in sorted({partition for one in accounts for partition in one.by_partition}):
            errors[f"partition {'/'.join(map(str, partition))}"] = [
                (one.entry.s * n / max(1, one.valid), error, n)
                for one in accounts
                if partition in one.by_partition
                for error, n in [one.by_partition[partition]]
            ]
        return errors
