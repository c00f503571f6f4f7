"""Bias of the weights: chance passes, the usual mistakes are caught."""

from __future__ import annotations

import numpy as np

from consumers.audit.bias import MIN_GROUPS, bias_tests
from stream_coreset.sampling import draw


def test_an_unbiased_sampler_passes_and_a_bias_of_five_percent_is_caught():
    """400 windows at s = 100. False alarm 6e-5 by construction; the planted bias lies at about z = 10."""
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 100, 400)
    right = [(100.0, error, 1000.0) for error in errors]
    wrong = [(100.0, error + 50.0, 1000.0) for error in errors]
    tests = bias_tests({"right": right, "wrong": wrong})
    assert [test.biased for test in tests] == [False, True]


def test_weights_one_over_n_p_are_caught():
    """Draws without replacement, weighted as if with replacement: 5 % in 400 windows at s = 100, z = 9.

    The same scores with weights 1/pi pass; false alarm 6e-5 by construction.
    """
    rng = np.random.default_rng(1)
    rows: dict[str, list[tuple[float, float, float]]] = {"right": [], "wrong": []}
    for _ in range(400):
        p = rng.lognormal(0, 0.85, 1000)
        p /= p.sum()
        _, weights, _ = draw(p, 100.0, "pivotal", np.arange(1000), rng)
        rows["right"].append((100.0, weights.sum() - 1000, 1000.0))
        chosen = rng.choice(1000, 100, replace=False, p=p)
        rows["wrong"].append((100.0, (1 / (100 * p[chosen])).sum() - 1000, 1000.0))
    bias = np.mean([error for _, error, _ in rows["wrong"]]) / 1000
    assert 0.04 < bias < 0.07
    assert [test.biased for test in bias_tests(rows)] == [False, True]


def test_too_few_windows_to_tell():
    (test,) = bias_tests({"weights": [(10.0, 50.0, 100.0)] * (MIN_GROUPS - 1)})
    assert not test.biased
    assert bias_tests({"none": [(10.0, 0.0, 100.0)] * 30})[0].z == 0.0
    assert bias_tests({"rounding": [(10.0, 1e-12, 100.0)] * 30})[0].z == 0.0
