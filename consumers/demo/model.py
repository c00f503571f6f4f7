"""The demo's model: weighted logistic regression, refitted every few windows on all it has had so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consumers.demo.data import Events

__all__ = ["Learner", "LinearModel", "fit"]

Floats = NDArray[np.float64]

CLIP = 1e-6  # of probabilities, so that a single loss is at most 13.8


@dataclass(frozen=True)
class LinearModel:
    """Logistic regression that has been fitted.

    Examples
    --------
    >>> model = LinearModel(np.array([1.0]), 0.0)
    >>> model.losses(Events(np.zeros((2, 1), np.float32), np.array([0, 1])))
    array([0.69314718, 0.69314718])
    """

    coefficients: Floats
    intercept: float

    def scores(self, embeddings: NDArray[np.float32]) -> Floats:
        """Log-odds of an anomaly, (n,)."""
        return np.asarray(embeddings, np.float64) @ self.coefficients + self.intercept

    def predict(self, embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
        """1 where an anomaly is more likely than not."""
        return (self.scores(embeddings) > 0).astype(np.int64)

    def losses(self, events: Events) -> Floats:
        """Log-loss of each event, (n,), its probability clipped at 1e-6."""
        signed = np.where(events.labels == 1, 1.0, -1.0) * self.scores(events.embeddings)
        return np.asarray(-np.log(np.clip(np.exp(-np.logaddexp(0.0, -signed)), CLIP, 1 - CLIP)))


def fit(events: Events, weights: Floats) -> LinearModel | None:
    """Fit by weighted maximum likelihood, hardly regularised; None where there is only one class yet."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - an extra, needed only here

    if len(np.unique(events.labels)) < 2:
        return None
    fitted = LogisticRegression(C=10.0, max_iter=1_000).fit(
        np.asarray(events.embeddings, np.float64), events.labels, weights / weights.mean()
    )
    return LinearModel(fitted.coef_[0], float(fitted.intercept_[0]))


class Learner:
    """Collects weighted events and refits on all of them after every few windows.

    Parameters
    ----------
    refit_windows : int
        Windows from one fit to the next; until the first fit succeeds it is tried after every window.
    """

    def __init__(self, refit_windows: int = 2) -> None:
        self.model: LinearModel | None = None
        self._every, self._since = refit_windows, 0
        self._parts: list[tuple[Events, Floats]] = []

    def learn(self, events: Events, weights: Floats) -> bool:
        """Take the sample of one more window; returns whether there is a new model."""
        if len(events):
            self._parts.append((events, weights))
        self._since += 1
        if not self._parts or (self.model is not None and self._since < self._every):
            return False
        self._since = 0
        return self._refit()

    def _refit(self) -> bool:
        embeddings = np.concatenate([events.embeddings for events, _ in self._parts])
        labels = np.concatenate([events.labels for events, _ in self._parts])
        model = fit(Events(embeddings, labels), np.concatenate([weights for _, weights in self._parts]))
        self.model = model or self.model
        return model is not None
