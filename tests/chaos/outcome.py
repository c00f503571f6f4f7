"""What a run comes to: its faults, how soon each was overcome, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.arena import Hit
from chaos.checker import Report
from chaos.deck import Card

__all__ = ["Fault", "Outcome"]


@dataclass(frozen=True)
class Fault:
    """A fault that happened."""

    number: int
    card: Card
    hit: Hit


@dataclass
class Outcome:
    """What a run comes to."""

    faults: list[Fault] = field(default_factory=list)
    next_window: dict[int, float] = field(default_factory=dict)  # seconds, by the number of the fault
    all_served: dict[int, float] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    examples: int = 0
    restarts: int = 0
    mended: int = 0  # brokers that had to be started again though they ran
    losses: int = 0
    swallowed: int = 0
    peak_mb: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    slowness: float = 1.0
    interrupted: bool = False
