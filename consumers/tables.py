"""Plain text for people: aligned tables, short numbers, times that have passed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence

__all__ = ["ago", "aligned", "percent", "short", "wrapped"]

_COLUMNS = 100
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0))


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Return rows of cells as lines with aligned columns; those of `right` are aligned to the right.

    >>> print(aligned([["id", "share"], ["7", "10 %"]], right=[1]))
    id  share
    7    10 %
    """
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def wrapped(sentence: str) -> str:
    r"""Return a sentence in lines of at most 100 columns.

    >>> wrapped("what \x1b[31m a stranger wrote")
    'what ?[31m a stranger wrote'
    """
    return textwrap.fill(_printable(sentence), _COLUMNS, break_on_hyphens=False, break_long_words=False)


def _printable(text: str) -> str:
    """What comes from a topic anybody may have written; terminals obey what cannot be printed."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def short(value: float | None) -> str:
    """Return a number with about four digits; a dash for None and NaN, which are unknown.

    >>> short(0.026149), short(1234567.8), short(12), short(float("nan"))
    ('0.02615', '1,234,568', '12', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"


def percent(share: float | None) -> str:
    """Return a share with three digits.

    >>> percent(0.02614), percent(1.0), percent(None)
    ('2.61 %', '100 %', '-')
    """
    return "-" if share is None or math.isnan(share) else f"{100 * share:.3g} %"


def ago(seconds: float | None) -> str:
    """Return a time that has passed, in the largest unit that fits.

    >>> ago(12.3), ago(200), ago(90_000), ago(None)
    ('12 s', '3.3 min', '1.0 d', '-')
    """
    if seconds is None or math.isnan(seconds):
        return "-"
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
