"""What every loop reports, and how metrics are made."""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

__all__ = ["STAGES", "LoopMetrics", "Outcome", "Registered", "Stage"]

Role = Literal["sampler", "clusterer"]
Outcome = Literal["committed", "aborted", "unknown"]
# Where the time of a window goes, in the order in which it goes there; the last two are the clusterer's.
Stage = Literal["poll", "decode", "assign", "predict", "draw", "emit", "commit", "merge", "publish"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PREFIX = "stream_coreset"

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series


class Registered:
    """Makes metrics with our prefix in one registry."""

    registry: CollectorRegistry

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", says, labels, registry=self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", says, labels, registry=self.registry, buckets=_SECONDS)


class LoopMetrics(Registered):
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
