"""The driver finds what is planted: crashes, standstills, slowness, memory and exceptions; and counts."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from fuzz import planted
from fuzz.contract import BrokenContract, kind_of
from fuzz.driver import SHARES, Job, jobs_of, run
from fuzz.inputs import generate
from fuzz.seeds import seeds
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
INPUTS = 60


def test_every_planted_defect_is_found_and_every_input_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    # each child takes the valid inputs three times first
    hits = {target: planted.FATAL - 1 - 3 * len(seeds(target)) for target in planted.TARGETS}
    jobs = [Job(name, 0, hits[name] + 1 if name == "wait" else INPUTS) for name in planted.TARGETS]
    still = [job for job in jobs if job.target == "wait"]
    results = run(still, seed="1", module="fuzz.planted", standstill=8.0)
    results |= run([job for job in jobs if job.target != "wait"], seed="1", module="fuzz.planted")
    found = {
        name: [(one["what"], one["index"]) for one in result["findings"]] for name, result in results.items()
    }
    defects = {
        "json": "crash",
        "wait": "standstill",
        "ledger": "slow",
        "answer": "memory",
        "headers": "exception",
    }
    for name, what in defects.items():
        assert found[name] == [(what, hits[name])]
    assert found["dead-letters"] == []
    assert results["dead-letters"]["outcomes"] == {"accepted": INPUTS - 1, "seldom": 1}
    assert {name: result["inputs"] for name, result in results.items()} == {
        job.target: job.last for job in jobs
    }
    (crash,) = results["json"]["findings"]
    assert bytes.fromhex(crash["input"]) == generate("json", Random(f"1/json/{hits['json']}"))


def test_a_million_inputs_are_a_million() -> None:
    assert set(SHARES) == set(TARGETS)
    jobs = jobs_of(1_000_000)
    assert sum(job.last - job.first for job in jobs) == 1_000_000
    assert {job.target for job in jobs} == set(TARGETS)


@pytest.mark.parametrize("said", ["", "x" * 2000, "two\nlines", "malloc of size 4294967296 failed"])
def test_a_refusal_is_one_sentence_and_not_for_want_of_memory(said: str) -> None:
    with pytest.raises(BrokenContract):
        kind_of(said)
