"""Kernel ridge regression, against scikit-learn's and examples truly left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge as Oracle

from stream_coreset.kernel_ridge import KernelRidge, fit_kernel_ridge
from stream_coreset.surrogate import features

Floats = NDArray[np.float64]

M = 120
STRENGTHS = 10.0 ** np.arange(-3, 1.01, 0.5)


@pytest.fixture(scope="module", name="told")
def what_it_is_told() -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return features(
        rng.normal(size=(M, 3)), rng.exponential(size=M), rng.exponential(size=M)
    )  # fewer than landmarks: all of them are


@pytest.fixture(scope="module", name="targets")
def losses_and_squares(told: NDArray[np.float32]) -> Floats:
    losses = 2 + np.sin(2 * told[:, 0]) + 0.2 * np.random.default_rng(2).normal(size=M)
    return np.column_stack([losses, losses**2])


@pytest.fixture(scope="module", name="fitted")
def fitted_and_left_out(told: NDArray[np.float32], targets: Floats) -> tuple[KernelRidge, Floats]:
    found = fit_kernel_ridge(told, targets, seed=3)
    assert found is not None
    return found


def kernel_of(model: KernelRidge, told: NDArray[np.float32]) -> Floats:
    placed = ((told - model.shift) * model.scale).astype(np.float64)
    return np.exp(-np.square(placed[:, None] - placed[None]).sum(axis=2))


def left_out_one_by_one(kernel: Floats, targets: Floats, strength: float) -> Floats:
    said = np.zeros_like(targets)
    for out in range(M):
        rest = np.arange(M) != out
        oracle = Oracle(alpha=strength, kernel="precomputed").fit(kernel[np.ix_(rest, rest)], targets[rest])
        said[out] = oracle.predict(kernel[[out]][:, rest])[0]
    return said


def test_it_is_kernel_ridge_regression_of_the_best_strength(
    fitted: tuple[KernelRidge, Floats], told: NDArray[np.float32], targets: Floats
) -> None:
    model, left_out = fitted
    kernel, offset = kernel_of(model, told), targets.mean(axis=0)
    by_strength = {
        strength: left_out_one_by_one(kernel, targets - offset, strength) + offset for strength in STRENGTHS
    }
    best = min(STRENGTHS, key=lambda strength: np.square(by_strength[strength] - targets)[:, 0].sum())
    oracle = Oracle(alpha=best, kernel="precomputed").fit(kernel, targets - offset)
    assert np.allclose(model.predict(told), oracle.predict(kernel) + offset, atol=1e-3)
    like_the_best = np.abs(left_out - by_strength[best]).max(axis=1) < 1e-3
    assert like_the_best.mean() > 0.5  # others were told by what is best where they are left out, too


def test_it_foretells_what_is_smooth(told: NDArray[np.float32], fitted: tuple[KernelRidge, Floats]) -> None:
    fresh = features(np.random.default_rng(4).normal(size=(500, 3)), np.ones(500), np.ones(500))
    assert np.corrcoef(fitted[0].predict(fresh)[:, 0], np.sin(2 * fresh[:, 0]))[0, 1] > 0.8


def test_many_examples_or_columns_give_no_more_than_two_megabytes() -> None:
    rng = np.random.default_rng(5)
    for m, d in ((700, 4), (200, 6_000)):
        told = rng.normal(size=(m, d + 2)).astype(np.float32)
        found = fit_kernel_ridge(told, rng.exponential(size=(m, 2)), seed=6)
        assert found is not None
        model, left_out = found
        assert len(model.landmarks) == min(500, (2 << 20) // (4 * (d + 2)))
        assert left_out.shape == (m, 2)


def test_rows_that_are_the_same_do_not_set_the_width() -> None:
    rng = np.random.default_rng(7)
    told = np.zeros((300, 4), np.float32)
    told[:100] = rng.normal(size=(100, 4))
    losses = np.sin(told[:, 0].astype(np.float64)) + 2
    found = fit_kernel_ridge(told, np.column_stack([losses, losses**2]), seed=0)
    assert found is not None
    fresh = rng.normal(size=(500, 4)).astype(np.float32)
    assert np.corrcoef(found[0].predict(fresh)[:, 0], np.sin(fresh[:, 0]))[0, 1] > 0.8


def test_equal_features_say_nothing() -> None:
    for value in (0.0, 1.0, 0.1, 3e38):
        equal = np.full((300, 4), value, np.float32)
        assert fit_kernel_ridge(equal, np.ones((300, 2)), seed=0) is None


@pytest.mark.filterwarnings("error")
@given(
    arrays(np.float32, (30, 5), elements=st.floats(-(2.0**49), 2.0**49, width=32)),
    st.integers(0, 9),
)
def test_any_features_are_answered_with_numbers(told: NDArray[np.float32], seed: int) -> None:
    """Values that the library takes, in any proportion."""
    targets = np.random.default_rng(seed).exponential(size=(30, 2))
    found = fit_kernel_ridge(told, targets, seed=seed)
    if found is not None:
        assert np.isfinite(found[0].predict(told)).all()
        assert np.isfinite(found[1]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(6))
def test_what_float32_cannot_hold_is_far_or_refused(seed: int) -> None:
    told = np.full((30, 5), 2.0**-24, np.float32)
    told[[0, 1, 10], 0], told[3, 0] = 0.0, 2.0**38
    found = fit_kernel_ridge(told, np.random.default_rng(seed).exponential(size=(30, 2)), seed=seed)
    assert found is None or np.isfinite(found[0].predict(told)).all()


@pytest.mark.filterwarnings("error")
def test_an_example_far_from_all_gets_the_mean(fitted: tuple[KernelRidge, Floats], targets: Floats) -> None:
    far = np.full((1, 5), 1e15, np.float32)
    assert np.allclose(fitted[0].predict(far), targets.mean(axis=0), rtol=1e-5)
