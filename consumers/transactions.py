"""The consume-transform-produce loop: the only place that begins, commits, aborts and recovers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypeVar

from consumers.settings import Settings
from consumers.transform import InputRecord, Observer, Output, Partition, Silent, Transform, Unit

__all__ = ["InputRecord", "Observer", "Output", "Partition", "TransactionalLoop", "Transform", "Unit"]

W = TypeVar("W")


class TransactionalLoop(Generic[W]):
    """Reads, transforms and writes, exactly once.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    group, transactional_id : str
        The consumer group and the identity of this process among its siblings.
    input_topics : sequence of str
        What to read.
    transform : Transform
        What to do with it.
    ledger_topic : str, optional
        Where the ledger of this group is written: a partition that it knows never starts anew.
    on_missing_offset : {"start", "earliest"}
        A partition without a committed offset begins at `settings.input.start` (the sampler), or at the
        earliest message, also after messages were deleted (the clusterer, whose input is soft).
    shared_id : bool
        Several replicas share the transactional id; it is initialised by the one that is assigned partitions.
    group_instance_id : str, optional
        Makes the member static: restarted within the session timeout, it has its partitions back at once.
    observer : Observer
        Told of stages, transactions, lag.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group: str,
        transactional_id: str,
        input_topics: Sequence[str],
        transform: Transform[W],
        ledger_topic: str | None = None,
        on_missing_offset: Literal["start", "earliest"] = "start",
        shared_id: bool = False,
        group_instance_id: str | None = None,
        observer: Observer = Silent(),
    ) -> None:
        raise NotImplementedError

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set or a :class:`~consumers.errors.ServiceError` says what a person must mend."""
        raise NotImplementedError

    @property
    def last_seen(self) -> float:
        """Monotonic time at which the polling thread last came round."""
        raise NotImplementedError

    @property
    def assigned(self) -> tuple[Partition, ...]:
        """The partitions of now."""
        raise NotImplementedError

    @property
    def lag(self) -> Mapping[Partition, int]:
        """Messages not yet processed, by partition."""
        raise NotImplementedError
