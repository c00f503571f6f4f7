"""What the checker found, by kind, and the report of a whole run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Finding", "Findings", "Report"]

KINDS = {
    "bias": "the weighted sums are off by more than chance explains (invariant 4)",
    "clusters": "versions of the clusters do not increase, or their digests do not match (5)",
    "count": "valid and dead rows are not the visible rows of the ranges (2)",
    "dead letter": "a dead row without its dead letter, or a dead letter that is not right (2)",
    "digest": "the ledger's digest is not that of the examples emitted (3)",
    "examples": "a window has not the examples that its entry says (3)",
    "gap": "visible records lie between the ranges of the ledger (1)",
    "hanging": "a transaction does not end (5)",
    "malformed": "a record cannot be read, or contradicts itself",
    "no faults": "no aborted record was seen: the faults missed (6)",
    "offsets": "the group's offsets are not the ends of the ledger, or went back (5)",
    "overlap": "ranges of the ledger overlap: records were taken twice (1)",
    "payload": "what was emitted is not what was read (3)",
    "size": "the number of examples does not follow from s (3)",
    "source": "an example that comes from outside its window's ranges (3)",
    "unread": "records were not processed, or not read by the checker, before the deadline",
    "weight": "a weight that is not 1 over its probability, above its bound, or not in the sum (3)",
}
_KEPT = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: one of `KINDS`, and a sentence."""

    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class Findings:
    """Collects findings; of each kind the first twenty, and how many there were."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._seen: Counter[str] = Counter()

    def add(self, kind: str, sentence: str) -> None:
        """Take a finding of one of `KINDS`."""
        if kind not in KINDS:
            raise ValueError(f"no such kind of finding: {kind}")
        self._seen[kind] += 1
        if self._seen[kind] <= _KEPT:
            self._kept.append(Finding(kind, sentence))

    def all(self) -> list[Finding]:
        """The findings kept, and for each kind with more a line that says how many."""
        more = {kind: seen - _KEPT for kind, seen in self._seen.items() if seen > _KEPT}
        return [*self._kept, *(Finding(kind, f"and {n} more of this kind") for kind, n in more.items())]


@dataclass(frozen=True)
class Report:
    """What the checker says at the end; no findings: all six invariants held.

    Attributes
    ----------
    findings : list of Finding
    counts : dict
        ``examples`` (visible rows of the input in the ledger's ranges), ``windows``, ``emitted``, ``dead``,
        ``aborted`` (records that only a reader of uncommitted messages sees), ``versions`` (of the clusters),
        ``unread`` (visible messages of the input that no window covers yet).
    z : dict
        By quantity the statistic of invariant 4; None where the groups are too few to tell.
    """

    findings: list[Finding]
    counts: dict[str, int] = field(default_factory=dict)
    z: dict[str, float | None] = field(default_factory=dict)

    @property
    def green(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        said = [{"kind": one.kind, "sentence": one.sentence} for one in self.findings]
        return {"findings": said, "counts": self.counts, "z": self.z}
