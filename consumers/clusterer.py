"""The clusterer: merges what samplers saw into one model of the stream, keeps its losses, publishes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray

from consumers.codecs import codec_for
from consumers.metrics import ClustererMetrics
from consumers.records.format import RecordError
from consumers.records.publication import Publication, encode_publication
from consumers.records.statistics import Probe, Statistics, decode_statistics
from consumers.refresher import Question, Refresher
from consumers.settings import Settings
from consumers.transform import InputRecord, Output, Partition, Unit
from stream_coreset.arrays import random_stream
from stream_coreset.clusters import Clusters
from stream_coreset.probes import ProbePool
from stream_coreset.stream import ClusterModel

__all__ = ["ClustererTransform", "Merge"]

log = structlog.get_logger(__name__)
Example = tuple[bytes, NDArray[np.float32]]


@dataclass(frozen=True)
class Merge:
    """Statistics that are merged, published and committed together."""

    statistics: tuple[Statistics, ...]
    offsets: dict[Partition, int]
    nbytes: int


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
        Asks the model for losses; without one, scores come from distances alone.
    """

    def __init__(
        self,
        settings: Settings,
        read_clusters: Callable[[], Publication | None],
        metrics: ClustererMetrics,
        refresher: Refresher | None = None,
    ) -> None:
        self._settings = settings
        self._read_clusters = read_clusters
        self._metrics = metrics
        self._refresher = refresher
        self._codec = codec_for(settings.input)
        self._pending = _Pending()
        self._model = _model(settings)
        self._pool = _pool(settings)
        self._pause = settings.clustering.publish_seconds
        self._publish_at = self._refresh_at = 0.0

    def reset(self, partitions: Sequence[Partition]) -> None:
        """Begin where the published clusters end: as a new owner, or after an aborted transaction."""
        self._pending = _Pending()
        self._model, self._pool = _model(self._settings), _pool(self._settings)
        self._metrics.active.set(bool(partitions))
        if not partitions:
            return
        publication = self._read_clusters()
        if publication is not None:
            self._restore(publication)
        log.info("the clusterer is active", clusters_version=self._model.version)

    def cut(self, records: Sequence[InputRecord], now: float) -> list[Merge]:
        """Read statistics; close when a publication is due and there is something new to publish."""
        for record in records:
            self._take(record)
        answered = self._refresher is not None and self._refresher.answered
        if now < self._publish_at or not (self._pending.offsets or answered):
            return []
        self._publish_at = now + self._pause
        pending, self._pending = self._pending, _Pending()
        return [Merge(tuple(pending.statistics), pending.offsets, pending.nbytes)]

    def pending_bytes(self) -> int:
        """Bytes of statistics not yet merged."""
        return self._pending.nbytes

    def window_bytes(self, window: Merge) -> int:
        """Bytes of statistics to merge."""
        return window.nbytes

    def apply(self, window: Merge) -> Unit:
        """Merge, ask, publish."""
        with self._metrics.stage("merge"):
            for statistics in window.statistics:
                self._merge(statistics)
            self._note_answers()
            self._ask()
        points = sum(len(statistics.points) for statistics in window.statistics)
        probes = sum(len(statistics.probes) for statistics in window.statistics)
        if not self._model.k:
            return Unit([], window.offsets, partial(self._metrics.merged, points, probes))
        with self._metrics.stage("publish"):
            clusters = self._model.publish(time.monotonic())
            outputs = self._publication(clusters)
        nbytes = sum(len(output.value or b"") for output in outputs)
        clustering = self._settings.clustering
        self._pause = max(clustering.publish_seconds, nbytes / clustering.publish_bytes_per_second)
        return Unit(outputs, window.offsets, lambda: self._committed(clusters, nbytes, points, probes))

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
        self._model.restore(publication.clusters, time.monotonic())

    def _merge(self, statistics: Statistics) -> None:
        before = self._model.generations
        self._model.merge(statistics.points)
        now = self._model.generations
        self._pool.forget(center for center, generation in now.items() if before.get(center) == generation)
        self._add_probes(statistics)

    def _add_probes(self, statistics: Statistics) -> None:
        """Give each probe to the center that its sampler's center fell to."""
        owners = self._model.locate(statistics.points.points)
        by_point: dict[int, list[tuple[Probe, Example]]] = {}
        for probe in statistics.probes:
            embedding = self._codec.embedding(probe.example)
            if embedding is not None and len(embedding) == self._settings.input.dimension:
                by_point.setdefault(probe.point, []).append((probe, (probe.example, embedding)))
        for point, found in by_point.items():
            self._add_to_pool(int(owners[point]), found)

    def _add_to_pool(self, center: int, found: Sequence[tuple[Probe, Example]]) -> None:
        """Add one point's probes; without its nearest example they could not be asked."""
        nearest = [one for one in found if one[0].is_nearest]
        members = [example for probe, example in found if not probe.is_nearest]
        if not nearest:
            return
        probe, example = nearest[0]
        count = max(int(probe.member_count), len(members))
        self._pool.add(center, nearest=example, distance=probe.distance, members=members, member_count=count)

    def _note_answers(self) -> None:
        for answers in self._refresher.answers() if self._refresher else ():
            for question, losses in zip(answers.questions, answers.losses, strict=True):
                if np.isnan(losses[0]):  # refused by the client: the center's loss stays what it was
                    continue
                self._model.record(
                    question.center_id,
                    question.generation,
                    losses[~np.isnan(losses)],
                    model_version=answers.model_version,
                    now=time.monotonic(),
                )

    def _ask(self) -> None:
        """Ask for the losses that are due and whose probes are here."""
        now = time.monotonic()
        if self._refresher is None or not self._refresher.idle or now < self._refresh_at:
            return
        generations, budget = self._model.generations, self._settings.endpoint.queries_per_refresh
        due = self._model.due(budget, now, self._settings.endpoint.max_age_seconds, among=self._pool)
        questions = [_question(self._pool, center, generations[center]) for center in due]
        if questions:
            self._refresh_at = now + self._settings.endpoint.refresh_seconds
            self._refresher.ask(questions)

    def _wanted(self) -> NDArray[np.int64]:
        """Centers whose probes samplers should send: due within two refreshes, and not here yet."""
        if self._refresher is None:
            return np.zeros(0, np.int64)
        asked = self._settings.endpoint
        missing = {center for center in self._model.generations if center not in self._pool}
        budget = 2 * asked.queries_per_refresh
        return np.array(
            self._model.due(budget, time.monotonic(), asked.max_age_seconds, among=missing), np.int64
        )

    def _publication(self, clusters: Clusters) -> list[Output]:
        publication = Publication(
            clusters=clusters,
            settings_digest=self._settings.stream_digest(),
            wanted=self._wanted(),
            eta=self._settings.sampling.floor,
            rate=self._settings.sampling.rate,
            published_ms=time.time_ns() // 1_000_000,
        )
        topic = self._settings.topic("clusters")
        return [Output(topic, value, key, partition=0) for key, value in encode_publication(publication)]

    def _committed(self, clusters: Clusters, nbytes: int, points: int, probes: int) -> None:
        known = clusters.known
        oldest = float(clusters.loss_ages[known].max()) if known.any() else float("nan")
        self._metrics.merged(points, probes)
        self._metrics.published(
            clusters.version, nbytes, centers=clusters.k, known=int(known.sum()), oldest=oldest
        )


def _question(pool: ProbePool[Example], center: int, generation: int) -> Question:
    found = pool.take(center)
    if found is None or found.nearest is None:
        raise LookupError(f"no probes of center {center}")
    probes = (found.nearest, *found.members)
    return Question(
        center,
        generation,
        tuple(example for example, _ in probes),
        np.stack([embedding for _, embedding in probes]),
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


def _pool(settings: Settings) -> ProbePool[Example]:
    return ProbePool(settings.sampling.probes - 1, random_stream(settings.name, "pool", time.time_ns()))
