"""The surrogate in a sampler: taken when it is published, used as far as there is time for it."""

from __future__ import annotations

import time

import structlog

from consumers.metrics import SamplerMetrics
from consumers.records.publication import Publication
from consumers.settings import Settings
from stream_coreset.arrays import Array
from stream_coreset.learning import predict_window
from stream_coreset.prediction import Prediction
from stream_coreset.stream import AdaptedWindow
from stream_coreset.surrogate import Surrogate

__all__ = ["Predictor"]

log = structlog.get_logger(__name__)

_SMOOTHING = 0.2  # of the times of windows
_LEAST_PART = 0.1  # of a window; to predict less is not worth its fixed costs
_FORGET = 0.99  # so that a surrogate that was once too slow is tried again


class Predictor:
    """Predicts the losses of windows with the surrogate that is published.

    What it costs is measured: where predicting all examples would take more than `learning.time_share` of the
    window's other time, it is done for those with the largest scores, or not at all.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    metrics : SamplerMetrics
    """

    def __init__(self, settings: Settings, metrics: SamplerMetrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._surrogate: Surrogate | None = None
        self.digest: str | None = None
        self._row_seconds = self._other_seconds = 0.0  # per example
        self._spent = 0.0  # on the window at hand
        self._part = 1.0

    def take(self, publication: Publication) -> None:
        """Use the surrogate of this publication from now on; say so where it cannot be used."""
        if not self._settings.learns or publication.surrogate_digest == self.digest:
            return
        self._surrogate, self.digest = None, publication.surrogate_digest
        if publication.surrogate is None:
            return
        try:
            self._surrogate = Surrogate.from_bytes(publication.surrogate)
        except (ValueError, RuntimeError) as error:
            log.warning("the published surrogate is not used", reason=str(error))

    def predict(self, X: Array, window: AdaptedWindow) -> Prediction | None:
        """Predict the losses of a window; None without a surrogate, or time for it."""
        if self._surrogate is None:
            return None
        n = len(window.assignment.labels)
        part = self._affordable()
        most = None if part >= 1 else int(part * n)
        began = time.perf_counter()
        try:
            found = predict_window(
                self._surrogate,
                X,
                window.assignment,
                window.clusters,
                window.published,
                z=self._settings.sampling.z,
                most=most,
            )
        except ValueError as error:
            log.warning("the surrogate failed and is not used", reason=str(error))
            self._surrogate = None
            return None
        if found is not None:
            self._spent = time.perf_counter() - began
            self._row_seconds = _smoothed(self._row_seconds, self._spent / (most or n))
        self._say(part)
        return found

    def note(self, n: int, seconds: float) -> None:
        """Note how long a window of n rows took in all."""
        others, self._spent = max(0.0, seconds - self._spent), 0.0
        if n:
            self._other_seconds = _smoothed(self._other_seconds, others / n)

    def _affordable(self) -> float:
        """The part of a window whose losses there is time to predict; the first is measured on all."""
        share = self._settings.learning.time_share
        if share == 0:
            return 0.0
        if self._row_seconds == 0 or self._other_seconds == 0:
            return 1.0
        part = share * self._other_seconds / self._row_seconds
        self._row_seconds *= 1.0 if part >= _LEAST_PART else _FORGET
        return min(1.0, part) if part >= _LEAST_PART else 0.0

    def _say(self, part: float) -> None:
        self._metrics.predicted_part.set(part)
        if (part < 1) is not (self._part < 1):
            log.warning(
                "predicting losses takes more than learning.time_share of the time of a window: done in part"
                if part < 1
                else "the losses of all examples are predicted again",
                part=round(part, 2),
            )
        self._part = part


def _smoothed(before: float, now: float) -> float:
    return now if before == 0 else (1 - _SMOOTHING) * before + _SMOOTHING * now
