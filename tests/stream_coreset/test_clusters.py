"""Clusters: immutable, checked, with a digest; local copies for adapted centers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_coreset.clusters import Clusters, adapted, estimated_losses

NAN = float("nan")


def clusters_of(centers: Any, losses: Any, ages: Any = None, **changes: Any) -> Clusters:
    k = len(centers)
    values: dict[str, Any] = {
        "version": 3,
        "model_version": "7",
        "ids": np.arange(10, 10 + k),
        "generations": np.zeros(k),
        "centers": centers,
        "counts": np.ones(k),
        "losses": losses,
        "spreads": np.asarray(losses) * 2,
        "loss_ages": np.where(np.isnan(losses), NAN, 1.0) if ages is None else ages,
        "mean_square": 4.0,
        "holders": [0.5, 0.25],
    }
    return Clusters(**(values | changes))


@dataclass
class Fitted:
    """Adapted centers, as a fitted MiniBatchKMeans shows them."""

    cluster_centers_: Any
    ids_: Any

    def __post_init__(self) -> None:
        self.counts_ = np.full(len(self.ids_), 2.0)
        self.generations_ = np.zeros(len(self.ids_), dtype=np.int64)


LINE = clusters_of([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]], [1.0, 3.0, 9.0])


def test_arrays_are_copies_and_read_only() -> None:
    losses = np.array([1.0, 2.0])
    clusters = clusters_of(np.zeros((2, 3)), losses)
    losses[0] = 5.0
    assert clusters.losses.tolist() == [1.0, 2.0]
    for name in ("ids", "centers", "counts", "losses", "holders"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(clusters, name)[0] = 0


def test_types_are_those_of_the_contract() -> None:
    assert LINE.centers.dtype == np.float32
    assert LINE.ids.dtype == LINE.generations.dtype == np.int64
    assert LINE.counts.dtype == LINE.losses.dtype == LINE.loss_ages.dtype == np.float64
    assert (LINE.k, LINE.dimension) == (3, 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"centers": [1.0, 2.0, 3.0]}, r"centers: expected shape \(k, d\)"),
        ({"centers": [[1.0], [NAN], [3.0]]}, "centers: row 1 has a NaN"),
        ({"ids": [1, 2]}, r"ids: expected shape \(3,\), got \(2,\)"),
        ({"ids": [1, 2, 1]}, "ids: 1 comes twice"),
        ({"counts": [1.0, -1.0, 1.0]}, "counts: expected finite values of 0 or more"),
        ({"counts": [1.0, NAN, 1.0]}, "counts: expected finite values of 0 or more"),
        ({"losses": [1.0, -1.0, 1.0]}, "losses: expected finite values of 0 or more, or NaN"),
        ({"losses": [1.0, float("inf"), 1.0]}, "losses: expected finite"),
        ({"mean_square": -1.0}, "mean_square: expected finite"),
        ({"holders": [1.0]}, r"holders: expected shape \(2,\)"),
        ({"version": -1}, "version: expected 0 or more"),
    ],
)
def test_wrong_values_are_refused_with_their_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(LINE, **changes)


def test_equal_content_has_one_digest_and_any_change_another() -> None:
    same = replace(LINE, losses=np.array([1.0, 3.0, 9.0]))
    assert same == LINE
    assert hash(same) == hash(LINE)
    changes: list[dict[str, Any]] = [
        {"version": 4},
        {"model_version": "8"},
        {"ids": [10, 11, 13]},
        {"generations": [0, 0, 1]},
        {"centers": LINE.centers + np.float32(1e-6)},
        {"counts": [1, 1, 2]},
        {"losses": [1.0, 3.0, NAN]},
        {"spreads": [1.0, 3.0, NAN]},
        {"loss_ages": [1.0, 1.0, NAN]},
        {"mean_square": NAN},
        {"holders": [0.5, 0.0]},
    ]
    digests = {replace(LINE, **change).digest() for change in changes} | {LINE.digest()}
    assert len(digests) == len(changes) + 1


def test_digest_knows_one_nan_and_tells_shapes_apart() -> None:
    other_nan = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)[0]
    assert clusters_of([[1.0]], [NAN]) == clusters_of([[1.0]], [other_nan])
    assert Clusters.empty(3) != Clusters.empty(4)


def test_digest_is_stable_between_versions_of_the_program() -> None:
    # It is written into ledgers: a change of this value is a change of a published format.
    expected = "2d04650d699f1bfe3a1c753522fcc1d7a4050605807891195aeaffee68be2f39"
    assert LINE.digest() == expected


def test_known_means_asked() -> None:
    clusters = clusters_of(np.eye(3), [1.0, 2.0, NAN], ages=[0.0, NAN, NAN])
    assert clusters.known.tolist() == [True, False, False]


def test_adapted_centers_keep_what_was_asked_of_their_ancestors() -> None:
    local = adapted(LINE, Fitted([[21.0, 0.0], [1.0, 0.0]], [12, 10]))
    assert (local.version, local.model_version, local.k) == (3, "7", 2)
    assert local.losses.tolist() == [9.0, 1.0]
    assert local.spreads.tolist() == [18.0, 2.0]
    assert local.known.all()
    assert local.counts.tolist() == [2.0, 2.0]
    assert local.centers[:, 0].tolist() == [21.0, 1.0]


def test_a_center_just_placed_gets_the_estimate() -> None:
    # 2 away from the first: 1 + .5 * 2**2 = 3; 30 away from the last: capped at the largest known loss
    local = adapted(LINE, Fitted([[0.0, 2.0], [50.0, 0.0], [10.0, 0.0]], [98, 99, 11]))
    assert local.losses.tolist() == [3.0, 9.0, 3.0]
    assert local.spreads.tolist() == [2.0, 2.0, 6.0]
    assert local.known.tolist() == [False, False, True]


def test_the_exponent_of_the_estimate_is_z() -> None:
    local = adapted(LINE, Fitted([[0.0, 2.0]], [99]), z=1.0)
    assert local.losses.tolist() == [2.0]


def test_an_unknown_published_loss_is_estimated_too_from_known_ones_only() -> None:
    published = replace(LINE, losses=[NAN, 3.0, 9.0], spreads=[NAN, 1.0, 1.0], loss_ages=[NAN, 1.0, 1.0])
    local = adapted(published, Fitted(published.centers, published.ids))
    assert local.losses.tolist() == [9.0, 3.0, 9.0]  # 3 + .5 * 100, capped
    assert local.spreads.tolist() == [2.0, 1.0, 1.0]
    assert local.known.tolist() == [False, True, True]


def test_without_a_known_loss_all_stays_unknown() -> None:
    published = clusters_of(np.eye(2), [NAN, NAN], mean_square=NAN)
    local = adapted(published, Fitted(np.eye(2), [10, 99]))
    assert np.isnan(local.losses).all()
    assert np.isnan(local.spreads).all()
    with pytest.raises(ValueError, match="no loss is known"):
        estimated_losses(published, np.eye(2))


def test_adapting_again_changes_nothing() -> None:
    fitted = Fitted([[0.0, 2.0], [50.0, 0.0], [10.0, 0.0]], [98, 99, 11])
    once = adapted(LINE, fitted)
    assert adapted(once, fitted).losses.tolist() == once.losses.tolist()


def test_centers_without_clusters_are_a_copy_of_version_0() -> None:
    local = adapted(Clusters.empty(2), Fitted([[0.0, 2.0]], [-1]))
    assert (local.version, local.k) == (0, 1)
    assert np.isnan(local.losses).all()


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=6),
)
def test_estimates_lie_between_the_nearest_known_and_the_largest_loss(
    losses: list[float], points: list[tuple[float, float]]
) -> None:
    k = len(losses)
    clusters = clusters_of(np.column_stack([np.arange(k), np.zeros(k)]), losses)
    found = estimated_losses(clusters, np.array(points))
    assert (found <= max(losses)).all()
    assert (found >= min(losses)).all()
