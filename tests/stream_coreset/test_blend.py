"""How much of each model is taken, and that ONNX says the same as they do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_coreset.blend import Blend
from stream_coreset.kernel_ridge import KernelRidge, fit_kernel_ridge
from stream_coreset.onnx_model import LARGEST_MODEL, OnnxModel
from stream_coreset.surrogate import LabelledExamples, Surrogate, features
from stream_coreset.trees import Trees, grow

Floats = NDArray[np.float64]
Losses = Callable[[Floats], Floats]

M, D = 500, 12


def learned(losses: Losses, seed: int = 1) -> Surrogate:
    """From examples whose cluster scores know nothing."""
    rng = np.random.default_rng(seed)
    X, ones = rng.normal(size=(M, D)), np.ones(M)
    values = losses(X)  # which may move an example
    known = LabelledExamples(features(X, ones, ones), values, ones, rng.exponential(size=(2, M)))
    surrogate = Surrogate.fit(known, seed=seed)
    assert surrogate is not None
    return surrogate


def kinds(surrogate: Surrogate) -> set[type]:
    assert isinstance(surrogate.model, Blend)
    return {type(part) for part in surrogate.model.parts}


def smooth(X: Floats) -> Floats:
    """Of all columns at once, in no direction along one."""
    return np.exp(X.sum(axis=1) / np.sqrt(D))


def edges(X: Floats) -> Floats:
    """Next to nothing but in a corner."""
    return np.where((X[:, 0] > 0.5) & (X[:, 1] > 0), 5.0, 0.001)


def test_the_kernel_is_taken_where_losses_are_smooth_in_many_columns() -> None:
    assert KernelRidge in kinds(learned(smooth))


@pytest.mark.parametrize("far", [1e4, 1e7, 1e15])
def test_one_far_example_does_not_spoil_the_others(far: float) -> None:
    def with_one_far(X: Floats) -> Floats:
        losses = smooth(X)
        X[0, 0] = far
        return losses

    surrogate = learned(with_one_far)
    fresh = np.random.default_rng(7).normal(size=(1_000, D))
    predicted = Surrogate.from_bytes(surrogate.to_bytes()).predict(
        features(fresh, np.ones(1_000), np.ones(1_000))
    )
    assert np.corrcoef(predicted.means, smooth(fresh))[0, 1] > 0.9


def test_trees_alone_are_taken_where_losses_have_edges() -> None:
    assert kinds(learned(edges)) == {Trees}


def test_noise_is_followed_by_neither() -> None:
    """Losses that nothing foretells, of which few make up most: nearly all is left to uniform sampling."""
    of_uniform = [
        learned(lambda X: np.random.default_rng(9).pareto(1.5, len(X)), seed).shares[-1] for seed in range(10)
    ]
    assert np.mean(of_uniform) > 0.8


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_onnx_says_what_the_blend_says(share: float) -> None:
    rng = np.random.default_rng(3)
    told = features(rng.normal(size=(M, D)), rng.exponential(size=M), rng.exponential(size=M))
    losses = smooth(told[:, :D].astype(np.float64))
    targets = np.column_stack([losses, losses**2])
    kernel, _ = fit_kernel_ridge(told, targets, seed=4) or pytest.fail("a kernel was expected")
    trees = grow(told, targets, seed=4, n_trees=10)
    parts: tuple[Trees | KernelRidge, ...] = (trees.scaled(1 - share), kernel.scaled(share))
    blend = Blend(parts[:1] if share == 0 else parts[1:] if share == 1 else parts, D + 2)
    data = blend.to_onnx({"unit": "2.0"})
    found, fresh = OnnxModel(data), told + np.float32(0.01)
    expected = (1 - share) * trees.predict(fresh) + share * kernel.predict(fresh)
    assert np.allclose(blend.predict(fresh), expected, rtol=1e-4)
    assert np.allclose(found.predict(fresh), expected, rtol=1e-3, atol=5e-3 * targets.std())
    assert found.notes == {"unit": "2.0"}
    assert blend.to_onnx({"unit": "2.0"}) == data


def test_features_beyond_all_numbers_are_answered_with_numbers() -> None:
    surrogate = Surrogate.from_bytes(learned(smooth).to_bytes())
    told = np.zeros((4, D + 2), np.float32)
    told[0], told[1, 0], told[2, 0] = 3e38, np.inf, np.nan
    found = surrogate.predict(told)
    assert np.isfinite(found.means).all()
    alone = surrogate.predict(told[3:])
    assert found.means[3] == pytest.approx(alone.means[0])  # the others do not spoil it
    assert alone.means[0] > 0


def test_the_largest_blend_is_no_larger_than_a_model_may_be() -> None:
    rng = np.random.default_rng(5)
    told = rng.normal(size=(6_000, 1_026)).astype(np.float32)
    targets = rng.exponential(size=(6_000, 2))
    kernel, _ = fit_kernel_ridge(told, targets, seed=6) or pytest.fail("a kernel was expected")
    trees = grow(told[:, :20], targets, seed=6)  # fewer columns grow as many nodes, sooner
    trees.forest.n_features_in_ = 1_026
    data = Blend((trees, kernel), 1_026).to_onnx({})
    assert LARGEST_MODEL / 2 < len(data) <= LARGEST_MODEL
