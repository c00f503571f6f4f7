"""What polls do not say: how far behind we are, who has no leader, whether a topic is still the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from uuid import UUID

import structlog
from kafka import errors as kafka_errors

from consumers.errors import OffsetError
from consumers.membership import Membership
from consumers.starting import created_anew
from consumers.transform import Observer, Partition

__all__ = ["Watch"]

log = structlog.get_logger()

_SECONDS = 2.0


class Watch:
    """Looks after the partitions of one member, every two seconds, on the polling thread.

    Parameters
    ----------
    membership : Membership
        Whose partitions.
    observer : Observer
        Told of the lag.
    group : str
        For what a person is told.
    soft : bool
        Whether the input may be another topic by now: what is lost then costs nothing but variance.
    """

    def __init__(self, membership: Membership, observer: Observer, group: str, *, soft: bool) -> None:
        self._membership = membership
        self._observer = observer
        self._group = group
        self._soft = soft
        self._topics: dict[str, UUID] = {}
        self._due = 0.0
        self.lag: Mapping[Partition, int] = {}
        self.leaderless: tuple[Partition, ...] = ()

    def begin(self) -> None:
        """Begin with a new assignment. Raises as `look` does: meanwhile the topic may have become another."""
        self.require_same_topics()
        self.lag, self._due = {}, 0.0

    def due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() >= self._due

    def look(self, committed: Mapping[Partition, int], *, idle: bool) -> None:
        """Look once; `idle` where nothing that was read waits for its commit.

        Raises
        ------
        OffsetError
            When a topic was deleted and created anew: our offsets are those of the one before.
        """
        self._due = time.monotonic() + _SECONDS
        self.require_same_topics()
        self._leaders()
        try:
            self.lag = self._membership.lag(committed, idle)
        except kafka_errors.KafkaError:
            return  # the brokers are away: it grows unseen
        self._observer.set_lag(self.lag)

    def require_same_topics(self) -> None:
        """Raise OffsetError when a topic was deleted and created anew."""
        if self._soft:
            return
        now = self._membership.topic_ids()
        for topic, topic_id in now.items():
            if self._topics.get(topic, topic_id) != topic_id:
                raise OffsetError(created_anew(topic, self._group))
        self._topics |= now

    def _leaders(self) -> None:
        """Say which partitions nobody serves; the others go on."""
        before, self.leaderless = self.leaderless, self._membership.leaderless()
        if gone := [_name(one) for one in self.leaderless if one not in before]:
            log.warning("partitions have no leader: waiting for a broker that has them", partitions=gone)
        if back := [_name(one) for one in before if one not in self.leaderless]:
            log.info("partitions have a leader again", partitions=back)


def _name(partition: Partition) -> str:
    return f"{partition[0]}/{partition[1]}"
