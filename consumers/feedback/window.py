"""One window on its way to its losses: its ledger entry, its draws, and what has come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from consumers.feedback.emitted import Draw
from consumers.feedback.results import Complete, Label, Missing
from consumers.records.ledger import LedgerEntry, emitted_digest
from stream_coreset.intervals import Drawn

__all__ = ["MAX_VERSIONS", "WindowInWait"]

MAX_VERSIONS = 8  # of the model, whose losses of one window are held side by side
# What they take beside texts and embeddings: measured, rounded up.
_WINDOW_BYTES, _RANGE_BYTES, _DRAW_BYTES, _LOSS_BYTES = 4_000, 300, 600, 300


class _Sample:
    """All draws of a window, in draw order, as the ledger speaks of them."""

    def __init__(self, entry: LedgerEntry, draws: Sequence[Draw]) -> None:
        self.entry = entry
        self.sources = [draw.source for draw in draws]
        if emitted_digest(self.sources) != entry.emitted_digest:
            raise ValueError(f"window {entry.window}: the coreset has other examples than the ledger says")
        self.counts = Counter(self.sources)
        self.probabilities = np.array([draw.probability for draw in draws], np.float64)
        self.weights = {draw.source: self.counts[draw.source] / draw.probability for draw in draws}
        self.embeddings = {draw.source: draw.embedding for draw in draws}  # of those not yet labelled

    def label(self, source: str, loss: float, version: str) -> Label:
        embedding = self.embeddings.pop(source)
        return Label(self.entry.window, source, embedding, loss, self.weights[source], version)

    def drawn(self, losses: dict[str, float]) -> Drawn:
        values = np.array([losses[source] for source in self.sources], np.float64)
        return Drawn(values, self.probabilities, self.entry.valid, self.entry.s)


@dataclass(eq=False)
class WindowInWait:
    """What is known of a window so far, in any order of arrival.

    Attributes
    ----------
    born_ms : int
        When the first of it was read.
    entry : LedgerEntry or None
    gave_up : bool
        Whether it has been said that losses are missing.
    nbytes : int
        About the memory that it takes.
    """

    born_ms: int
    entry: LedgerEntry | None = None
    gave_up: bool = False
    nbytes: int = _WINDOW_BYTES
    _draws: dict[int, Draw] = field(default_factory=dict)
    _sample: _Sample | None = None
    _losses: dict[str, dict[str, float]] = field(default_factory=dict)  # by model version, then by source
    _told: set[str | None] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Whether all draws are here, as the ledger says."""
        return self._sample is not None

    @property
    def is_complete(self) -> bool:
        """Whether its total has been estimated."""
        return bool(self._told)

    @property
    def losses_held(self) -> int:
        """Losses of all versions."""
        return sum(map(len, self._losses.values()))

    def add_draw(self, draw: Draw) -> None:
        """Take a draw; one that was read before is left out."""
        if self._sample is None and self._draws.setdefault(draw.rank, draw) is draw:
            self.nbytes += _DRAW_BYTES + 2 * len(draw.source) + draw.embedding.nbytes

    def add_loss(self, source: str, loss: float, model_version: str) -> str | None:
        """Take a loss; the reason where it is refused."""
        if self._sample is not None and source not in self._sample.counts:
            return "never emitted"
        if model_version not in self._losses and len(self._losses) == MAX_VERSIONS:
            return "too many versions"
        losses = self._losses.setdefault(model_version, {})
        if source in losses:
            return "repeated"
        losses[source] = loss
        self.nbytes += _LOSS_BYTES + len(source)
        return None

    def add_entry(self, entry: LedgerEntry) -> None:
        """Take what the ledger says of it."""
        self.entry = entry
        self.nbytes += _RANGE_BYTES * len(entry.ranges)

    def close(self) -> int:
        """Look whether the window is whole by now; how many losses turned out to be of others' examples.

        Raises
        ------
        ValueError
            When its draws are not those that the ledger speaks of.
        """
        if self._sample is not None or self.entry is None or len(self._draws) < self.entry.emitted:
            return 0
        draws = [self._draws[rank] for rank in sorted(self._draws)]
        self._sample = _Sample(self.entry, draws)
        self._draws.clear()
        self.nbytes += sum(one.nbytes for one in self._sample.embeddings.values())
        self.nbytes -= sum(draw.embedding.nbytes for draw in draws)  # of repeated draws, one is kept
        held = self.losses_held
        for version, losses in self._losses.items():
            known = {one: loss for one, loss in losses.items() if one in self._sample.counts}
            self._losses[version] = known
        return held - self.losses_held

    def labels(self) -> Iterator[Label]:
        """Yield every example whose loss is back, once, with the loss under the newest version."""
        if self._sample is None:
            return
        for version, losses in reversed(self._losses.items()):
            for source in [one for one in losses if one in self._sample.embeddings]:
                label = self._sample.label(source, losses[source], version)
                self.nbytes -= label.embedding.nbytes
                yield label

    def complete(self) -> Iterator[Complete]:
        """Yield every version under which all losses are back, once."""
        if self._sample is None:
            return
        wanted = len(self._sample.counts)
        full: dict[str | None, dict[str, float]] = {
            v: by for v, by in self._losses.items() if len(by) == wanted
        }
        for version, losses in (full if wanted else {None: {}}).items():
            if version not in self._told:
                yield Complete(self._sample.entry, version, self._sample.drawn(losses), not self._told)
                self._told.add(version)

    def missing(self) -> Missing | None:
        """What lacks under the version that most losses came back under; None while draws lack."""
        if self._sample is None:
            return None
        version = max(self._losses, key=lambda one: len(self._losses[one]), default=None)
        back = 0 if version is None else len(self._losses[version])
        return Missing(self._sample.entry, version if back else None, len(self._sample.counts) - back)
