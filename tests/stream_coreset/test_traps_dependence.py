"""Known ways to let a draw depend on what it must not depend on, each rebuilt beside the right way.

Every test runs one check twice: what the library does passes it, the trap does not. Where the check is
statistical, the right side has |z| < 4 (false alarm 6e-5 for another seed) and the trap |z| > 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from support.traps import BIASED, UNBIASED, clusters_of, window_of, z_score

from stream_coreset.arrays import random_stream
from stream_coreset.clusters import Clusters
from stream_coreset.estimates import horvitz_thompson
from stream_coreset.kmeans import Assignment, kmeans_plus_plus
from stream_coreset.sampling import DESIGNS, draw
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.window import Window, WindowBuilder

Float = NDArray[np.float64]


# A failure that depends on the draw.


def records(seed: int, n: int = 400) -> tuple[NDArray[np.int64], Float]:
    """Sizes in bytes, and losses that grow with them, as those of longer texts do."""
    sizes = np.random.default_rng(seed).integers(10, 200, n)
    return sizes, sizes.astype(np.float64)


def cut(sizes: NDArray[np.int64], limit: int, draws: Callable[[int], float] | None) -> list[Window[int]]:
    builder: WindowBuilder[int] = WindowBuilder(20, limit, 1.0, draws=draws)
    windows = [window for row, size in enumerate(sizes) for window in builder.add(row, 1, int(size), 0.0)]
    return windows + builder.flush(0.0)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_transaction_that_is_refused_for_what_was_drawn(design: str) -> None:
    sizes, losses = records(4)
    sampler, limit = SensitivitySampler(rate=0.3, design=design), 700
    rng = np.random.default_rng(4)
    nothing = Clusters.empty(1)
    right = cut(sizes, limit, sampler.expected_size if design == "iid" else None)
    by_count = cut(sizes, 10**9, None)

    def error(windows: list[Window[int]]) -> float:
        """Draw until the sample fits into a transaction, and say how far off the total is."""
        total = 0.0
        for window in windows:
            rows = np.array(window.items)
            n = len(rows)
            while True:
                sample = sampler.sample(Assignment(np.zeros(n, np.int64), np.zeros(n)), nothing, rng)
                if sizes[rows[sample.indices]].sum() <= limit:
                    break
            total += horvitz_thompson(losses[rows[sample.indices]], sample.weights)
        return total - float(losses.sum())

    assert z_score(error(right) for _ in range(150)) < UNBIASED
    assert z_score(error(by_count) for _ in range(150)) > BIASED


def test_the_worst_sample_of_a_window_fits() -> None:
    sizes, _ = records(5)
    limit, draws = 700, SensitivitySampler(rate=0.6, design="iid").expected_size

    def worst(windows: list[Window[int]]) -> float:
        return max(math.ceil(draws(window.rows)) * sizes[list(window.items)].max() for window in windows)

    assert worst(cut(sizes, limit, draws)) <= limit
    assert (
        worst(cut(sizes, limit, None)) > limit
    )  # the trap: the window fits, its largest again and again does not
    assert max(sizes[list(window.items)].sum() for window in cut(sizes, limit, None)) <= limit


# Random numbers shared between adaptation and draw, or between samplers.


def test_random_numbers_shared_between_adaptation_and_draw() -> None:
    X = np.arange(30.0)[:, None]
    losses = np.exp(-X[:, 0] / 5)
    sampler = SensitivitySampler(size=1, design="systematic")
    nothing_known = clusters_of([[0.0]], [np.nan], [np.nan])

    def error(adapt_rng: np.random.Generator, draw_rng: np.random.Generator) -> float:
        """One window: place a center by k-means++, then draw by the distances to it."""
        center = X[kmeans_plus_plus(X, 1, rng=adapt_rng)]
        assignment = Assignment(np.zeros(30, np.int64), np.abs(X - center)[:, 0])
        sample = sampler.sample(assignment, nothing_known, draw_rng)
        return horvitz_thompson(losses[sample.indices], sample.weights) - float(losses.sum())

    def right(window: int) -> float:
        return error(random_stream(b"secret", "adapt", window), random_stream(b"secret", "draw", window))

    def trap(window: int) -> float:
        return error(random_stream(b"secret", window), random_stream(b"secret", window))

    assert z_score(right(window) for window in range(3000)) < UNBIASED
    assert z_score(trap(window) for window in range(3000)) > BIASED


def test_random_numbers_shared_between_samplers() -> None:
    # two partitions with the same content: their errors must not add up. Correlation of 2,000 windows:
    # |r| < 4 / sqrt(2000) has a false alarm of 6e-5
    assignment, clusters, losses = window_of(50, 7)
    sampler = SensitivitySampler(rate=0.1)

    def errors(*labels: str | int) -> list[float]:
        found = []
        for start in range(2000):
            sample = sampler.sample(assignment, clusters, random_stream(b"secret", *labels, start))
            found.append(horvitz_thompson(losses[sample.indices], sample.weights) - float(losses.sum()))
        return found

    def correlation(one: list[float], other: list[float]) -> float:
        return abs(float(np.corrcoef(one, other)[0, 1]))

    first, second = errors("draw", "examples", 0), errors("draw", "examples", 1)
    assert correlation(first, second) < 4 / math.sqrt(2000)
    assert correlation(errors("draw"), errors("draw")) > 0.99  # the trap: a key without the partition


def test_a_retry_of_a_window_repeats_its_draw() -> None:
    assignment, clusters, _ = window_of(50, 7)
    sampler = SensitivitySampler(rate=0.1)

    def drawn(rng: np.random.Generator) -> list[int]:
        return sampler.sample(assignment, clusters, rng).indices.tolist()

    key = ("draw", "examples", 3, 4096)
    assert drawn(random_stream(b"secret", *key)) == drawn(random_stream(b"secret", *key))
    running = random_stream(b"secret", "draw")  # the trap: one generator that goes on
    assert drawn(running) != drawn(running)


# A loss measured after training on the same sample.


def test_losses_of_a_model_that_learned_from_the_sample() -> None:
    rng = np.random.default_rng(8)
    y = rng.normal(size=40)
    p, fixed = np.full(40, 1 / 40), 0.3

    def error(model_after: Callable[[Float, Float], float]) -> float:
        indices, weights, _ = draw(p, 5, "pivotal", rng.permutation(40), rng)
        model = model_after(y[indices], weights)
        return horvitz_thompson((y[indices] - model) ** 2, weights) - float(((y - model) ** 2).sum())

    def trained(values: Float, weights: Float) -> float:
        return float(np.average(values, weights=weights))

    assert z_score(error(lambda values, weights: fixed) for _ in range(3000)) < UNBIASED
    assert z_score(error(trained) for _ in range(3000)) > BIASED
