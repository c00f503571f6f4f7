"""A sampler, until it is told to stop."""

from __future__ import annotations

import threading

import structlog

from consumers.errors import ServiceError
from consumers.metrics import SamplerMetrics
from consumers.reader import ClustersFollower
from consumers.records.publication import Publication
from consumers.roles.monitored import monitored
from consumers.sampler import SamplerTransform
from consumers.settings import ROLES, Settings
from consumers.transactions import TransactionalLoop
from stream_coreset.arrays import resolve_device

__all__ = ["run_sampler"]

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
        with monitored(settings, metrics, loop, standby=False):
            loop.run(stop)
    finally:
        follower.stop(_FOLLOWER_SECONDS)


def _announce_device(settings: Settings) -> None:
    asked = settings.clustering.device
    try:
        device = resolve_device(asked)
    except (RuntimeError, ValueError) as error:
        raise ServiceError(f"clustering.device is {asked}: {error}") from error
    log.info("clustering runs", on=device.name, asked=asked)
