"""The experiment of the paper: a uniform fifth first, the rest by sensitivity; beside active learning.

A network of 128 hidden units learns from the first fifth of the budget. The rest is chosen by its losses, or,
as active learners do, by where it is least certain, and a fresh network learns from all that was chosen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.quality.methods import OURS, PAPER, PAPERS_SCHEME
from benchmarks.quality.sets import mnist_images
from benchmarks.quality.training import RATES, mnist_embedding, parts
from stream_coreset import select

__all__ = ["ACTIVE", "active_scores"]

Floats = NDArray[np.float64]
Int = NDArray[np.int64]

ACTIVE = "MNIST-5000, accuracy of a network; a uniform fifth first"
_FIRST = 0.2
_TEST = 1_000
_SMALLEST = 1e-6


@dataclass(frozen=True)
class _Begun:
    """After the first fifth: who was taken, what is left, and what the network says of these."""

    first: Int
    rest: Int
    chances: Floats
    losses: Floats

    @property
    def n(self) -> int:
        return len(self.first) + len(self.rest)


def active_scores(seeds: int) -> dict[str, Floats]:
    """The accuracy of every way to choose, (seeds, rates)."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for name, row in _accuracies(seed).items():
            found.setdefault(name, []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def _accuracies(seed: int) -> dict[str, list[float]]:
    images, labels = mnist_images()
    test, pool = parts(len(images), seed, _TEST, len(images) - _TEST)
    found: dict[str, list[float]] = {}
    for rate in RATES:
        budget = round(rate * len(pool))
        begun = _begin(images[pool], labels[pool], round(_FIRST * budget), seed)
        for name, choose in _CHOICES.items():
            rows, weights = choose(begun, mnist_embedding()[pool], budget - len(begun.first), seed)
            taken = pool[np.concatenate([begun.first, begun.rest[rows]])]
            network = _network(images[taken], labels[taken], _joined(begun, weights), seed)
            found.setdefault(name, []).append(float(network.score(images[test], labels[test])))
    return found


def _begin(images: Floats, labels: Int, size: int, seed: int) -> _Begun:
    order = np.random.default_rng([seed, size]).permutation(len(images))
    first, rest = order[:size], order[size:]
    network = _network(images[first], labels[first], np.ones(size), seed)
    chances = np.zeros((len(rest), 10))
    chances[:, network.classes_] = network.predict_proba(images[rest])
    losses = -np.log(np.maximum(chances[np.arange(len(rest)), labels[rest]], _SMALLEST))
    return _Begun(first, rest, chances, losses)


def _network(images: Floats, labels: Int, weights: Floats, seed: int) -> MLPClassifier:
    network = MLPClassifier((128,), random_state=seed, max_iter=80, learning_rate_init=3e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(images, labels, weights / weights.mean())


def _joined(begun: _Begun, weights: Floats) -> Floats:
    """Both parts estimate the total loss without bias, and so does this average; equal weights stay equal."""
    m = len(begun.first)
    if (weights == 1).all():
        return np.ones(m + len(weights))
    share = m / (m + len(weights))
    own = np.full(m, share * begun.n / m + (1 - share))
    return np.concatenate([own, (1 - share) * weights])


def _selected(
    begun: _Begun, X: NDArray[np.float32], size: int, seed: int, **how: object
) -> tuple[Int, Floats]:
    found = select(X[begun.rest], lambda rows: begun.losses[rows], n_clusters=64, size=size, seed=seed, **how)
    return found.indices, found.weights


def _uniform(begun: _Begun, X: NDArray[np.float32], size: int, seed: int) -> tuple[Int, Floats]:
    rows = np.random.default_rng([seed, size, 1]).permutation(len(begun.rest))[:size]
    return rows, np.full(size, len(begun.rest) / size)


def _top(doubt: Floats, size: int) -> tuple[Int, Floats]:
    """The most doubtful, all alike: what active learning does, which estimates nothing."""
    return np.argsort(-doubt, kind="stable")[:size], np.ones(size)


def _margin(begun: _Begun, X: NDArray[np.float32], size: int, seed: int) -> tuple[Int, Floats]:
    two = np.sort(begun.chances, axis=1)[:, -2:]
    return _top(two[:, 0] - two[:, 1], size)


def _entropy(begun: _Begun, X: NDArray[np.float32], size: int, seed: int) -> tuple[Int, Floats]:
    return _top(-(begun.chances * np.log(np.maximum(begun.chances, _SMALLEST))).sum(axis=1), size)


Choice = Callable[[_Begun, NDArray[np.float32], int, int], tuple[Int, Floats]]

_CHOICES: dict[str, Choice] = {
    "uniform": _uniform,
    "margin": _margin,
    "entropy": _entropy,
    PAPER: lambda begun, X, size, seed: _selected(begun, X, size, seed, **PAPERS_SCHEME),
    OURS: _selected,
}
