"""Designs: exact sizes and probabilities; ordered pivotal against the unit-by-unit method.

Statistical tests have fixed seeds; each would fail by chance with probability 1e-4 under another seed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from stream_coreset.sampling import DESIGNS, _cumulative, _whole, draw, inclusion_probabilities

Float = NDArray[np.float64]
LEVEL = 1e-4
WITHOUT_REPLACEMENT = ["pivotal", "systematic"]

sizes_of_units = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)
shares = st.floats(0.001, 1.0)


def pivotal_distribution(pi: Float) -> dict[frozenset[int], float]:
    """Every possible sample of the unit-by-unit ordered pivotal method and its exact probability.

    Deville and Tille 1998: the first two units that are undecided fight until one of them is decided. The
    phantom unit that completes the sum to an integer comes last and is left out of the samples.
    """
    phantom = np.ceil(pi.sum() - 1e-9) - pi.sum()
    units = np.append(pi, phantom) if phantom > 1e-9 else pi
    found: dict[frozenset[int], float] = defaultdict(float)

    def fight(champion: int, mass: float, challenger: int, taken: frozenset[int], chance: float) -> None:
        if challenger == len(units):
            sample = taken | {champion} if mass > 0.5 else taken
            found[sample - {len(pi)}] += chance
            return
        other = units[challenger]
        total = mass + other
        following = challenger + 1
        if total < 1 - 1e-12:
            fight(champion, total, following, taken, chance * mass / total)
            fight(challenger, total, following, taken, chance * other / total)
            return
        wins = (1 - other) / (2 - total)
        left = max(total - 1, 1e-300)
        fight(challenger, left, following, taken | {champion}, chance * wins)
        fight(champion, left, following, taken | {challenger}, chance * (1 - wins))

    fight(0, units[0], 1, frozenset(), 1.0)
    return {sample: chance for sample, chance in found.items() if chance > 1e-12}


def samples(pi: Float, design: str, n_draws: int, seed: int, order: Any = None) -> list[frozenset[int]]:
    rng = np.random.default_rng(seed)
    return [frozenset(draw(pi, pi.sum(), design, order, rng)[0].tolist()) for _ in range(n_draws)]


@pytest.mark.parametrize(
    ("seed", "n", "s"),
    [(0, 7, 1.0), (1, 8, 2.0), (2, 8, 2.6), (3, 9, 4.3), (4, 6, 0.4), (5, 7, 5.5), (6, 4, 2.0)],
)
def test_pivotal_has_the_distribution_of_the_unit_by_unit_method(seed: int, n: int, s: float) -> None:
    pi = inclusion_probabilities(np.random.default_rng(seed).uniform(0.7, 1.0, n), s)
    assert (pi < 1).all()
    expected = pivotal_distribution(pi)
    observed = Counter(samples(pi, "pivotal", 20_000, seed + 100))
    assert set(observed) <= set(expected)
    chances = np.array(list(expected.values()))
    counts = np.array([observed[sample] for sample in expected])
    common = chances * 20_000 >= 5
    statistic = ((counts - 20_000 * chances) ** 2 / (20_000 * chances))[common].sum()
    assert chi2.sf(statistic, common.sum() - 1) > LEVEL


def test_pivotal_on_masses_that_end_at_integers() -> None:
    # crossing units of which nothing is left over: microstrata are strata, one unit of each
    pi = np.array([0.5, 0.5, 0.25, 0.75, 0.1, 0.3, 0.6])
    expected = pivotal_distribution(pi)
    observed = Counter(samples(pi, "pivotal", 20_000, 1))
    assert set(observed) == set(expected)
    assert all(len(sample & {0, 1}) == 1 and len(sample & {4, 5, 6}) == 1 for sample in observed)


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
def test_inclusion_counts_of_10_000_draws_agree_with_pi(design: str) -> None:
    # Hotelling's T**2 on the inclusion indicators: chi-square with the rank of their covariance, which
    # the fixed size lowers by one. False alarm with probability 1e-4.
    n, s, n_draws = 60, 11.37, 10_000
    rng = np.random.default_rng(8)
    pi = inclusion_probabilities(rng.lognormal(size=n), s)
    included = np.zeros((n_draws, n))
    order = rng.permutation(n)
    for row, sample in enumerate(samples(pi, design, n_draws, 9, order)):
        included[row, list(sample)] = 1
    uncertain = pi < 1
    assert (included[:, ~uncertain] == 1).all()
    off = included[:, uncertain].mean(axis=0) - pi[uncertain]
    covariance = np.cov(included[:, uncertain], rowvar=False)
    statistic = n_draws * off @ np.linalg.pinv(covariance, rcond=1e-9) @ off
    assert chi2.sf(statistic, np.linalg.matrix_rank(covariance, tol=1e-9)) > LEVEL


def test_iid_counts_agree_with_the_expected_count() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    rng = np.random.default_rng(3)
    drawn = [draw(p, 2.5, "iid", rng=rng) for _ in range(10_000)]
    sizes = np.array([len(indices) for indices, _, _ in drawn])
    assert set(sizes.tolist()) == {2, 3}
    counts = np.bincount(np.concatenate([indices for indices, _, _ in drawn]), minlength=4)
    expected = sizes.sum() * p
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 3) > LEVEL
    for indices, weights, probabilities in drawn[:100]:
        np.testing.assert_allclose(probabilities, 2.5 * p[indices])
        np.testing.assert_allclose(weights * probabilities, 1)
    assert any(len(set(indices.tolist())) < len(indices) for indices, _, _ in drawn)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("s", [0.3, 1.5, 4.0, 17.25])
def test_weighted_totals_are_unbiased(design: str, s: float) -> None:
    # |z| < 4 of the mean of 4,000 draws: false alarm 6e-5 each
    rng = np.random.default_rng(int(s * 100))
    p, losses, order = rng.lognormal(size=25), rng.exponential(size=25), rng.permutation(25)
    totals = np.zeros(4000)
    for row in range(len(totals)):
        indices, weights, _ = draw(p, s, design, order, rng)
        totals[row] = losses[indices] @ weights
    z = (totals.mean() - losses.sum()) / (totals.std(ddof=1) / math.sqrt(len(totals)))
    assert abs(z) < 4


@given(sizes_of_units, shares)
def test_inclusion_probabilities_are_capped_proportional_and_sum_to_s(
    sizes: list[float], share: float
) -> None:
    p = np.array(sizes)
    s = share * len(p)
    pi = inclusion_probabilities(p, s)
    assert ((pi > 0) & (pi <= 1)).all()
    assert pi.sum() == pytest.approx(s, rel=1e-7)
    below = pi < 1
    if below.any():
        ratio = pi[below] / p[below]
        np.testing.assert_allclose(ratio, ratio[0])
        assert (p[~below] * ratio[0] >= 1 - 1e-7).all()
    assert (pi >= np.minimum(1, s * p / p.sum()) * (1 - 1e-9)).all()


@given(sizes_of_units, shares, st.sampled_from(WITHOUT_REPLACEMENT), st.integers(0, 2**32 - 1))
def test_sizes_are_exact_and_certain_units_weigh_one(
    sizes: list[float], share: float, design: str, seed: int
) -> None:
    p = np.array(sizes)
    s = share * len(p)
    pi = inclusion_probabilities(p, s)
    order = np.random.default_rng(seed).permutation(len(p))
    indices, weights, probabilities = draw(p, s, design, order, seed)
    assert len(set(indices.tolist())) == len(indices)
    assert math.floor(s + 1e-7) <= len(indices) <= math.ceil(s - 1e-7)
    np.testing.assert_array_equal(probabilities, pi[indices])
    np.testing.assert_array_equal(weights, 1 / pi[indices])
    certain = np.flatnonzero(pi == 1)
    assert set(indices[: len(certain)].tolist()) == set(certain.tolist())
    assert (weights[: len(certain)] == 1.0).all()


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    shares,
    st.floats(0.01, 1.0),
    st.sampled_from(DESIGNS),
    st.integers(0, 2**32 - 1),
)
def test_a_floor_bounds_every_weight(
    scores: list[float], share: float, floor: float, design: str, seed: int
) -> None:
    score = np.array(scores)
    n = len(score)
    share_of_score = score / score.sum() if score.sum() > 0 else np.full(n, 1 / n)
    p = (1 - floor) * share_of_score + floor / n
    s = share * n
    _, weights, _ = draw(p, s, design, rng=seed)
    assert (weights <= n / (s * floor) * (1 + 1e-9)).all()


@given(sizes_of_units, shares, st.sampled_from(DESIGNS), st.integers(0, 2**32 - 1))
def test_a_seed_repeats_its_draw(sizes: list[float], share: float, design: str, seed: int) -> None:
    first, again = (draw(sizes, share * len(sizes), design, rng=seed) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("design", DESIGNS)
def test_units_of_probability_zero_never_come(design: str) -> None:
    p = np.array([0.0, 0.3, 0.0, 0.0, 0.7, 0.0])
    rng = np.random.default_rng(2)
    drawn = np.concatenate([draw(p, 1.5, design, rng=rng)[0] for _ in range(500)])
    assert set(drawn.tolist()) == {1, 4}


def test_more_than_there_is_takes_what_there_is() -> None:
    assert inclusion_probabilities([1.0, 2.0], 5).tolist() == [1.0, 1.0]
    assert inclusion_probabilities([1.0, 0.0, 0.0], 2).tolist() == [1.0, 0.0, 0.0]
    assert inclusion_probabilities([1.0, 0.0], 2).tolist() == [1.0, 1.0]
    assert inclusion_probabilities([1.0, 1e-20, 1e-20], 1).tolist() == [1.0, 1e-20, 1e-20]
    indices, weights, _ = draw([1.0, 2.0, 0.5], 3)
    assert (indices.tolist(), weights.tolist()) == ([0, 1, 2], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("design", DESIGNS)
def test_nothing_to_draw(design: str) -> None:
    for p, s in (([], 0.0), ([], 3.0), ([0.5, 0.5], 0.0)):
        indices, weights, probabilities = draw(p, s, design, rng=1)
        assert len(indices) == len(weights) == len(probabilities) == 0
        assert indices.dtype == np.int64


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
def test_a_million_equal_units_give_exact_sizes(design: str) -> None:
    # a plain cumulative sum of .1 a million times is off by 1e-6: with that probability one unit too many
    p = np.ones(1_000_000)
    assert _whole(_cumulative(p * 0.1))[-1] == 100_000
    for s in (100_000.0, 1_000_000 * 0.1, 333_333.0):
        for seed in range(3):
            assert len(draw(p, s, design, rng=seed)[0]) == s


@pytest.mark.parametrize("design", WITHOUT_REPLACEMENT)
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_neighbours_in_the_order_rarely_come_together(design: str, seed: int) -> None:
    # with equal probabilities 1/10 no ten consecutive units have three in the sample
    order = np.random.default_rng(seed).permutation(1000)
    indices, _, _ = draw(np.ones(1000), 100, design, order, seed)
    chosen = np.isin(order, indices)
    assert np.convolve(chosen, np.ones(10)).max() <= 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([[0.5, 0.5]], 1.0), "p: expected one dimension"),
        (([0.5, float("nan")], 1.0), "p: row 1 is nan"),
        (([0.5, -0.5], 1.0), "p: row 1 is -0.5"),
        (([0.0, 0.0], 1.0), "p: the values sum to zero"),
        (([0.5, 0.5], -1.0), "s: expected a finite expected size"),
        (([0.5, 0.5], float("nan")), "s: expected a finite expected size"),
        (([0.5, 0.5], 1.0, "poisson"), "design: expected one of pivotal, systematic, iid"),
        (([0.5, 0.5], 1.0, "pivotal", [0]), "order: expected each of the 2 units once"),
        (([0.5, 0.5], 1.0, "pivotal", [0, 0]), "order: expected each of the 2 units once"),
        (([0.5, 0.5], 1.0, "pivotal", [0, 2]), "order: expected each of the 2 units once"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        draw(*arguments)
