"""The loss book: what is due, what replaces what, and how model versions meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_coreset.clusters import Clusters
from stream_coreset.losses import LossBook, holder_constants, spread


def asked(book: LossBook, center_id: int, loss: float = 1.0, version: str = "1", **more: object) -> None:
    given_values: dict = {"generation": 0, "member_losses": [], "now": 0.0} | more
    book.record(
        center_id, given_values["generation"], loss, given_values["member_losses"],
        model_version=version, now=given_values["now"],
    )  # fmt: skip


def table(book: LossBook, ids: list[int], now: float = 0.0):
    return book.table(ids, np.ones(len(ids)), np.arange(len(ids), dtype=float)[:, None], now)


def test_due_orders_never_asked_moved_other_version_oldest():
    book = LossBook(probes=1)
    for center_id, version, now in [
        (1, "b", 5.0),
        (2, "b", 3.0),
        (3, "a", 9.0),
        (4, "b", 100.0),
        (5, "b", 50.0),
    ]:
        asked(book, center_id, version=version, now=now)
    asked(book, 6, version="b", now=100.0)
    due = book.due([1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 1, 0, 0], budget_queries=99, now=101.0, max_age=60.0)
    assert due == [7, 5, 3, 2, 1]


def test_due_never_exceeds_the_budget():
    book = LossBook(probes=9)
    ids = list(range(20))
    assert book.due(ids, [0] * 20, budget_queries=26, now=0.0, max_age=1.0) == [0, 1]
    assert book.due(ids, [0] * 20, budget_queries=8, now=0.0, max_age=1.0) == []
    assert book.due(ids, [0] * 20, budget_queries=-5, now=0.0, max_age=1.0) == []


def test_due_hears_of_a_new_model_before_any_answer():
    book = LossBook(probes=1)
    asked(book, 1, version="a")
    assert book.due([1], [0], budget_queries=1, now=0.0, max_age=9.0) == []
    assert book.due([1], [0], budget_queries=1, now=0.0, max_age=9.0, model_version="b") == [1]


def test_table_shrinks_spreads_toward_the_mass_weighted_mean_square():
    book = LossBook(probes=5)
    asked(book, 1, loss=1.0, member_losses=[1.0, 2.0, 3.0, 4.0], now=10.0)
    asked(book, 2, loss=5.0, member_losses=[2.0], now=20.0)
    found = book.table([1, 2, 3], [3.0, 1.0, 9.0], [[0.0], [2.0], [5.0]], now=30.0)
    mean_square = (3 * 7.5 + 1 * 4.0) / 4
    assert found.mean_square == pytest.approx(mean_square)
    expected = [np.sqrt((30 + 2 * mean_square) / 6), np.sqrt((4 + 2 * mean_square) / 3), np.nan]
    np.testing.assert_allclose(found.spreads, expected)
    np.testing.assert_allclose(found.losses, [1.0, 5.0, np.nan])
    np.testing.assert_allclose(found.ages, [20.0, 10.0, np.nan])
    np.testing.assert_allclose(found.holders, [4.0 / 4.0, abs(expected[0] - expected[1]) / 4.0])


def test_a_book_without_answers_knows_nothing():
    found = table(LossBook(), [1, 2])
    assert np.isnan(found.losses).all()
    assert np.isnan(found.mean_square)
    assert found.holders.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("ratio", "factor"), [(3.0, 3.0), (0.01, 0.1), (40.0, 10.0)])
def test_older_versions_are_rescaled_by_the_centers_asked_under_both(ratio: float, factor: float):
    book = LossBook(probes=3)
    for center_id in range(8):
        asked(book, center_id, loss=1.0 + center_id, version="a", member_losses=[2.0, 2.0])
    for center_id in range(5):
        asked(book, center_id, loss=ratio * (1.0 + center_id), version="b")
    found = table(book, list(range(8)))
    np.testing.assert_allclose(found.losses[:5], ratio * np.arange(1.0, 6.0))
    np.testing.assert_allclose(found.losses[5:], factor * np.arange(6.0, 9.0))
    lone = spread([2.0 * factor] * 2, found.mean_square)
    np.testing.assert_allclose(found.spreads[5:], lone)


def test_below_five_such_centers_the_factor_is_one():
    book = LossBook(probes=1)
    for center_id in range(8):
        asked(book, center_id, loss=1.0, version="a")
    for center_id in range(4):
        asked(book, center_id, loss=7.0, version="b")
    assert table(book, list(range(8))).losses.tolist() == [7.0] * 4 + [1.0] * 4
    asked(book, 4, loss=7.0, version="b")
    assert table(book, list(range(8))).losses.tolist() == [7.0] * 8


def test_rescaling_never_compounds():
    """Each loss keeps its own version, so a third version compares with the first directly."""
    book = LossBook(probes=1)
    for version, scale, some in [("a", 1.0, range(12)), ("b", 2.0, range(6)), ("c", 4.0, range(6))]:
        for center_id in some:
            asked(book, center_id, loss=scale, version=version)
        table(book, list(range(12)))
    assert table(book, list(range(12))).losses.tolist() == [4.0] * 12


@pytest.mark.parametrize(("old", "new", "factor"), [(0.0, 0.0, 1.0), (0.0, 1.0, 10.0), (1.0, 0.0, 0.1)])
def test_losses_of_zero_under_one_version(old: float, new: float, factor: float):
    book = LossBook(probes=2)
    for center_id in range(5):
        asked(book, center_id, loss=old, version="a")
    asked(book, 9, loss=3.0, version="a")
    for center_id in range(5):
        asked(book, center_id, loss=new, version="b")
    assert table(book, [9]).losses == pytest.approx([3.0 * factor])


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 1e200])
def test_a_bad_loss_is_refused_and_changes_nothing(bad: float):
    book = LossBook(probes=2)
    with pytest.raises(ValueError, match="center 4"):
        asked(book, 4, loss=bad)
    with pytest.raises(ValueError, match="center 4"):
        asked(book, 4, member_losses=[bad])
    assert len(book) == 0


def test_more_members_than_probes_are_refused():
    with pytest.raises(ValueError, match="pass at most probes - 1 = 1"):
        asked(LossBook(probes=2), 4, member_losses=[1.0, 2.0])
    with pytest.raises(ValueError, match="probes is 0"):
        LossBook(probes=0)


def test_restore_takes_up_what_was_published():
    book = LossBook(probes=3)
    for center_id in range(6):
        asked(book, center_id, loss=1.0 + center_id, member_losses=[center_id, 3.0], now=4.0, version="v")
    ids, centers = list(range(7)), np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    before = book.table(ids, np.arange(7.0), centers, now=10.0)
    published = Clusters(
        3, "v", np.arange(7), np.zeros(7, int), centers, np.arange(7.0),
        before.losses, before.spreads, before.ages, before.mean_square, before.holders,
    )  # fmt: skip
    again = LossBook(probes=3)
    again.restore(published, now=1000.0)
    after = again.table(ids, np.arange(7.0), centers, now=1000.0)
    for name in ("losses", "spreads", "ages", "mean_square", "holders"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), err_msg=name)
    assert again.due(ids, [0] * 7, budget_queries=99, now=1000.0, max_age=60.0) == [6]


def test_restore_from_nothing_and_forget():
    book = LossBook()
    asked(book, 1)
    asked(book, 2)
    book.forget([2, 3])
    assert len(book) == 1
    book.restore(Clusters.empty(4), now=0.0)
    assert len(book) == 0


def direct_holder(centers: np.ndarray, values: np.ndarray, z: float) -> float:
    slopes = []
    for i in range(len(centers)):
        distances = np.sqrt(((centers - centers[i]) ** 2).sum(1))
        others = [j for j in np.argsort(distances, kind="stable") if j != i][:5]
        slopes += [abs(values[i] - values[j]) / distances[j] ** z for j in others if distances[j] > 0]
    return float(np.quantile(slopes, 0.9)) if slopes else 0.0


@given(st.integers(0, 2**32), st.integers(2, 40), st.sampled_from([1.0, 2.0]))
def test_holder_constants_equal_the_definition(seed: int, k: int, z: float):
    rng = np.random.default_rng(seed)
    centers, values = rng.normal(size=(k, 3)), rng.exponential(size=k)
    assert holder_constants(centers, values, z) == pytest.approx(direct_holder(centers, values, z))


def test_holder_constants_leave_out_unknown_values_and_pairs_at_distance_zero():
    centers = np.array([[0.0], [0.0], [1.0], [50.0]])
    assert holder_constants(centers, [1.0, 9.0, np.nan, np.nan]) == 0.0
    assert holder_constants(centers, [1.0, np.nan, 3.0, np.nan]) == pytest.approx(2.0)
    assert holder_constants(centers, [np.nan] * 4) == 0.0
    assert holder_constants([[0.0], [1e-200]], [1.0, 2.0]) == 0.0


def test_holder_constants_survive_a_large_offset():
    rng = np.random.default_rng(3)
    centers, values = rng.normal(size=(300, 4)), rng.exponential(size=300)
    assert holder_constants(centers + 1e8, values) == pytest.approx(
        holder_constants(centers, values), rel=1e-4
    )


def test_spread_of_one_member():
    assert spread([4.0], 1.0) == pytest.approx(np.sqrt(18.0 / 3.0))
