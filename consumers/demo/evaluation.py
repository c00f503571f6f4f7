"""What the demo measures: three learners side by side, and the error of the estimated losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from consumers.demo.data import Events
from consumers.demo.model import Floats, Learner, LinearModel
from stream_coreset.estimates import horvitz_thompson, uniform_variance

__all__ = ["Contest", "History", "Recall", "Window", "loss_error_ratio"]

Side = Literal["coreset", "uniform", "full"]


@dataclass(frozen=True)
class Window:
    """One window of the stream, as the ledger and the coreset topic have it.

    Attributes
    ----------
    events : Events
        All of its n events.
    sampled : Events
        The m that were emitted, as they came back from the coreset topic.
    weights : (m,) float64
    expected_size : float
        s, the expectation of m.
    clusters_version : int
        0 while there were no clusters yet.
    closed_ms : int
        When it closed, in milliseconds since 1970.
    """

    events: Events
    sampled: Events
    weights: Floats
    expected_size: float
    clusters_version: int
    closed_ms: int


@dataclass
class Recall:
    """Balanced accuracy, counted up: the mean over classes of the share that was recognised."""

    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def count(self, labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        """Add some predictions."""
        self.seen += np.bincount(labels, minlength=2)
        self.right += np.bincount(labels[labels == predicted], minlength=2)

    @property
    def value(self) -> float:
        """NaN while a class has not been seen."""
        return float((self.right / self.seen).mean()) if self.seen.all() else math.nan


class Contest:
    """Learners from the coreset, from a uniform sample of the same size and from everything, side by side.

    Each predicts a window with the model that it had before, then learns it. A window is scored when all
    three have a model, so that it is the same windows for all of them.

    Parameters
    ----------
    seed : int
        Of the uniform samples.
    refit_windows : int
        Windows from one fit to the next, the same for all three.
    """

    def __init__(self, seed: int, refit_windows: int = 2) -> None:
        self.learners: dict[Side, Learner] = {
            "coreset": Learner(refit_windows),
            "uniform": Learner(refit_windows),
            "full": Learner(refit_windows),
        }
        self.recalls: dict[Side, Recall] = {side: Recall() for side in self.learners}
        self._rng = np.random.default_rng(seed)

    def coreset(self, window: Window) -> LinearModel | None:
        """Test all three on a window, then train the coreset's; returns its new model if there is one."""
        self._test(window.events)
        learner = self.learners["coreset"]
        return learner.model if learner.learn(window.sampled, window.weights) else None

    def twins(self, window: Window) -> None:
        """Train the other two on the same window; apart, so that the new model is served at once."""
        self.learners["uniform"].learn(*self._uniform(window))
        self.learners["full"].learn(window.events, np.ones(len(window.events)))

    def _test(self, events: Events) -> None:
        models = {side: learner.model for side, learner in self.learners.items()}
        for side, model in models.items():
            if model is not None and all(models.values()):
                self.recalls[side].count(events.labels, model.predict(events.embeddings))

    def balanced_accuracy(self) -> Mapping[str, float]:
        """Of each learner, over all windows so far."""
        return {side: recall.value for side, recall in self.recalls.items()}

    def _uniform(self, window: Window) -> tuple[Events, Floats]:
        n, m = len(window.events), len(window.sampled)
        chosen = np.sort(self._rng.choice(n, min(n, m), replace=False))
        events = Events(window.events.embeddings[chosen], window.events.labels[chosen])
        return events, np.full(len(chosen), n / max(1, m))


class History:
    """Which model was served from when on."""

    def __init__(self) -> None:
        self._served: list[tuple[int, LinearModel]] = []

    def __len__(self) -> int:
        return len(self._served)

    def add(self, model: LinearModel, served_ms: int) -> None:
        """Note a model that is served from `served_ms` (milliseconds since 1970) on."""
        self._served.append((served_ms, model))

    def at(self, moment_ms: int) -> LinearModel | None:
        """Return the model that was served at that moment."""
        served = [model for since, model in self._served if since <= moment_ms]
        return served[-1] if served else None


def loss_error_ratio(windows: Iterable[Window], history: History) -> float:
    """Error of the estimated total loss, relative to that of a uniform sample of the same size.

    The square root of (sum over windows of the squared error of the Horvitz-Thompson estimate) over (sum of
    the exact variances of uniform sampling). Each loss is under the model that was served when the window
    was drawn, which had not seen it; windows without clusters or without a model are left out.

    Returns
    -------
    float
        NaN where no window counts.
    """
    squares, variances = [0.0], [0.0]
    for window, model in _judged(windows, history):
        losses = model.losses(window.events)
        error = horvitz_thompson(model.losses(window.sampled), window.weights) - losses.sum()
        squares.append(error**2)
        variances.append(uniform_variance(losses, window.expected_size))
    total = math.fsum(variances)
    return math.sqrt(math.fsum(squares) / total) if total > 0 else math.nan


def _judged(windows: Iterable[Window], history: History) -> Sequence[tuple[Window, LinearModel]]:
    after = [window for window in windows if window.clusters_version > 0 and window.expected_size > 0]
    pairs = [(window, history.at(window.closed_ms)) for window in after]
    return [(window, model) for window, model in pairs if model is not None]
