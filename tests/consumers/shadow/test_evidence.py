"""What the losses that came are made into: several versions, examples that are not uniform, rates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from consumers.shadow.evidence import Evidence, ScoredWindow
from stream_coreset.clusters import Clusters
from stream_coreset.sampling import draw

N = 1_000


def scored(name: str, seed: int) -> tuple[ScoredWindow, NDArray[np.float64]]:
    """A window whose p follows the losses but for noise."""
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=N) ** 2
    p = losses * rng.lognormal(0, 0.3, N)
    p = 0.8 * p / p.sum() + 0.2 / N
    X = rng.normal(size=(N, 2)).astype(np.float32)
    return ScoredWindow(name, True, X, np.ones(N), p, 50.0, None), losses


def clusters() -> Clusters:
    centers = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    return Clusters(
        version=1,
        model_version="",
        ids=np.arange(8),
        generations=np.zeros(8, np.int64),
        centers=centers,
        counts=np.ones(8),
        losses=np.full(8, np.nan),
        spreads=np.full(8, np.nan),
        loss_ages=np.full(8, np.nan),
        mean_square=float("nan"),
        holders=np.zeros(2),
    )


def gathered(scale: float, version: str) -> Evidence:
    """Ten windows, the second half under another version of the model, whose losses have another scale."""
    evidence = Evidence("pivotal", 2.0)
    for seed in range(10):
        window, losses = scored(f"e/0/{seed}", seed)
        rows = np.random.default_rng(seed).choice(N, 200, replace=False)
        late = seed >= 5
        evidence.add(window, rows, losses[rows] * (scale if late else 1.0), version if late else "1")
    return evidence


def test_the_scale_of_a_model_version_does_not_matter() -> None:
    plain, scaled = gathered(1.0, "2"), gathered(1_000.0, "2")
    assert (plain.windows, plain.versions, len(plain)) == (10, 2, 2_000)
    one, other = (each.compare(clusters())[0] for each in (plain, scaled))
    assert one.ours.ratio == pytest.approx(other.ours.ratio)
    assert one.ours.interval[1] < 0.7
    assert one.rate == pytest.approx(0.05)


def test_uniform_examples_are_told_from_those_that_were_drawn() -> None:
    uniform, drawn = gathered(1.0, "1"), Evidence("pivotal", 2.0)
    for seed in range(10):
        window, losses = scored(f"e/0/{seed}", seed)
        rows, _, _ = draw(window.scores, 200.0, rng=seed)
        drawn.add(window, rows, losses[rows], "1")
    assert not uniform.preferred()
    assert drawn.preferred()
    assert not Evidence("pivotal", 2.0).preferred()


def test_what_the_rate_of_the_windows_says_already_is_not_said_twice() -> None:
    rates = [one.rate for one in gathered(1.0, "1").compare(clusters())]
    assert rates == pytest.approx([0.05, 0.01, 0.02, 0.1])


def test_nothing_known_compares_nothing() -> None:
    evidence = Evidence("pivotal", 2.0)
    evidence.add(scored("e/0/0", 0)[0], np.zeros(0, np.int64), np.zeros(0), "1")
    assert evidence.compare(clusters()) == []
    assert len(evidence) == evidence.windows == evidence.versions == 0
