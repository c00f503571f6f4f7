"""Takes what was read from the three topics, tells it to the joiner, and makes estimates of what it yields.

Knows no Kafka client; the follower drives it.
"""

from __future__ import annotations

import math

import structlog

from consumers.feedback.emitted import CoresetReader
from consumers.feedback.estimator import Estimator
from consumers.feedback.joiner import Joiner
from consumers.feedback.results import Label
from consumers.metrics.feedback import FeedbackMetrics
from consumers.records.estimates import EstimateRecord
from consumers.records.feedback import FeedbackError, FeedbackRecord
from consumers.records.format import RecordError
from consumers.records.ledger import LedgerEntry
from consumers.settings import Settings
from consumers.transform import InputRecord

__all__ = ["Desk"]

log = structlog.get_logger(__name__)

_MOST_SAID = 100  # reasons, each once


class Desk:
    """What one takeover knows of windows that wait for their losses.

    Parameters
    ----------
    settings : Settings
        With a feedback topic.
    metrics : FeedbackMetrics
    """

    def __init__(self, settings: Settings, metrics: FeedbackMetrics) -> None:
        feedback = settings.feedback
        self._metrics = metrics
        self._said: set[str] = set()
        self._reader = CoresetReader(settings.input)
        self._joiner = Joiner(
            max_bytes=feedback.max_bytes,
            max_age_ms=round(1000 * feedback.max_age_seconds),
            wait_ms=round(1000 * feedback.wait_seconds),
            refuse=metrics.refuse,
        )
        self._estimator = Estimator(settings.sampling.floor, compares=not settings.input.chain)
        self._take = {
            settings.topic("windows"): self._take_entry,
            settings.topic("coreset"): self._take_draws,
            settings.feedback.topic: self._take_feedback,
        }

    @property
    def floor(self) -> float:
        """The floor that the estimates advise."""
        return self._estimator.rule.current

    def add(self, record: InputRecord, now_ms: int) -> None:
        """Take a record of one of the three topics; whatever is wrong with it is counted and left out."""
        self._take[record.topic](record, now_ms)

    def expire(self, now_ms: int) -> None:
        """Say that everything written before `now_ms` has been added."""
        self._joiner.expire(now_ms)

    def results(self, now_ms: int) -> tuple[list[Label], list[EstimateRecord]]:
        """Labels and estimates since the last call."""
        found = self._joiner.take()
        given_up = [self._estimator.gave_up(window, now_ms) for window in found.missing]
        estimates = [self._estimator.estimate(window, now_ms) for window in found.complete]
        if estimates:
            self._show(estimates[-1])
        return found.labels, given_up + estimates  # a window that was given up may be complete by now

    def _take_entry(self, record: InputRecord, now_ms: int) -> None:
        try:
            self._joiner.add_entry(LedgerEntry.decode(record.value), now_ms)
        except RecordError as error:
            self._leave_out(record, error)

    def _take_draws(self, record: InputRecord, now_ms: int) -> None:
        try:
            draws = self._reader.draws(record)
        except ValueError as error:
            self._leave_out(record, error)
            return
        for draw in draws:
            self._joiner.add_draw(draw, now_ms)

    def _take_feedback(self, record: InputRecord, now_ms: int) -> None:
        try:
            report = FeedbackRecord.decode(record.value)
        except FeedbackError as error:
            self._metrics.refuse(error.reason)
            return
        self._metrics.came_back(known=report.loss is not None)
        self._joiner.add_feedback(report, now_ms)

    def _leave_out(self, record: InputRecord, error: ValueError) -> None:
        reason = str(error)[:300]
        if reason not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(reason)
            log.warning("a record left out", topic=record.topic, offset=record.offset, reason=reason)

    def _show(self, last: EstimateRecord) -> None:
        each = max(1, last.valid)
        mean, error, bound = (
            math.nan if value is None else value / each
            for value in (last.total, last.standard_error, last.bound)
        )
        ratio = math.nan if last.uniform_ratio is None else last.uniform_ratio
        self._metrics.estimate(mean, error, bound, ratio)
