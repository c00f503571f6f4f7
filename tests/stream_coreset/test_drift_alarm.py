"""Abrupt changes of the stream: told of at once, and slow ones not at all (more in benchmarks/drift)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_coreset.drift import Alarm, ChangeDetector
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import ClusterModel, WindowSampler

WINDOWS, SIZE, K = 40, 1000, 20
JUMP = 30


def stream(kind: str, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 5, (K, 8))
    for window in range(WINDOWS):
        if kind == "wandering":
            means = means + 0.3 * rng.normal(size=means.shape)
        if kind == "jump" and window == JUMP:
            means[: K // 4] = rng.normal(0, 8, (K // 4, 8))
        X = means[rng.integers(0, K, SIZE)] + rng.normal(size=(SIZE, 8))
        far = rng.random(SIZE) < 0.01
        X[far] += 5 * rng.standard_t(2, (far.sum(), 8))
        yield X


def alarms(kind: str, seed: int) -> list[int]:
    """Windows after which the alarm rings, by what samplers tell the cluster model."""
    windows = WindowSampler(SensitivitySampler(rate=0.02), n_clusters=32, dimension=8)
    model = ClusterModel(n_clusters=32, dimension=8, half_life=10_000, seed=seed)
    alarm, rng, rung = Alarm(), np.random.default_rng(seed), []
    for number, X in enumerate(stream(kind, seed)):
        points = windows.adapt(X, rng).statistics
        if model.k and alarm.places(model.squares(points), points.counts):
            rung.append(number)
        model.merge(points)
        windows.update(model.publish(float(number)))
    assert alarm.count == len(rung)
    return rung


@pytest.mark.parametrize("seed", range(3))
def test_a_jump_is_told_of_at_once(seed: int) -> None:
    assert alarms("jump", seed)[0] in (JUMP, JUMP + 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["steady", "wandering"])
def test_slow_change_and_outliers_raise_no_alarm(kind: str, seed: int) -> None:
    assert alarms(kind, seed) == []


@pytest.mark.parametrize("step", [2.0, -2.0])
def test_losses_that_change_are_told_of_in_both_directions(step: float) -> None:
    rng, alarm = np.random.default_rng(1), Alarm(count=3)
    noise = 0.1 * rng.normal(size=30)
    assert not any(alarm.losses(value) for value in noise[:20])
    assert not alarm.losses(float("nan"))
    rung = [alarm.losses(value + step) for value in noise[20:]]
    assert rung.index(True) == 0
    assert alarm.count == 4


def test_one_change_is_told_of_once() -> None:
    detector = ChangeDetector()
    values = [*np.random.default_rng(2).normal(0, 0.01, 15), *[1.0] * 40]
    assert sum(detector.update(value) for value in values) == 1


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_any_numbers_are_taken(values: list[float]) -> None:
    alarm = Alarm()
    for value in values:
        alarm.losses(value)
        alarm.places(np.array([abs(value)]), np.array([1.0]))


def test_nothing_that_arrived_tells_nothing() -> None:
    assert not Alarm().places(np.zeros(0), np.zeros(0))
