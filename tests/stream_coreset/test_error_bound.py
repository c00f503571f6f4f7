"""The bound on the error that is known before the draw: the paper's own, and for what we made of its p."""

from __future__ import annotations

import numpy as np
import pytest

from stream_coreset.clusters import Clusters
from stream_coreset.estimates import error_bound
from stream_coreset.kmeans import Assignment
from stream_coreset.limits import Limits
from stream_coreset.prediction import Prediction
from stream_coreset.sensitivity import SensitivitySampler

N, K = 600, 12


def smooth_window(rng: np.random.Generator) -> tuple[Assignment, Clusters, np.ndarray]:
    """Losses that differ from their center's by at most the Hölder constant 2 times the squared distance."""
    losses = rng.exponential(size=K)
    labels, distances = rng.integers(0, K, N), rng.exponential(0.3, N)
    clusters = Clusters(
        version=1,
        model_version="",
        ids=np.arange(K),
        generations=np.zeros(K, np.int64),
        centers=rng.normal(size=(K, 2)).astype(np.float32),
        counts=np.bincount(labels, minlength=K).astype(float),
        losses=losses,
        spreads=losses,
        loss_ages=np.zeros(K),
        mean_square=1.0,
        holders=np.array([2.0, 2.0]),
    )
    of_examples = np.maximum(losses[labels] + rng.uniform(-2, 2, N) * distances**2, 0.0)
    return Assignment(labels, distances), clusters, of_examples


def test_for_the_papers_own_probabilities_it_is_the_papers() -> None:
    assignment, clusters, _ = smooth_window(np.random.default_rng(1))
    sampler = SensitivitySampler(size=40.0, floor=0.0, probes=1, design="iid", delta=0.05)
    p = sampler.probabilities(assignment, clusters)
    total = (clusters.losses[assignment.labels] + 2.0 * assignment.distances**2).sum()
    assert sampler.error_bound(assignment, clusters, p) == pytest.approx(error_bound(total, 40.0, 0.05))


@pytest.mark.parametrize("design", ["pivotal", "iid"])
@pytest.mark.parametrize("how", ["floor", "limits", "prediction", "groups"])
def test_no_more_draws_exceed_it_than_delta(design: str, how: str) -> None:
    """At delta = .5, where the bound is nearest to the error: of 300 draws at most half, and 4 errors."""
    rng = np.random.default_rng(2)
    assignment, clusters, losses = smooth_window(rng)
    given = {
        "floor": {},
        "limits": {"limits": Limits(few=0.1, cluster=0.1)},
        "prediction": {},
        "groups": {"min_group_rate": 0.09},
    }[how]
    sampler = SensitivitySampler(rate=0.1, design=design, delta=0.5, floor=0.1, **given)
    predicted = Prediction(losses[::-1].copy(), losses[::-1].copy()) if how == "prediction" else None
    groups = rng.integers(0, 30, N) if how == "groups" else None
    exceeded = 0
    for seed in range(300):
        sample = sampler.sample(
            assignment, clusters, np.random.default_rng(seed), predicted=predicted, groups=groups
        )
        bound = sampler.error_bound(assignment, clusters, sample.scores)
        exceeded += abs(sample.weights @ losses[sample.indices] - losses.sum()) > bound
    assert exceeded <= 185


def test_the_less_of_the_papers_probabilities_is_left_the_larger_it_is() -> None:
    assignment, clusters, _ = smooth_window(np.random.default_rng(3))
    bounds = []
    for floor in (0.0, 0.3, 0.9):
        sampler = SensitivitySampler(rate=0.1, floor=floor)
        bounds.append(sampler.error_bound(assignment, clusters, sampler.probabilities(assignment, clusters)))
    assert bounds == sorted(bounds)
    sampler = SensitivitySampler(rate=0.1)
    nothing = np.where(assignment.labels == 0, 0.0, 1.0)
    assert sampler.error_bound(assignment, clusters, nothing / nothing.sum()) is None


def test_without_a_known_loss_there_is_none() -> None:
    assignment = Assignment(np.zeros(5, np.int64), np.ones(5))
    sampler = SensitivitySampler(rate=0.5)
    systematic = SensitivitySampler(rate=0.5, design="systematic")
    given = smooth_window(np.random.default_rng(4))[:2]
    assert systematic.error_bound(*given, systematic.probabilities(*given)) is None
    assert sampler.error_bound(assignment, Clusters.empty(2), np.full(5, 0.2)) is None
