"""What a dry run came to, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumers.shadow.evidence import Comparison
from consumers.tables import aligned, percent, short, wrapped
from stream_coreset.gain import uniform_rate

__all__ = ["FEW", "ShadowReport"]

FEW = 20
"""Examples that decide, below which an interval says nothing."""

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
    model_versions : int
        Under how many versions of the model.
    losses_asked : int
        Of the model, to know the clusters.
    judge : str
        How the losses came.
    preferred : bool
        Whether they cannot be of a uniform sample of the stream.
    rate : float or None
        As set; None for the default, or another budget.
    comparisons : sequence of Comparison
        The rate as set first, where the examples suffice for it.
    """

    topic: str
    windows: int
    examples: int
    warm_up: int
    judged_windows: int
    judged_examples: int
    model_versions: int
    losses_asked: int
    judge: str
    preferred: bool
    rate: float | None
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
            f"judged by {self.judged_examples:,} examples of {self.judged_windows:,} windows, under "
            f"{self.model_versions} version(s) of the model; {self.judge}",
            f"{short(each)} losses a window were asked to know the clusters, and every window was learned "
            "from at once; live, that follows endpoint.refresh_seconds",
        ]
        if not self.comparisons:
            return "\n".join([*map(wrapped, head), "", wrapped(self._verdict())])
        rows = [_HEADINGS, *map(_cells, self.comparisons)]
        table = aligned(rows, range(len(_HEADINGS)))
        return "\n".join([*map(wrapped, head), "", table, "", wrapped(self._verdict())])

    def _verdict(self) -> str:
        if self.preferred:
            return (
                "The examples whose losses were reported are no uniform sample of the stream, but rather "
                "those that this sampling prefers. So nothing can be told: report the losses of examples "
                "chosen at random, or of all."
            )
        if not self.comparisons:
            return "Too few losses are known to judge: let it run longer, or see that losses come."
        first = self.comparisons[0]
        note = ""
        if self.rate is not None and abs(first.rate - self.rate) > self.rate / 10:
            note = f" For the rate as set, {percent(self.rate)}, judge by more examples (--judged-by)."
        return _said(first) + note


def _said(first: Comparison) -> str:
    ratio, (low, high) = first.ours.ratio, first.ours.interval
    error = f"{ratio:.2f} times the error that uniform sampling"
    at = f"At {percent(first.rate)} the estimated total loss has {error}"
    if math.isnan(ratio):
        return (
            "Uniform sampling makes no error here, for all is taken or all losses are alike: nothing to gain."
        )
    if math.isnan(low):
        return f"{at} has; how certain that is cannot be told."
    if first.ours.deciding < FEW:
        return (
            f"{at} has, but no more than {first.ours.deciding:.0f} large losses decide that, too few for an "
            "interval that could be relied on: judge by more examples (--judged-by)."
        )
    within = f"(95 %: {low:.2f} to {high:.2f})"
    if high < 1:
        as_good = percent(uniform_rate(first.rate, ratio))
        return f"{at} has {within}; it would need {as_good} of the stream for the same."
    if low > 1:
        return f"{at} has {within}: this stream is better sampled uniformly."
    return f"{at} has {within}: no difference is proven. More examples (--judged-by) narrow the interval."


def _interval(one: Comparison) -> tuple[float, float]:
    """NaN where it could not be relied on."""
    return one.ours.interval if one.ours.deciding >= FEW else (math.nan, math.nan)


def _cells(one: Comparison) -> tuple[str, ...]:
    low, high = _interval(one)
    return (
        percent(one.rate),
        f"{one.ours.ratio:.2f}",
        "-" if math.isnan(low) else f"{low:.2f} to {high:.2f}",
        percent(uniform_rate(one.rate, one.ours.ratio)),
        f"{one.stratified.ratio:.2f}",
    )


def _values(one: Comparison) -> dict[str, Any]:
    low, high = _interval(one)
    return {
        "rate": one.rate,
        "drawn": one.ours.expected_size,
        "deciding": one.ours.deciding,
        "error_to_uniform": _known(one.ours.ratio),
        "low": _known(low),
        "high": _known(high),
        "uniform_rate": _known(uniform_rate(one.rate, one.ours.ratio)),
        "stratified_to_uniform": _known(one.stratified.ratio),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
