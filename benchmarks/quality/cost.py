"""What scoring, drawing and predicting cost beside the clustering of a window: 384 dimensions, k = 1024."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Goal
from stream_coreset import SensitivitySampler
from stream_coreset.blend import Blend
from stream_coreset.kernel_ridge import fit_kernel_ridge
from stream_coreset.labels import LabelBuffer
from stream_coreset.learning import predict_window
from stream_coreset.stream import AdaptedWindow, ClusterModel, WindowSampler
from stream_coreset.surrogate import Surrogate
from stream_coreset.trees import grow

__all__ = ["cost_goals", "cost_of_a_window", "show_cost"]

N, DIMENSION, K = 8_192, 384, 1_024
_LABELS = 2_000


def cost_of_a_window(rounds: int = 9) -> dict[str, float]:
    """Median seconds of each part of a window, the parts in turn."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(K, DIMENSION)).astype(np.float32)
    X = (means[rng.integers(0, K, N)] + rng.normal(size=(N, DIMENSION))).astype(np.float32)
    losses = np.abs(X[:, 0]).astype(np.float64)
    sampler = SensitivitySampler(rate=0.02)
    windows = WindowSampler(sampler, n_clusters=K, dimension=DIMENSION)
    model = ClusterModel(n_clusters=K, dimension=DIMENSION, half_life=1_000_000, seed=0)
    model.merge(windows.adapt(X, rng).statistics)
    for center, generation in model.generations.items():
        model.record(center, generation, rng.exponential(size=9), model_version="", now=0.0)
    windows.update(model.publish(0.0))
    adapted = windows.adapt(X, rng)
    trees, kernel = _surrogates(X, losses, adapted)
    parts: dict[str, Callable[[], object]] = {
        "cluster": lambda: windows.adapt(X, rng),
        "score and draw": lambda: windows.draw(adapted, rng),
        "predict by trees": lambda: predict_window(trees, X, adapted.assignment, adapted.clusters, z=2.0),
        "predict by kernel": lambda: predict_window(kernel, X, adapted.assignment, adapted.clusters, z=2.0),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(found)) for name, found in times.items()}


def show_cost(seconds: dict[str, float]) -> None:
    print(f"\na window of {N} x {DIMENSION}, k = {K}: median milliseconds")
    for name, found in seconds.items():
        print(f"  {name:20}{1000 * found:9.1f}")


def cost_goals(seconds: dict[str, float]) -> list[Goal]:
    """Shares of the window's time, which is the clustering, scoring and drawing, and with it predicting."""
    plain = seconds["cluster"] + seconds["score and draw"]
    by_trees = plain + seconds["predict by trees"]
    by_both = by_trees + seconds["predict by kernel"]
    return [
        Goal("scoring and drawing / window", 0.05, seconds["score and draw"] / plain, at_least=False),
        Goal("... and trees / window", 0.20, 1 - seconds["cluster"] / by_trees, at_least=False),
        Goal("... and the kernel, too / window", 0.20, 1 - seconds["cluster"] / by_both, at_least=False),
    ]


def _surrogates(
    X: NDArray[np.float32], losses: NDArray[np.float64], adapted: AdaptedWindow
) -> list[Surrogate]:
    """Trees and a kernel, as samplers receive them."""
    buffer = LabelBuffer(DIMENSION, capacity=_LABELS, half_life=1.0)
    buffer.add(X[:_LABELS], losses[:_LABELS], np.ones(_LABELS), 0.0)
    told = buffer.describe(adapted.clusters, 0.0)[1].features
    targets = np.column_stack([losses[:_LABELS], losses[:_LABELS] ** 2])
    ridge = fit_kernel_ridge(told, targets, seed=0)
    assert ridge is not None
    models = (Blend((part,), told.shape[1]) for part in (grow(told, targets, seed=0), ridge[0]))
    return [Surrogate.from_bytes(Surrogate(model).to_bytes()) for model in models]
