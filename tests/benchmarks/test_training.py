"""The contest of trained models: every way to choose takes part, unbiased where it should be."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.training import RATES, UNWEIGHTED, Pool, chosen, gains

N = 600


def pool(seed: int) -> Pool:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 3)).astype(np.float32)
    return Pool(X, np.exp(X[:, 0].astype(np.float64)), lambda rows, weights: float(weights.sum() / N))


def test_weights_add_up_to_the_pool_on_average() -> None:
    """|z| < 4.9 over 200 draws each: a false alarm in 10**6."""
    for name, choose in chosen(pool(1), 1).items():
        sums = np.array([choose(30.0)[1].sum() for _ in range(200)])
        spread = max(sums.std() / 200**0.5, 1e-9 * N)
        assert abs(sums.mean() - N) < 4.9 * spread, name


def test_the_contest_is_paired() -> None:
    found = gains(pool, seeds=2)
    assert {scores.shape for scores in found.values()} == {(2, len(RATES))}
    assert found["uniform"] == pytest.approx(1.0)
    assert found[UNWEIGHTED] == pytest.approx(1.0)
    again = gains(pool, seeds=2)
    assert all(np.array_equal(found[name], again[name]) for name in found)
