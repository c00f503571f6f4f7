"""Whether the weights are right: inclusion counts, bias and variance of ten thousand draws of each set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.quality.methods import RATES
from benchmarks.quality.sets import SEVEN
from benchmarks.report import Goal
from stream_coreset import select
from stream_coreset.design_variance import design_variance
from stream_coreset.sampling import draw, inclusion_probabilities

__all__ = ["ValidityRow", "show_validity", "validity_goals", "validity_table"]

Floats = NDArray[np.float64]

DRAWS = 10_000
LEVEL = 0.01  # of all tests together
_GROUPS = 50


@dataclass(frozen=True)
class ValidityRow:
    """One set at one rate.

    Attributes
    ----------
    counts, bias : float
        p-values: inclusion counts of 50 random groups of examples against their inclusion probabilities
        (Hotelling's T^2, of the rank of their covariance), and the mean of the estimated totals against the
        total.
    spread : float
        Root mean square error of the draws / what the formula of the variance says.
    largest_weight : float
        Relative to n/(s floor).
    """

    name: str
    rate: float
    counts: float
    bias: float
    spread: float
    largest_weight: float


def validity_table(draws: int = DRAWS, sets: Iterable[str] = SEVEN) -> list[ValidityRow]:
    return [row for name in sets for row in _rows(name, draws)]


def show_validity(rows: list[ValidityRow]) -> None:
    print(f"\n{'draws of ours':28}{'rate':>6}{'p of counts':>13}{'p of bias':>11}{'spread':>8}{'weight':>8}")
    for row in rows:
        print(
            f"{row.name:28}{row.rate:6.0%}{row.counts:13.3f}{row.bias:11.3f}{row.spread:8.3f}"
            f"{row.largest_weight:8.3f}"
        )


def validity_goals(rows: list[ValidityRow]) -> list[Goal]:
    """No test rejects at the level of all of them together (Bonferroni); no weight exceeds its bound."""
    each = LEVEL / (2 * len(rows))
    least = min(min(row.counts, row.bias) for row in rows)
    return [
        Goal("inclusion counts and bias, smallest p-value", each, least),
        Goal(
            "largest weight / n/(s floor)", 1 + 1e-9, max(row.largest_weight for row in rows), at_least=False
        ),
    ]


def _rows(name: str, draws: int) -> list[ValidityRow]:
    data = SEVEN[name]()
    n = len(data.X)
    chosen = select(data.X, lambda rows: data.losses[rows], n_clusters=data.n_clusters, rate=RATES[0], seed=0)
    found = []
    for rate in RATES:
        s = rate * n
        order = chosen.order(s)
        rng = np.random.default_rng([1, round(1000 * rate)])
        groups = rng.integers(0, _GROUPS, n)
        counts, totals, heaviest = np.zeros((draws, _GROUPS)), np.zeros(draws), 0.0
        for number in range(draws):
            indices, weights, _ = draw(chosen.scores, s, order=order, rng=rng)
            counts[number] = np.bincount(groups[indices], minlength=_GROUPS)
            totals[number] = weights @ data.losses[indices]
            heaviest = max(heaviest, float(weights.max()))
        expected = np.bincount(groups, inclusion_probabilities(chosen.scores, s), minlength=_GROUPS)
        errors = totals - data.losses.sum()
        deviation = np.sqrt(design_variance(data.losses, chosen.scores, s, order=order))
        found.append(
            ValidityRow(
                name,
                rate,
                _hotelling(counts - expected),
                float(2 * stats.norm.sf(abs(errors.mean()) * np.sqrt(draws) / deviation)),
                float(np.sqrt(np.mean(errors**2)) / deviation),
                heaviest * s * 0.2 / n,
            )
        )
    return found


def _hotelling(off: Floats) -> float:
    """p-value of a mean of zero; a size that is fixed takes one from the rank."""
    covariance = np.cov(off, rowvar=False)
    rank = int(np.linalg.matrix_rank(covariance, tol=1e-9 * np.trace(covariance)))
    mean = off.mean(axis=0)
    statistic = len(off) * mean @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ mean
    return float(stats.chi2.sf(statistic, rank))
