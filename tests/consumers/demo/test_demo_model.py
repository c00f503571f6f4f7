from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from consumers.demo.data import Events
from consumers.demo.model import Learner, LinearModel, fit


def events(n: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 9)).astype(np.float32)
    return Events(X, (X[:, 0] + rng.normal(size=n) > 0.5).astype(np.int64))


def test_losses_are_scikit_learns_log_losses() -> None:
    some = events(300)
    model = fit(some, np.ones(300))
    assert model is not None
    reference = LogisticRegression(C=10.0, max_iter=1_000).fit(some.embeddings.astype(float), some.labels)
    p = reference.predict_proba(some.embeddings.astype(float))
    assert model.losses(some).mean() == pytest.approx(log_loss(some.labels, p), rel=1e-6)
    np.testing.assert_array_equal(model.predict(some.embeddings), reference.predict(some.embeddings))


def test_losses_are_clipped_on_both_sides() -> None:
    model = LinearModel(np.full(1, 1e6), 0.0)
    sure = Events(np.ones((2, 1), np.float32), np.array([0, 1]))
    np.testing.assert_allclose(model.losses(sure), [-np.log(1e-6), 1e-6], rtol=1e-5)


def test_a_weight_of_two_counts_as_two_examples() -> None:
    some = events(100)
    weights = np.where(np.arange(100) < 50, 2.0, 1.0)
    doubled = np.r_[np.arange(100), np.arange(50)]
    twice = Events(some.embeddings[doubled], some.labels[doubled])
    weighted, repeated = fit(some, weights), fit(twice, np.ones(150))
    assert weighted is not None
    assert repeated is not None
    # the ridge weighs 100 examples against 150: nearly equal, not equal
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, rtol=0.05, atol=0.02)


def test_one_class_alone_makes_no_model() -> None:
    assert fit(Events(np.ones((3, 9), np.float32), np.zeros(3, np.int64)), np.ones(3)) is None


def test_refits_as_soon_as_it_can_and_then_every_few_windows() -> None:
    learner = Learner(refit_windows=3)
    nothing = Events(np.zeros((0, 9), np.float32), np.zeros(0, np.int64))
    only_normal = Events(np.ones((5, 9), np.float32), np.zeros(5, np.int64))
    assert not learner.learn(nothing, np.zeros(0))
    assert not learner.learn(only_normal, np.ones(5))
    assert learner.learn(events(50), np.ones(50))
    model = learner.model
    assert [learner.learn(events(50, seed), np.ones(50)) for seed in range(1, 7)] == 2 * [False, False, True]
    assert learner.model is not model
