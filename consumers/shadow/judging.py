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
from consumers.cutter import ranges
from consumers.emission import place
from consumers.endpoint import EndpointError
from consumers.errors import TopicError
from consumers.feedback.desk import Desk
from consumers.feedback.follower import OnResults
from consumers.feedback.results import Label
from consumers.following import Follower
from consumers.records.feedback import FeedbackError, FeedbackRecord
from consumers.records.ledger import parse_source, source_id
from consumers.refresher import LossEndpoint
from consumers.settings import Settings
from consumers.shadow.evidence import Evidence, ScoredWindow
from consumers.starting import decide_start
from consumers.transform import Partition
from stream_coreset.window import Window

__all__ = ["AskedLosses", "Judge", "ReportedLosses"]

log = structlog.get_logger(__name__)

_POLL_MS = 200
_QUEUED = 10_000  # reports between the thread that reads them and the windows
_AHEAD = 200_000  # reports of examples that have not been read yet
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
    share : float
        Of the examples of a window that are asked about.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        endpoint: LossEndpoint,
        codec: Codec,
        evidence: Evidence,
        share: float,
        rng: np.random.Generator,
    ) -> None:
        self._endpoint, self._codec, self._evidence = endpoint, codec, evidence
        self._share, self._rng = share, rng

    def window(self, window: Window[Decoded], scored: ScoredWindow) -> None:
        """Ask, and wait for the answer; without one the window is left out."""
        if not scored.warm:
            return
        n = len(scored)
        rows = np.sort(self._rng.choice(n, _rounded(self._share * n, self._rng), replace=False))
        examples = [
            self._codec.example(window.items[message], int(row))
            for message, row in zip(*place(window.items, rows), strict=True)
        ]
        try:
            losses, version = self._endpoint.losses(examples, scored.embeddings[rows])
        except EndpointError as error:
            log.warning("no losses from the model endpoint: the window is not judged", reason=str(error))
            return
        known = ~np.isnan(losses)
        self._evidence.add(scored, rows[known], losses[known], version)

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
    most: int  # that judge
    taught: int = 0
    judged: int = 0
    seen: set[int] = field(default_factory=set)
    fresh: list[tuple[int, FeedbackRecord]] = field(default_factory=list)  # not in the evidence yet


class ReportedLosses:
    """Joins the losses that training reports, of any examples, with the windows that they are of.

    Half of what is reported of a window teaches, up to as many as would have been drawn, as the losses of the
    drawn ones would; the others judge. What is reported is taken for a uniform sample of the stream, or all.

    Parameters
    ----------
    settings : Settings
        With a feedback topic.
    evidence : Evidence
    share : float
        Of the examples of a window that judge it, at most.
    rng : numpy.random.Generator
    """

    def __init__(
        self, settings: Settings, evidence: Evidence, share: float, rng: np.random.Generator
    ) -> None:
        self._settings, self._evidence = settings, evidence
        self._share, self._rng = share, rng
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._window_of: dict[str, _Held] = {}
        self._ahead: dict[str, FeedbackRecord] = {}  # of examples that have not been read yet
        self._read: dict[Partition, int] = {}  # up to where they have
        self._incoming: queue.Queue[FeedbackRecord] = queue.Queue(_QUEUED)
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
        held = _Held(scored, rows, nbytes, _rounded(self._share * len(scored), self._rng))
        self._held[scored.name] = held
        self._window_of.update(dict.fromkeys(rows, held))
        self._nbytes += nbytes
        while self._nbytes > self._settings.feedback.max_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._nbytes -= oldest.nbytes
            for source in oldest.row_of:
                self._window_of.pop(source, None)
        for part in ranges(window.items):
            self._read[part.topic, part.partition] = part.end
        self._take([self._ahead.pop(source) for source in rows if source in self._ahead])

    def join(self) -> None:
        """Take the reports that have been read; no more than there is room for until the stream is there."""
        found = list[FeedbackRecord]()
        with suppress(queue.Empty):
            while len(self._ahead) + len(found) < _AHEAD:
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
                self._keep_if_ahead(report)
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
            elif held.scored.warm and held.judged < held.most:
                held.judged += 1
                held.fresh.append((row, report))
        for held in touched.values():
            self._add(held)
        if labels:
            self._tell(labels, [])

    def _add(self, held: _Held) -> None:
        versions = dict.fromkeys(report.model_version for _, report in held.fresh)
        for version in versions:
            found = [(row, report.loss) for row, report in held.fresh if report.model_version == version]
            rows, losses = zip(*found, strict=True)
            self._evidence.add(held.scored, np.array(rows, np.int64), np.array(losses, np.float64), version)
        held.fresh.clear()

    def _keep_if_ahead(self, report: FeedbackRecord) -> None:
        topic, partition, offset, _ = parse_source(report.source)
        if topic == self._settings.input.topic and offset >= self._read.get((topic, partition), 0):
            self._ahead[report.source] = report


class _Reports(Follower):
    """Reads the feedback topic from where the stream is read."""

    def __init__(self, settings: Settings, into: queue.Queue[FeedbackRecord]) -> None:
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
        first = consumer.beginning_offsets(list(self._positions))
        for partition, offset in self._positions.items():
            consumer.seek(partition, max(first[partition], offset))  # what retention took is passed over
        while not self._stop.is_set():
            for partition, batch in consumer.poll(timeout_ms=_POLL_MS).items():
                self._positions[partition] = batch[-1].offset + 1
                self._put(batch)

    def _put(self, batch: Iterable[Any]) -> None:
        for record in batch:
            try:
                self._wait_for_room(FeedbackRecord.decode(record.value))
            except FeedbackError as error:
                log.warning("a report left out", offset=record.offset, reason=str(error)[:300])

    def _wait_for_room(self, report: FeedbackRecord) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                return self._into.put(report, timeout=_POLL_MS / 1000)


def _rounded(size: float, rng: np.random.Generator) -> int:
    """Round so that the size is right on average."""
    return int(size) + int(rng.random() < size - int(size))


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
