"""The clusterer: merges what samplers saw into one model of the stream, keeps its losses, publishes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog

from consumers.budget import DEFAULT_RATE, HourlyBudget
from consumers.feedback import ReturnedLosses
from consumers.inquiry import Inquiry
from consumers.learner import Learner
from consumers.metrics import ClustererMetrics
from consumers.records.format import RecordError
from consumers.records.publication import Held, Publication, encode_publication
from consumers.records.statistics import Statistics, decode_statistics
from consumers.refresher import Refresher
from consumers.settings import Settings
from consumers.transform import InputRecord, Output, Partition, Unit
from stream_coreset.clusters import Clusters
from stream_coreset.drift import Alarm
from stream_coreset.kmeans import WeightedPoints
from stream_coreset.stream import ClusterModel

__all__ = ["ClustererTransform", "Merge"]

_PAST = 0.125  # what counts of the past after an abrupt change: as after three half-lives
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Merge:
    """Statistics that are merged and committed together, and published where it is time to."""

    statistics: tuple[Statistics, ...]
    offsets: dict[Partition, int]
    nbytes: int
    publish: bool = True


@dataclass
class _Pending:
    """What was read and not yet merged."""

    statistics: list[Statistics] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    nbytes: int = 0


class ClustererTransform:
    """Statistics in, versions of the clusters out.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    read_clusters : callable
        Reads the clusters topic to its end: the newest whole publication, None where there is none.
    metrics : ClustererMetrics
    refresher : Refresher, optional
        Asks the model for losses; without one they are those that come back, or scores come from distances.
    returned : ReturnedLosses, optional
        The losses that come back; by default those on the feedback topic of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        read_clusters: Callable[[], Publication | None],
        metrics: ClustererMetrics,
        refresher: Refresher | None = None,
        returned: ReturnedLosses | None = None,
    ) -> None:
        self._settings = settings
        self._read_clusters = read_clusters
        self._metrics = metrics
        self._inquiry = Inquiry(settings, refresher)
        self._pending = _Pending()
        self._returned = returned or ReturnedLosses(settings, metrics.feedback)
        self._learner = Learner(settings, metrics)
        self._alarm, self._changes = Alarm(), list[str]()  # changes that no commit has told of yet
        self._model = _model(settings)
        self._held = Held()
        per_hour = settings.sampling.per_hour
        self._budget = None if per_hour is None else HourlyBudget(per_hour, DEFAULT_RATE)
        self._rate = DEFAULT_RATE if self._budget else settings.sampling.rate  # in force, as published
        self._pause = settings.clustering.publish_seconds
        self._publish_at = 0.0

    def reset(self, partitions: Sequence[Partition]) -> None:
        """Begin where the published clusters end: as a new owner, or after an aborted transaction."""
        self._pending = _Pending()
        self._model, self._held = _model(self._settings), Held()
        self._inquiry.reset()
        self._changes = list[str]()
        self._alarm.count = 0
        self._returned.reset(bool(partitions))
        self._metrics.active.set(bool(partitions))
        if not partitions:
            self._alarm = Alarm()
            self._learner.forget()
            return
        publication = self._read_clusters()
        if publication is not None:
            self._restore(publication)
        log.info("the clusterer is active", clusters_version=self._model.version)

    def cut(self, records: Sequence[InputRecord], now: float) -> list[Merge]:
        """Read statistics; close when a publication is due and there is something new to publish.

        A backlog is merged in portions before that, each as large as one sampler's flush may be.
        """
        closed = []
        for record in records:
            if self._pending.nbytes >= self._settings.clustering.flush_bytes:
                closed.append(self._close(publish=False))
            self._take(record)
        news = self._pending.offsets or self._inquiry.answered or self._returned.pending
        if now >= self._publish_at and news:
            self._publish_at = now + self._pause
            closed.append(self._close(publish=True))
        return closed

    def _close(self, publish: bool) -> Merge:
        pending, self._pending = self._pending, _Pending()
        return Merge(tuple(pending.statistics), pending.offsets, pending.nbytes, publish)

    @property
    def learning(self) -> bool:
        """Whether a surrogate is being learned; it is published with the next version after that."""
        return self._learner.busy

    def pending_bytes(self) -> int:
        """Bytes of statistics not yet merged."""
        return self._pending.nbytes

    def window_bytes(self, window: Merge) -> int:
        """Bytes of statistics to merge."""
        return window.nbytes

    def apply(self, window: Merge) -> Unit:
        """Merge, ask, publish."""
        with self._metrics.stage("merge"):
            for portion in self._portions(window.statistics):
                self._merge(portion)
            for labels in (*self._inquiry.note_answers(self._model), *self._returned.labels()):
                self._learner.add(labels)
            if self._alarm.losses(self._inquiry.loss_change):
                self._react("losses")
            self._inquiry.ask(self._model)
        estimates = self._returned.estimates() if window.publish else []
        changes, self._changes = self._changes, []
        merged = partial(self._merged, window.statistics, estimates, changes)
        if not (self._model.k and window.publish):
            return Unit(estimates, window.offsets, merged)
        with self._metrics.stage("publish"):
            clusters = self._learner.teach(self._model.publish(time.monotonic()))
            outputs = self._publication(clusters)
        nbytes = sum(len(output.value or b"") for output in outputs)
        clustering = self._settings.clustering
        self._pause = max(clustering.publish_seconds, nbytes / clustering.publish_bytes_per_second)

        def committed() -> None:
            merged()
            self._published(clusters, nbytes)

        return Unit([*outputs, *estimates], window.offsets, committed)

    def _take(self, record: InputRecord) -> None:
        self._pending.offsets[record.topic, record.partition] = record.offset + 1
        try:
            statistics = decode_statistics(record.value, self._settings.input.dimension)
        except RecordError as error:
            log.warning("statistics left out", offset=record.offset, reason=str(error))
            return
        self._pending.statistics.append(statistics)
        self._pending.nbytes += record.nbytes

    def _restore(self, publication: Publication) -> None:
        publication.check_stream(self._settings)
        away = max(0.0, time.time() - publication.published_ms / 1000)  # meanwhile losses have aged
        self._model.restore(publication.clusters, time.monotonic() - away)
        self._learner.begin(publication.surrogate, publication.clusters)
        self._held = Held.after(publication)
        self._alarm.count = publication.drifts
        if self._budget is not None and publication.rate is not None:
            self._budget.rate = self._rate = publication.rate

    def _portions(self, found: Sequence[Statistics]) -> Iterator[list[Statistics]]:
        """Cut what arrived, so that merging takes no more memory after a standstill than a window does."""
        most = max(self._settings.window.size, 2 * self._settings.clustering.n_clusters)
        portion, points = list[Statistics](), 0
        for statistics in found:
            if portion and points + len(statistics.points) > most:
                yield portion
                portion, points = [], 0
            portion.append(statistics)
            points += len(statistics.points)
        if portion:
            yield portion

    def _merge(self, found: Sequence[Statistics]) -> None:
        """Merge a portion at once: one pass over the centers, however many records there are."""
        before = self._model.generations
        points = _together([statistics.points for statistics in found])
        if self._budget is not None and self._rate is not None:
            self._budget.seen(int(points.counts.sum()), self._rate, time.monotonic())
        if self._model.k and self._alarm.places(self._model.squares(points), points.counts):
            self._react("places")
        self._model.merge(points)
        now = self._model.generations
        self._inquiry.keep(center for center, generation in now.items() if before.get(center) == generation)
        owners = self._model.locate(points.points)
        ends = np.cumsum([len(statistics.points) for statistics in found])[:-1]
        for statistics, their_owners in zip(found, np.split(owners, ends), strict=True):
            self._inquiry.add(statistics, their_owners)

    def _react(self, signal: str) -> None:
        """Ask all losses again, and let what was known count less."""
        log.warning("the stream has changed: losses are asked again, the past counts less", signal=signal)
        self._changes.append(signal)
        self._inquiry.ask_again()
        self._learner.discount(_PAST)
        self._model.discount(_PAST)

    def _publication(self, clusters: Clusters) -> list[Output]:
        if self._budget is not None:
            self._rate = self._budget.rate
        publication = Publication(
            clusters=clusters,
            settings_digest=self._settings.stream_digest(),
            wanted=self._inquiry.wanted(self._model),
            eta=self._returned.floor,
            rate=self._rate,
            published_ms=time.time_ns() // 1_000_000,
            surrogate=self._learner.surrogate,
            drifts=self._alarm.count,
        )
        topic = self._settings.topic("clusters")
        records, self._held = encode_publication(publication, self._held), Held.after(publication)
        return [Output(topic, value, key, partition=0) for key, value in records]

    def _merged(
        self, found: Sequence[Statistics], estimates: Sequence[Output], changes: Sequence[str]
    ) -> None:
        points, probes = sum(len(one.points) for one in found), sum(len(one.probes) for one in found)
        self._metrics.merged(points, probes)
        for signal in changes:
            self._metrics.drifts.labels(signal).inc()
        self._returned.committed(estimates)

    def _published(self, clusters: Clusters, nbytes: int) -> None:
        known = clusters.known
        oldest = float(clusters.loss_ages[known].max()) if known.any() else float("nan")
        self._metrics.published(
            clusters.version, nbytes, centers=clusters.k, known=int(known.sum()), oldest=oldest
        )


def _together(parts: Sequence[WeightedPoints]) -> WeightedPoints:
    return WeightedPoints(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.costs for part in parts]),
    )


def _model(settings: Settings) -> ClusterModel:
    clustering = settings.clustering
    return ClusterModel(
        n_clusters=clustering.n_clusters,
        dimension=settings.input.dimension,
        half_life=clustering.half_life,
        probes=settings.sampling.probes,
        z=settings.sampling.z,
        lloyd_steps=clustering.lloyd_steps,
        split_fraction=clustering.split_fraction,
    )
