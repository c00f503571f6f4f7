"""What a replay comes to: a table by stage and exception, and a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from consumers.records.replays import Letter
from consumers.replay.judge import VERDICTS, Judgement, Verdict

__all__ = ["ReplayReport"]

_MOST_EXAMPLES = 3
_Kind = tuple[str, str]


@dataclass
class ReplayReport:
    """Counts of letters by what became of them.

    Attributes
    ----------
    dry_run : bool
        Nothing was done: what is called replayed would be.
    before : int
        Letters that an earlier replay took back.
    unread : int
        Records that are no dead letters of ours.
    """

    dry_run: bool = False
    before: int = 0
    unread: int = 0
    counts: Counter[tuple[_Kind, Verdict]] = field(default_factory=Counter)
    examples: dict[Verdict, list[str]] = field(default_factory=dict)

    def add(self, letter: Letter, judgement: Judgement) -> None:
        """Count one letter."""
        self.counts[(letter.about.stage, letter.about.exception), judgement.verdict] += 1
        said = self.examples.setdefault(judgement.verdict, [])
        if judgement.says and len(said) < _MOST_EXAMPLES:
            said.append(f"{letter.about.source}: {judgement.says}")

    def of(self, verdict: Verdict) -> int:
        """Letters of which this became."""
        return sum(count for (_, one), count in self.counts.items() if one == verdict)

    @property
    def replayed(self) -> int:
        """Letters that went back into the stream; in a dry run, that would."""
        return self.of("replayed")

    @property
    def stayed(self) -> int:
        """Letters that were asked for and stay dead."""
        return sum(self.counts.values()) - self.replayed

    def render(self) -> str:
        """The report as lines to read."""
        stays = [f"{verdict}: {line}" for verdict in VERDICTS for line in self.examples.get(verdict, ())]
        return "\n".join([*self._table(), *stays, self._sentence()])

    def _table(self) -> list[str]:
        if not self.counts:
            return []
        verdicts = [verdict for verdict in VERDICTS if self.of(verdict) or verdict == "replayed"]
        kinds = sorted({kind for kind, _ in self.counts})
        rows = [[*kind, *(f"{self.counts[kind, verdict]:,}" for verdict in verdicts)] for kind in kinds]
        names = ["would be replayed" if self.dry_run and one == "replayed" else one for one in verdicts]
        return _aligned([["stage", "exception", *names], *rows])

    def _sentence(self) -> str:
        would = "would be" if self.dry_run else "were"
        letters = self.replayed + self.stayed
        said = f"{self.replayed:,} of {letters:,} dead letters {would} replayed"
        said += f", {self.stayed:,} stay" if self.stayed else ""
        said += f"; {self.before:,} had been replayed before" if self.before else ""
        return said + (f"; {self.unread:,} records are no dead letters of ours." if self.unread else ".")


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of the same width: the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<" + ">" * (len(widths) - 2)
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        for row in rows
    ]
