"""Peers choose what they should, and their weights stand for everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.quality import peers
from benchmarks.quality.peers import FORMULAS, k_center, leverage, low_rank_residual, measure_peers
from benchmarks.quality.sets import DataSet

X = np.random.default_rng(3).normal(size=(400, 6)).astype(np.float32)


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=list(FORMULAS))
def test_a_formula_gives_probabilities(formula: Callable[[np.ndarray], np.ndarray]) -> None:
    p = formula(X)
    assert p.sum() == pytest.approx(1)
    assert (p > 0).all()


def test_leverage_is_the_diagonal_of_the_hat_matrix() -> None:
    design = np.column_stack([np.ones(len(X)), X])
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    np.testing.assert_allclose(leverage(X), np.diag(hat) / 7, rtol=1e-5)


def test_the_residual_of_what_lies_in_a_plane_is_zero() -> None:
    flat = X.copy()
    flat[:, 3:] = 0.0  # of six dimensions three are kept
    flat[7] = [0, 0, 0, 1, 0, 0]
    p = low_rank_residual(flat)
    assert p[7] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.delete(p, 7), 0.5 / 400, rtol=0.05)


def test_k_center_goes_where_it_is_farthest() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0], [-4.0]], np.float32)
    rows, weights = k_center(line, 3)
    assert rows.tolist() == [2, 3, 4]  # 2 is nearest to the mean, 1.8
    assert weights.tolist() == [3.0, 1.0, 1.0]
    rows, weights = k_center(X, 50)
    assert len(set(rows.tolist())) == 50
    assert weights.sum() == 400


def test_every_peer_is_measured_and_a_missing_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(X: np.ndarray, s: int) -> tuple[np.ndarray, np.ndarray]:
        raise ModuleNotFoundError("", name="coreax")

    monkeypatch.setattr(peers, "LIBRARIES", {"k-center": k_center, "gone": missing})
    found = measure_peers(DataSet("", X, np.abs(X[:, 0]).astype(np.float64)))
    assert list(found) == [*FORMULAS, "k-center"]
    assert all(figure.queries == 0 and min(figure.variances) > 0 for figure in found.values())
    assert "gone: left out, coreax is not installed" in capsys.readouterr().out
