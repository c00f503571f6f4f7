"""Replays the telemetry into the examples topic at a steady rate.

``python -m consumers.demo.replay --config FILE`` runs it alone, with the settings of the service.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from consumers.clients import admin_client, release
from consumers.connecting import connect
from consumers.demo.alone import run_alone
from consumers.demo.data import Events, load_shuttle
from consumers.errors import BrokerError
from consumers.settings import Settings

__all__ = ["BLOCK", "PARTITIONS", "create_input", "event_numbers", "main", "replay"]

PARTITIONS = 2
BLOCK = 1_200  # as long as the demo's windows: so they close one after the other, not all at once
_TICK_SECONDS = 0.02
_DELIVERY_SECONDS = 30.0
log = structlog.get_logger("replay")


def event_numbers(partition: int, start: int, end: int) -> list[int]:
    """Events that lie at offsets `start` to `end` (exclusive) of a partition of a fresh input topic.

    An idempotent producer that is alone deals them to the partitions in turn, a block at a time, so that
    nothing comes twice or in another order.

    Examples
    --------
    >>> event_numbers(1, BLOCK - 1, BLOCK + 1) == [2 * BLOCK - 1, 3 * BLOCK]
    True
    """
    places = (divmod(offset, BLOCK) for offset in range(start, end))
    return [(PARTITIONS * block + partition) * BLOCK + place for block, place in places]


def create_input(settings: Settings) -> None:
    """Create the examples topic; one that is there already stays as it is."""
    with closing(admin_client(settings)) as admin, suppress(TopicAlreadyExistsError):
        topic = NewTopic(settings.input.topic, PARTITIONS, settings.topics.replication_factor)
        admin.create_topics([topic], wait_for_metadata=True)  # who looks for it next must find it


def replay(
    settings: Settings,
    events: Events,
    rate: float,
    stop: threading.Event,
    progress: Callable[[int], None] = lambda sent: None,
) -> int:
    """Send all events, `rate` a second; returns how many were sent when `stop` was set or all were.

    Raises
    ------
    BrokerError
        When one could not be delivered.
    """
    producer = _producer(settings)
    pending: list[Any] = []
    began, sent = time.monotonic(), 0
    try:
        for number, value in enumerate(events.messages()):
            while number >= rate * (time.monotonic() - began):
                progress(number)
                if stop.wait(_TICK_SECONDS):
                    return sent
            pending.append(producer.send(settings.input.topic, value, partition=number // BLOCK % PARTITIONS))
            sent += 1
            if len(pending) >= 1_000:
                _delivered(pending[:500])
                del pending[:500]
        producer.flush(timeout=_DELIVERY_SECONDS)
        _delivered(pending)
    finally:
        release(producer)
    progress(sent)
    return sent


def _producer(settings: Settings) -> KafkaProducer:
    servers = [server.strip() for server in settings.kafka.bootstrap_servers.split(",")]
    return KafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=10)


def _delivered(futures: Sequence[Any]) -> None:
    try:
        for future in futures:
            future.get(timeout=_DELIVERY_SECONDS)
    except KafkaError as error:
        raise BrokerError(f"The replay could not deliver an event: {error!r}") from error


def main(words: Sequence[str] | None = None) -> int:
    """Replay the telemetry, again and again, until a signal ends it."""
    parser = argparse.ArgumentParser("python -m consumers.demo.replay", description=main.__doc__)
    parser.add_argument("--events-per-second", type=float, default=1_000, metavar="X", help="default 1000")
    parser.add_argument("--once", action="store_true", help="stop after the last event")
    return run_alone(parser, words, "replay", _replay_again)


def _replay_again(settings: Settings, arguments: argparse.Namespace, stop: threading.Event) -> None:
    admin = connect(lambda: admin_client(settings), settings, stop)
    if admin is None:
        return
    admin.close()
    create_input(settings)
    events, again = load_shuttle(), True
    while again and not stop.is_set():
        log.info("replaying", events=len(events), topic=settings.input.topic)
        replay(settings, events, arguments.events_per_second, stop)
        again = not arguments.once


if __name__ == "__main__":
    raise SystemExit(main())
