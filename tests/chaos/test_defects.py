"""The checker must be able to fail: each planted defect is found, and a service without one is green."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from chaos.checker import KINDS, Report
from chaos.defects import DEFECTS, NAMES, plant
from chaos.stream import DIMENSION, Message, arrow_message, json_message
from chaos.trial import Trial
from chaos.trials import run

from consumers.ipc import write_stream

pytestmark = pytest.mark.timeout(400)  # of the first test, which waits for all the trials

# What a trial needs beside 500 JSON examples and one sampler.
_SPECIAL: dict[str, dict[str, Any]] = {
    "group metadata taken late": {"samplers": 2, "until": "committed late"},
    "input read before it is committed": {"aborted": 40},
    "a version that goes back": {"clusterer": True},
    "a chunk of another version": {"clusterer": True},
    "a column changed": {"format": "arrow"},
    "a type changed": {"format": "arrow"},
    "weight 1/(n p)": {"messages": 1500, "window": 60, "clusterer": True},
    "weights rounded": {"rate": 0.3},
    "redrawn until it fits": {"format": "arrow", "messages": 240, "window": 250, "rate": 0.4, "texts": True},
    "no defect, JSON": {"messages": 1500, "samplers": 2, "clusterer": True, "aborted": 40},
    "no defect, Arrow": {"format": "arrow", "samplers": 2, "clusterer": True},
}
_CLEAN = [name for name in _SPECIAL if name.startswith("no defect")]
_MESSAGES = {"json": 500, "arrow": 100}
_PROCESS_SECONDS, _CHECK_SECONDS, _HANG_SECONDS = 150.0, 60.0, 5.0
_CHECKERS = 4  # at a time


def _texts(n: int) -> Message:
    """An Arrow message of one window, whose texts differ in length as texts do."""
    rng = np.random.default_rng(n)
    lengths = np.minimum(rng.lognormal(4, 1, 250), 3000).astype(int)
    columns = {
        "embedding": pa.FixedSizeListArray.from_arrays(rng.normal(size=250 * DIMENSION), DIMENSION),
        "text": pa.array(["x" * length for length in lengths]),
    }
    return Message(write_stream(pa.table(columns)), None, (), 250)


def _trial(servers: str, directory: Path, name: str) -> Trial:
    made = dict(_SPECIAL.get(name, {}))
    count = made.pop("messages", _MESSAGES[made.get("format", "json")])
    make = arrow_message if made.get("format") == "arrow" else json_message
    make = _texts if made.pop("texts", False) else make
    defect = name if name in NAMES else None
    messages = [make(n) for n in range(count)]
    return Trial(f"t{uuid.uuid4().hex[:10]}", servers, directory, messages, defect, **made)


def _check(trial: Trial) -> Report:
    hangs = trial.defect is not None and DEFECTS[trial.defect].finding == "hanging"
    return trial.check(_HANG_SECONDS if hangs else _CHECK_SECONDS)


@pytest.fixture(scope="module")
def trials(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Mapping[str, Report | str]:
    """What the checker says of each trial that this run asks for, or why it failed; eight at a time."""
    directory = tmp_path_factory.mktemp("trials")
    asked = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    made = {one.params["name"]: _trial(kafka, directory, one.params["name"]) for one in asked if one}
    wrong = run(list(made.values()), _PROCESS_SECONDS)
    late = {name: _trial(kafka, directory, name) for name, one in made.items() if one.name in wrong}
    made |= late  # once more, alone: eight at a time can be too many for a busy machine
    wrong = run(list(late.values()), _PROCESS_SECONDS)
    with ThreadPoolExecutor(_CHECKERS) as pool:
        return dict(
            zip(made, pool.map(lambda one: wrong.get(one.name) or _check(one), made.values()), strict=True)
        )


@pytest.fixture
def report(name: str, trials: Mapping[str, Report | str]) -> Report:
    """Of the trial of that name."""
    found = trials[name]
    if isinstance(found, str):
        pytest.fail(found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_defect_is_found(name: str, report: Report) -> None:
    found = report.findings
    assert DEFECTS[name].finding in {finding.kind for finding in found}, f"found was: {found}"


@pytest.mark.parametrize("name", _CLEAN)
def test_a_service_without_defects_is_green(name: str, report: Report) -> None:
    assert report.findings == []
    assert min(report.counts[count] for count in ("examples", "windows", "emitted", "dead", "versions")) > 0
    assert report.counts["unread"] == 0


@pytest.mark.parametrize("name", ["redrawn until it fits"])
def test_a_bias_is_found_in_what_it_is_in(name: str, report: Report) -> None:
    """Such a sample has the right number of examples, and too few bytes."""
    weights, nbytes = report.z["weights"], report.z["payload bytes"]
    assert weights is not None
    assert nbytes is not None
    assert abs(weights) < 4
    assert nbytes < -5


def test_there_are_at_least_ten_defects_each_of_a_known_kind() -> None:
    assert len(NAMES) >= 10
    assert {one.finding for one in DEFECTS.values()} <= set(KINDS)


def test_a_defect_of_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no defect 'no such'"):
        plant("no such")
