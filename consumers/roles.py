"""The two roles as they run: a transform in its loop, with monitoring beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from consumers.clusterer import ClustererTransform
from consumers.endpoint import ModelEndpoint
from consumers.errors import ServiceError
from consumers.metrics import ClustererMetrics, LoopMetrics, SamplerMetrics
from consumers.reader import ClustersFollower, latest_publication
from consumers.records.publication import Publication
from consumers.refresher import Refresher
from consumers.sampler import SamplerTransform
from consumers.settings import ROLES, Settings
from consumers.status import StatusServer
from consumers.transactions import TransactionalLoop
from stream_coreset.arrays import resolve_device

__all__ = ["run_clusterer", "run_sampler"]

log = structlog.get_logger(__name__)
_FOLLOWER_SECONDS = 2.0  # to let go of its client


class _Newest:
    """Holds the newest publication between the thread that reads it and the one that uses it."""

    def __init__(self) -> None:
        self.publication: Publication | None = None

    def put(self, publication: Publication) -> None:
        self.publication = publication

    def get(self) -> Publication | None:
        return self.publication


def run_sampler(settings: Settings, stop: threading.Event) -> None:
    """Sample the stream until `stop` is set.

    Raises
    ------
    ServiceError
        When a person must mend something first.
    """
    _announce_device(settings)
    metrics, newest = SamplerMetrics(), _Newest()
    member = f"{settings.name}-sampler-{settings.instance}"
    loop = TransactionalLoop(
        settings,
        group=settings.group("sampler"),
        transactional_id=member,
        input_topics=[settings.input.topic],
        transform=SamplerTransform(settings, newest.get, metrics),
        output_topics=[settings.topic(role) for role in ROLES if role != "clusters"],
        ledger_topic=settings.topic("windows"),
        group_instance_id=member,
        observer=metrics,
    )
    follower = ClustersFollower(settings, newest.put)
    follower.start()
    try:
        with _monitored(settings, metrics, loop, standby=False):
            loop.run(stop)
    finally:
        follower.stop(_FOLLOWER_SECONDS)


def run_clusterer(settings: Settings, stop: threading.Event) -> None:
    """Keep the model of the stream, as the active clusterer or as a standby, until `stop` is set.

    Raises
    ------
    ServiceError
        When a person must mend something first.
    """
    metrics = ClustererMetrics()
    refresher = None
    if settings.endpoint.url is not None:
        refresher = Refresher(ModelEndpoint(settings.endpoint, metrics.endpoint))
    name = settings.group("clusterer")
    loop = TransactionalLoop(
        settings,
        group=name,
        transactional_id=name,
        input_topics=[settings.topic("statistics")],
        transform=ClustererTransform(settings, lambda: latest_publication(settings), metrics, refresher),
        output_topics=[settings.topic(role) for role in settings.roles if role in ("clusters", "estimates")],
        on_missing_offset="earliest",
        shared_id=True,
        observer=metrics,
    )
    with _monitored(settings, metrics, loop, standby=True):
        loop.run(stop)


@contextmanager
def _monitored(
    settings: Settings, metrics: LoopMetrics, loop: TransactionalLoop[Any], *, standby: bool
) -> Iterator[None]:
    metrics.describe(settings.name, settings.instance)
    with StatusServer(settings.monitoring, metrics, loop, standby=standby) as status:
        log.info("monitoring", url=status.url)
        yield


def _announce_device(settings: Settings) -> None:
    asked = settings.clustering.device
    try:
        device = resolve_device(asked)
    except (RuntimeError, ValueError) as error:
        raise ServiceError(f"clustering.device is {asked}: {error}") from error
    log.info("clustering runs", on=device.name, asked=asked)
