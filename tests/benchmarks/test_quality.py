"""The yardstick itself: the sets, the columns, the table."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.chance import CHANCE, chance_set
from benchmarks.quality.methods import COLUMNS, OURS, WITHOUT, Figure, measure
from benchmarks.quality.sets import SEVEN, DataSet, log_losses, mixture
from benchmarks.quality.table import cells, geometric


@pytest.mark.parametrize("name", ["mixture", "digits", "Shuttle"])
def test_sets_repeat_themselves(name: str) -> None:
    data, again = SEVEN[name](), SEVEN[name].__wrapped__()
    assert np.array_equal(data.X, again.X)
    assert np.array_equal(data.losses, again.losses)
    assert np.isfinite(data.X).all()
    assert (data.losses >= 0).all()
    assert data.n_clusters == (64 if len(data.X) < 6000 else 128)


def test_noise_strikes_two_percent_and_nothing_else() -> None:
    plain, noisy = mixture(3, n=5000), mixture(3, n=5000, noise=True)
    struck = noisy.losses != plain.losses
    assert 0.01 < struck.mean() < 0.03
    assert np.array_equal(plain.X, noisy.X)


def test_a_class_never_seen_has_the_smallest_probability() -> None:
    from sklearn.linear_model import LogisticRegression

    X = np.array([[0.0], [1.0], [2.0]])
    model = LogisticRegression().fit(X, [0, 2, 2])
    losses = log_losses(model, X, np.array([0, 1, 3]))
    assert losses[1:] == pytest.approx(-np.log(1e-6))
    assert losses[0] < 1


def test_a_cell_is_the_root_of_the_mean_variance() -> None:
    figures = [{"a": Figure(9, (0.25, 1.0))}, {"a": Figure(11, (0.75, 1.0))}]
    cell = cells(figures)["a"]
    assert cell.queries == 10
    assert cell.ratios == pytest.approx((0.5**0.5, 1.0))
    assert cell.errors[0] == pytest.approx(np.std([0.25, 0.75], ddof=1) / 2**0.5 / (2 * 0.5**0.5))
    assert cell.upper(1) == 1.0
    assert cell.worst == pytest.approx((0.75**0.5, 1.0))


@pytest.mark.parametrize("name", CHANCE)
def test_few_losses_are_more_than_half_of_the_total(name: str) -> None:
    data = chance_set(name, 16)
    largest = np.sort(data.losses)[::-1]
    assert largest[: len(largest) // 25].sum() > 0.5 * largest.sum()
    assert data.n_clusters == 16


def test_geometric_means_of_columns_and_of_their_ratio() -> None:
    def row(a: float, b: float) -> dict[str, object]:
        return cells([{"a": Figure(0, (a**2, a**2)), "b": Figure(0, (b**2, b**2))}])

    table = {"one": row(0.5, 1.0), "two": row(2.0, 4.0)}
    assert geometric(table, "a") == pytest.approx([1.0, 1.0])
    assert geometric(table, "a", "b") == pytest.approx([0.5, 0.5])


def test_every_column_is_measured(foreseen: DataSet) -> None:
    found = measure(foreseen, seed=0)
    assert list(found) == list(COLUMNS)
    assert found["uniform"].variances == (1.0, 1.0)
    assert found[OURS].queries == found[WITHOUT].queries > 300
    assert all(0 < v < 0.5 for v in found[OURS].variances)


@pytest.fixture(scope="module")
def foreseen() -> DataSet:
    """Losses that the embedding determines."""
    X = np.random.default_rng(9).normal(size=(2000, 2)).astype(np.float32)
    return DataSet("foreseen", X, np.exp(2 * np.sin(X[:, 0])).astype(np.float64))
