"""Data that the tests of the library share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def mixture() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """``mixture(n, seed)``: points (n, 16) of 50 unequal clusters, some outliers, and uneven losses."""

    def make(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        means, scales = rng.normal(0, 6, (50, 16)), np.exp(rng.normal(0, 0.5, 50))
        shares = np.arange(1, 51) ** -1.2
        labels = rng.choice(50, n, p=shares / shares.sum())
        points = means[labels] + scales[labels, None] * rng.normal(size=(n, 16))
        outliers = rng.random(n) < 0.01
        points[outliers] += 5 * rng.standard_t(2, (outliers.sum(), 16))
        anchors, amplitudes = rng.normal(0, 6, (8, 16)), np.exp(rng.normal(0, 1, 8))
        reach = np.maximum(0, 16 - np.linalg.norm(points[:, None] - anchors, axis=2))
        losses = 0.02 + 0.05 * (amplitudes * reach).max(axis=1)
        losses += 0.02 * np.linalg.norm(points - means[labels], axis=1) + 0.002 * np.linalg.norm(
            points, axis=1
        )
        return points.astype(np.float32), losses

    return make
