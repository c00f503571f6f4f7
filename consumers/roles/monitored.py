"""Metrics, health and readiness beside a loop, as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from consumers.metrics import LoopMetrics
from consumers.settings import Settings
from consumers.status import StatusServer
from consumers.transactions import TransactionalLoop

__all__ = ["monitored"]

log = structlog.get_logger(__name__)


@contextmanager
def monitored(
    settings: Settings, metrics: LoopMetrics, loop: TransactionalLoop[Any], *, standby: bool
) -> Iterator[None]:
    """Serve what `metrics` and `loop` have to tell, under the name of this instance."""
    metrics.describe(settings.name, settings.instance)
    with StatusServer(settings.monitoring, metrics, loop, standby=standby) as status:
        log.info("monitoring", url=status.url)
        yield
