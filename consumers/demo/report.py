"""What the demo has shown: as a table for people, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

__all__ = ["Report", "worth"]


@dataclass(frozen=True)
class Report:
    """The outcome of one run.

    Attributes
    ----------
    examples, emitted, windows : int
        Events consumed, examples in the coreset, entries of the ledger.
    weight_z : float
        How far the weights are from the number of examples, in standard errors.
    loss_error_ratio : float
        Error of the estimated total losses, relative to uniform sampling of the same size.
    balanced_accuracy : mapping
        Of the learners from the coreset, a uniform sample and everything (full).
    queries : int
        Losses that the model was asked for.
    seed : int
    events_per_second : float
    violations : sequence of str
        What the audit found; nothing when all is well.
    """

    examples: int
    emitted: int
    windows: int
    weight_z: float
    loss_error_ratio: float
    balanced_accuracy: Mapping[str, float]
    queries: int
    seed: int
    events_per_second: float
    violations: Sequence[str]

    @property
    def clean(self) -> bool:
        """Whether the audit found nothing."""
        return not self.violations

    def json(self) -> dict[str, Any]:
        """Return the outcome as JSON holds it; what could not be computed is null."""
        return {
            "examples": self.examples,
            "emitted": self.emitted,
            "windows": self.windows,
            "weight_z": _number(self.weight_z),
            "loss_error_ratio": _number(self.loss_error_ratio),
            "balanced_accuracy": {side: _number(value) for side, value in self.balanced_accuracy.items()},
            "queries": self.queries,
            "seed": self.seed,
            "events_per_second": _number(self.events_per_second),
            "audit": {"clean": self.clean, "violations": list(self.violations)},
        }

    def render(self) -> RenderableType:
        """Return the outcome as tables."""
        return Group(
            self._accuracies(), self._facts(), *(f"[red]violation:[/] {one}" for one in self.violations)
        )

    def _accuracies(self) -> Table:
        share = self.emitted / max(1, self.examples)
        table = Table(title="Balanced accuracy of a model trained on (tested first, then trained)")
        for column in ("", "examples", "balanced accuracy"):
            table.add_column(column, justify="left" if not column else "right")
        counts = {"coreset": self.emitted, "uniform": self.emitted, "full": self.examples}
        names = {
            "coreset": f"the coreset ({share:.1%})",
            "uniform": "a uniform sample of the same size",
            "full": "everything",
        }
        for side, name in names.items():
            table.add_row(name, f"{counts[side]:,}", f"{self.balanced_accuracy[side]:.3f}")
        return table

    def _facts(self) -> Table:
        table = Table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_row(
            "error of the estimated total loss, relative to uniform", f"{self.loss_error_ratio:.2f}"
        )
        table.add_row("  worth a uniform sample so many times as large", worth(self.loss_error_ratio))
        table.add_row("weights against examples, in standard errors (|z| <= 4)", f"{self.weight_z:+.2f}")
        table.add_row("windows", f"{self.windows:,}")
        table.add_row("losses asked of the model", f"{self.queries:,}")
        table.add_row("events per second, as replayed", f"{self.events_per_second:,.0f}")
        table.add_row("audit of the topics", "[green]clean[/]" if self.clean else "[red]not clean[/]")
        return table


def worth(ratio: float) -> str:
    """How many times as large a uniform sample must be for the same error: 1 / ratio^2.

    Examples
    --------
    >>> worth(0.5)
    '4.0'
    """
    return f"{1 / ratio**2:.1f}" if ratio > 0 else "unknown"


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
