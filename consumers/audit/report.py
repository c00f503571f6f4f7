"""What an audit found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.audit.bias import MIN_GROUPS, BiasTest

__all__ = ["AuditReport", "Violations"]

_MOST_LISTED = 100


class Violations:
    """Sentences that say what is wrong; the first hundred, and how many more there are."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self.count = 0

    def add(self, sentence: str) -> None:
        """Add one."""
        self.count += 1
        if self.count <= _MOST_LISTED:
            self._said.append(sentence)

    def sentences(self) -> tuple[str, ...]:
        """All that are kept."""
        more = self.count - len(self._said)
        return (*self._said, f"... and {more} more") if more else tuple(self._said)


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes
    ----------
    violations : tuple of str
        One sentence each; none when all invariants hold.
    tests : tuple of BiasTest
        The first is that of the sum of the weights.
    facts : mapping
        What was checked: windows, examples, emitted, dead, and the ranges that are still held.
    """

    violations: tuple[str, ...]
    tests: tuple[BiasTest, ...]
    facts: Mapping[str, Any]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations

    @property
    def weight_z(self) -> float:
        """Sum of the weights against the number of examples, in standard errors; NaN without windows."""
        return self.tests[0].z if self.tests else math.nan

    def json(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        tests = [{"about": t.about, "z": t.z, "groups": t.groups, "limit": t.limit} for t in self.tests]
        return {
            "clean": self.clean,
            "violations": list(self.violations),
            "weight_z": None if math.isnan(self.weight_z) else self.weight_z,
            "tests": tests,
            **self.facts,
        }

    def render(self) -> str:
        """Return the report as lines to read."""
        lines = [f"{name}: {_text(value)}" for name, value in self.facts.items()]
        lines.append(_bias_line(self.tests))
        lines += [f"VIOLATION: {sentence}" for sentence in self.violations]
        lines.append(self._verdict())
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.clean and self.facts.get("windows") and not self.facts.get("windows checked"):
            return "Nothing wrong was found, but retention has left no window to check."
        return "The audit is clean." if self.clean else "The audit is NOT clean."


def _text(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _bias_line(tests: Sequence[BiasTest]) -> str:
    if not tests or tests[0].groups < MIN_GROUPS:
        return "bias: too few windows to tell"
    worst = max(tests, key=lambda test: abs(test.z))
    said = f"bias: weights z = {tests[0].z:+.2f}; of {len(tests)} tests the largest |z| is {abs(worst.z):.2f}"
    return f"{said} ({worst.about}), the limit {worst.limit:.2f}"
