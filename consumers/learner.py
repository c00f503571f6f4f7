"""What the clusterer learns from known losses: the losses of clusters, and a surrogate of the model."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from consumers.metrics import ClustererMetrics
from consumers.settings import Settings
from stream_coreset.clusters import Clusters
from stream_coreset.labels import LabelBuffer
from stream_coreset.surrogate import LabelledExamples, Surrogate

__all__ = ["Labels", "Learner"]

log = structlog.get_logger(__name__)

_ENOUGH = 500  # examples from which a surrogate is learned that may replace one from before a restart


@dataclass(frozen=True, eq=False)
class Labels:
    """Examples whose losses are known.

    Attributes
    ----------
    X : (m, d) float32
        Embeddings.
    losses, weights : (m,) float64
        Losses of one version of the model, and how many examples of the stream each one stands for.
    model_version : str
    """

    X: NDArray[np.float32]
    losses: NDArray[np.float64]
    weights: NDArray[np.float64]
    model_version: str


class Learner:
    """Keeps labelled examples and learns from them on a thread of its own.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    metrics : ClustererMetrics
    """

    def __init__(self, settings: Settings, metrics: ClustererMetrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._fit = _Fit(settings.sampling.floor, metrics)
        self.forget()

    def forget(self) -> None:
        """Drop everything: another clusterer is the active one."""
        learning, dimension = self._settings.learning, self._settings.input.dimension
        self._labels = LabelBuffer(dimension, capacity=learning.labels, half_life=learning.half_life_seconds)
        self.begin(None, Clusters.empty(dimension))

    def begin(self, surrogate: bytes | None, clusters: Clusters) -> None:
        """Go on from the surrogate that is published with these clusters; what is labelled stays labelled."""
        learning = self._settings.learning
        self._fit.forget()
        self._fit_at = time.monotonic() + learning.refit_seconds
        self._inherited_until = 0.0 if surrogate is None else time.monotonic() + learning.half_life_seconds
        self._news = len(self._labels)  # labels since the last fit began
        self.surrogate, self._learned_with = surrogate, clusters

    @property
    def busy(self) -> bool:
        """Whether it is learning at this moment."""
        return self._fit.busy

    def add(self, labels: Labels) -> None:
        """Keep labelled examples, the newest."""
        if len(labels.losses):
            now = time.monotonic()
            self._labels.add(labels.X, labels.losses, labels.weights, now, labels.model_version)
            self._news += len(labels.losses)

    def discount(self, factor: float) -> None:
        """Let what is known so far count less: the stream has changed."""
        self._labels.discount(factor)

    def teach(self, clusters: Clusters) -> Clusters:
        """The clusters with what the labels say of their losses; begins to learn anew where it is time to."""
        if not (self._settings.learns or self._settings.feedback.topic):
            return clusters
        now = time.monotonic()
        described, examples = self._labels.describe(clusters, now, self._settings.sampling.z)
        self._metrics.labels.set(len(examples))
        if self._settings.learns:
            self._learn(examples, described, now)
        return described if self.surrogate is None else _as_then(described, self._learned_with)

    def _learn(self, examples: LabelledExamples, described: Clusters, now: float) -> None:
        self.surrogate, self._learned_with = self._fit.learned() or (self.surrogate, self._learned_with)
        learning = self._settings.learning
        inherited = now < self._inherited_until and len(examples) < _ENOUGH
        due = now >= self._fit_at and self._news > 0 and self._news >= learning.refit_share * len(examples)
        if due and not inherited and self._fit.begin(examples, described):
            self._fit_at, self._news = now + learning.refit_seconds, 0


def _as_then(now: Clusters, then: Clusters) -> Clusters:
    """The clusters with the losses of then where they were known: those that the surrogate was told of.

    It knows a cluster by its spread, which changes with every label; told of another one, it would take
    it for another cluster.
    """
    row_of = {center: row for row, center in enumerate(then.ids.tolist())}
    rows = np.array([row_of.get(center, -1) for center in now.ids.tolist()], np.int64)
    losses, spreads = np.append(then.losses, np.nan)[rows], np.append(then.spreads, np.nan)[rows]
    known = ~np.isnan(losses)
    if not known.any():
        return now
    return replace(
        now,
        losses=np.where(known, losses, now.losses),
        spreads=np.where(known, spreads, now.spreads),
        loss_ages=np.where(np.isnan(now.loss_ages) & known, 0.0, now.loss_ages),
        mean_square=then.mean_square,
        holders=then.holders,
    )


class _Fit:
    """One fit at a time, on a thread of its own; its result waits to be taken."""

    def __init__(self, floor: float, metrics: ClustererMetrics) -> None:
        self._floor, self._metrics = floor, metrics
        self._thread: threading.Thread | None = None
        self._found: tuple[bytes, Clusters] | None = None
        self._epoch = 0

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, examples: LabelledExamples, clusters: Clusters) -> bool:
        """Begin to learn from these; False while it still learns from others."""
        if self.busy:
            return False
        self._thread = threading.Thread(
            target=self._run, args=(examples, clusters, self._epoch), name="surrogate", daemon=True
        )
        self._thread.start()
        return True

    def learned(self) -> tuple[bytes, Clusters] | None:
        """The surrogate that was learned since the last call, if one was, and the clusters it knows."""
        found, self._found = self._found, None
        return found

    def forget(self) -> None:
        """Drop what was learned, and what is being learned."""
        self._epoch += 1
        self._found = None

    def _run(self, examples: LabelledExamples, clusters: Clusters, epoch: int) -> None:
        began = time.monotonic()
        try:
            surrogate = Surrogate.fit(examples, floor=self._floor)
            data = None if surrogate is None else surrogate.to_bytes()
        except Exception:  # the service goes on with what it has
            log.exception("learning from the known losses failed; the surrogate in use stays")
            self._metrics.fit_failures.inc()
            return
        self._metrics.fitted(time.monotonic() - began, len(data or b""))
        if epoch == self._epoch and data is not None:
            self._found = data, clusters
