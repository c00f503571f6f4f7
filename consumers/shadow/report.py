"""What a dry run came to, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumers.shadow.evidence import Comparison
from consumers.tables import aligned, percent, short, wrapped
from stream_coreset.gain import uniform_rate

__all__ = ["ShadowReport"]

_HEADINGS = ("rate", "of uniform's error", "95 % interval", "uniform as good", "by cluster alone")


@dataclass(frozen=True)
class ShadowReport:
    """The figures of a dry run.

    Attributes
    ----------
    topic : str
        That was read.
    windows, examples : int
        Read in all.
    warm_up : int
        Windows before enough was known; they are not judged.
    judged_windows, judged_examples : int
        Of how many the losses are known.
    losses_asked : int
        Of the model, to know the clusters.
    judge : str
        How the losses came.
    comparisons : sequence of Comparison
        The first is at the rate as set; none where too few losses are known.
    """

    topic: str
    windows: int
    examples: int
    warm_up: int
    judged_windows: int
    judged_examples: int
    losses_asked: int
    judge: str
    comparisons: Sequence[Comparison]

    def json(self) -> dict[str, Any]:
        """Return it as values of JSON; null = unknown."""
        values = {name: value for name, value in vars(self).items() if name != "comparisons"}
        return {**values, "comparisons": [_values(one) for one in self.comparisons]}

    def render(self) -> str:
        """Return it as lines to read."""
        each = self.losses_asked / max(1, self.windows)
        head = [
            f"dry run on {self.topic}: {self.examples:,} examples in {self.windows:,} windows, "
            f"{self.warm_up:,} of them to warm up; nothing was written, no offset committed",
            f"judged by {self.judged_examples:,} examples of {self.judged_windows:,} windows; {self.judge}; "
            f"{short(each)} losses a window were asked to know the clusters",
        ]
        if not self.comparisons:
            return "\n".join([*map(wrapped, head), "", wrapped(self._verdict())])
        rows = [_HEADINGS, *map(_cells, self.comparisons)]
        table = aligned(rows, range(len(_HEADINGS)))
        return "\n".join([*map(wrapped, head), "", table, "", wrapped(self._verdict())])

    def _verdict(self) -> str:
        if not self.comparisons:
            return "Too few losses are known to judge: let it run longer, or see that losses come."
        first = self.comparisons[0]
        ratio, (low, high) = first.ours.ratio, first.ours.interval
        if math.isnan(ratio):
            return "All losses are the same: uniform sampling makes no error, and nothing can be gained."
        at = f"At {percent(first.rate)} the estimated total loss has {ratio:.2f} times the error that"
        if high < 1:
            as_good = uniform_rate(first.rate, ratio)
            return (
                f"{at} a uniform sample of the same size has (95 %: {low:.2f} to {high:.2f}); uniform "
                f"sampling would need {percent(as_good)} of the stream for it."
            )
        if low > 1:
            return f"{at} a uniform sample of the same size has: this stream is better sampled uniformly."
        return (
            f"{at} a uniform sample has (95 %: {low:.2f} to {high:.2f}): no difference is proven. More "
            "examples to judge by (--judged-by) narrow the interval."
        )


def _cells(one: Comparison) -> tuple[str, ...]:
    low, high = one.ours.interval
    return (
        percent(one.rate),
        f"{one.ours.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        percent(uniform_rate(one.rate, one.ours.ratio)),
        f"{one.stratified.ratio:.2f}",
    )


def _values(one: Comparison) -> dict[str, Any]:
    low, high = one.ours.interval
    return {
        "rate": one.rate,
        "drawn": one.ours.expected_size,
        "error_to_uniform": _known(one.ours.ratio),
        "low": _known(low),
        "high": _known(high),
        "uniform_rate": _known(uniform_rate(one.rate, one.ours.ratio)),
        "stratified_to_uniform": _known(one.stratified.ratio),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
