"""The measurements that the others lean on can fail, and say what they should on small runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.clustering import clustering_goals, clustering_table
from benchmarks.quality.coverage import coverage_table
from benchmarks.quality.validity import _hotelling, validity_goals, validity_table


@pytest.mark.parametrize(("shift", "found"), [(0.0, False), (0.3, True)])
def test_counts_that_are_off_are_found(shift: float, found: bool) -> None:
    """Of a fixed size, so that one rank is missing; a false alarm in 10,000, with a fixed seed."""
    off = np.random.default_rng(1).normal(size=(2_000, 6)) + shift * np.arange(6)
    off -= off.mean(axis=1, keepdims=True)
    assert (_hotelling(off) < 1e-4) is found


def test_draws_of_ours_are_valid() -> None:
    rows = validity_table(400, ["digits"])
    assert all(goal.met for goal in validity_goals(rows))
    assert [row.spread for row in rows] == pytest.approx([1.0, 1.0], abs=0.2)


def test_adapted_centers_are_compared_with_fresh_ones() -> None:
    rows = clustering_table(512, 3, ["drifting and abrupt"])
    assert 0.7 < rows[0].mean <= rows[0].worst < 1.5
    assert next(goal.name for goal in clustering_goals(rows)).endswith("mean")


def test_intervals_are_counted_once_enough_windows_are_pooled() -> None:
    rows = coverage_table(1024, 22, ["mixture"])
    assert [row.intervals for row in rows] == [60, 60]
    assert all(0.8 < row.coverage <= 1 for row in rows)
