"""Exact variances against many draws, and where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_coreset.design_variance import design_variance
from stream_coreset.sampling import DESIGNS, draw

Float = NDArray[np.float64]
Population = tuple[Float, Float, NDArray[np.int64]]

DRAWS = 2000
LIMIT = 4.9  # standard errors: a false alarm in 10**6 of each test


@pytest.fixture(scope="module")
def population() -> Population:
    rng = np.random.default_rng(1)
    p = rng.random(40) + 0.1
    p[7] = 3.0  # certain in the larger samples
    return rng.exponential(size=40), p / p.sum(), rng.permutation(40)


@pytest.mark.parametrize("s", [1.0, 3.3, 8.0, 17.7, 39.0])
@pytest.mark.parametrize("design", DESIGNS)
def test_many_draws_have_that_variance(design: str, s: float, population: Population) -> None:
    losses, p, order = population
    rng, errors = np.random.default_rng(5), np.empty(DRAWS)
    for i in range(DRAWS):
        indices, weights, _ = draw(p, s, design, order, rng)
        errors[i] = (weights @ losses[indices] - losses.sum()) ** 2
    measured, error = errors.mean(), errors.std() / np.sqrt(DRAWS)
    assert abs(design_variance(losses, p, s, design, order) - measured) < LIMIT * error + 1e-9


@pytest.mark.parametrize("design", ["pivotal", "systematic"])
def test_it_depends_on_the_order(design: str) -> None:
    """Alike neighbours leave next to nothing, unlike ones the whole of it."""
    losses = np.repeat([0.0, 1.0], 50)
    p, ordered = np.full(100, 0.01), np.arange(100)
    mixed = np.random.default_rng(2).permutation(100)
    assert design_variance(losses, p, 10, design, ordered) == pytest.approx(0, abs=1e-9)
    assert design_variance(losses, p, 10, design, mixed) > 100


def test_systematic_draws_fall_for_what_is_periodic() -> None:
    losses = np.tile([0.0, 2.0], 50)
    assert design_variance(losses, np.full(100, 0.01), 50, "systematic") == pytest.approx(100.0**2)
    assert design_variance(losses, np.full(100, 0.01), 50, "pivotal") < 300


def test_a_draw_of_everything_has_none() -> None:
    assert design_variance(np.arange(5.0), np.ones(5), 5.0) == 0.0
    assert design_variance(np.arange(5.0), np.ones(5), 5.0, "systematic") == 0.0


def test_an_unknown_design_is_refused() -> None:
    with pytest.raises(ValueError, match="design: expected one of"):
        design_variance(np.ones(3), np.ones(3), 1.0, "poisson")
