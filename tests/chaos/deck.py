"""Which faults befall the service, in which order: a shuffled deck, dealt until the run is over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from chaos.endpoint import AILMENTS
from chaos.points import POINTS
from chaos.proxy import TROUBLES

__all__ = ["Card", "Family", "deal"]

Family = Literal["process", "broker", "network", "endpoint", "point"]
_PROCESS = (
    ("sampler killed", 3),
    ("clusterer killed", 2),
    ("sampler a zombie", 2),
    ("clusterer a zombie", 1),
    ("zombie with a successor", 2),
    ("sampler joins and leaves", 2),
    ("sampler leaves", 2),
    ("clusterer leaves", 1),
)
_BROKER = (
    "group coordinator killed",
    "transaction coordinator killed",
    "leader killed",
    "node killed",
    "node frozen",
)
_SOME = 4  # of the points at which a sleep, and the death of a broker, strike in one deck; each takes long


@dataclass(frozen=True)
class Card:
    """A fault to come: its family, what happens, and for an aimed one at which point of the loop."""

    family: Family
    what: str
    point: str = ""

    @property
    def kind(self) -> str:
        """As it is counted."""
        return f"{self.what} {self.point}" if self.point else self.what


def deal(rng: random.Random) -> Iterator[Card]:
    """Deal without end; every kind comes once in a deck, and families alternate within it."""
    while True:
        yield from _interleaved(_deck(rng), rng)


def _deck(rng: random.Random) -> list[list[Card]]:
    return [
        [Card("process", what) for what, count in _PROCESS for _ in range(count)],
        [Card("broker", what) for what in _BROKER],
        [Card("network", trouble) for trouble in TROUBLES for _ in range(2)],
        [Card("endpoint", ailment) for ailment in AILMENTS],
        [Card("point", "kill", point) for point in POINTS],
        [Card("point", "raise", point) for point in POINTS],
        [Card("point", "stop", point) for point in rng.sample(POINTS, len(POINTS) // 2)],
        [Card("point", "sleep", point) for point in rng.sample(POINTS, _SOME)],
        [Card("point", "broker killed", point) for point in rng.sample(POINTS, _SOME)],
    ]


def _interleaved(families: list[list[Card]], rng: random.Random) -> list[Card]:
    """Each family shuffled, and spread evenly over the deck."""
    placed = []
    for cards in families:
        rng.shuffle(cards)
        offset = rng.random()
        placed += [((at + offset) / len(cards), card) for at, card in enumerate(cards)]
    return [card for _, card in sorted(placed, key=lambda one: one[0])]
