"""What an audit knows of one window, and whether that is what the ledger says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from consumers.codecs import EmittedExample
from consumers.records.ledger import LedgerEntry, emitted_digest, parse_source
from consumers.transform import Partition

__all__ = ["RELATIVE", "Account"]

RELATIVE = 1e-9  # float64 texts are exact; sums may be added up in another order


@dataclass
class Account:
    """What is known of one window.

    Attributes
    ----------
    entry : LedgerEntry
    examples : dict
        What was emitted, by source id.
    errors, sizes : (d + 2,) float64
        For the number of examples, each coordinate and the payload's bytes: the weighted sum over the sample
        minus the sum over the stream, and the size of what was added up.
    by_partition : dict
        Error and size of the number of examples, by source partition.
    valid, dead, letters, met : int
        Rows of the input that can and cannot be used, dead letters, and examples met in the input.
    """

    entry: LedgerEntry
    examples: dict[str, list[EmittedExample]] = field(default_factory=dict)
    errors: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sizes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    by_partition: dict[Partition, tuple[float, float]] = field(default_factory=dict)
    valid: int = 0
    dead: int = 0
    letters: int = 0
    met: int = 0

    def check(self) -> Iterator[str]:
        """Compare what was read with the entry, when everything has been read (invariants 2 and 3)."""
        entry, said = self.entry, f"window {self.entry.window}"
        if (self.valid, self.dead) != (entry.valid, entry.dead):
            found, claimed = f"{self.valid} usable and {self.dead}", f"{entry.valid} and {entry.dead}"
            yield f"{said}: {found} dead examples, the ledger says {claimed}"
        if self.letters != entry.dead:
            yield f"{said}: {self.letters} dead letters, the ledger says {entry.dead}"
        yield from (f"{said}: {what}" for what in self._check_examples())
        total = self.errors[0] + self.valid
        if not abs(total - entry.weight_sum) <= RELATIVE * max(1.0, entry.weight_sum):
            yield f"{said}: its weights sum to {total:.6g}, the ledger says {entry.weight_sum:.6g}"

    def _check_examples(self) -> Iterator[str]:
        entry = self.entry
        examples = [example for same in self.examples.values() for example in same]
        if len(examples) != entry.emitted:
            yield f"{len(examples)} examples emitted, the ledger says {entry.emitted}"
        if emitted_digest(example.source for example in examples) != entry.emitted_digest:
            yield "the digest of its examples is not that of the ledger"
        if sorted(example.rank for example in examples) != list(range(len(examples))):
            yield f"the ranks of its examples are not 0 to {len(examples) - 1}"
        if entry.design != "iid" and any(len(same) > 1 for same in self.examples.values()):
            yield "an example was emitted twice"
        if not all(map(self._inside, self.examples)):
            yield "an example from outside of its ranges"
        if self.met < len(examples):
            yield f"{len(examples) - self.met} of its examples are no usable examples of the input"

    def _inside(self, source: str) -> bool:
        try:
            topic, partition, offset, _ = parse_source(source)
        except ValueError:  # nobody vouches for what the coreset holds
            return False
        return any(
            (part.topic, part.partition) == (topic, partition) and part.start <= offset < part.end
            for part in self.entry.ranges
        )
