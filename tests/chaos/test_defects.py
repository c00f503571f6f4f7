"""The checker must be able to fail: each planted defect is found, and a service without one is green."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
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

# What a defect needs beside a stream of JSON examples and one sampler.
_SPECIAL: dict[str, dict[str, Any]] = {
    "group metadata taken late": {"samplers": 2, "until": "committed late"},
    "input read before it is committed": {"aborted": 40},
    "a version that goes back": {"clusterer": True},
    "a chunk of another version": {"clusterer": True},
    "a column changed": {"format": "arrow"},
    "a type changed": {"format": "arrow"},
    "weight 1/(n p)": {"messages": 1200, "clusterer": True},
    "redrawn until it fits": {"format": "arrow", "messages": 400},
}
_CLEAN: dict[str, dict[str, Any]] = {
    "JSON": {"messages": 1500, "samplers": 2, "clusterer": True, "aborted": 40},
    "Arrow": {"format": "arrow", "messages": 100, "samplers": 2, "clusterer": True},
}
_MESSAGES = 500


def _texts(n: int) -> Message:
    """An Arrow message of 500 examples whose texts differ in length as texts do."""
    rng = np.random.default_rng(n)
    lengths = np.minimum(rng.lognormal(4, 1, 500), 3000).astype(int)
    columns = {
        "embedding": pa.array(rng.normal(size=(500, DIMENSION)).tolist(), pa.list_(pa.float32())),
        "text": pa.array(["x" * length for length in lengths]),
    }
    return Message(write_stream(pa.table(columns)), None, (), 500)


def _trial(servers: str, directory: Path, defect: str | None, special: dict[str, Any]) -> Trial:
    made: dict[str, Any] = {"messages": _MESSAGES, **special}
    make = arrow_message if made.get("format") == "arrow" else json_message
    if defect == "redrawn until it fits":
        make, made["window"] = _texts, 500
    made["messages"] = [make(n) for n in range(made["messages"])]
    return Trial(f"t{uuid.uuid4().hex[:10]}", servers, directory, defect=defect, **made)


@pytest.fixture(scope="module")
def trials(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Trial]]:
    """All of them, run at the same time."""
    directory = tmp_path_factory.mktemp("trials")
    made = {name: _trial(kafka, directory, name, _SPECIAL.get(name, {})) for name in NAMES}
    made |= {name: _trial(kafka, directory, None, special) for name, special in _CLEAN.items()}
    began = time.monotonic()
    wrong = run(list(made.values()), 60)
    print(f"trials took {time.monotonic() - began:.1f} s")
    assert not wrong
    return made


def _kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_defect_is_found(name: str, trials: dict[str, Trial]) -> None:
    report = trials[name].check(3.0)
    print(name, [str(one)[:160] for one in report.findings][:4], report.counts, report.z)
    assert DEFECTS[name].finding in _kinds(report)


@pytest.mark.parametrize("name", _CLEAN)
def test_a_service_without_defects_is_green(name: str, trials: dict[str, Trial]) -> None:
    report = trials[name].check(20.0)
    assert report.findings == []
    print(report.counts, report.z)


def test_every_finding_expected_is_one_of_the_kinds() -> None:
    assert {one.finding for one in DEFECTS.values()} <= set(KINDS)


def test_a_defect_of_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no defect 'no such'"):
        plant("no such")
