"""The buffer of labelled examples: what it keeps, and what it says of clusters and of each example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_coreset.clusters import Clusters
from stream_coreset.labels import LabelBuffer

CENTERS = np.array([[0.0], [10.0], [20.0]], np.float32)


def clusters() -> Clusters:
    unknown = np.full(3, np.nan)
    return Clusters(
        version=1,
        model_version="",
        ids=np.arange(3),
        generations=np.zeros(3, np.int64),
        centers=CENTERS,
        counts=np.ones(3),
        losses=unknown,
        spreads=unknown,
        loss_ages=unknown,
        mean_square=float("nan"),
        holders=np.zeros(2),
    )


def filled() -> LabelBuffer:
    """Two labelled examples at the first center, three at the second, none at the third."""
    buffer = LabelBuffer(1)
    X = np.array([[0.0], [1.0], [10.0], [11.0], [12.0]])
    buffer.add(X, np.array([1.0, 3.0, 4.0, 4.0, 10.0]), np.array([1.0, 1.0, 2.0, 2.0, 2.0]), now=0.0)
    return buffer


def test_clusters_get_the_shrunk_mean_and_root_mean_square() -> None:
    described, _ = filled().describe(clusters(), now=0.0)
    mean, square = (4 + 36) / 8, (10 + 2 * 132) / 8
    assert described.mean_square == pytest.approx(square)
    assert described.losses[:2] == pytest.approx([(4 + 2 * mean) / 4, (18 + 2 * mean) / 5])
    assert described.spreads[0] == pytest.approx(np.sqrt((10 + 2 * square) / 4))
    assert np.isnan(described.losses[2])
    assert np.isnan(described.loss_ages[2])
    assert described.loss_ages[0] == 0


def test_an_example_is_not_told_of_its_own_loss() -> None:
    """The same scores and features whatever its own loss is, but for the prior of all clusters."""
    buffer = LabelBuffer(1)
    rng = np.random.default_rng(1)
    X = rng.normal(0, 0.1, (50, 1)) + CENTERS[rng.integers(0, 2, 50)]
    losses = rng.exponential(size=50)
    buffer.add(X, losses, np.ones(50), now=0.0)
    described, before = buffer.describe(clusters(), now=0.0)
    near = X[:, 0] < 5
    for row in (0, 7):
        mates = near == near[row]
        mates[row] = False
        g = np.mean(losses**2)
        expected = np.sqrt((np.sum(losses[mates] ** 2) + 2 * g) / (mates.sum() + 2))
        assert np.exp(before.features[row, 1]) == pytest.approx(expected, rel=1e-5)
        slope = described.holders[1] * np.exp(2 * before.features[row, 2])
        assert before.scores[1, row] == pytest.approx(expected + slope, rel=1e-4)


def test_weights_halve_with_age_and_old_examples_count_less() -> None:
    buffer = LabelBuffer(1, half_life=1.0)
    buffer.add(np.array([[0.0]] * 3), np.full(3, 8.0), np.ones(3), now=0.0)
    buffer.add(np.array([[0.0]] * 3), np.full(3, 2.0), np.ones(3), now=3.0)
    assert buffer.weights(now=3.0) == pytest.approx([0.125] * 3 + [1.0] * 3)
    described, examples = buffer.describe(clusters(), now=3.0)
    assert examples.weights == pytest.approx(buffer.weights(now=3.0))
    assert described.losses[0] == pytest.approx((8 / 8 + 2) / (1 + 1 / 8))


def test_the_oldest_leave_first() -> None:
    buffer = LabelBuffer(1, capacity=4)
    for now in range(3):
        buffer.add(np.full((3, 1), now), np.full(3, float(now)), np.ones(3), now=now)
    assert buffer.losses.tolist() == [1.0, 2.0, 2.0, 2.0]
    assert len(buffer) == 4


def _two_versions(clusters_of_both: int) -> LabelBuffer:
    """Old losses twice as large as the new ones, at so many clusters of which both versions are known."""
    buffer = LabelBuffer(1)
    places = np.arange(6.0)[:, None] * 10
    losses = np.array([1.0, 3.0, 4.0, 6.0, 2.0, 8.0])
    buffer.add(places, 2 * losses, np.ones(6), now=0.0, version="1")
    rows = slice(0, clusters_of_both)
    buffer.add(places[rows] + 0.5, losses[rows], np.ones(clusters_of_both), now=0.0, version="2")
    return buffer


def _six() -> Clusters:
    unknown = np.full(6, np.nan)
    return replace(
        clusters(), ids=np.arange(6), generations=np.zeros(6, np.int64), counts=np.ones(6),
        centers=np.arange(6.0, dtype=np.float32)[:, None] * 10,
        losses=unknown, spreads=unknown, loss_ages=unknown,
    )  # fmt: skip


@pytest.mark.parametrize(("both", "factor"), [(5, 0.5), (4, 1.0)])
def test_losses_of_an_older_version_are_compared_through_clusters_known_under_both(
    both: int, factor: float
) -> None:
    _, examples = _two_versions(both).describe(_six(), now=0.0)
    old = 2 * np.array([1.0, 3.0, 4.0, 6.0, 2.0, 8.0])
    assert examples.losses[:6] == pytest.approx(factor * old)
    assert examples.losses[6:] == pytest.approx(old[:both] / 2)


def test_the_factor_of_a_version_is_limited() -> None:
    buffer = LabelBuffer(1)
    places = np.arange(6.0)[:, None] * 10
    buffer.add(places, np.full(6, 1e6), np.ones(6), now=0.0, version="1")
    buffer.add(places, np.ones(6), np.ones(6), now=0.0, version="2")
    _, examples = buffer.describe(_six(), now=0.0)
    assert examples.losses[:6] == pytest.approx(np.full(6, 1e5))


def test_what_was_known_of_a_cluster_without_labelled_examples_stays() -> None:
    known = replace(
        clusters(),
        losses=np.array([7.0, 8.0, 9.0]),
        spreads=np.array([7.5, 8.5, 9.5]),
        loss_ages=np.array([1.0, 2.0, 3.0]),
    )
    described, _ = filled().describe(known, now=0.0)
    assert (described.losses[2], described.spreads[2]) == (9.0, 9.5)
    assert described.losses[0] != 7.0
    assert described.loss_ages.tolist() == [1.0, 2.0, 3.0]


def test_nothing_labelled_tells_nothing() -> None:
    described, examples = LabelBuffer(1).describe(clusters(), now=0.0)
    assert described == clusters()
    assert len(examples) == 0


@pytest.mark.parametrize(
    ("X", "losses", "says"),
    [([[np.nan]], [1.0], "row 0"), ([[1.0, 2.0]], [1.0], "2 features"), ([[1.0]], [-1.0], "losses is -1.0")],
)
def test_what_cannot_be_learned_from_is_refused(X: list[list[float]], losses: list[float], says: str) -> None:
    buffer = LabelBuffer(1)
    with pytest.raises(ValueError, match=says):
        buffer.add(np.array(X), np.array(losses), np.ones(1), now=0.0)
    assert len(buffer) == 0


def test_what_has_decayed_to_nothing_tells_nothing() -> None:
    buffer = LabelBuffer(1, half_life=1.0)
    buffer.add(np.array([[0.0]]), np.array([5.0]), np.ones(1), now=0.0)
    described, examples = buffer.describe(clusters(), now=1e6)
    assert described == clusters()
    assert len(examples) == 0


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"half_life": 0.0}])
def test_settings_that_cannot_be_used(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="capacity"):
        LabelBuffer(1, **wrong)
