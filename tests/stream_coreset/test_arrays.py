from __future__ import annotations

import numpy as np
import pytest

from stream_coreset import arrays
from stream_coreset.arrays import (
    LARGEST_VALUE,
    Device,
    check_losses,
    check_points,
    check_weights,
    namespace,
    random_stream,
    resolve_device,
    to_host,
    usable_rows,
)


def test_dtypes_are_kept_or_widened() -> None:
    for given, kept in [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("?", "f8")]:
        assert check_points(np.ones((2, 3), given)).dtype == np.dtype(kept)


def test_good_points_are_not_copied() -> None:
    X = np.ones((4, 2), np.float32)
    assert check_points(X) is X
    assert check_points(np.asfortranarray(np.ones((4, 3)))).flags.c_contiguous


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * LARGEST_VALUE, -2 * LARGEST_VALUE])
def test_the_first_bad_row_is_named(bad: float) -> None:
    X = np.zeros((9, 2), np.float32)
    X[5, 1] = X[7, 0] = bad
    with pytest.raises(ValueError, match=r"points .* row 5: remove"):
        check_points(X, "points")
    assert np.flatnonzero(~usable_rows(X)).tolist() == [5, 7]


def test_squares_of_the_largest_values_stay_finite() -> None:
    X = np.full((2, 4096), LARGEST_VALUE, np.float32)
    X[0] *= -1
    assert np.isfinite(((X[0] - X[1]) ** 2).sum() * np.float32(8192))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3), "X has 1 dimensions"),
        (np.zeros((0, 3)), "X is empty"),
        (np.zeros((3, 0)), "X is empty"),
        (np.zeros((3, 2)), "X has 2 features, expected 4"),
        ([["a"]], "X does not hold real numbers"),
        ([[1.0], [1.0, 2.0]], "X does not hold real numbers"),
        (np.zeros((2, 4), complex), "X does not hold real numbers"),
    ],
)
def test_shapes_and_kinds_are_checked(X: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_points(X, n_features=4)


def test_weights_and_losses() -> None:
    assert check_weights(None, 3).tolist() == [1, 1, 1]
    assert check_weights([0, 1, 2.5], 3).dtype == np.float64
    with pytest.raises(ValueError, match=r"sample_weight is -1.0 in row 1"):
        check_weights([0, -1, np.nan], 3)
    with pytest.raises(ValueError, match=r"loss is nan in row 0"):
        check_losses([np.nan, -1], 2)
    with pytest.raises(ValueError, match=r"loss has shape \(2,\), expected \(3,\)"):
        check_losses([1, 2], 3)


def test_streams_repeat_and_differ_by_every_part_of_their_name() -> None:
    names = [
        (0,),
        (0, "a"),
        (0, "a", "bc"),
        (0, "ab", "c"),
        (0, "a", 1),
        (0, "a", "1"),
        (1, "a"),
        (b"0", "a"),
        ("0", "a"),
    ]
    first = [random_stream(*name).random() for name in names]
    assert first == [random_stream(*name).random() for name in names]
    assert len(set(first)) == len(names)


def test_devices() -> None:
    with pytest.raises(ValueError, match="choose cpu, cuda or auto"):
        resolve_device("gpu")
    assert resolve_device("cpu") == Device("cpu")
    assert resolve_device("auto").name in ("cpu", "cuda")
    X = np.ones((2, 2))
    assert Device("cpu").put(X) is X
    assert Device("cpu").xp is np is namespace(X, [1])


def test_cuda_that_is_not_there_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_why_no_cuda", lambda: "this machine has no CUDA device")
    with pytest.raises(
        RuntimeError, match="device cuda cannot be used: this machine has no CUDA device; choose"
    ):
        resolve_device("cuda")
    assert resolve_device("auto").name == "cpu"


def test_to_host_leaves_numpy_alone() -> None:
    X = np.ones(3)
    assert to_host(X) is X
