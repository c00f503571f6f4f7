"""Streams of windows with a loss for every example: in time order, drifting, periodic, with a burst."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from benchmarks.quality.sets import DataSet, flight_features, log_losses, mixture, shuttle_features

__all__ = ["STREAMS", "drifting"]

Floats = NDArray[np.float64]
Windows = Iterator[DataSet]

CENTERS, DIMENSION = 40, 16


def drifting(
    size: int, count: int, seed: int = 0, *, abrupt: bool = True, period: int | None = None
) -> Windows:
    """Clusters that wander, grow and shrink, with losses of their own that fall as a model learns.

    Abrupt: at windows 6 and 11 five clusters jump elsewhere and get large losses, and all shares are
    permuted. With a period the means swing instead of wandering, and the losses rise and fall with them.
    """
    rng = np.random.default_rng(seed)
    means, step = rng.normal(0, 5, (CENTERS, DIMENSION)), rng.normal(0, 3, (CENTERS, DIMENSION))
    shares = np.arange(1, CENTERS + 1) ** -1.1
    base = np.exp(rng.normal(-1, 1.2, CENTERS))
    for window in range(count):
        phase = 0.0 if period is None else 2 * np.pi * window / period
        if period is None:
            means = means + 0.35 * rng.normal(size=means.shape)
        if abrupt and window in (6, 11):
            jump = rng.choice(CENTERS, 5, replace=False)
            means[jump], base[jump] = rng.normal(0, 8, (5, DIMENSION)), np.exp(rng.normal(1.2, 0.5, 5))
            shares = rng.permutation(shares)
        labels = rng.choice(CENTERS, size, p=shares / shares.sum())
        center = means + np.sin(phase) * step
        X = center[labels] + rng.normal(size=(size, DIMENSION))
        far = rng.random(size) < 0.01
        X[far] += 5 * rng.standard_t(2, (far.sum(), DIMENSION))
        away = np.linalg.norm(X - center[labels], axis=1)
        level = base * 0.97**window * (1 + 0.8 * np.sin(phase + np.arange(CENTERS)) * (period is not None))
        yield _window(X, level[labels] * (1 + 0.08 * away) + 0.03 * away)


def burst(size: int, count: int, seed: int = 0) -> Windows:
    """A mixture; in two windows in the middle a tenth of the examples are anomalies with large losses."""
    rng = np.random.default_rng(seed)
    whole = mixture(seed, n=size * count)
    for window in range(count):
        rows = slice(window * size, (window + 1) * size)
        X, losses = whole.X[rows].astype(np.float64), whole.losses[rows].copy()
        if window in (count // 2, count // 2 + 1):
            struck = rng.random(size) < 0.1
            X[struck] = rng.normal(25, 1, (struck.sum(), X.shape[1]))
            losses[struck] = rng.exponential(5, struck.sum())
        yield _window(X, losses)


def steady(size: int, count: int, seed: int = 0) -> Windows:
    """The mixture of the sets, window by window."""
    return _cut(mixture(seed, n=size * count), size, count)


def flights(size: int, count: int, seed: int = 0, *, squared: bool = False) -> Windows:
    """Flights in time order; the model was trained on 2,000 of them."""
    X, delays = flight_features()
    few = np.random.default_rng(seed).choice(len(X), 2000, replace=False)
    if squared:
        losses = (Ridge().fit(X[few], delays[few]).predict(X) - delays) ** 2
    else:
        model = LogisticRegression(max_iter=2000).fit(X[few], delays[few] > 30)
        losses = log_losses(model, X, delays > 30)
    return _cut(DataSet("", X.astype(np.float32), losses), size, count)


def shuttle(size: int, count: int, seed: int = 0) -> Windows:
    """Readings of a space shuttle in time order; the model was trained on 400 of them."""
    X, labels = shuttle_features()
    few = np.random.default_rng(seed).choice(len(X), 400, replace=False)
    model = LogisticRegression(max_iter=2000).fit(X[few], labels[few])
    return _cut(DataSet("", X.astype(np.float32), log_losses(model, X, labels)), size, count)


STREAMS: dict[str, Callable[[int, int], Windows]] = {
    "mixture": steady,
    "flights, log-loss": flights,
    "flights, squared error": lambda size, count: flights(size, count, squared=True),
    "Shuttle": shuttle,
    "drifting and abrupt": drifting,
    "periodic": lambda size, count: drifting(size, count, abrupt=False, period=8),
    "burst of anomalies": burst,
}


def _cut(data: DataSet, size: int, count: int) -> Windows:
    whole = min(count, len(data.X) // size)
    for start in range(0, whole * size, size):
        yield _window(data.X[start : start + size], data.losses[start : start + size])


def _window(X: NDArray[np.floating], losses: Floats) -> DataSet:
    return DataSet("", X.astype(np.float32), losses)
