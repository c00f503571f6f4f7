"""Who knows the losses that a dry run is judged by: the model, which is asked, or training, which reports."""

from __future__ import annotations

import queue
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import structlog
from kafka import KafkaConsumer, TopicPartition

from consumers.codecs.examples import Codec, Decoded
from consumers.emission import place
from consumers.endpoint import EndpointError
from consumers.errors import TopicError
from consumers.feedback.desk import Desk
from consumers.feedback.follower import OnResults
from consumers.feedback.results import Label
from consumers.following import Follower
from consumers.records.feedback import FeedbackError, FeedbackRecord
from consumers.records.ledger import source_id
from consumers.refresher import LossEndpoint
from consumers.settings import Settings
from consumers.shadow.evidence import Evidence, ScoredWindow
from consumers.starting import decide_start
from stream_coreset.window import Window

__all__ = ["AskedLosses", "Judge", "ReportedLosses"]

log = structlog.get_logger(__name__)

_POLL_MS = 200
_WAITING = 200_000  # reports of examples that have not been read
_ROW_BYTES = 400  # of an example in memory, beside its embedding


class Judge(Protocol):
    """Gives losses of examples of the stream to the evidence."""

    def window(self, window: Window[Decoded], scored: ScoredWindow) -> None:
        """Take a window that was drawn from."""

    def join(self) -> None:
        """Take what has come in since the last call."""

    def said(self) -> str:
        """How it goes, in a few words."""


class AskedLosses:
    """Asks the model for the losses of some uniform examples of each window; never of those drawn.

    Parameters
    ----------
    endpoint : LossEndpoint
        Of its own: called on the thread of the windows.
    codec : Codec
    evidence : Evidence
    per_window : int
        Examples that are asked of a window.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        endpoint: LossEndpoint,
        codec: Codec,
        evidence: Evidence,
        per_window: int,
        rng: np.random.Generator,
    ) -> None:
        self._endpoint, self._codec, self._evidence = endpoint, codec, evidence
        self._per_window, self._rng = per_window, rng

    def window(self, window: Window[Decoded], scored: ScoredWindow) -> None:
        """Ask, and wait for the answer; without one the window is left out."""
        if not scored.warm:
            return
        n = len(scored)
        rows = np.sort(self._rng.choice(n, min(n, self._per_window), replace=False))
        examples = [
            self._codec.example(window.items[message], int(row))
            for message, row in zip(*place(window.items, rows), strict=True)
        ]
        try:
            losses, _ = self._endpoint.losses(examples, scored.embeddings[rows])
        except EndpointError as error:
            log.warning("no losses from the model endpoint: the window is not judged", reason=str(error))
            return
        known = ~np.isnan(losses)
        self._evidence.add(scored, rows[known], losses[known])

    def join(self) -> None:
        """Everything is asked at once: nothing comes later."""

    def said(self) -> str:
        """Nothing but the evidence itself."""
        return "the model tells the losses"


@dataclass(eq=False)
class _Held:
    scored: ScoredWindow
    row_of: Mapping[str, int]
    nbytes: int
    taught: int = 0
    judged: int = 0
    seen: set[int] = field(default_factory=set)
    losses: dict[int, float] = field(default_factory=dict)  # that the evidence does not have yet


class ReportedLosses:
    """Joins the losses that training reports, of any examples, with the windows that they are of.

    Half of what is reported of a window teaches, up to as many as would have been drawn, as the losses of the
    drawn ones would; the others judge. What is reported is taken for a uniform sample of the stream.

    Parameters
    ----------
    settings : Settings
        With a feedback topic.
    evidence : Evidence
    per_window : int
        Examples that judge a window, at most.
    rng : numpy.random.Generator
    """

    def __init__(
        self, settings: Settings, evidence: Evidence, per_window: int, rng: np.random.Generator
    ) -> None:
        self._settings, self._evidence = settings, evidence
        self._per_window, self._rng = per_window, rng
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._window_of: dict[str, _Held] = {}
        self._waiting: OrderedDict[str, FeedbackRecord] = OrderedDict()
        self._incoming: queue.SimpleQueue[FeedbackRecord] = queue.SimpleQueue()
        self._tell: OnResults = lambda labels, estimates: None
        self._reports = self._joined = self._nbytes = 0

    def follow(self, settings: Settings, desk: Desk, tell: OnResults) -> Follower:
        """Make who reads the reports; labels are told to `tell` (a `MakeFollower` of `ReturnedLosses`)."""
        self._tell = tell
        return _Reports(settings, self._incoming)

    def window(self, window: Window[Decoded], scored: ScoredWindow) -> None:
        """Hold a window until its losses are reported; the oldest give way."""
        rows = {source: row for row, source in enumerate(_sources(window.items, self._settings))}
        nbytes = scored.embeddings.nbytes + _ROW_BYTES * len(scored)
        held = _Held(scored, rows, nbytes)
        self._held[scored.name] = held
        self._window_of.update(dict.fromkeys(rows, held))
        self._nbytes += nbytes
        while self._nbytes > self._settings.feedback.max_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._nbytes -= oldest.nbytes
            for source in oldest.row_of:
                self._window_of.pop(source, None)
        self._take([self._waiting.pop(source) for source in rows if source in self._waiting])

    def join(self) -> None:
        """Take the reports that have been read."""
        found = list[FeedbackRecord]()
        with suppress(queue.Empty):
            while True:
                found.append(self._incoming.get_nowait())
        self._reports += len(found)
        self._take(found)

    def said(self) -> str:
        """How many reports there were, and of how many the example was read."""
        return f"{self._reports:,} losses reported, {self._joined:,} of them of examples read here"

    def _take(self, reports: Iterable[FeedbackRecord]) -> None:
        touched, labels = dict[str, _Held](), list[Label]()
        for report in reports:
            held = self._window_of.get(report.source)
            if report.loss is None:
                continue  # its label has not arrived; it will be reported again
            if held is None:
                self._wait(report)
                continue
            row = held.row_of[report.source]
            if row in held.seen:
                continue
            held.seen.add(row)
            self._joined += 1
            touched[held.scored.name] = held
            if held.taught < held.scored.expected_size and self._rng.random() < 0.5:
                held.taught += 1
                labels.append(_label(held.scored, row, report))
            elif held.scored.warm and held.judged < self._per_window:
                held.judged += 1
                held.losses[row] = report.loss
        for held in touched.values():
            rows = np.array(list(held.losses), np.int64)
            self._evidence.add(held.scored, rows, np.array(list(held.losses.values()), np.float64))
            held.losses.clear()
        if labels:
            self._tell(labels, [])

    def _wait(self, report: FeedbackRecord) -> None:
        self._waiting[report.source] = report
        if len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)


class _Reports(Follower):
    """Reads the feedback topic from where the stream is read."""

    def __init__(self, settings: Settings, into: queue.SimpleQueue[FeedbackRecord]) -> None:
        super().__init__(settings, "reported losses")
        self._into = into
        self._positions: dict[TopicPartition, int] = {}

    def _follow(self, consumer: KafkaConsumer) -> None:
        topic = self._settings.feedback.topic or ""
        if not consumer.partitions_for_topic(topic):
            raise TopicError(
                f"the topic {topic} (feedback.topic) does not exist, or we lack the right to see it"
            )
        if not self._positions:
            begin = decide_start(consumer, topic, self._settings.input.start)
            self._positions = {TopicPartition(*one): offset for one, offset in begin.items()}
        consumer.assign(list(self._positions))
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)
        while not self._stop.is_set():
            for partition, batch in consumer.poll(timeout_ms=_POLL_MS).items():
                self._positions[partition] = batch[-1].offset + 1
                self._put(batch)

    def _put(self, batch: Iterable[Any]) -> None:
        for record in batch:
            try:
                self._into.put(FeedbackRecord.decode(record.value))
            except FeedbackError as error:
                log.warning("a report left out", offset=record.offset, reason=str(error)[:300])


def _sources(items: Iterable[Decoded], settings: Settings) -> list[str]:
    many = settings.input.format == "arrow"
    return [
        source_id(item.record.topic, item.record.partition, item.record.offset, int(row) if many else None)
        for item in items
        for row in item.valid_rows
    ]


def _label(scored: ScoredWindow, row: int, report: FeedbackRecord) -> Label:
    """As of an example that was drawn with all the others alike."""
    weight = len(scored) / max(1.0, scored.expected_size)
    return Label(
        scored.name, report.source, scored.embeddings[row], report.loss or 0.0, weight, report.model_version
    )
