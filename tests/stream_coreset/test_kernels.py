from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MiniBatchKMeans as Peer
from threadpoolctl import threadpool_info

from stream_coreset import chunks, kernels
from stream_coreset.arrays import resolve_device, to_host
from stream_coreset.kernels import closer_pairs, cluster_sums, nearest, squares_to, totals, two_nearest

shapes = st.tuples(st.integers(1, 1200), st.integers(1, 40), st.integers(1, 30))


def points(shape: tuple[int, int, int], seed: int, dtype: str = "f8") -> tuple[np.ndarray, np.ndarray]:
    n, d, k = shape
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)


def all_squares(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.square(X[:, None, :].astype("f8") - centers[None].astype("f8")).sum(axis=2)


@pytest.fixture(params=["threads", "device code"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The second runs the branches of CuPy with NumPy's functions under another name."""
    if request.param == "device code":
        twin = SimpleNamespace(**{name: getattr(np, name) for name in dir(np) if not name.startswith("__")})
        monkeypatch.setattr(kernels, "namespace", lambda *_: twin)
        monkeypatch.setattr(chunks, "_CUDA_SCORES", 2000)
    return str(request.param)


@given(shapes, st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_nearest_against_brute_force(shape: tuple[int, int, int], seed: int) -> None:
    X, centers = points(shape, seed)
    labels, squares = nearest(X, centers)
    expected = all_squares(X, centers)
    np.testing.assert_array_equal(labels, expected.argmin(axis=1))
    np.testing.assert_allclose(squares, expected.min(axis=1), rtol=1e-12)
    assert labels.dtype == np.int64


@given(shapes, st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_two_nearest_against_brute_force(shape: tuple[int, int, int], seed: int) -> None:
    X, centers = points(shape, seed)
    found = two_nearest(X, centers)
    expected = all_squares(X, centers)
    np.testing.assert_array_equal(found.labels, expected.argmin(axis=1))
    if shape[2] == 1:
        assert np.isinf(found.second_squared_distances).all()
        assert (found.second_labels == -1).all()
    else:
        np.testing.assert_array_equal(found.second_labels, expected.argsort(axis=1)[:, 1])
        np.testing.assert_allclose(found.second_squared_distances, np.sort(expected)[:, 1], rtol=1e-12)


def test_every_path_gives_the_same(path: str) -> None:
    X, centers = points((3000, 17, 50), 4, "f4")
    expected = all_squares(X, centers)
    labels, squares = nearest(X, centers)
    np.testing.assert_allclose(expected[np.arange(3000), labels], expected.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(squares, expected.min(axis=1), rtol=1e-5)
    found = two_nearest(X, centers)
    np.testing.assert_allclose(found.second_squared_distances, np.sort(expected)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(squares_to(X, centers, found.second_labels), found.second_squared_distances)
    weight = np.random.default_rng(0).random(3000)
    sums, counts = cluster_sums(X, labels, 50, weight)
    indicator = np.zeros((50, 3000))
    indicator[labels, np.arange(3000)] = weight
    np.testing.assert_allclose(sums, indicator @ X.astype("f8"), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(counts, indicator.sum(axis=1))
    check_pairs(X, centers)


def check_pairs(X: np.ndarray, centers: np.ndarray) -> None:
    expected = all_squares(X, centers)
    bounds = np.quantile(expected, 0.2, axis=1)
    found = closer_pairs(X, centers, bounds)
    dense = np.full(expected.shape, np.inf)
    entries = found.tocoo()
    dense[entries.row, entries.col] = entries.data
    below = expected < bounds[:, None]
    sure = abs(expected - bounds[:, None]) > 1e-3
    np.testing.assert_array_equal((dense < np.inf)[sure], below[sure])
    np.testing.assert_allclose(dense[below & sure], expected[below & sure], rtol=1e-4, atol=1e-4)


@given(shapes, st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_closer_pairs_against_brute_force(shape: tuple[int, int, int], seed: int) -> None:
    check_pairs(*points(shape, seed))


def test_float32_is_exact_far_from_the_origin() -> None:
    """Without moving the origin, 1e4 away the product form would lose all of these distances."""
    X, centers = points((2000, 8, 20), 1)
    far, there = (X + 1e4).astype("f4"), (centers + 1e4).astype("f4")
    expected = all_squares(far, there)
    labels, squares = nearest(far, there)
    np.testing.assert_allclose(squares, expected.min(axis=1), rtol=1e-5)
    assert (labels == expected.argmin(axis=1)).mean() > 0.999


def test_a_point_on_its_center_is_at_distance_zero() -> None:
    X, _ = points((700, 33, 1), 2, "f4")
    X *= 1e6
    labels, squares = nearest(X, X[:100])
    assert not squares[:100].any()
    np.testing.assert_array_equal(labels[:100], np.arange(100))


def test_against_scikit_learn() -> None:
    X, centers = points((5000, 32, 64), 3, "f4")
    peer = Peer(64, init=centers, n_init=1, max_iter=1).fit(X[:64])
    peer.cluster_centers_ = centers
    assert (peer.predict(X) == nearest(X, centers)[0]).mean() > 0.999


def test_sums_of_many_equal_points_keep_their_precision() -> None:
    """One running float32 sum of 10^6 terms would be off in the third digit."""
    X = np.full((10**6, 1), 0.1, "f4")
    sums, counts = cluster_sums(X, np.zeros(10**6, np.int64), 2)
    np.testing.assert_allclose(sums[0, 0], 1e6 * np.float64(np.float32(0.1)), rtol=1e-4)
    assert sums[1, 0] == 0
    assert counts.tolist() == [1e6, 0]


def test_totals() -> None:
    assert totals(np.zeros(0, np.int64), np.zeros(0), 3).tolist() == [0, 0, 0]


def test_threads_of_blas_are_restored_also_after_concurrent_passes() -> None:
    def threads() -> list[int]:
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    X, centers = points((4000, 20, 100), 5, "f4")
    before, first = threads(), nearest(X, centers)[0]
    wrong: list[int] = []

    def passes() -> None:
        for _ in range(20):
            wrong.append(int((nearest(X, centers)[0] != first).sum()))

    runners = [threading.Thread(target=passes) for _ in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert threads() == before
    assert wrong == [0] * 80


def test_blas_stays_at_one_thread_until_the_last_pass_ends() -> None:
    def threads() -> set[int]:
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    guard, before = chunks._one_thread_blas(), threads()
    with guard as allowed:
        with guard as nested:
            assert threads() == {1}
        assert threads() == {1}
    assert allowed == nested == max(before)
    assert threads() == before


def test_an_error_in_a_chunk_is_raised_and_threads_are_restored() -> None:
    X, centers = points((2000, 5, 4), 6)
    with pytest.raises(ValueError, match="shapes"):
        nearest(X, centers[:, :3])
    assert nearest(X, centers)[0].shape == (2000,)


@pytest.mark.gpu
def test_cupy_against_numpy() -> None:
    try:
        device = resolve_device("cuda")
    except RuntimeError as reason:
        pytest.skip(str(reason))
    X, centers = points((5000, 48, 300), 7, "f4")
    on_device = device.put(X)
    for ours, theirs in zip(two_nearest(on_device, centers), two_nearest(X, centers), strict=True):
        close = np.isclose(to_host(ours), theirs, rtol=1e-4)
        assert close.mean() > 0.999
    labels = to_host(nearest(on_device, centers)[0])
    weight = np.random.default_rng(1).random(5000)
    for ours, theirs in zip(
        cluster_sums(on_device, labels, 300, weight), cluster_sums(X, labels, 300, weight), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    bounds = two_nearest(X, centers).second_squared_distances
    ours, theirs = closer_pairs(on_device, centers, bounds), closer_pairs(X, centers, bounds)
    assert abs(ours.nnz - theirs.nnz) <= 0.01 * theirs.nnz
    np.testing.assert_allclose(ours.sum(), theirs.sum(), rtol=1e-2)


@given(shapes, st.integers(0, 10**6), st.sampled_from(["f4", "f8"]), st.sampled_from([0.0, 1e3]))
@settings(max_examples=15, deadline=None)
def test_among_ties_any_nearest_center_will_do(
    shape: tuple[int, int, int], seed: int, dtype: str, offset: float
) -> None:
    """Points and centers on a coarse grid, many of them equal: squared distances are whole, and exact."""
    n, d, k = shape
    rng = np.random.default_rng(seed)
    X, centers = (rng.integers(-2, 3, (rows, d)).astype(dtype) + np.array(offset, dtype) for rows in (n, k))
    expected = all_squares(X, centers)
    found = two_nearest(X, centers)
    np.testing.assert_array_equal(nearest(X, centers)[1], expected.min(axis=1))
    np.testing.assert_array_equal(found.squared_distances, expected.min(axis=1))
    np.testing.assert_array_equal(found.squared_distances, expected[np.arange(n), found.labels])
    if k > 1:
        np.testing.assert_array_equal(found.second_squared_distances, np.sort(expected)[:, 1])
        assert (found.second_labels != found.labels).all()


@given(shapes, st.integers(0, 10**6), st.sampled_from(["f4", "f8"]))
@settings(max_examples=15, deadline=None)
def test_sums_against_adding_one_by_one(shape: tuple[int, int, int], seed: int, dtype: str) -> None:
    n, d, k = shape
    rng = np.random.default_rng(seed)
    X, labels = rng.normal(size=(n, d)).astype(dtype), rng.integers(0, k, n)
    for weight in (None, rng.choice([0.0, 0.25, 1.0, 9.0], n), 10.0 ** rng.integers(-60, 60, n)):
        each = np.ones(n) if weight is None else weight
        expected, counts, size = np.zeros((k, d)), np.zeros(k), np.zeros((k, d))
        np.add.at(expected, labels, each[:, None] * X)
        np.add.at(size, labels, np.abs(each[:, None] * X))
        np.add.at(counts, labels, each)
        found = cluster_sums(X, labels, k, weight)
        assert (abs(found[0] - expected) <= {"f4": 1e-5, "f8": 1e-12}[dtype] * size).all()
        np.testing.assert_allclose(found[1], counts, rtol=1e-12)
