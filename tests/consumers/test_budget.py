"""The budget of examples an hour: held whatever the stream does, and though samplers learn of it late."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.loop import Loop, blobs, example, settings

from consumers.budget import DEFAULT_RATE, HourlyBudget

HOUR = 3600


def kept(budget: HourlyBudget, speeds: list[float], late: int = 3) -> np.ndarray:
    """Examples kept each second, where samplers use the rate of `late` seconds ago."""
    rates, found = deque([budget.rate] * (late + 1), late + 1), []
    for second, n in enumerate(speeds):
        found.append(n * rates[0])
        budget.seen(int(n), rates[0], float(second))
        rates.append(budget.rate)
    return np.array(found)


@pytest.mark.parametrize(
    "speed",
    [
        lambda t: 1000,
        lambda t: 1000 + 800 * np.sin(2 * np.pi * t / 1800),
        lambda t: 200 if t % 1200 < 600 else 4000,
        lambda t: 100 + t,
        lambda t: 5000 if t % 60 == 0 else 0,
    ],
    ids=["steady", "waves", "steps", "rising", "bursts"],
)
def test_every_hour_after_the_first_comes_out_as_asked(speed) -> None:
    budget = HourlyBudget(20_000, rate=0.01)
    found = kept(budget, [speed(t) for t in range(3 * HOUR)])
    for hour in (1, 2):
        assert found[hour * HOUR : (hour + 1) * HOUR].sum() == pytest.approx(20_000, rel=0.1)


def test_a_stream_below_its_budget_is_kept_whole() -> None:
    budget = HourlyBudget(20_000, rate=0.01)
    assert kept(budget, [1.0] * HOUR)[-1] == 1.0


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1e6)), max_size=50))
def test_the_rate_is_always_one(seen: list[tuple[int, float, float]]) -> None:
    budget, now = HourlyBudget(1000, rate=0.5), 0.0
    for n, rate, seconds in seen:
        now += seconds
        budget.seen(n, rate, now)
        assert 0 < budget.rate <= 1


def test_after_a_standstill_nothing_is_poured_out_at_once() -> None:
    """A stream that had stopped for hours is not taken for a slow one."""
    budget = HourlyBudget(3600, rate=0.01)
    kept(budget, [1000.0] * HOUR)
    before = budget.rate
    assert before == pytest.approx(0.001, rel=0.01)
    budget.seen(1000, budget.rate, HOUR + 10_000.0)
    assert before < budget.rate < 1.5 * before


def test_all_samplers_use_the_rate_that_the_clusterer_publishes() -> None:
    loop = Loop(settings(sampling={"rate": None, "per_hour": 360_000.0}))
    for seed in range(6):
        loop.feed([example(x) for x in blobs(200, seed)])
        time.sleep(0.05)
    published = loop.publication.rate
    assert published != DEFAULT_RATE
    loop.clusterer.reset([(loop.settings.topic("statistics"), 0)])
    assert loop.clusterer._budget.rate == published
    loop.feed([example(x) for x in blobs(200, 9)])
    assert loop.ledger()[-1].rate == published
    assert loop.ledger()[-1].s == pytest.approx(200 * published)
    assert loop.ledger()[0].rate == DEFAULT_RATE


def test_the_floor_in_force_is_published_and_used() -> None:
    loop = Loop(settings())
    loop.feed([example(x) for x in blobs(200)])
    clusters = replace(loop.publication.clusters, version=loop.publication.clusters.version + 1)
    loop.publication = replace(loop.publication, clusters=clusters, eta=0.6)
    (window,) = loop.sampler.cut(loop.records([example(x) for x in blobs(200, 1)]), loop.now)
    loop.take(loop.sampler.apply(window))
    assert loop.ledger()[-1].eta == 0.6
    assert loop.ledger()[-1].rate == 0.1
