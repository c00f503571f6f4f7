"""What a surrogate is told of the examples of a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.traps import clusters_of

from stream_coreset import select
from stream_coreset.kmeans import Assignment
from stream_coreset.labels import LabelBuffer
from stream_coreset.learning import labelled_probes, predict_window
from stream_coreset.probes import choose_queries
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import WindowSampler
from stream_coreset.surrogate import Surrogate

SPREADS = np.array([1.0, 2.0, 3.0])


class Listener:
    """A model of losses that keeps what it is told."""

    told: NDArray[np.float32]

    def predict(self, features: NDArray[np.float32], /) -> NDArray[np.float64]:
        self.told = features
        return np.ones((len(features), 2))


def test_an_example_alone_is_told_of_by_the_nearest_established_center() -> None:
    clusters = replace(
        clusters_of([[0.0], [9.0], [50.0]], SPREADS, SPREADS), counts=np.array([9.0, 2.0, 1.0])
    )
    X = np.array([[1.0], [8.0], [50.0]], np.float32)
    assignment, model = Assignment(np.arange(3), np.array([1.0, 1.0, 0.0])), Listener()
    predict_window(Surrogate(model), X, assignment, clusters, z=2.0)
    np.testing.assert_allclose(np.exp(model.told[:, 1:]), [[1, 1], [1, 8], [1, 50]], rtol=1e-5)


def test_it_is_the_nearest_of_those_that_were_published() -> None:
    window = clusters_of([[0.0], [50.0]], SPREADS[:2], SPREADS[:2])
    published = replace(
        clusters_of([[0.0], [48.0], [50.0]], SPREADS, SPREADS), counts=np.array([9.0, 9.0, 1.0])
    )
    assignment, model = Assignment(np.array([1]), np.zeros(1)), Listener()
    predict_window(Surrogate(model), np.array([[50.0]], np.float32), assignment, window, published, z=2.0)
    np.testing.assert_allclose(np.exp(model.told[0, 1:]), [2, 2], rtol=1e-5)


def test_a_window_knows_what_it_was_adapted_from() -> None:
    windows = WindowSampler(SensitivitySampler(rate=0.1), n_clusters=3, dimension=1)
    published = clusters_of([[0.0], [5.0]], [1.0, 2.0], [1.0, 2.0])
    windows.update(published)
    assert windows.adapt(np.arange(9.0)[:, None], np.random.default_rng(1)).published is published


def test_far_labels_do_not_speak_for_an_outlier_that_became_a_center() -> None:
    unknown = np.full(2, np.nan)
    clusters = replace(clusters_of([[0.0], [90.0]], unknown, unknown), counts=np.array([9.0, 1.0]))
    buffer = LabelBuffer(1)
    buffer.add(np.array([[0.0], [1.0], [50.0]]), np.array([1.0, 1.0, 7.0]), np.ones(3), now=0.0)
    described, examples = buffer.describe(clusters, now=0.0)
    assert np.isnan(described.losses[1])
    np.testing.assert_allclose(np.exp(examples.features[:, 2]), [1e-30, 1, 50], rtol=1e-4)


def test_every_probe_stands_for_its_part_of_the_cluster() -> None:
    """The weighted count of the members is exact, and the farthest stands for itself alone."""
    rng = np.random.default_rng(8)
    assignment = Assignment(rng.integers(0, 3, 300), rng.exponential(size=300))
    sizes = np.bincount(assignment.labels)
    clusters = replace(clusters_of([[0.0], [1.0], [2.0]], SPREADS, SPREADS), counts=sizes.astype(np.float64))
    probes = choose_queries(assignment, range(3), 9, rng)
    rows = probes.queries()
    X, losses = rng.normal(size=(300, 1)).astype(np.float32), np.ones(len(rows))
    weights = labelled_probes(X, assignment, clusters, probes, losses, z=2.0).weights
    np.testing.assert_allclose(np.bincount(assignment.labels[rows], weights), sizes)
    np.testing.assert_array_equal(weights[np.isin(rows, probes.farthest)], 1.0)


@pytest.mark.parametrize("loss", [1e-90, 1.0, 1e90])
def test_losses_that_are_all_the_same_are_learned_as_such(loss: float) -> None:
    X, losses = np.random.default_rng(1).normal(size=(400, 3)), np.full(400, loss)
    chosen = select(X, lambda rows: losses[rows], n_clusters=10, rate=0.1, surrogate="trees", seed=1)
    np.testing.assert_allclose(chosen.expected_losses, losses)
    np.testing.assert_allclose(chosen.scores, 1 / 400, rtol=1e-5)
