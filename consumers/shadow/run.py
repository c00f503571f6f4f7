"""The dry run: reads the topic as the service would, and keeps what it finds to itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
_PATIENCE = 20  # windows that are waited for a surrogate from then on


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
        Where nothing can tell losses, or the topic cannot be read and nothing is known yet.
    """
    run = DryRun(settings, judged_by, stop)
    try:
        consumer = connect(lambda: plain_consumer(settings), settings, stop)
        if consumer is not None:
            with closing(consumer):
                _begin(consumer, settings)
                _follow(consumer, run, stop, say)
    except kafka_errors.KafkaError as error:
        reason = mended_by_a_person(error) or BrokerError(
            f"{settings.input.topic} cannot be read (see what is wrong with: stream-coreset check): {error!r}"
        )
        if not run.judged:
            raise reason from error
        say(f"ended early: {reason}")
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
    said = time.monotonic()
    while not (stop.is_set() or run.done):
        batches = consumer.poll(timeout_ms=_POLL_MS)
        for _ in run.take([record for batch in batches.values() for record in batch]):
            if stop.is_set() or run.done:
                break
            said = _progress(run, say, said)
        said = _progress(run, say, said)


def _progress(run: DryRun, say: Callable[[str], None], said: float) -> float:
    """Say how it goes now and then; when that was."""
    if time.monotonic() - said < _SAY_SECONDS:
        return said
    say(run.progress())
    return time.monotonic()


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
        Where nothing can tell losses, or the rate is one that only time can tell.
    """

    def __init__(
        self,
        settings: Settings,
        judged_by: int,
        stop: threading.Event,
        endpoints: Callable[[], LossEndpoint] | None = None,
    ) -> None:
        asks = settings.endpoint.url is not None or endpoints is not None
        _check(settings, asks)
        self._settings, self._judged_by, self._stop = settings, judged_by, stop
        self._rng = np.random.default_rng()
        sampling = settings.sampling
        others = {} if sampling.min_group_rate is None else {"rates": ()}  # fair shares are of one rate
        self._evidence = Evidence(sampling.design, sampling.z, **others)
        self._windows = self._examples = self._cold = self._without = 0
        make = endpoints or (lambda: ModelEndpoint(settings.endpoint))
        self._asked = _Counting(make()) if asks else None
        share = min(1.0, judged_by / (_WINDOWS * settings.window.size))
        self._reported = ReportedLosses(settings, self._evidence, 0.0 if asks else share, self._rng)
        self._judge: Judge = self._reported
        if asks:
            self._judge = AskedLosses(make(), codec_for(settings.input), self._evidence, share, self._rng)
        self._returned = ReturnedLosses(settings, ClustererMetrics().feedback, self._reported.follow)
        self._rehearsal = Rehearsal(settings, self._asked, self._returned, stop)

    @property
    def judged(self) -> int:
        """Examples whose losses are known."""
        return len(self._evidence)

    @property
    def done(self) -> bool:
        """Whether they are enough."""
        return self.judged >= self._judged_by

    @property
    def clusters(self) -> Clusters:
        """The newest version of the clusters."""
        publication = self._rehearsal.publication
        return Clusters.empty(self._settings.input.dimension) if publication is None else publication.clusters

    def take(self, records: Sequence[Any]) -> Iterator[str]:
        """Take messages as the client read them; yields the name of every window, once it is judged."""
        for window, drawn in self._rehearsal.take([input_record(record) for record in records]):
            yield self._judged(window, drawn)
        self._reported.join()

    def progress(self) -> str:
        """How far it is, in one line."""
        clusters = self.clusters
        known = int(np.isfinite(clusters.losses).sum())
        return (
            f"{self._examples:,} examples in {self._windows:,} windows; losses of {known:,} of "
            f"{clusters.k:,} clusters are known; judged by {self.judged:,} of {self._judged_by:,} "
            f"examples ({self._judge.said()})"
        )

    def report(self) -> ShadowReport:
        """What came of it."""
        return ShadowReport(
            topic=self._settings.input.topic,
            windows=self._windows,
            examples=self._examples,
            warm_up=self._cold + self._without,
            judged_windows=self._evidence.windows,
            judged_examples=self.judged,
            model_versions=self._evidence.versions,
            losses_asked=0 if self._asked is None else self._asked.losses_asked,
            judge=self._judge.said(),
            preferred=self._evidence.preferred(),
            rate=self._settings.sampling.rate,
            comparisons=self._evidence.compare(self.clusters),
        )

    def close(self) -> None:
        """Stop reading reports."""
        self._returned.stop()

    def _judged(self, window: Window[Decoded], drawn: DrawnWindow) -> str:
        self._windows += 1
        self._examples += len(drawn.sample.scores)
        items = [item for item in window.items if len(item.embeddings)]
        scored = ScoredWindow(
            name=window_id(ranges(window.items)[0]),
            warm=self._is_warm(drawn),
            embeddings=np.concatenate([item.embeddings for item in items]),
            weights=np.concatenate([item.weights for item in items]),
            scores=drawn.sample.scores,
            expected_size=drawn.sample.expected_size,
            predicted=None if drawn.predicted is None else drawn.predicted.means,
        )
        if self._settings.feedback.topic is not None:
            self._reported.window(window, scored)  # which teach, too
        if self._judge is not self._reported:
            self._judge.window(window, scored)
        return scored.name

    def _is_warm(self, drawn: DrawnWindow) -> bool:
        """Whether the losses of enough clusters are known, and a surrogate is there or slow to come."""
        losses = drawn.adapted.clusters.losses
        if not len(losses) or np.isfinite(losses).mean() < _KNOWN_SHARE:
            self._cold += 1
            return False
        waiting = self._settings.learns and drawn.predicted is None and self._without < _PATIENCE
        self._without += waiting
        return not waiting


def _check(settings: Settings, asks: bool) -> None:
    if not asks and settings.feedback.topic is None:
        raise ServiceError(
            "A dry run needs losses to judge by: set endpoint.url to the model, or feedback.topic to "
            "where training reports the losses of its examples."
        )
    if settings.sampling.per_hour is not None:
        raise ServiceError(
            "A dry run reads faster or slower than the stream flows, so sampling.per_hour has no meaning in "
            "it: give the sampling.rate that it comes to."
        )


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
