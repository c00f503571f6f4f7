"""Why an example was taken or not: the facts, one sentence, one table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from consumers.explaining.today import Today
from consumers.explaining.told import Told
from consumers.records.dead_letters import DeadLetter
from consumers.records.ledger import LedgerEntry
from consumers.tables import ago, aligned, percent, short, wrapped

__all__ = ["Explanation", "Outcome"]

Outcome = Literal["taken", "not taken", "dead letter", "unknown"]
_STANDS_OUT = 1.5  # times what is typical
_NOTHING = Today(0, "-", 0.0, None, None, None, None, None)


@dataclass(frozen=True)
class Explanation:
    """What is known of one example of the input.

    Attributes
    ----------
    source : str
        Source id.
    outcome : str
    entry : LedgerEntry
        Of its window.
    draws : tuple of Told
        What the coreset tells of it; several where it was drawn several times.
    letter : DeadLetter or None
    today : Today or None
        Its cluster now, where it is still there; for an example that was not taken, what would be its chance.
    carried : float or None
        What it weighed in its input already, 1 unless `input.chain` is set; None where that is gone.
    caveat : str
        Why the outcome is unknown, or nothing is said of today.
    """

    source: str
    outcome: Outcome
    entry: LedgerEntry
    draws: tuple[Told, ...] = ()
    letter: DeadLetter | None = None
    today: Today | None = None
    carried: float | None = 1.0
    caveat: str = ""

    @property
    def typical(self) -> float | None:
        """Mean expected number of draws of the window's examples, s/n."""
        return self.entry.s / self.entry.valid if self.entry.valid else None

    @property
    def probability(self) -> float | None:
        """Expected number of draws: as it was drawn, or else under the clusters of today."""
        if self.draws:
            return None if self.carried is None else self.draws[0].probability * self.carried
        return None if self.today is None else self.today.probability

    @property
    def times_uniform(self) -> float | None:
        """How many times as often as by uniform sampling it is taken."""
        if self.probability is None or not self.typical:
            return None
        return self.probability / self.typical

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        if self.letter is not None:
            found = self.letter
            return (
                f"{self.source} is a dead letter (stage {found.stage}): {found.exception}, {found.message}."
            )
        if self.outcome == "unknown":
            return f"Whether {self.source} was taken is not known: {self.caveat}."
        return self._taken() if self.draws else self._not_taken()

    def _taken(self) -> str:
        times = len(self.draws)
        was = "was taken" if times == 1 else f"was drawn {times} times"
        weighs = f"it weighs {short(self.draws[0].weight)}"
        return f"{self.source} {was}: {self._chance()}, and {weighs}; {self._why()}."

    def _chance(self) -> str:
        if self.probability is None:
            return "its chance is not known, for what it weighed in its input is gone"
        often = f"{short(self.times_uniform)} times that of uniform sampling"
        if self.entry.design == "iid":
            return f"{short(self.probability)} draws of it were expected, {often}"
        return f"its chance was {percent(self.probability)}, {often}"

    def _not_taken(self) -> str:
        entry = self.entry
        said = f"{self.source} was not taken, as {entry.emitted:,} of the {entry.valid:,} of its window were"
        if self.probability is None:
            return f"{said}; {self.caveat or 'nothing can be said of its chance'}."
        often = f"{short(self.times_uniform)} times that of uniform sampling"
        chance = f"under the clusters of today its chance would be about {percent(self.probability)}, {often}"
        return f"{said}; {chance}: {self._why()}."

    def _why(self) -> str:
        if self.draws and self.draws[0].clusters == 0:
            return "there were no clusters yet, and all had the same chance"
        reasons = list(self._reasons(high=(self.times_uniform or 1.0) >= 1.0))
        *others, last = reasons or ["no figure of it alone stands out"]
        return f"{', '.join(others)} and {last}" if others else last

    def _reasons(self, *, high: bool) -> Iterator[str]:
        facts, of_all = self._facts(), self.today
        far, loud = ("far from", "high") if high else ("near", "low")
        if facts.loss is None:
            yield "no loss of its cluster was known"
        if _stands_out(facts.distance, self._typical_distance(), high=high):
            yield f"it lies {far} its center"
        if of_all is not None and _stands_out(facts.loss, of_all.mean_loss, high=high):
            yield f"its cluster's center loss is {loud}"
        if of_all is not None and _stands_out(facts.spread, of_all.root_mean_square, high=high):
            yield f"its cluster's spread is {loud}"
        if of_all is not None and _stands_out(facts.predicted, of_all.mean_loss, high=high):
            yield f"the surrogate {'predicted' if self.draws else 'predicts'} a {loud} loss"

    def _typical_distance(self) -> float | None:
        return math.sqrt(self.entry.cost / self.entry.valid) if self.entry.valid else None

    def _facts(self) -> _Facts:
        if self.draws:
            told = self.draws[0]
            ours = (told.cluster, told.distance, told.center_loss, told.spread, told.loss_age, told.predicted)
            return _Facts(*ours)
        now = self.today or _NOTHING
        loss = (now.loss, now.spread, now.loss_age_seconds, now.predicted_loss)
        return _Facts(now.cluster, now.distance, *loss)

    def json(self) -> dict[str, Any]:
        """Return all of it as values of JSON."""
        return {
            "source": self.source,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "draws": [told.json() for told in self.draws],
            "dead_letter": None if self.letter is None else vars(self.letter),
            "probability": self.probability,
            "probability_is_approximate": not self.draws,
            "mean_inclusion": self.typical,
            "times_uniform": self.times_uniform,
            "window": orjson.loads(self.entry.encode()),
            "today": None if self.today is None else self.today.json(),
            "caveat": self.caveat,
        }

    def render(self) -> str:
        """Return it as lines to read."""
        parts = [wrapped(self.sentence)]
        if self.outcome in ("taken", "not taken"):
            parts.append(aligned(list(self._table())))
        parts.append(aligned(list(self._window())))
        return "\n\n".join([*parts, *map(wrapped, self._notes())])

    def _table(self) -> Iterator[tuple[str, str, str, str]]:
        today = "" if self.today is None else f"clusters of today (version {self.today.version})"
        yield "", "this example" if self.draws else "it, today", "its window", today
        yield "expected draws", short(self.probability), f"{short(self.typical)} (mean)", ""
        for told in self.draws[:1]:
            yield "weight", short(told.weight), f"{short(_inverse(self.typical))} (uniform)", ""
            yield "score p", short(told.score), f"{short(_inverse(self.entry.valid))} (mean)", ""
            yield "place in the draw", f"{told.rank + 1:,}", f"of {self.entry.emitted:,}", ""
        yield from self._cluster_rows()

    def _cluster_rows(self) -> Iterator[tuple[str, str, str, str]]:
        facts, today = self._facts(), self.today
        mass = "" if today is None else f"{percent(today.mass_share)} of the mass"
        yield "cluster", facts.cluster, "", mass
        yield "distance to its center", short(facts.distance), f"{short(self._typical_distance())} (rms)", ""
        now = today or _NOTHING
        yield "center loss", short(facts.loss), "", self._now(now.loss, now.mean_loss, "mean of all")
        yield "spread", short(facts.spread), "", self._now(now.spread, now.root_mean_square, "of all")
        if facts.predicted is not None:
            yield "predicted loss", short(facts.predicted), "", ""
        yield "age of the loss", ago(facts.loss_age), "", ago(now.loss_age_seconds) if self.draws else ""

    def _now(self, value: float | None, of_all: float | None, word: str) -> str:
        """What a figure of the cluster is today, unless it is shown already, and that of all clusters."""
        shown = [short(value)] if self.draws and self.today else []
        return ", ".join([*shown, *([] if of_all is None else [f"{short(of_all)} {word}"])])

    def _window(self) -> Iterator[tuple[str, str]]:
        entry = self.entry
        closed = datetime.fromtimestamp(entry.closed_ms / 1000, UTC)
        spans = [f"{part.topic}/{part.partition} {part.start}-{part.end}" for part in entry.ranges]
        more = f" and {len(spans) - 3} more" if len(spans) > 3 else ""
        yield "window", f"{entry.window}, closed {closed:%Y-%m-%d %H:%M:%S} UTC"
        yield "offsets", ", ".join(spans[:3]) + more
        yield "examples", f"{entry.valid:,} valid (n), {entry.dead:,} dead, {entry.emitted:,} emitted"
        rate = "" if entry.rate is None else f", rate {short(entry.rate)}"
        yield "draw", f"{entry.design}, s = {short(entry.s)}{rate}, eta {short(entry.eta)}"
        yield "clusters", f"version {entry.clusters_version}, digest {entry.clusters_digest[:16]}..."
        yield "surrogate", entry.surrogate_digest or "none"

    def _notes(self) -> Iterator[str]:
        if self.draws and self.today is None:
            placed = self.draws[0].cluster == "-"
            gone = "its center had just been placed then, without an id" if placed else "it is gone"
            yield f"Its cluster today: {self.caveat or gone}."
        if not self.draws and self.probability is not None and self.today is not None:
            known = f"{self.today.examples:,} of the {self.entry.valid:,} examples of its window"
            learned = self.today.predicted_loss is not None
            surrogate = ", with the surrogate of today" if learned else ", without its surrogate"
            left_out = surrogate if self.entry.surrogate_digest else ""
            yield (
                f"Approximate, and of today: computed from {known}, with the clusters and settings of today "
                f"instead of those adapted to it then{left_out}; what it was then is not kept."
            )


@dataclass(frozen=True)
class _Facts:
    cluster: str
    distance: float | None
    loss: float | None
    spread: float | None
    loss_age: float | None
    predicted: float | None


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _stands_out(value: float | None, typical: float | None, *, high: bool) -> bool:
    if value is None or not typical:
        return False
    return value > _STANDS_OUT * typical if high else value < typical / _STANDS_OUT
