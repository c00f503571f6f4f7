"""What a model gains that is trained on the sample: three tasks, many ways to choose, paired by seed.

The model in training was fitted on a few examples; its losses are those that can be asked. A sample of the
rest is chosen, a fresh model is fitted on that sample alone, and tested on examples that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from benchmarks.quality.methods import OURS, PAPER, PAPERS_SCHEME, STRATIFIED
from benchmarks.quality.peers import leverage
from benchmarks.quality.sets import FEW, flight_features, log_losses, mnist_images, shuttle_features
from stream_coreset import Coreset, select
from stream_coreset.kernels import nearest
from stream_coreset.sampling import draw

__all__ = ["RATES", "TASKS", "UNWEIGHTED", "Pool", "chosen", "gains", "mnist_embedding", "parts"]

RATES = (0.01, 0.02, 0.05, 0.1)
UNWEIGHTED, EVENER, LEVERAGE = "ours, weights dropped", "ours, floor .6", "leverage scores"

Floats = NDArray[np.float64]
Int = NDArray[np.int64]
Sample = tuple[Int, Floats]  # rows and weights


@dataclass(frozen=True)
class Pool:
    """Examples to choose from.

    Attributes
    ----------
    X : (n, d) float32
        Embeddings.
    losses : (n,) float64
        Of the model so far.
    score : callable
        How good a model is that was fitted on these rows with these weights; more is better.
    """

    X: NDArray[np.float32]
    losses: Floats
    score: Callable[[Int, Floats], float]


def mnist(seed: int) -> Pool:
    """Accuracy on 1,000 images of MNIST-5000; logistic regression on raw images, 300 of them so far."""
    images, labels = mnist_images()
    few, test, rest = parts(len(images), seed, 300, 1000, 3700)
    losses = log_losses(_logistic(images[few], labels[few], 0.1), images[rest], labels[rest])

    def score(rows: Int, weights: Floats) -> float:
        model = _logistic(images[rest[rows]], labels[rest[rows]], 0.1, weights)
        return float(model.score(images[test], labels[test]))

    return Pool(mnist_embedding()[rest], losses, score)


def shuttle(seed: int) -> Pool:
    """Balanced accuracy on 9,000 readings of the space shuttle; logistic regression, 400 readings so far."""
    X, labels = shuttle_features()
    few, test, rest = parts(len(X), seed, 400, 9000, 20_000)
    losses = log_losses(_logistic(X[few], labels[few], 1.0), X[rest], labels[rest])

    def score(rows: Int, weights: Floats) -> float:
        if len(np.unique(labels[rest[rows]])) < 2:
            return 0.5  # all the same is all that can be said
        model = _logistic(X[rest[rows]], labels[rest[rows]], 1.0, weights)
        return float(balanced_accuracy_score(labels[test], model.predict(X[test])))

    return Pool(X[rest].astype(np.float32), losses, score)


def late_flights(seed: int) -> Pool:
    """Area under the curve on 10,000 flights, late by over 30 minutes or not; 2,000 of them so far."""
    X, delays = flight_features()
    few, test, rest = parts(len(X), seed, 2000, 10_000, 20_000)
    late = delays > 30
    losses = log_losses(_logistic(X[few], late[few], 1.0), X[rest], late[rest])

    def score(rows: Int, weights: Floats) -> float:
        model = _logistic(X[rest[rows]], late[rest[rows]], 1.0, weights)
        return float(roc_auc_score(late[test], model.predict_proba(X[test])[:, 1]))

    return Pool(X[rest].astype(np.float32), losses, score)


def delays_of_flights(seed: int) -> Pool:
    """Minus the excess of squared error over that of a regression on all 20,000 flights, as a share of it."""
    X, delays = flight_features()
    few, rest = parts(len(X), seed, 2000, 20_000)
    losses = (Ridge().fit(X[few], delays[few]).predict(X[rest]) - delays[rest]) ** 2

    def error(rows: Int, weights: Floats) -> float:
        model = Ridge(1e-3).fit(X[rest[rows]], delays[rest[rows]], weights / weights.mean())
        return float(np.square(model.predict(X[rest]) - delays[rest]).mean())

    best = error(np.arange(len(rest)), np.ones(len(rest)))
    return Pool(X[rest].astype(np.float32), losses, lambda rows, weights: 1 - error(rows, weights) / best)


TASKS: dict[str, Callable[[int], Pool]] = {
    "MNIST-5000, accuracy": mnist,
    "Shuttle, balanced accuracy": shuttle,
    "late flights, area under the curve": late_flights,
    "delays of flights, minus excess error": delays_of_flights,
}


def chosen(pool: Pool, seed: int) -> Mapping[str, Callable[[float], Sample]]:
    """Every way to choose: from an expected size to rows and weights."""
    n, rng = len(pool.X), np.random.default_rng([seed, 1])
    ours, paper = _selected(pool, seed), _selected(pool, seed, **PAPERS_SCHEME)
    labels, _ = nearest(pool.X, ours.clusters.centers)
    by_cluster = np.lexsort((rng.random(n), labels))
    even = np.full(n, 1 / n)
    evener = replace(ours, scores=(ours.scores + even) / 2)  # a floor of .2 becomes one of .6

    def drawn(p: Floats, s: float, design: str, order: Int | None = None) -> Sample:
        rows, weights, _ = draw(p, s, design, order, rng)
        return rows, weights

    def unweighted(s: float) -> Sample:
        rows, weights = drawn(ours.scores, s, "pivotal", ours.order(s))
        return rows, np.full(len(weights), n / len(weights))

    return {
        "uniform": lambda s: drawn(even, s, "pivotal", rng.permutation(n)),
        STRATIFIED: lambda s: drawn(even, s, "pivotal", by_cluster),
        LEVERAGE: lambda s: drawn(leverage(pool.X), s, "iid"),
        PAPER: lambda s: drawn(paper.scores, s, "iid"),
        OURS: lambda s: drawn(ours.scores, s, "pivotal", ours.order(s)),
        EVENER: lambda s: drawn(evener.scores, s, "pivotal", evener.order(s)),
        UNWEIGHTED: unweighted,
    }


def gains(make: Callable[[int], Pool], seeds: int) -> dict[str, Floats]:
    """The score of every way to choose, (seeds, rates)."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        pool = make(seed)
        for name, choose in chosen(pool, seed).items():
            row = [pool.score(*choose(rate * len(pool.X))) for rate in RATES]
            found.setdefault(name, []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def _selected(pool: Pool, seed: int, **how: object) -> Coreset:
    k = 64 if len(pool.X) < FEW else 128
    return select(pool.X, lambda rows: pool.losses[rows], n_clusters=k, rate=RATES[0], seed=seed, **how)


@cache
def mnist_embedding() -> NDArray[np.float32]:
    return PCA(40, random_state=0).fit_transform(mnist_images()[0]).astype(np.float32)


def parts(n: int, seed: int, *sizes: int) -> list[Int]:
    """Disjoint random rows of these sizes."""
    rows = np.random.default_rng([seed, 0]).permutation(n)
    return np.split(rows[: sum(sizes)], np.cumsum(sizes)[:-1])


def _logistic(
    X: Floats, y: NDArray[np.generic], strength: float, weights: Floats | None = None
) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000).fit(X, y, weights)
