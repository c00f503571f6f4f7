"""The service under fire for a minute; `make chaos` does it for as long as wanted."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from chaos.deck import deal
from chaos.endpoint import AILMENTS
from chaos.points import POINTS
from chaos.proxy import TROUBLES

ROOT = Path(__file__).parents[2]
FAULTS = 20


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_comes_twice_under_fire(tmp_path):
    result = tmp_path / "chaos.json"
    done = subprocess.run(
        [sys.executable, "-m", "chaos", f"--faults={FAULTS}", "--seed=7", f"--json={result}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = json.loads(result.read_text())
    assert found["findings"] == []
    assert len(found["faults"]) == FAULTS
    assert [goal["name"] for goal in found["goals"] if not goal["met"]] == []
    for report in found["checked_by_format"].values():
        assert report["counts"]["aborted"] > 0, "the faults missed"
        assert report["counts"]["dead"] > 0
        assert report["counts"]["windows"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_one_deck_holds_every_kind_of_fault_and_every_point(seed):
    cards = list(islice(deal(random.Random(seed)), 77))
    assert {card.point for card in cards if card.what == "kill"} == set(POINTS)
    assert {card.point for card in cards if card.what == "raise"} == set(POINTS)
    assert {card.what for card in cards if card.family == "endpoint"} == set(AILMENTS)
    assert {card.what for card in cards if card.family == "network"} == set(TROUBLES)
    assert {card.family for card in cards[:15]} == {"process", "broker", "network", "endpoint", "point"}


def test_a_seed_repeats_its_faults():
    assert list(islice(deal(random.Random(1)), 200)) == list(islice(deal(random.Random(1)), 200))
    assert list(islice(deal(random.Random(1)), 200)) != list(islice(deal(random.Random(2)), 200))
