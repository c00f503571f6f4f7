"""A clusterer, the active one or a standby, until it is told to stop."""

from __future__ import annotations

import threading

from consumers.clusterer import ClustererTransform
from consumers.endpoint import ModelEndpoint
from consumers.metrics import ClustererMetrics
from consumers.reader import latest_publication
from consumers.refresher import Refresher
from consumers.roles.monitored import monitored
from consumers.settings import Settings
from consumers.transactions import TransactionalLoop

__all__ = ["run_clusterer"]


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
    with monitored(settings, metrics, loop, standby=True):
        loop.run(stop)
