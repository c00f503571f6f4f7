"""Windows whose losses come back, made up: ledger entries, draws and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from consumers.feedback.emitted import Draw
from consumers.feedback.joiner import Joiner
from consumers.feedback.results import Found
from consumers.records import LedgerEntry, Range, emitted_digest
from consumers.records.feedback import FeedbackRecord

HOUR = 3_600_000


def labelled(found: Found) -> list[tuple]:
    return sorted((one.source, one.loss, one.weight, one.model_version) for one in found.labels)


class Window:
    """One window: `draws` are pairs of (row, probability) in draw order."""

    def __init__(
        self, draws: Sequence[tuple[int, float]], *, start: int = 0, valid: int = 100, closed_ms: int = 0,
        design: str = "pivotal", s: float | None = None, dimension: int = 2,
    ) -> None:  # fmt: skip
        self.name = f"e/0/{start}"
        self.draws = [
            Draw(self.name, f"e/0/{start + row}", rank, pi, np.full(dimension, row, np.float32))
            for rank, (row, pi) in enumerate(draws)
        ]
        self.sources = list(dict.fromkeys(draw.source for draw in self.draws))
        self.entry = LedgerEntry(
            window=self.name, ranges=(Range("e", 0, start, start + valid),), valid=valid, dead=0,
            emitted=len(draws), emitted_digest=emitted_digest(draw.source for draw in self.draws),
            s=sum(pi for _, pi in draws) if s is None else s, design=design, rate=None, eta=0.2,
            clusters_version=1, clusters_digest="0" * 64, surrogate_digest=None, weight_sum=1.0,
            anticipated_se=7.0, bound=99.0, cost=0.0, closed_ms=closed_ms,
        )  # fmt: skip

    def report(self, source: str, loss: float | None, version: str = "m1") -> FeedbackRecord:
        return FeedbackRecord(self.name, source, loss, version)

    def reports(self, losses: Mapping[str, float], version: str = "m1") -> list[FeedbackRecord]:
        return [self.report(source, losses[source], version) for source in self.sources]


Fed = LedgerEntry | Draw | FeedbackRecord


class Fixture:
    """A joiner, and what it refused."""

    def __init__(self, max_bytes: int = 100_000_000, max_age_ms: int = HOUR, wait_ms: int = 600_000) -> None:
        self.refused: dict[str, int] = {}
        self.joiner = Joiner(max_bytes=max_bytes, max_age_ms=max_age_ms, wait_ms=wait_ms, refuse=self._refuse)

    def _refuse(self, reason: str, losses: int) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + losses

    def feed(self, *what: Fed, now_ms: int = 0) -> None:
        for one in what:
            if isinstance(one, LedgerEntry):
                self.joiner.add_entry(one, now_ms)
            elif isinstance(one, Draw):
                self.joiner.add_draw(one, now_ms)
            else:
                self.joiner.add_feedback(one, now_ms)
