"""What a one-shot selection came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from consumers.one_shot.options import Wanted
from consumers.tables import aligned, short
from stream_coreset.estimates import effective_sample_size
from stream_coreset.intervals import Drawn, estimate
from stream_coreset.selection import Coreset

__all__ = ["Summary", "Total", "estimated_total", "summarise"]

_LEAST = 20  # rows drawn by chance; fewer say too little about the error


@dataclass(frozen=True)
class Total:
    """Estimated total loss with its 95 % interval, and that of all rows where every loss is known."""

    estimate: float
    low: float
    high: float
    of_all: float | None


@dataclass(frozen=True)
class Summary:
    """The figures of a selection.

    Attributes
    ----------
    facts : mapping
        n, dimension, drawn, s, clusters, weights and queries.
    total : Total or None
        None without losses, or where too few rows were drawn.
    about_total : str
        Why there is none.
    """

    facts: Mapping[str, Any]
    total: Total | None
    about_total: str

    def json(self) -> dict[str, Any]:
        """Return the summary as values of JSON."""
        return {**self.facts, "total_loss": None if self.total is None else vars(self.total)}

    def render(self) -> str:
        """Return the summary as lines to read."""
        f = self.facts
        bound = (
            "no bound without a floor" if f["weight_bound"] is None else f"at most {short(f['weight_bound'])}"
        )
        rows = [
            ("rows", f"{f['n']:,} of {f['dimension']:,} numbers, in {f['clusters']:,} clusters"),
            ("drawn", f"{f['drawn']:,} (s = {short(f['s'])}, design {f['design']})"),
            ("sum of the weights", f"{short(f['weight_sum'])} for {f['n']:,} rows"),
            ("effective sample size", short(f["effective_sample_size"])),
            ("largest weight", f"{short(f['largest_weight'])} ({bound})"),
            ("losses asked", f"{f['losses_asked']:,}"),
            ("total loss", self.about_total if self.total is None else _interval(self.total)),
            ("written to", f["output"]),
        ]
        return aligned(rows)


def _interval(total: Total) -> str:
    said = f"{short(total.estimate)}, 95 % interval {short(total.low)} to {short(total.high)}"
    return said if total.of_all is None else f"{said}; of all rows {short(total.of_all)}"


def summarise(
    wanted: Wanted, dimension: int, coreset: Coreset, losses: NDArray[np.float64] | None
) -> Summary:
    """Sum up a selection; `losses` (n,) are NaN where they are not known."""
    weights, n, s = coreset.weights, len(coreset.probabilities), coreset.expected_size
    floor = wanted.how["floor"]
    facts = {
        "n": n,
        "dimension": dimension,
        "drawn": len(coreset),
        "s": s,
        "design": wanted.how["design"],
        "clusters": coreset.clusters.k,
        "weight_sum": float(weights.sum()),
        "effective_sample_size": effective_sample_size(weights),
        "largest_weight": float(weights.max(initial=0.0)),
        "weight_bound": n / (s * floor) if floor else None,
        "losses_asked": coreset.n_queries,
        "output": str(wanted.output),
    }
    if losses is None:
        return Summary(facts, None, "no losses were given")
    total = estimated_total(coreset, losses, wanted.how["design"])
    return Summary(facts, total, f"no estimate: fewer than {_LEAST} rows drawn by chance, or losses unknown")


def estimated_total(coreset: Coreset, losses: NDArray[np.float64], design: str) -> Total | None:
    """The total loss, from the drawn rows alone; None where they are too few or have unknown losses.

    The interval takes quantiles of Student's t, of half as many degrees of freedom as there are second
    differences: these overlap. It says little where few losses make up most of the total.
    """
    drawn, expected = losses[coreset.indices], coreset.probabilities[coreset.indices]
    m = len(drawn) if design == "iid" else int((expected < 1).sum())
    if 0 < m < _LEAST or not np.isfinite(drawn).all():
        return None
    found = estimate([Drawn(drawn, expected, len(losses), coreset.expected_size)], design)
    half = float(stdtrit((m - 2) / 2, 0.975)) * math.sqrt(found.variance) if m else 0.0
    of_all = float(losses.sum()) if np.isfinite(losses).all() else None
    return Total(found.total, found.total - half, found.total + half, of_all)
