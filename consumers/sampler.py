"""The sampler: draws a weighted sample of each window of the stream, and writes the ledger."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from consumers.budget import in_force, sensitivity_sampler
from consumers.codecs import codec_for
from consumers.codecs.examples import Codec, Decoded
from consumers.codecs.groups import groups_of
from consumers.cutter import WindowCutter, largest_coreset_message, ranges
from consumers.emission import Emitted, columns_of, emit
from consumers.gatherer import Flush, Gatherer
from consumers.metrics import SamplerMetrics, WindowCounts
from consumers.predictor import Predictor
from consumers.records.dead_letters import dead_letter
from consumers.records.ledger import LedgerEntry, Range, emitted_digest, window_id
from consumers.records.publication import Publication
from consumers.settings import Settings
from consumers.transform import InputRecord, Output, Partition, Unit
from stream_coreset.arrays import random_stream
from stream_coreset.clusters import Clusters
from stream_coreset.estimates import anticipated_standard_error
from stream_coreset.limits import Shares
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import AdaptedWindow, WindowSampler
from stream_coreset.window import Window

__all__ = ["DrawnWindow", "SamplerTransform"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class DrawnWindow:
    """A window with a usable example, after its draw; `predicted` where a surrogate spoke."""

    adapted: AdaptedWindow
    sample: Sample
    predicted: Prediction | None = None

    def bound(self, sampler: SensitivitySampler) -> float | None:
        """The paper's bound on the error of the estimated total."""
        return sampler.error_bound(self.adapted.assignment, self.adapted.clusters, self.sample.scores)

    def anticipated_error(self, design: str) -> float | None:
        """The standard error that the surrogate promises; None without one."""
        if self.predicted is None:
            return None
        s, p = self.sample.expected_size, self.sample.scores
        pi = s * p if design == "iid" else inclusion_probabilities(p, s)
        return anticipated_standard_error(self.predicted.means, self.predicted.roots, np.minimum(pi, 1.0))


class SamplerTransform:
    """Windows in; coreset messages, ledger entries, dead letters and statistics out.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    publications : callable
        The newest publication of the clusterer, None while there is none.
    metrics : SamplerMetrics
        Counters advance when the transaction has been committed.
    on_draw : callable, optional
        Told each window that was drawn from.
    """

    def __init__(
        self,
        settings: Settings,
        publications: Callable[[], Publication | None],
        metrics: SamplerMetrics,
        on_draw: Callable[[Window[Decoded], DrawnWindow], None] = lambda window, drawn: None,
    ) -> None:
        self._settings = settings
        self._publications = publications
        self._metrics, self._on_draw = metrics, on_draw
        self._codec: Codec = codec_for(settings.input)
        self._seed = settings.sampling.secret_seed() or secrets.token_hex(32)
        self._sampler = sensitivity_sampler(settings)
        metrics.set_limits(self._sampler.limits)
        self._windows = _window_sampler(settings, self._sampler)
        self._published = Clusters.empty(settings.input.dimension)
        self._cutter = WindowCutter(settings, self._codec, self._sampler)
        self._gatherer = Gatherer(settings, self._codec)
        self._predictor = Predictor(settings, metrics)
        self._drifts = 0
        self._warned = False

    def reset(self, partitions: Sequence[Partition]) -> None:
        """Forget what was not committed, and centers adapted to it."""
        self._windows.update(self._published)
        self._cutter.clear()
        self._gatherer.clear()

    def cut(self, records: Sequence[InputRecord], now: float) -> list[Window[Decoded]]:
        """Decode messages and close windows."""
        if not records:
            return self._cutter.cut(records, now)
        with self._metrics.stage("decode"):
            return self._cutter.cut(records, now)

    def pending_bytes(self) -> int:
        """Bytes of the open window."""
        return self._cutter.pending_bytes

    def window_bytes(self, window: Window[Decoded]) -> int:
        """Bytes of a closed window."""
        return window.nbytes

    def apply(self, window: Window[Decoded]) -> Unit:
        """Draw the sample of a window and say what becomes of it."""
        began = time.perf_counter()
        unit = self._apply(window)
        self._predictor.note(window.rows, time.perf_counter() - began)
        return unit

    def _apply(self, window: Window[Decoded]) -> Unit:
        self._take_publication()
        covered = ranges(window.items)
        drawn = self._draw(window, covered[0])
        with self._metrics.stage("emit"):
            emitted = self._emit(window, covered[0], drawn)
            entry = self._entry(window, covered, drawn, emitted)
            dead = [letter for item in window.items for letter in self._dead_letters(item)]
            flush = self._gather(window, covered[0], drawn, entry.closed_ms)
        ledger = Output(self._settings.topic("windows"), entry.encode(), entry.key)
        sent = [Output(self._settings.topic("statistics"), value, partition=0) for value in flush.values]
        counts = _counts(window, entry, drawn)
        return Unit(
            [*emitted.outputs, *dead, ledger, *sent],
            {(part.topic, part.partition): part.end for part in covered},
            lambda: self._committed(counts, flush),
        )

    def _take_publication(self) -> None:
        publication = self._publications()
        if publication is None or publication.clusters.version == self._published.version:
            return
        publication.check_stream(self._settings)
        self._published, self._drifts = publication.clusters, publication.drifts
        self._sampler = self._windows.sampler = in_force(self._sampler, publication, self._settings)
        self._windows.update(self._published)
        self._gatherer.begin(publication)
        self._predictor.take(publication)
        self._metrics.set_version(self._published.version)

    def _draw(self, window: Window[Decoded], first: Range) -> DrawnWindow | None:
        """The draw; None for a window without a usable example.

        Random streams are keyed by purpose and by where the window begins: a retry repeats its draw.
        """
        parts = [item.embeddings for item in window.items if len(item.embeddings)]
        if not parts:
            return None
        X = parts[0] if len(parts) == 1 else np.concatenate(parts)
        with self._metrics.stage("assign"):
            adapted = self._windows.adapt(X, self._random("adapt", first))
        with self._metrics.stage("predict"):
            predicted = self._predictor.predict(X, adapted)
        with self._metrics.stage("draw"):
            rng, sources = self._random("draw", first), _partitions(window.items)
            sample = self._windows.draw(adapted, rng, sources, predicted, groups=groups_of(window.items))
        drawn = DrawnWindow(adapted, sample, predicted)
        self._on_draw(window, drawn)
        return drawn

    def _random(self, purpose: str, first: Range) -> np.random.Generator:
        return random_stream(self._seed, purpose, first.topic, first.partition, first.start)

    def _emit(self, window: Window[Decoded], first: Range, drawn: DrawnWindow | None) -> Emitted:
        if drawn is None:
            return Emitted([], [])
        self._warn_of_retention(window)
        return emit(
            self._codec,
            window.items,
            drawn.sample.indices,
            columns_of(window_id(first), drawn.adapted, drawn.sample, self._published, drawn.predicted),
            topic=self._settings.topic("coreset"),
            max_bytes=largest_coreset_message(self._settings),
            many_rows=self._settings.input.format == "arrow",
        )

    def _warn_of_retention(self, window: Window[Decoded]) -> None:
        """Say once that coreset messages keep the input's time, by which retention deletes them."""
        oldest = time.time() * 1000 - self._settings.topics.retention_hours * 3_600_000
        if not self._warned and any(0 <= item.record.timestamp_ms < oldest for item in window.items):
            self._warned = True
            log.warning(
                "messages are older than topics.retention_hours: the coreset keeps their time, so that "
                "retention deletes them at once; raise it, or retention.ms of the topic",
                topic=self._settings.topic("coreset"),
            )

    def _entry(
        self, window: Window[Decoded], covered: Sequence[Range], drawn: DrawnWindow | None, emitted: Emitted
    ) -> LedgerEntry:
        valid = sum(len(item.valid_rows) for item in window.items)
        clusters = self._published if drawn is None else drawn.adapted.clusters
        return LedgerEntry(
            window=window_id(covered[0]),
            ranges=tuple(covered),
            valid=valid,
            dead=window.rows - valid,
            emitted=len(emitted.sources),
            emitted_digest=emitted_digest(emitted.sources),
            s=0.0 if drawn is None else drawn.sample.expected_size,
            design=self._settings.sampling.design,
            rate=self._sampler.rate,
            eta=self._sampler.floor,
            clusters_version=self._published.version,
            clusters_digest=clusters.digest(),
            surrogate_digest=None if drawn is None or drawn.predicted is None else self._predictor.digest,
            weight_sum=0.0 if drawn is None else float(drawn.sample.weights.sum()),
            anticipated_se=None if drawn is None else drawn.anticipated_error(self._settings.sampling.design),
            bound=None if drawn is None else drawn.bound(self._sampler),
            cost=0.0 if drawn is None else drawn.adapted.cost,
            closed_ms=time.time_ns() // 1_000_000,
            drifts=self._drifts,
        )

    def _dead_letters(self, item: Decoded) -> list[Output]:
        topic = self._settings.topic("dead_letters")
        return [
            dead_letter(
                topic,
                item.record,
                stage="decode",
                exception=error.exception,
                message=error.message,
                row=error.row,
                value=None if error.row is None else self._codec.example(item, error.row),
            )
            for error in item.errors
        ]

    def _gather(
        self, window: Window[Decoded], first: Range, drawn: DrawnWindow | None, closed_ms: int
    ) -> Flush:
        """Add the window to the statistics; what there is to send now."""
        if drawn is not None:
            self._gatherer.add(window, drawn.adapted, self._published, self._random("probes", first))
        return self._gatherer.flush(time.monotonic(), closed_ms)

    def _committed(self, counts: WindowCounts, flush: Flush) -> None:
        self._metrics.window_committed(counts)
        self._metrics.statistics_committed(sum(map(len, flush.values)), flush.probes)


def _partitions(items: Sequence[Decoded]) -> NDArray[np.int64]:
    """Where each usable example of a window comes from: its partition, counted from 0."""
    partitions = [(item.record.topic, item.record.partition) for item in items]
    number = {partition: i for i, partition in enumerate(dict.fromkeys(partitions))}
    rows = [len(item.embeddings) for item in items]
    return np.repeat([number[partition] for partition in partitions], rows).astype(np.int64)


def _window_sampler(settings: Settings, sampler: SensitivitySampler) -> WindowSampler:
    clustering = settings.clustering
    return WindowSampler(
        sampler,
        n_clusters=clustering.n_clusters,
        dimension=settings.input.dimension,
        lloyd_steps=clustering.lloyd_steps,
        split_fraction=clustering.split_fraction,
        device=clustering.device,
    )


def _counts(window: Window[Decoded], entry: LedgerEntry, drawn: DrawnWindow | None) -> WindowCounts:
    weights = np.zeros(0) if drawn is None else drawn.sample.weights
    return WindowCounts(
        valid=entry.valid,
        emitted=entry.emitted,
        weight=entry.weight_sum,
        weight_squared=float((weights**2).sum()),
        expected_size=entry.s,
        cost=entry.cost,
        largest=Shares() if drawn is None else drawn.sample.largest,
        closed_by=window.reason,
        dead=Counter(error.exception for item in window.items for error in item.errors),
    )
