from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from consumers.demo.data import Events
from consumers.demo.evaluation import Contest, History, Recall, Window, loss_error_ratio
from consumers.demo.model import LinearModel
from stream_coreset.estimates import uniform_variance


def events(n: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 9)).astype(np.float32)
    return Events(X, (X[:, 0] + 0.5 * rng.normal(size=n) > 0.5).astype(np.int64))


def uniform_window(every: Events, m: int, rng: np.random.Generator) -> Window:
    n = len(every)
    chosen = rng.choice(n, m, replace=False)
    sampled = Events(every.embeddings[chosen], every.labels[chosen])
    return Window(every, sampled, np.full(m, n / max(1, m)), float(m), 1, 5)


def test_balanced_accuracy_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    recall = Recall()
    for part in np.array_split(np.arange(200), 7):
        recall.count(labels[part], predicted[part])
    assert recall.value == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_balanced_accuracy_is_unknown_while_a_class_is() -> None:
    recall = Recall()
    recall.count(np.zeros(3, np.int64), np.zeros(3, np.int64))
    assert math.isnan(recall.value)


def test_each_window_is_predicted_before_it_is_learned() -> None:
    """Labels are noise that a model with as many features as examples learns by heart."""
    rng = np.random.default_rng(1)
    contest = Contest(seed=0, refit_windows=1)
    for _ in range(20):
        noise = Events(rng.normal(size=(8, 9)).astype(np.float32), np.arange(8) % 2)
        window = uniform_window(noise, 8, rng)
        contest.coreset(window)
        contest.twins(window)
    assert all(value < 0.7 for value in contest.balanced_accuracy().values())


def test_all_three_learn_and_everything_learns_best() -> None:
    rng, contest = np.random.default_rng(2), Contest(seed=0)
    models = []
    for seed in range(12):
        window = uniform_window(events(400, seed), 6, rng)
        models.append(contest.coreset(window))
        contest.twins(window)
    accuracy = contest.balanced_accuracy()
    assert sum(model is not None for model in models) >= 5
    assert accuracy["full"] > 0.7
    assert accuracy["full"] > accuracy["uniform"] > 0.5
    assert accuracy["coreset"] > 0.5


def test_uniform_twin_has_as_many_examples_as_the_coreset() -> None:
    contest = Contest(seed=0)
    sample, weights = contest._uniform(uniform_window(events(100), 7, np.random.default_rng(0)))
    assert len(sample) == 7
    assert weights.sum() == pytest.approx(100)
    sample, weights = contest._uniform(uniform_window(events(100), 0, np.random.default_rng(0)))
    assert len(sample) == len(weights) == 0


def test_history_knows_who_served_when() -> None:
    history, first, second = History(), LinearModel(np.zeros(1), 0.0), LinearModel(np.ones(1), 0.0)
    history.add(first, 100)
    history.add(second, 200)
    assert history.at(99) is None
    assert history.at(100) is history.at(199) is first
    assert history.at(10_000) is second


def test_error_of_a_uniform_sample_is_about_one() -> None:
    """400 windows: the ratio's standard error is about .035 for these losses; the band is six of them."""
    rng, history = np.random.default_rng(3), History()
    history.add(LinearModel(np.r_[2.0, np.zeros(8)], -1.0), 0)
    windows = [uniform_window(events(300, seed), 10, rng) for seed in range(400)]
    assert loss_error_ratio(windows, history) == pytest.approx(1.0, abs=0.21)


def test_error_by_hand_and_what_does_not_count() -> None:
    history, some = History(), events(50)
    model = LinearModel(np.ones(9), 0.5)
    history.add(model, 1_000)
    losses = model.losses(some)
    chosen = Events(some.embeddings[:2], some.labels[:2])
    weights = np.array([20.0, 30.0])

    def window(version: int, closed_ms: int) -> Window:
        return Window(some, chosen, weights, 2.0, version, closed_ms)

    error = losses[:2] @ weights - losses.sum()
    expected = math.sqrt(error**2 / uniform_variance(losses, 2.0))
    counted, no_clusters, no_model = window(1, 1_000), window(0, 1_000), window(1, 999)
    assert loss_error_ratio([counted, no_clusters, no_model], history) == pytest.approx(expected)
    assert math.isnan(loss_error_ratio([no_clusters, no_model], history))
