"""Every metric of the service, by name; nothing else in the project names one.

Counters that say what the service did (consumed, emitted, dead-lettered ...) advance after the commit: they
count what a read_committed reader sees since this process started. Each process has a registry of its own.
"""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

__all__ = [
    "STAGES",
    "ClustererMetrics",
    "EndpointMetrics",
    "LoopMetrics",
    "Outcome",
    "SamplerMetrics",
    "Stage",
    "WindowCounts",
    "metric_names",
]

Role = Literal["sampler", "clusterer"]
Outcome = Literal["committed", "aborted", "unknown"]
# Where the time of a window goes, in the order in which it goes there; the last two are the clusterer's.
Stage = Literal["poll", "decode", "assign", "draw", "emit", "commit", "merge", "publish"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DRAWS_A_GROUP = 10  # windows are merged until they expect this many draws, before their weights are judged
_PREFIX = "stream_coreset"

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series


class _Registered:
    """Makes metrics with our prefix in one registry."""

    registry: CollectorRegistry

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", says, labels, registry=self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", says, labels, registry=self.registry, buckets=_SECONDS)


class LoopMetrics(_Registered):
    """What every consume-transform-produce loop reports; `role` becomes the label ``role``."""

    def __init__(self, role: Role) -> None:
        self.registry = CollectorRegistry()
        self.role = role
        self.lock = threading.Lock()  # a scrape sees the counts of a window all or not at all
        ProcessCollector(namespace=_PREFIX, registry=self.registry)

        # Which program this is: labels role, version, name (of the deployment) and member; always 1.
        self.build = Info(f"{_PREFIX}_build", "Role, version, name and member", registry=self.registry)

        # Seconds since the polling thread last came round; healthy means seconds, whatever Kafka does.
        self.loop_age = self._gauge("loop_age_seconds", "Time since the loop last came round", "role")

        # Partitions this process has now; 0 is a standby, or a group that is still rebalancing.
        self.partitions = self._gauge("partitions_assigned", "Partitions assigned to this process", "role")

        # Messages between the committed position and the last stable offset, by partition.
        self.lag = self._gauge("lag_messages", "Messages not yet processed", "role", "topic", "partition")

        # Bytes held in open windows and in windows that wait for their commit; bounded by backpressure.
        self.pending = self._gauge("pending_bytes", "Bytes held in windows not yet committed", "role")

        # Transactions by how they ended: committed, aborted, or unknown (then the producer was made anew).
        self.transactions = self._counter("transactions", "Transactions by outcome", "role", "outcome")

        # Seconds by stage (STAGES): of one window, or for poll and commit of one call.
        self.stages = self._histogram("stage_seconds", "Time by stage of the loop", "role", "stage")

        # Version of the clusters in use (sampler) or last published (clusterer); 0 while there are none.
        self.version = self._gauge("clusters_version", "Version of the clusters", "role")

        for outcome in get_args(Outcome):
            self.transactions.labels(role, outcome)
        for gauge in (self.loop_age, self.partitions, self.pending, self.version):
            gauge.labels(role)

    def describe(self, name: str, member: str) -> None:
        """Say which deployment this is, and which of its processes."""
        version = importlib.metadata.version("stream-coreset")
        self.build.info({"role": self.role, "version": version, "name": name, "member": member})

    def transaction(self, outcome: Outcome) -> None:
        """Count a transaction that was committed or aborted, or whose outcome is not known."""
        self.transactions.labels(self.role, outcome).inc()

    def observe_stage(self, stage: Stage, seconds: float) -> None:
        """Add `seconds` spent in `stage`."""
        self.stages.labels(self.role, stage).observe(seconds)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time the block as `stage`, also when it raises."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe_stage(stage, time.perf_counter() - began)

    def set_lag(self, lag: Mapping[tuple[str, int], int]) -> None:
        """Replace the lags by those of the partitions of now; partitions that are gone disappear."""
        self.lag.clear()
        for (topic, partition), messages in lag.items():
            self.lag.labels(self.role, topic, str(partition)).set(messages)

    def set_load(self, partitions: int, pending_bytes: int) -> None:
        """Say how many partitions this process has now, and how many bytes wait for their commit."""
        self.partitions.labels(self.role).set(partitions)
        self.pending.labels(self.role).set(pending_bytes)

    def set_version(self, version: int) -> None:
        """Say which version is in use, or was published."""
        self.version.labels(self.role).set(version)


@dataclass(frozen=True)
class WindowCounts:
    """What one committed window adds to the counters; `dead` counts by reason.

    `weight` is the sum of the weights of its draw, before those of a chained input are multiplied in: its
    expectation is `valid`.
    """

    valid: int
    emitted: int
    weight: float
    weight_squared: float
    expected_size: float
    cost: float
    closed_by: str
    dead: Mapping[str, int] = field(default_factory=dict)


class SamplerMetrics(LoopMetrics):
    """What a sampler reports."""

    def __init__(self) -> None:
        super().__init__("sampler")

        # Usable examples of committed windows (the dead-lettered are not among them).
        self.consumed = self._counter("examples_consumed", "Usable examples of committed windows")

        # Examples written to the coreset (iid: a duplicate counts each time).
        self.emitted = self._counter("examples_emitted", "Examples written to the coreset")

        # Sum of their weights. Over examples_consumed it is 1 but for chance: the live check of unbiasedness.
        self.weight = self._counter("emitted_weight", "Sum of the weights of the emitted examples")

        # Sum of their squared weights: emitted_weight^2 over it is the effective sample size.
        self.weight_squared = self._counter("emitted_weight_squared", "Sum of the squared weights")

        # Sum of (weight - examples)^2 over groups of windows with at least ten expected draws: that chance.
        # (emitted_weight - examples_consumed) / sqrt(this) is a standard normal z.
        self.error_squared = self._counter("weight_error_squared", "Squared errors of the windows' weights")

        # Examples and messages that could not be used, by reason (the codec's name of the error).
        self.dead = self._counter("dead_letters", "Examples that could not be used, by reason", "reason")

        # Windows by what closed them: size, bytes or age.
        self.windows = self._counter("windows", "Windows by what closed them", "reason")

        # Sum of squared distances to the centers; over examples_consumed it is the cost per example.
        self.cost = self._counter("clustering_cost", "Sum of squared distances to the centers")

        # Statistics sent to the clusterer, and the examples sent along as probes.
        self.statistics_bytes = self._counter("statistics_bytes", "Bytes of statistics sent")
        self.probes = self._counter("probes_sent", "Examples sent to the clusterer as probes")
        self._group = (0.0, 0.0)

    def window_committed(self, window: WindowCounts) -> None:
        """Count a window, from the ``on_commit`` of its unit and nowhere else."""
        with self.lock:
            self.consumed.inc(window.valid)
            self.emitted.inc(window.emitted)
            self.weight.inc(window.weight)
            self.weight_squared.inc(window.weight_squared)
            self.cost.inc(window.cost)
            self.windows.labels(window.closed_by).inc()
            for reason, count in window.dead.items():
                self.dead.labels(reason).inc(count)
            self._judge(window)

    def statistics_committed(self, nbytes: int, probes: int = 0) -> None:
        """Count a flush of statistics and the probes in it."""
        self.statistics_bytes.inc(nbytes)
        self.probes.inc(probes)

    def _judge(self, window: WindowCounts) -> None:
        draws, error = self._group
        draws, error = draws + window.expected_size, error + window.weight - window.valid
        if draws >= _DRAWS_A_GROUP:
            self.error_squared.inc(error * error)
            draws, error = 0.0, 0.0
        self._group = (draws, error)


class EndpointMetrics(_Registered):
    """What the client of the model endpoint reports; part of the clusterer's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        # Requests by outcome: ok, refused (the answer), the HTTP status, timeout, connect, open (breaker).
        self.requests = self._counter("endpoint_requests", "Requests to the model endpoint", "outcome")
        # Seconds from a request to its whole answer or its failure.
        self.seconds = self._histogram("endpoint_request_seconds", "Time of a request to the endpoint")
        # 1 while the circuit breaker holds requests back.
        self.circuit_open = self._gauge("endpoint_circuit_open", "1 while requests are held back")
        # Losses asked for, each one an inference of the model.
        self.queries = self._counter("loss_queries", "Losses asked for")
        # Losses not believed, by reason (shape, nan, infinite, negative ...); the old ones stay in use.
        self.refused = self._counter("losses_refused", "Losses not believed, by reason", "reason")
        self.requests.labels("ok")

    def request(self, outcome: str, seconds: float) -> None:
        """Count a request and the time it took."""
        self.requests.labels(outcome).inc()
        self.seconds.observe(seconds)

    def circuit(self, is_open: bool) -> None:
        """Say whether the circuit breaker is open."""
        self.circuit_open.set(is_open)

    def queried(self, losses: int) -> None:
        """Count losses asked for."""
        self.queries.inc(losses)

    def refuse(self, reason: str, losses: int = 1) -> None:
        """Count losses that were not believed."""
        self.refused.labels(reason).inc(losses)


class ClustererMetrics(LoopMetrics):
    """What a clusterer reports, its client of the model endpoint included."""

    def __init__(self) -> None:
        super().__init__("clusterer")
        self.endpoint = EndpointMetrics(self.registry)

        # 1 for the clusterer that owns the model, 0 for a standby.
        self.active = self._gauge("clusterer_active", "1 on the active clusterer, 0 on a standby")

        # Versions published, after the commit, and their bytes.
        self.publications = self._counter("clusters_published", "Versions of the clusters published")
        self.published_bytes = self._counter("clusters_published_bytes", "Bytes of published clusters")

        # Centers there are, and those whose loss is known.
        self.centers = self._gauge("centers", "Centers of the clusters")
        self.known = self._gauge("centers_with_loss", "Centers whose loss is known")

        # Age of the oldest loss in use; NaN without any.
        self.oldest_loss = self._gauge("oldest_loss_age_seconds", "Age of the oldest loss in use")
        self.oldest_loss.set(float("nan"))

        # Weighted points and probes that arrived and were merged.
        self.points = self._counter("weighted_points_merged", "Weighted points that were merged")
        self.probes = self._counter("probes_received", "Examples received as probes")

    def published(self, version: int, nbytes: int, *, centers: int, known: int, oldest: float) -> None:
        """Count a publication, after its commit; `oldest` in seconds, NaN without any loss."""
        self.publications.inc()
        self.published_bytes.inc(nbytes)
        self.set_version(version)
        self.centers.set(centers)
        self.known.set(known)
        self.oldest_loss.set(oldest)

    def merged(self, points: int, probes: int) -> None:
        """Count weighted points and probes that arrived, after the commit of their offsets."""
        self.points.inc(points)
        self.probes.inc(probes)


def metric_names() -> frozenset[str]:
    """Names of all series that the two roles can export, with the suffixes of counters and histograms."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    families = [
        family for metrics in (SamplerMetrics(), ClustererMetrics()) for family in metrics.registry.collect()
    ]
    return frozenset(family.name + end for family in families for end in suffixes.get(family.type, ("",)))
