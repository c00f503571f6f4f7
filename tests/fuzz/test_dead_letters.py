"""Fuzzed messages through the sampler's transform: what is refused is a dead letter, and counted."""

from __future__ import annotations

from random import Random

import pytest
from fuzz.examples import record_with_headers
from fuzz.inputs import generate
from support.loop import Loop, settings

from consumers.records import read_dead_letter
from consumers.transform import InputRecord


def messages(kind: str, n: int) -> list[InputRecord]:
    """Messages of the topic, the better half of them as they should be."""
    found = []
    for offset in range(n):
        rng = Random(f"service/{kind}/{offset}")
        if rng.random() < 0.3:
            made = record_with_headers(generate("headers", rng))
            found.append(InputRecord("examples", 0, offset, made.key, made.value, made.headers, offset))
        else:
            found.append(InputRecord("examples", 0, offset, b"k", generate(kind, rng), (), offset))
    return found


@pytest.mark.parametrize(
    ("kind", "chain"), [("json", False), ("json", True), ("arrow", False), ("arrow", True)]
)
def test_the_books_balance_whatever_comes(kind: str, chain: bool) -> None:
    loop = Loop(settings(input={"dimension": 3, "format": kind, "chain": chain}, window={"age_seconds": 1.0}))
    records = messages(kind, 1000 if kind == "json" else 400)
    for start in range(0, len(records), 100):
        loop.now += 2.0
        windows = loop.sampler.cut(records[start : start + 100], loop.now)
        windows += loop.sampler.cut([], loop.now + 1.5)
        for window in windows:
            unit = loop.sampler.apply(window)
            loop.take(unit)
            loop.turn(unit)
    _check_books(loop, records)


def _check_books(loop: Loop, records: list[InputRecord]) -> None:
    entries, letters = loop.ledger(), loop.of("dead_letters")
    covered = sorted((part.start, part.end) for entry in entries for part in entry.ranges)
    assert [start for start, _ in covered] == [0, *(end for _, end in covered[:-1])]
    assert covered[-1][1] == len(records)
    valid, dead = sum(entry.valid for entry in entries), sum(entry.dead for entry in entries)
    assert valid > 100
    assert len(letters) == dead > 100
    assert len({letter.key for letter in letters}) == dead
    told = loop.sampler_metrics.registry.get_sample_value
    kinds = {read_dead_letter(letter.key, letter.headers).exception for letter in letters}
    counted = {kind: told("stream_coreset_dead_letters_total", {"reason": kind}) for kind in kinds}
    assert sum(counted.values()) == dead
    assert told("stream_coreset_examples_consumed_total") == valid
    assert sum(entry.emitted for entry in entries) > 0
