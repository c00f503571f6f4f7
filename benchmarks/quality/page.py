"""Writes the tables of `benchmarks/README.md` from the newest results: python -m benchmarks.quality.page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PAGE", "newest", "rewritten"]

PAGE = Path(__file__).parents[1] / "README.md"
RESULTS = PAGE.parent / "results"

Result = dict[str, Any]

_COLUMNS = {
    "the paper": "the paper",
    "the paper at our queries": "the paper, as many losses",
    "k-center": "k-center",
    "coreax, kernel herding": "coreax",
    "ours without surrogate": "ours, clusters alone",
    "ours": "**ours**",
    "uniform at s + queries": "uniform + asked",
}
_OURS = "**{}**"


def newest(part: str) -> Result:
    """The newest result of one part of `benchmarks.quality`."""
    found = sorted(RESULTS.glob(f"quality-{part}-*.json"))
    if not found:
        raise FileNotFoundError(f"{RESULTS}: no quality-{part}-*.json; run benchmarks.quality --parts {part}")
    result: Result = json.loads(found[-1].read_text())
    return result


def rewritten(page: str) -> str:
    """The page with every table between its two markers made anew."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        lines = "\n".join(table())
        page, count = pattern.subn(lambda marks, lines=lines: f"{marks[1]}{lines}\n{marks[2]}", page)
        if count != 1:
            raise ValueError(f"the page needs one table between the markers of {name}, not {count}")
    return page


def _sets() -> Iterable[str]:
    sets = newest("sets")["sets"]
    yield _row("2 % / 10 % of the examples", "losses asked", *_COLUMNS.values())
    yield _rule(len(_COLUMNS) + 2)
    for name, columns in sets.items():
        figures = [_pair(columns[column]["ratios"], column) for column in _COLUMNS]
        yield _row(name, f"{columns['ours']['queries']:,.0f}", *figures)
    means = [
        _pair(
            np.exp(np.mean([np.log(columns[column]["ratios"]) for columns in sets.values()], axis=0)), column
        )
        for column in _COLUMNS
    ]
    yield _row("geometric mean", "", *means)


def _chance() -> Iterable[str]:
    yield _row("2 % / 10 % of the examples", "losses asked", "**ours**", "worst clustering", "clusters alone")
    yield _rule(5)
    for name, columns in newest("chance")["chance"].items():
        ours, alone = columns["ours"], columns["ours without surrogate"]
        figures = _pair(ours["ratios"], "ours"), _pair(ours["worst"], ""), _pair(alone["ratios"], "")
        yield _row(name, f"{ours['queries']:,.0f}", *figures)


def _streams() -> Iterable[str]:
    yield _row(
        "windows of 8,192, 96 losses asked before each, losses of the sample come back",
        *("kept", "**ours**", "clusters alone", "uniform + asked"),
    )
    yield _rule(5)
    for row in newest("streams")["streams"]:
        figures = _OURS.format(_short(row["surrogate"])), _short(row["clusters"]), _short(row["more"])
        yield _row(row["stream"], f"{row['rate']:.0%}", *figures)


def _training() -> Iterable[str]:
    rows = [*newest("training")["training"], *newest("active")["active learning"]]
    rates = sorted({row["rate"] for row in rows})
    yield _row("", *(f"{100 * rate:.0f} %" for rate in rates))
    yield _rule(len(rates) + 1)
    for task, choice in dict.fromkeys((row["task"], row["choice"]) for row in rows):
        cells = {row["rate"]: row for row in rows if (row["task"], row["choice"]) == (task, choice)}
        if choice == "uniform":
            yield _row(f"**{task}**: uniform", *(f"{cells[rate]['score']:.3f}" for rate in rates))
        else:
            gains = (f"{cells[rate]['gain']:+.3f} ± {cells[rate]['error']:.3f}" for rate in rates)
            yield _row("**ours**" if choice == "ours" else choice, *gains)


def _goals() -> Iterable[str]:
    yield _row("", "goal", "reached", "")
    yield _rule(4)
    for part in ("sets", "chance", "training", "streams", "foundations"):
        for goal in newest(part)["goals"]:
            met = "met" if goal["met"] else "not met"
            yield _row(goal["name"], f"{goal['goal']:.3g}", f"{goal['value']:.3g}", met)


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "sets": _sets,
    "chance": _chance,
    "streams": _streams,
    "training": _training,
    "goals": _goals,
}


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _pair(ratios: Iterable[float], column: str) -> str:
    text = " / ".join(_short(ratio) for ratio in ratios)
    return _OURS.format(text) if column == "ours" else text


def _short(ratio: float) -> str:
    """Three digits, without the 0 before the point."""
    return f"{ratio:.2f}" if ratio >= 0.9995 else f"{ratio:.3f}".removeprefix("0")


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rewritten(PAGE.read_text()))
    print(f"{PAGE}: written from {RESULTS}")


if __name__ == "__main__":
    main()
