"""What the clusterer holds of losses that come back: labels to learn from, estimates to commit, the floor."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import structlog

from consumers.feedback.desk import Desk
from consumers.feedback.follower import FeedbackFollower, OnResults
from consumers.feedback.results import Label
from consumers.learner import Labels
from consumers.metrics.feedback import FeedbackMetrics
from consumers.records.estimates import EstimateRecord
from consumers.settings import Settings
from consumers.transform import Output

__all__ = ["ReturnedLosses"]

log = structlog.get_logger(__name__)

_MOST_LABELS = _MOST_ESTIMATES = 20_000  # that wait to be taken; then the oldest are lost


class Follower(Protocol):
    """Who reads; `FeedbackFollower` in the service."""

    def start(self) -> None:
        """Start reading, on a thread."""

    def stop(self) -> None:
        """Stop soon, without waiting."""


MakeFollower = Callable[[Settings, Desk, OnResults], Follower]


class ReturnedLosses:
    """Losses that training reports, for the active clusterer; no call waits for Kafka.

    Parameters
    ----------
    settings : Settings
        Without a feedback topic nothing comes back, and the floor stays as set.
    metrics : FeedbackMetrics
    follow : callable
        Makes who reads the topics.
    """

    def __init__(
        self, settings: Settings, metrics: FeedbackMetrics, follow: MakeFollower = FeedbackFollower
    ) -> None:
        self._settings, self._metrics, self._follow = settings, metrics, follow
        self._lock = threading.Lock()
        self._follower: Follower | None = None
        self._labels: deque[Label] = deque(maxlen=_MOST_LABELS)
        self._estimates: deque[EstimateRecord] = deque(maxlen=_MOST_ESTIMATES)
        self._handed: list[EstimateRecord] = []
        self._floor = settings.sampling.floor
        metrics.floor.set(self._floor)

    @property
    def floor(self) -> float:
        """The floor in force: as set, or raised while uniform sampling is measured to be better."""
        return self._floor

    @property
    def pending(self) -> bool:
        """Whether there are estimates to commit."""
        return bool(self._estimates)

    def reset(self, active: bool) -> None:
        """Begin as the active clusterer, end as one, or go on after an aborted transaction."""
        with self._lock:
            self._estimates.extendleft(reversed(self._handed))
            self._handed = []
        if not active:
            self.stop()
        elif self._follower is None and self._settings.feedback.topic is not None:
            self._begin()

    def stop(self) -> None:
        """Stop reading and forget; what a successor needs it reads again."""
        if self._follower is not None:
            self._follower.stop()
        with self._lock:
            self._follower = None
            self._labels.clear()
            self._estimates.clear()
            self._handed = []

    def labels(self) -> list[Labels]:
        """What came back since the last call, each example once, by model version."""
        with self._lock:
            found = list(self._labels)
            self._labels.clear()
        versions = dict.fromkeys(label.model_version for label in found)
        return [
            _stacked(version, [one for one in found if one.model_version == version]) for version in versions
        ]

    def estimates(self) -> list[Output]:
        """Estimates for the next transaction; call `committed` when it is, `reset` when it is not."""
        with self._lock:
            taken = list(self._estimates)
            self._estimates.clear()
            self._handed += taken
        topic = self._settings.topic("estimates")
        return [Output(topic, one.encode(), one.key) for one in taken]

    def committed(self, outputs: Sequence[Output]) -> None:
        """Take note that so many of the estimates handed out first have been committed."""
        with self._lock:
            done, self._handed = self._handed[: len(outputs)], self._handed[len(outputs) :]
        given_up = sum(one.total is None for one in done)
        self._metrics.committed(len(done) - given_up, given_up)

    def _begin(self) -> None:
        desk = Desk(self._settings, self._metrics)
        follower: list[Follower] = []

        def tell(labels: Iterable[Label], estimates: Iterable[EstimateRecord]) -> None:
            with self._lock:
                if self._follower is follower[0]:  # a reader that was stopped may have one more word
                    self._labels.extend(labels)
                    self._estimates.extend(estimates)
                    self._note(desk.floor)

        follower.append(self._follow(self._settings, desk, tell))
        self._follower = follower[0]
        self._follower.start()

    def _note(self, floor: float) -> None:
        if floor == self._floor:
            return
        log.warning(
            "the floor changes, by what the losses say uniform sampling would have done",
            was=self._floor,
            now=floor,
        )
        self._floor = floor
        self._metrics.floor.set(floor)


def _stacked(version: str, labels: Sequence[Label]) -> Labels:
    return Labels(
        X=np.stack([label.embedding for label in labels]),
        losses=np.array([label.loss for label in labels], np.float64),
        weights=np.array([label.weight for label in labels], np.float64),
        model_version=version,
    )
