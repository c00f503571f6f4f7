"""The dry run: reads the topic as the service would, and keeps what it finds to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from numpy.typing import NDArray

from consumers.clients import plain_consumer
from consumers.codecs import codec_for
from consumers.codecs.examples import Decoded
from consumers.connecting import connect, mended_by_a_person
from consumers.cutter import ranges
from consumers.endpoint import ModelEndpoint
from consumers.errors import BrokerError, ServiceError, TopicError
from consumers.feedback import ReturnedLosses
from consumers.metrics import ClustererMetrics
from consumers.reader import input_record
from consumers.records.ledger import window_id
from consumers.refresher import LossEndpoint
from consumers.sampler import DrawnWindow
from consumers.settings import Settings
from consumers.shadow.evidence import Evidence, ScoredWindow
from consumers.shadow.judging import AskedLosses, Judge, ReportedLosses
from consumers.shadow.rehearsal import Rehearsal
from consumers.shadow.report import ShadowReport
from consumers.starting import decide_start
from stream_coreset.clusters import Clusters
from stream_coreset.window import Window

__all__ = ["DryRun", "shadow"]

_POLL_MS = 200
_SAY_SECONDS = 2.0
_WINDOWS = 40  # that the examples to judge by are spread over
_KNOWN_SHARE = 0.5  # of the clusters: enough to begin to judge
_PATIENCE = 20  # windows that are waited for a surrogate


def shadow(
    settings: Settings, judged_by: int, stop: threading.Event, say: Callable[[str], None]
) -> ShadowReport:
    """Read the topic until the losses of `judged_by` examples are known, or `stop` is set.

    Parameters
    ----------
    settings : Settings
        Of the deployment that may come to be.
    judged_by : int
    stop : threading.Event
    say : callable
        Told now and then how it goes.

    Raises
    ------
    ServiceError
        Where nothing can tell losses, or the topic cannot be read.
    """
    run = DryRun(settings, judged_by, stop)
    try:
        consumer = connect(lambda: plain_consumer(settings), settings, stop)
        if consumer is not None:
            with closing(consumer):
                _begin(consumer, settings)
                _follow(consumer, run, stop, say)
    except kafka_errors.KafkaError as error:
        raise mended_by_a_person(error) or BrokerError(
            f"{settings.input.topic} cannot be read (see what is wrong with: stream-coreset check): {error}"
        ) from error
    finally:
        run.close()
    return run.report()


def _begin(consumer: KafkaConsumer, settings: Settings) -> None:
    topic = settings.input.topic
    if not consumer.partitions_for_topic(topic):
        raise TopicError(f"The topic {topic} does not exist, or we lack the right to READ it.")
    begin = decide_start(consumer, topic, settings.input.start)
    consumer.assign([TopicPartition(*partition) for partition in begin])
    for partition, offset in begin.items():
        consumer.seek(TopicPartition(*partition), offset)


def _follow(consumer: KafkaConsumer, run: DryRun, stop: threading.Event, say: Callable[[str], None]) -> None:
    say_at = 0.0
    while not (stop.is_set() or run.done):
        batches = consumer.poll(timeout_ms=_POLL_MS)
        run.take([record for batch in batches.values() for record in batch])
        if time.monotonic() >= say_at:
            say(run.progress())
            say_at = time.monotonic() + _SAY_SECONDS


class DryRun:
    """What happens between the records that are read and the report; knows no brokers but for the reports.

    Parameters
    ----------
    settings : Settings
        With an endpoint or a feedback topic.
    judged_by : int
        Examples whose losses are to be known.
    stop : threading.Event
        Ends the waiting for the endpoint.
    endpoints : callable, optional
        Makes who is asked for losses; by default what the settings say.

    Raises
    ------
    ServiceError
        Where nothing can tell losses.
    """

    def __init__(
        self,
        settings: Settings,
        judged_by: int,
        stop: threading.Event,
        endpoints: Callable[[], LossEndpoint] | None = None,
    ) -> None:
        if settings.endpoint.url is None and endpoints is None and settings.feedback.topic is None:
            raise ServiceError(
                "A dry run needs losses to judge by: set endpoint.url to the model, or feedback.topic to "
                "where training reports the losses of its examples."
            )
        self._settings, self._judged_by, self._stop = settings, judged_by, stop
        self._rng = np.random.default_rng()
        self._evidence = Evidence(settings.sampling.design, settings.sampling.z)
        self._windows = self._examples = self._warm_up = 0
        asks = settings.endpoint.url is not None or endpoints is not None
        make = endpoints or (lambda: ModelEndpoint(settings.endpoint))
        self._asked = _Counting(make()) if asks else None
        metrics, per_window = ClustererMetrics(), -(-judged_by // _WINDOWS)
        reported = ReportedLosses(settings, self._evidence, 0 if asks else per_window, self._rng)
        self._judge: Judge = reported
        self._reported = reported
        if asks:
            codec = codec_for(settings.input)
            self._judge = AskedLosses(make(), codec, self._evidence, per_window, self._rng)
        self._returned = ReturnedLosses(settings, metrics.feedback, reported.follow)
        self._rehearsal = Rehearsal(settings, self._asked, self._returned, self._drawn, stop)

    @property
    def done(self) -> bool:
        """Whether enough losses are known."""
        return len(self._evidence) >= self._judged_by

    @property
    def clusters(self) -> Clusters:
        """The newest version of the clusters."""
        publication = self._rehearsal.publication
        return Clusters.empty(self._settings.input.dimension) if publication is None else publication.clusters

    def take(self, records: Sequence[Any]) -> None:
        """Take messages as the client read them."""
        self._rehearsal.take([input_record(record) for record in records], time.monotonic())
        self._reported.join()

    def progress(self) -> str:
        """How far it is, in one line."""
        clusters = self.clusters
        known = int(np.isfinite(clusters.losses).sum())
        return (
            f"{self._examples:,} examples in {self._windows:,} windows; losses of {known:,} of "
            f"{clusters.k:,} clusters are known; judged by {len(self._evidence):,} of {self._judged_by:,} "
            f"examples ({self._judge.said()})"
        )

    def report(self) -> ShadowReport:
        """What came of it."""
        return ShadowReport(
            topic=self._settings.input.topic,
            windows=self._windows,
            examples=self._examples,
            warm_up=self._warm_up,
            judged_windows=self._evidence.windows,
            judged_examples=len(self._evidence),
            losses_asked=0 if self._asked is None else self._asked.losses_asked,
            judge=self._judge.said(),
            comparisons=self._evidence.compare(self.clusters, self._rng),
        )

    def close(self) -> None:
        """Stop reading reports."""
        self._returned.stop()

    def _drawn(self, window: Window[Decoded], drawn: DrawnWindow) -> None:
        self._windows += 1
        self._examples += len(drawn.sample.scores)
        scored = ScoredWindow(
            name=window_id(ranges(window.items)[0]),
            warm=self._is_warm(drawn),
            embeddings=np.concatenate([item.embeddings for item in window.items]),
            weights=np.concatenate([item.weights for item in window.items]),
            scores=drawn.sample.scores,
            expected_size=drawn.sample.expected_size,
            predicted=None if drawn.predicted is None else drawn.predicted.means,
        )
        self._warm_up += not scored.warm
        if self._judge is not self._reported and self._settings.feedback.topic is not None:
            self._reported.window(window, scored)  # which teaches, too
        self._judge.window(window, scored)

    def _is_warm(self, drawn: DrawnWindow) -> bool:
        """Whether the losses of enough clusters are known, and a surrogate is there or slow to come."""
        losses = drawn.adapted.clusters.losses
        enough = len(losses) > 0 and np.isfinite(losses).mean() >= _KNOWN_SHARE
        waiting = self._settings.learns and drawn.predicted is None and self._warm_up < _PATIENCE
        return bool(enough) and not waiting


class _Counting:
    """An endpoint that counts what it is asked."""

    def __init__(self, endpoint: LossEndpoint) -> None:
        self._endpoint = endpoint
        self.losses_asked = 0

    def losses(
        self, examples: Sequence[bytes], embeddings: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], str]:
        self.losses_asked += len(examples)
        return self._endpoint.losses(examples, embeddings)
