from __future__ import annotations

import io
import json
import math
from dataclasses import replace

from rich.console import Console

from consumers.demo.display import Display
from consumers.demo.report import Report, worth

REPORT = Report(
    examples=49_097,
    emitted=491,
    windows=41,
    weight_z=-0.5,
    loss_error_ratio=0.25,
    balanced_accuracy={"coreset": 0.955, "uniform": 0.93, "full": 0.97},
    queries=5_000,
    seed=3,
    events_per_second=1_100.0,
    violations=(),
)


def rendered(report: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(report.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_json_has_exactly_the_promised_keys() -> None:
    assert json.loads(json.dumps(REPORT.json())) == {
        "examples": 49_097,
        "emitted": 491,
        "windows": 41,
        "weight_z": -0.5,
        "loss_error_ratio": 0.25,
        "balanced_accuracy": {"coreset": 0.955, "uniform": 0.93, "full": 0.97},
        "queries": 5_000,
        "seed": 3,
        "events_per_second": 1_100.0,
        "audit": {"clean": True, "violations": []},
    }


def test_what_is_not_known_is_null() -> None:
    report = replace(REPORT, loss_error_ratio=math.nan, weight_z=math.inf)
    assert json.loads(json.dumps(report.json(), allow_nan=False))["loss_error_ratio"] is None


def test_the_table_says_what_it_is_worth() -> None:
    text = rendered(REPORT)
    for part in ("0.955", "0.930", "0.970", "0.25", "16.0", "-0.50", "clean"):
        assert part in text


def test_violations_are_shown() -> None:
    report = replace(REPORT, violations=("a gap in partition 1",))
    assert not report.clean
    assert "a gap in partition 1" in rendered(report)
    assert "not clean" in rendered(report)


def test_worth() -> None:
    assert (worth(0.1), worth(2.0), worth(math.nan), worth(0.0)) == ("100.0", "0.2", "unknown", "unknown")


def test_display_writes_a_line_now_and_then_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=200)
    with Display(100, console) as display:
        display.say("begun")
        for windows in range(1, 26):
            display.sent(4 * windows)
            accuracy = {"coreset": 0.9, "uniform": math.nan}
            display.sampled(4 * windows, windows, windows, models=1, accuracy=accuracy)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line for line in lines if line] == [
        "• begun",
        "• 40 events in 10 windows, 10 examples emitted, model 1; balanced accuracy: coreset 0.900",
        "• 80 events in 20 windows, 20 examples emitted, model 1; balanced accuracy: coreset 0.900",
    ]


def test_display_draws_bars_in_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Display(100, console) as display:
        display.sent(50)
        display.sampled(25, 1, 2, models=0, accuracy={})
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "events sent" in text
    assert "50/100" in text
    assert "1 windows, 2 examples emitted, model -" in text
