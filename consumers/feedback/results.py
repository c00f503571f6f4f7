"""What the joiner yields: labels, windows whose losses are all back, and windows that waited long enough."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from consumers.records.ledger import LedgerEntry
from stream_coreset.intervals import Drawn

__all__ = ["Complete", "Found", "Label", "Missing"]


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """An emitted example whose loss came back; `weight` says how many of the stream it stands for."""

    window: str
    source: str
    embedding: NDArray[np.float32]
    loss: float
    weight: float
    model_version: str


@dataclass(frozen=True, eq=False)
class Complete:
    """A window all of whose losses are back under one model version.

    `first` says whether it is the first version that is; an empty sample has no version.
    """

    entry: LedgerEntry
    model_version: str | None
    drawn: Drawn
    first: bool


@dataclass(frozen=True)
class Missing:
    """A window that has waited long enough, under the version that most of its losses came back under."""

    entry: LedgerEntry
    model_version: str | None
    missing: int


@dataclass(frozen=True)
class Found:
    """What has been found since the last time."""

    labels: list[Label] = field(default_factory=list)
    complete: list[Complete] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
