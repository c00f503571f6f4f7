"""The slow-downs of the soak, each on for a stretch of the examples."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.protocol.admin import AlterClientQuotasRequest

from benchmarks.soak.load import LossEndpoint
from consumers.broker import Broker

__all__ = ["Phase", "Schedule", "phases"]

FROZEN_SECONDS, FLOWING_SECONDS = 8.0, 4.0
SLOW_ANSWER_SECONDS = 20.0
QUOTA_BYTES = 2_000_000.0
# From one share of the examples to another. Each comes once, briefly, in the first tenth, so that what the
# service needs to get through it is part of what later memory is compared with; what it would not give back,
# or what grows with every trouble, is not.
_WHEN = (
    ("broker frozen", 0.01, 0.03),
    ("endpoint slow", 0.03, 0.05),
    ("quota", 0.05, 0.07),
    ("disk slow", 0.07, 0.085),
    ("broker frozen", 0.25, 0.32),
    ("endpoint slow", 0.40, 0.52),
    ("quota", 0.60, 0.68),
    ("disk slow", 0.76, 0.82),
)
_LEAST_SECONDS = {"broker frozen": 20.0}  # two freezes, however quickly the examples go by


@dataclass(frozen=True)
class Phase:
    """A slow-down that is on from one share of the examples to another, for `least` seconds at least."""

    name: str
    begins: float
    ends: float
    least: float
    on: Callable[[], object]
    off: Callable[[], object]


def phases(
    broker: Broker, endpoint: LossEndpoint, topics: Sequence[str], clients: Sequence[str]
) -> list[Phase]:
    """The broker frozen (SIGSTOP) again and again, the endpoint slower than its time limit, a quota on each
    of the service's clients, a disk that has every batch written through (fsync) with short freezes between.
    """
    stalls, disk = _Stalls(broker, FROZEN_SECONDS, FLOWING_SECONDS), _Stalls(broker, 0.4, 0.4)
    servers = broker.bootstrap_servers

    def slow_disk() -> None:
        _configure(servers, topics, {"flush.messages": "1"})
        disk.begin()

    def usual_disk() -> None:
        disk.end()
        _configure(servers, topics, {"flush.messages": str(2**63 - 1)})

    kinds = {
        "broker frozen": (stalls.begin, stalls.end),
        "endpoint slow": tuple(_slow(endpoint)),
        "quota": tuple(_quota(servers, clients)),
        "disk slow": (slow_disk, usual_disk),
    }
    return [
        Phase(name, begins, ends, _LEAST_SECONDS.get(name, 8.0), *kinds[name]) for name, begins, ends in _WHEN
    ]


class Schedule:
    """Turns slow-downs on and off in their order, on a thread of its own: brokers that take long to say so
    do not hold the readings up.
    """

    def __init__(self, hardships: Sequence[Phase]) -> None:
        self._coming = deque(hardships)
        self._now: Phase | None = None
        self._since = 0.0
        self._pool = ThreadPoolExecutor(1)
        self._turn: Future[object] = self._pool.submit(lambda: None)

    def turn(self, share: float) -> str:
        """Do what is due at this share of the examples; the name of the one that is on, empty without."""
        if self._turn.done():
            self._turn.result()
            self._next(share, time.monotonic())
        return self._now.name if self._now else ""

    def _next(self, share: float, now: float) -> None:
        if self._now and share >= self._now.ends and now >= self._since + self._now.least:
            self._turn, self._now = self._pool.submit(self._now.off), None
        elif not self._now and self._coming and share >= self._coming[0].begins:
            self._now, self._since = self._coming.popleft(), now
            self._turn = self._pool.submit(self._now.on)


def _slow(endpoint: LossEndpoint) -> Iterator[Callable[[], None]]:
    for seconds in (SLOW_ANSWER_SECONDS, 0.0):
        yield lambda seconds=seconds: setattr(endpoint, "pause", seconds)


def _quota(servers: str, clients: Sequence[str]) -> Iterator[Callable[[], None]]:
    for rate in (QUOTA_BYTES, None):
        yield lambda rate=rate: _limit(servers, clients, rate)


def _limit(servers: str, clients: Sequence[str], rate: float | None) -> None:
    """Bytes per second that each client may write, and read; None: as many as it likes."""
    entry = AlterClientQuotasRequest.EntryData
    rates = ("producer_byte_rate", "consumer_byte_rate")
    ops = [entry.OpData(key=key, value=rate or 0.0, remove=rate is None) for key in rates]
    entities = [[entry.EntityData(entity_type="client-id", entity_name=client)] for client in clients]
    entries = [entry(entity=entity, ops=ops) for entity in entities]
    with _admin(servers) as admin:
        answer = admin._manager.run(
            admin._manager.send, AlterClientQuotasRequest(entries=entries, validate_only=False)
        )
    if any(one.error_code for one in answer.entries):
        raise SystemExit(f"the quota was refused: {answer}")


def _configure(servers: str, topics: Sequence[str], configs: dict[str, str]) -> None:
    with _admin(servers) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs) for topic in topics])


@contextmanager
def _admin(servers: str) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=30_000)
    yield admin
    admin.close()


class _Stalls:
    """Freezes the broker for some seconds, lets it go for some, and so on."""

    def __init__(self, broker: Broker, frozen: float, flowing: float) -> None:
        self._broker, self._frozen, self._flowing = broker, frozen, flowing
        self._over = threading.Event()

    def begin(self) -> None:
        self._over = threading.Event()
        threading.Thread(target=self._stall, args=(self._over,), name="stalls", daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def _stall(self, over: threading.Event) -> None:
        while not over.is_set():
            with _frozen(self._broker):
                over.wait(self._frozen)
            over.wait(self._flowing)


@contextmanager
def _frozen(broker: Broker) -> Iterator[None]:
    broker.freeze()
    try:
        yield
    finally:
        broker.thaw()
