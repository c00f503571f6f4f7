from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stream_coreset.clusters import Clusters
from stream_coreset.kmeans import WeightedPoints, clustering_cost
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import AdaptedWindow, ClusterModel, WindowSampler

K, D = 24, 16
Mixture = Callable[..., tuple[np.ndarray, np.ndarray]]


def a_sampler(**changes: object) -> WindowSampler:
    return WindowSampler(SensitivitySampler(rate=0.05), **({"n_clusters": K, "dimension": D} | changes))


def a_model(**changes: object) -> ClusterModel:
    return ClusterModel(**({"n_clusters": K, "dimension": D, "seed": 1} | changes))


def weighted(points: object, counts: object) -> WeightedPoints:
    found = np.array(points, "f4")
    return WeightedPoints(found, np.array(counts, "f8"), np.zeros(len(found)))


def step(sampler: WindowSampler, model: ClusterModel, X: np.ndarray, seed: int) -> AdaptedWindow:
    window = sampler.adapt(X, np.random.default_rng(seed))
    model.merge(window.statistics)
    return window


def answer(model: ClusterModel, clusters: Clusters, loss: Callable[[np.ndarray], float], now: float) -> None:
    """The model is asked for every center, with three members at the center itself."""
    generations = model.generations
    for center, place in zip(clusters.ids.tolist(), clusters.centers, strict=True):
        values = [loss(place)] * 4
        model.record(center, generations[center], values, model_version="a", now=now)


def norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x))


def assert_sums_to_the_window(window: AdaptedWindow, X: np.ndarray) -> None:
    found, exact = window.statistics, X.astype("f8")
    np.testing.assert_allclose(found.counts.sum(), len(X), rtol=1e-12)
    np.testing.assert_allclose(found.counts @ found.points, exact.sum(axis=0), rtol=1e-5, atol=1e-2)
    second_moment = found.counts @ np.square(found.points, dtype="f8").sum(axis=1) + found.cost
    np.testing.assert_allclose(second_moment, np.square(exact).sum(), rtol=1e-5)
    np.testing.assert_array_equal(window.members, np.unique(window.assignment.labels))
    np.testing.assert_array_equal(found.counts, np.bincount(window.assignment.labels)[window.members])


def test_statistics_sum_to_the_window(mixture: Mixture) -> None:
    """Mass, sum and second moment: nothing of the window is lost on the way to the cluster model."""
    sampler = a_sampler()
    for seed in range(3):
        X, _ = mixture(2000, seed)
        window = sampler.adapt(X, np.random.default_rng(seed))
        assert_sums_to_the_window(window, X)
        own = X - window.clusters.centers[window.assignment.labels]
        np.testing.assert_allclose(window.cost, np.square(own, dtype="f8").sum(), rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_windows_that_are_small_or_all_alike(n: int) -> None:
    sampler, X = a_sampler(), np.full((n, D), 0.1, "f4")
    for seed in range(2):
        window = sampler.adapt(X, np.random.default_rng(seed))
        assert_sums_to_the_window(window, X)
        assert len(window.statistics) == 1
        assert window.cost == 0
        sample = sampler.draw(window, np.random.default_rng(seed))
        assert sample.expected_size == 0.05 * n


def test_a_window_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="X is empty"):
        a_sampler().adapt(np.zeros((0, D)), np.random.default_rng(0))
    sampler, model = a_sampler(), a_model()
    step(sampler, model, np.ones((5, D)), 0)
    sampler.update(model.publish(0.0))
    with pytest.raises(ValueError, match=f"expected {D}"):
        sampler.adapt(np.zeros((3, D + 1)), np.random.default_rng(0))


def test_before_there_are_clusters_the_draw_is_uniform(mixture: Mixture) -> None:
    X, _ = mixture(1000, 0)
    sampler = a_sampler()
    sample = sampler.draw(sampler.adapt(X, np.random.default_rng(0)), np.random.default_rng(1))
    np.testing.assert_allclose(sample.weights, 20.0)
    assert len(sample.indices) == 50


def test_adapted_centers_stay_until_the_next_version(mixture: Mixture) -> None:
    X, _ = mixture(2000, 0)
    sampler, model = a_sampler(), a_model()
    first = step(sampler, model, X, 0)
    second = sampler.adapt(X, np.random.default_rng(1))
    assert np.isin(second.clusters.ids, first.clusters.ids).mean() > 0.5
    assert second.cost <= first.cost * (1 + 1e-6)
    published = model.publish(0.0)
    sampler.update(published)
    assert sampler.published is published
    third = sampler.adapt(X, np.random.default_rng(2))
    assert third.clusters.version == 1
    assert third.cost <= clustering_cost(X, published.centers) * (1 + 1e-6)


def test_the_same_window_gives_the_same_sample_after_a_retry(mixture: Mixture) -> None:
    X, _ = mixture(2000, 0)
    model = a_model()
    step(a_sampler(), model, X, 0)
    published = model.publish(0.0)
    indices = []
    for _ in range(2):
        sampler = a_sampler()
        sampler.update(published)
        window = sampler.adapt(X, np.random.default_rng(5))
        indices.append(sampler.draw(window, np.random.default_rng(6)).indices)
    np.testing.assert_array_equal(*indices)


def test_known_losses_reach_the_adapted_centers(mixture: Mixture) -> None:
    """A published center takes its loss along; one just placed gets an estimate of no age."""
    sampler, model = a_sampler(), a_model()
    step(sampler, model, mixture(2000, 0)[0], 0)
    answer(model, model.publish(0.0), norm, now=5.0)
    published = model.publish(9.0)
    assert published.known.all()
    np.testing.assert_allclose(published.losses, np.linalg.norm(published.centers, axis=1), rtol=1e-6)
    assert published.loss_ages.tolist() == [4.0] * published.k
    sampler.update(published)
    local = sampler.adapt(mixture(2000, 1)[0], np.random.default_rng(1)).clusters
    shared = np.isin(local.ids, published.ids)
    assert 0 < shared.sum() < local.k
    row = {center: place for place, center in enumerate(published.ids.tolist())}
    places = [row[center] for center in local.ids[shared].tolist()]
    np.testing.assert_array_equal(local.losses[shared], published.losses[places])
    assert np.isnan(local.loss_ages[~shared]).all()
    assert (local.losses[~shared] <= published.losses.max()).all()


def test_the_model_sees_the_stream_through_statistics(mixture: Mixture) -> None:
    """Within 15 % of the cost of the sampler that fits the window itself, and no example is lost."""
    sampler, model = a_sampler(), a_model(half_life=4000)
    X, _ = mixture(8000, 3)
    expected = 0.0
    for seed, part in enumerate(np.split(X, 4)):
        window = step(sampler, model, part, seed)
        expected = expected / np.sqrt(2) + len(part)
        sampler.update(model.publish(0.0))
    published = model.publish(0.0)
    np.testing.assert_allclose(published.counts.sum(), expected, rtol=1e-9)
    assert clustering_cost(part, published.centers) < 1.15 * window.cost


def test_versions_rise_by_one_and_ids_are_distinct(mixture: Mixture) -> None:
    sampler, model = a_sampler(), a_model()
    retired: set[int] = set()
    alive: set[int] = set()
    for version in range(1, 7):
        step(sampler, model, mixture(1000, version)[0], version)
        clusters = model.publish(float(version))
        assert clusters.version == version
        now = set(clusters.ids.tolist())
        assert len(now) == clusters.k == model.k == K
        assert not now & retired
        retired |= alive - now
        alive = now
    assert retired


def test_publish_and_restore_keep_version_ids_and_losses(mixture: Mixture) -> None:
    model = a_model()
    step(a_sampler(), model, mixture(2000, 0)[0], 0)
    answer(model, model.publish(0.0), norm, now=10.0)
    published = model.publish(12.0)
    again = a_model(seed=2)
    again.restore(published, now=500.0)
    after = again.publish(503.0)
    assert after.version == published.version + 1 == 3
    assert after.model_version == "a"
    for name in ("ids", "generations", "centers", "counts", "losses", "holders"):
        np.testing.assert_array_equal(getattr(after, name), getattr(published, name))
    np.testing.assert_allclose(after.spreads, published.spreads, rtol=1e-6)
    np.testing.assert_allclose(after.loss_ages, published.loss_ages + 3.0)


def test_after_a_restart_no_retired_id_comes_back() -> None:
    """The center with the largest id is merged away and published so: its id is not free again."""
    model = a_model(n_clusters=2, dimension=1, split_fraction=1.0, half_life=1.0)
    model.merge(weighted([[0.0], [9.0]], [1.0, 1.0]))
    seen = set(model.publish(0.0).ids.tolist())
    model.merge(weighted([[500.0], [900.0]], [50.0, 50.0]))
    seen |= set(model.publish(0.0).ids.tolist())
    # The oldest one alone goes on, as if the others had been published and then retired.
    published = model.publish(0.0)
    kept = int(published.ids.min())
    fields = ("ids", "generations", "centers", "counts", "losses", "spreads", "loss_ages")
    alone = replace(published, **{name: getattr(published, name)[published.ids == kept] for name in fields})
    again = a_model(n_clusters=2, dimension=1)
    again.restore(alone, now=0.0)
    again.merge(weighted([[-700.0]], [50.0]))
    fresh = set(again.publish(1.0).ids.tolist()) - {kept}
    assert fresh
    assert not fresh & seen


def test_restoring_nothing_forgets_all() -> None:
    model = a_model(dimension=1)
    model.merge(weighted([[1.0]], [3.0]))
    model.restore(Clusters.empty(1), now=0.0)
    assert model.k == 0
    assert model.version == 0
    assert model.generations == {}


def test_restore_with_fewer_clusters_keeps_the_heaviest_with_their_losses() -> None:
    model = a_model(n_clusters=3, dimension=1)
    model.merge(weighted([[0.0], [10.0], [20.0]], [1.0, 5.0, 3.0]))
    answer(model, model.publish(0.0), lambda x: float(x[0]) + 1, now=0.0)
    smaller = a_model(n_clusters=2, dimension=1)
    smaller.restore(model.publish(0.0), now=0.0)
    after = smaller.publish(0.0)
    assert sorted(zip(after.centers.ravel().tolist(), after.losses.tolist(), strict=True)) == [
        (10.0, 11.0),
        (20.0, 21.0),
    ]


def test_restore_with_more_clusters_adds_centers_for_what_arrives() -> None:
    model = a_model(n_clusters=2, dimension=1)
    model.merge(weighted([[0.0], [10.0]], [1.0, 5.0]))
    published = model.publish(0.0)
    larger = a_model(n_clusters=4, dimension=1)
    larger.restore(published, now=0.0)
    larger.merge(weighted([[50.0], [90.0]], [2.0, 2.0]))
    assert larger.k == 4
    assert set(published.ids.tolist()) < set(larger.generations)


def test_losses_of_a_vanished_center_are_ignored() -> None:
    model = a_model(n_clusters=2, dimension=1)
    model.merge(weighted([[0.0], [9.0]], [1.0, 1.0]))
    gone = max(model.generations) + 7
    model.record(gone, 0, [1.0, 2.0], model_version="a", now=0.0)
    assert len(model.book) == 0
    assert model.publish(0.0).model_version == ""
    assert gone not in model.due(1000, 0.0, 60.0)


def test_losses_asked_before_a_center_moved_are_due_again() -> None:
    model = a_model(n_clusters=1, dimension=1, probes=2)
    model.merge(weighted([[0.0], [2.0]], [5.0, 5.0]))
    (center,) = model.generations
    stale = model.generations[center]
    model.record(center, stale, [1.0], model_version="a", now=0.0)
    assert model.due(100, 1.0, 60.0) == []
    model.merge(weighted([[40.0]], [1000.0]))
    assert model.generations[center] > stale
    assert model.due(100, 1.0, 60.0) == [center]
    model.record(center, stale, [1.0], model_version="a", now=1.0)  # of probes chosen before the move
    assert model.due(100, 1.0, 60.0) == [center]


def test_due_asks_as_many_centers_as_the_budget_pays() -> None:
    model = a_model(n_clusters=4, dimension=1, probes=3)
    assert model.due(100, 0.0, 60.0) == []
    model.merge(weighted([[0.0], [10.0], [20.0], [30.0]], [1.0, 1.0, 1.0, 1.0]))
    assert len(model.due(8, 0.0, 60.0)) == 2
    assert sorted(model.due(12, 0.0, 60.0)) == sorted(model.generations)


def test_locate_names_the_center_that_points_fell_to() -> None:
    model = a_model(n_clusters=3, dimension=1)
    model.merge(weighted([[0.0], [10.0], [20.0]], [1.0, 1.0, 1.0]))
    clusters = replace(model.publish(0.0), ids=np.array([7, 3, 5]))
    model.restore(clusters, now=0.0)
    owner = dict(zip(clusters.centers.ravel().tolist(), clusters.ids.tolist(), strict=True))
    found = model.locate(np.array([[19.0], [1.0], [12.0]], "f4"))
    assert found.tolist() == [owner[20.0], owner[0.0], owner[10.0]]


def test_arrived_points_of_nothing_change_nothing() -> None:
    model = a_model(dimension=1)
    model.merge(weighted(np.zeros((0, 1)), []))
    assert model.k == 0
    model.merge(weighted([[1.0], [5.0]], [1.0, 2.0]))
    before = model.publish(0.0)
    model.merge(weighted(np.zeros((0, 1)), []))
    after = model.publish(0.0)
    np.testing.assert_array_equal(before.centers, after.centers)
    np.testing.assert_array_equal(before.counts, after.counts)
