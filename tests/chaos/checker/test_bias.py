"""The statistics of invariant 4: silent without a bias, loud with one of 5 %, at the level they state."""

from __future__ import annotations

import numpy as np
import pytest
from chaos.checker.bias import Statistic, Sums, statistics
from numpy.typing import NDArray

WINDOWS, ROWS, SIZE = 400, 500, 100


def run(seed: int, bias: float = 0.0) -> list[Sums]:
    """Windows of heavy-tailed values, sampled without replacement; weights too large by `bias`."""
    rng = np.random.default_rng(seed)
    return [_window(rng.lognormal(0, 1, (ROWS, 3)), 1 + bias) for _ in range(WINDOWS)]


def _window(values: NDArray[np.float64], factor: float) -> Sums:  # values are independent: any rows will do
    weighted = factor * values[:SIZE].sum(axis=0) * ROWS / SIZE
    totals = values.sum(axis=0)
    columns = zip(weighted - totals, totals, strict=True)
    return {f"value {i}": (float(SIZE), float(error), float(size)) for i, (error, size) in enumerate(columns)}


@pytest.fixture(scope="module")
def clean() -> list[Statistic]:
    return [one for seed in range(60) for one in statistics(run(seed))]


def test_no_alarm_without_a_bias(clean: list[Statistic]) -> None:
    """60 runs at a level of 6e-5 each: one false alarm in 280 such tests."""
    assert not [one for one in clean if one.alarming]


def test_z_is_of_standard_size_without_a_bias(clean: list[Statistic]) -> None:
    """Its mean square is 1; 180 values spread it by .105, the limit is four times that."""
    zs = [one.z for one in clean]
    assert np.mean(np.square(zs)) == pytest.approx(1.0, abs=0.42)


@pytest.mark.parametrize("bias", [-0.05, 0.05])
def test_a_bias_of_5_percent_is_caught_in_400_windows(bias: float) -> None:
    """z is about 8 where the limit is 4.3."""
    assert all(one.alarming for seed in range(10) for one in statistics(run(seed, bias)))


def test_small_windows_are_merged_until_they_expect_ten_draws() -> None:
    windows: list[Sums] = [{"weights": (1.5, 1.0, 50.0)}] * 200
    (found,) = statistics(windows)
    assert found.groups == 28  # of seven windows each: the last four join the last
    assert found.z == pytest.approx(200 / np.sqrt(27 * 49 + 121))


def test_too_few_groups_tell_nothing() -> None:
    (found,) = statistics([{"weights": (12.0, 5.0, 50.0)}] * 19)
    assert found.groups == 19
    assert found.z is None
    assert not found.alarming


def test_rounding_is_no_error() -> None:
    (found,) = statistics([{"weights": (12.0, 1e-12, 50.0)}] * 50)
    assert found.z == 0.0
