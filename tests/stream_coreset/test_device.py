"""The passes on a device: on a GPU against NumPy, and everywhere that host and device arrays do not mix."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from support.strict_device import ndarray, strict_device

from stream_coreset import chunks
from stream_coreset.arrays import resolve_device, to_host
from stream_coreset.kernels import closer_pairs, cluster_sums, nearest, squares_to, two_nearest
from stream_coreset.kmeans import MiniBatchKMeans, clustering_cost, kmeans_plus_plus
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import WindowSampler

Put = Callable[[np.ndarray], object]
WEIGHT = np.random.default_rng(1).random(3000)


@pytest.fixture(params=["stand-in", pytest.param("CuPy", marks=pytest.mark.gpu)])
def put(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Put:
    """To the device; with the stand-in in chunks so small that there are many."""
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "cupy", strict_device())
        monkeypatch.setattr(chunks, "_CUDA_SCORES", 5000)
    try:
        return resolve_device("cuda").put
    except RuntimeError as reason:
        pytest.skip(str(reason))


def problem(dtype: str = "f4", offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    means = rng.normal(0, 6, (60, 24)) + offset
    X = means[rng.integers(0, 60, 3000)] + rng.normal(size=(3000, 24))
    return X.astype(dtype), X[:50].astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_nearest_and_two_nearest(put: Put, dtype: str, offset: float) -> None:
    X, centers = problem(dtype, offset)
    close = {"rtol": 1e-4 if dtype == "f4" else 1e-10, "atol": 1e-5}
    for there, here in (
        (nearest(put(X), centers), nearest(X, centers)),
        (two_nearest(put(X), centers), two_nearest(X, centers)),
        (two_nearest(put(X), centers[:1]), two_nearest(X, centers[:1])),
    ):
        for ours, theirs in zip(there, here, strict=True):
            assert not isinstance(ours, np.ndarray)
            found = to_host(ours)
            assert found.dtype == theirs.dtype
            assert np.isclose(found, theirs, **close).mean() > 0.999  # a near tie may fall either way


def test_sums_and_distances_by_label(put: Put) -> None:
    X, centers = problem()
    labels = nearest(X, centers)[0]
    for weight in (None, WEIGHT):
        for ours, theirs in zip(
            cluster_sums(put(X), put(labels), 50, weight), cluster_sums(X, labels, 50, weight), strict=True
        ):
            assert isinstance(ours, np.ndarray)
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-2)
    ours = to_host(squares_to(put(X), centers, labels))
    np.testing.assert_allclose(ours, squares_to(X, centers, labels), rtol=1e-4)


def test_sums_on_the_device_repeat_to_the_bit(put: Put) -> None:
    X, centers = problem()
    labels = nearest(X, centers)[0]
    one, two = (cluster_sums(put(X), labels, 50, WEIGHT)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_closer_pairs(put: Put) -> None:
    X, centers = problem()
    bounds = two_nearest(X, centers).second_squared_distances
    ours, theirs = closer_pairs(put(X), put(centers), bounds), closer_pairs(X, centers, bounds)
    assert ours.shape == theirs.shape
    assert abs(ours.nnz - theirs.nnz) <= 0.01 * theirs.nnz
    np.testing.assert_allclose(ours.sum(), theirs.sum(), rtol=1e-2)
    assert closer_pairs(put(X), put(centers), np.zeros(3000)).nnz <= 50


def test_seeds_are_those_of_the_host(put: Put) -> None:
    """Draws are made on the host, so that only rounding could tell the devices apart."""
    X, _ = problem("f8")
    ours, theirs = (kmeans_plus_plus(x, 30, WEIGHT, np.random.default_rng(2)) for x in (put(X), X))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("exact", [True, False])
def test_the_whole_model_is_that_of_the_host(put: Put, exact: bool) -> None:
    """In float64, where no choice hangs on rounding."""
    X, _ = problem("f8")
    models = [MiniBatchKMeans(40, seed=0, device=device) for device in ("cuda", "cpu")]
    for model, rows in zip(models, (put(X), X), strict=True):
        model.adapt_assign(rows, WEIGHT, exact=exact)
        window = model.adapt_assign(rows + 0.5, WEIGHT, exact=exact)
        assert isinstance(window.labels, np.ndarray)
        assert isinstance(window.distances, np.ndarray)
        model.partial_fit(rows)
        model.merge(model.summarize(rows, model.assign(rows), WEIGHT))
        for kept in (model.cluster_centers_, model.counts_, model.ids_, model.generations_):
            assert isinstance(kept, np.ndarray)
    ours, theirs = models
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.counts_, theirs.counts_, rtol=1e-9)
    np.testing.assert_array_equal(ours.ids_, theirs.ids_)
    np.testing.assert_array_equal(ours.generations_, theirs.generations_)


def test_points_from_either_side_are_taken(put: Put) -> None:
    X, _ = problem()
    on_device = MiniBatchKMeans(10, seed=0, device="cuda").adapt(X)
    on_host = MiniBatchKMeans(10, seed=0, device="cpu").adapt(put(X))
    costs = [clustering_cost(X, model.cluster_centers_) for model in (on_device, on_host)]
    assert abs(costs[0] / costs[1] - 1) < 0.05
    again = MiniBatchKMeans.from_centers(put(on_host.cluster_centers_), device="cuda")
    np.testing.assert_array_equal(again.cluster_centers_, on_host.cluster_centers_)


def test_a_bad_row_on_the_device_is_named(put: Put) -> None:
    X, _ = problem()
    X[17, 3] = np.nan
    with pytest.raises(ValueError, match="row 17"):
        MiniBatchKMeans(10, device="cuda").adapt(put(X))


def test_a_window_is_sampled_on_the_device(put: Put) -> None:
    X, _ = problem()
    windows = WindowSampler(SensitivitySampler(rate=0.1), n_clusters=20, dimension=24, device="cuda")
    window = windows.adapt(put(X), np.random.default_rng(0))
    sample = windows.draw(window, np.random.default_rng(1))
    assert len(sample.indices) == 300
    np.testing.assert_allclose(window.statistics.counts.sum(), 3000)


def test_the_stand_in_does_not_mix_with_the_host() -> None:
    there, here = ndarray(np.ones(3)), np.ones(3)
    for mix in (
        lambda: np.asarray(there),
        lambda: there + here,
        lambda: here + there,
        lambda: there[here > 0],
    ):
        with pytest.raises(TypeError):
            mix()
