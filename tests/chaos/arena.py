"""Everything that a fault can lay hands on, and the clock by which faults end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.brokers import Brokers
from chaos.deployment import PARTITIONS, Deployment, deployments
from chaos.director import Director
from chaos.endpoint import Endpoint
from chaos.fleet import Fleet
from chaos.proxy import Proxy

from consumers.broker.jars import Progress
from consumers.topics import ensure_topics

__all__ = ["Agenda", "Arena", "Hit", "build"]

_TICK = 0.05


class Agenda:
    """What is to be done later; the caller's waiting does it."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.chores: list[Callable[[], None]] = []  # done at every tick

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do."""
        return not self._due

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something after some seconds."""
        self._due.append((time.monotonic() + seconds, what))

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so, for some seconds at most; whether it is."""
        deadline = time.monotonic() + seconds
        while True:
            self._turn()
            if until():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_TICK)

    def finish(self, seconds: float) -> bool:
        """Wait until everything is done."""
        return self.wait(lambda: self.empty, seconds)

    def _turn(self) -> None:
        now = time.monotonic()
        ready = sorted((one for one in self._due if one[0] <= now), key=lambda one: one[0])
        self._due = [one for one in self._due if one[0] > now]
        for _, what in ready:
            what()
        for chore in self.chores:
            chore()


@dataclass(frozen=True)
class Hit:
    """What a fault has done: to whom, when (seconds of the clock), and which deployments must feel it."""

    target: str
    moment: float
    deployments: tuple[str, ...]


@dataclass
class Arena:
    """The service under fire and its surroundings."""

    rng: random.Random
    brokers: Brokers
    proxy: Proxy
    endpoint: Endpoint
    director: Director
    fleet: Fleet
    deployments: list[Deployment]
    say: Progress
    agenda: Agenda = field(default_factory=Agenda)
    flowing: Callable[[str], bool] = lambda deployment: True  # whether its windows are being committed
    findings: list[str] = field(default_factory=list)

    def find(self, sentence: str) -> None:
        """Note something that the service must not do."""
        self.findings.append(sentence)
        self.say(f"FOUND: {sentence}")

    def everywhere(self, target: str) -> Hit:
        """A fault just now that both deployments feel."""
        return Hit(target, time.time(), tuple(one.name for one in self.deployments))

    def deployment(self, name: str) -> Deployment:
        """The deployment of that name."""
        return next(one for one in self.deployments if one.name == name)


@contextmanager
def build(nodes: int, directory: Path, rng: random.Random, say: Progress) -> Iterator[Arena]:
    """Everything up, but for the service, its streams and their checkers."""
    brokers = Brokers(nodes, directory / "brokers", say)
    with brokers, Proxy(brokers.routes, rng) as proxy, Endpoint() as endpoint, Director() as director:
        both = deployments(brokers, endpoint.url, directory)
        brokers.create([one.settings.input.topic for one in both], PARTITIONS)
        for one in both:
            ensure_topics(one.settings)
        fleet = Fleet(director.address)
        try:
            yield Arena(rng, brokers, proxy, endpoint, director, fleet, both, say)
        finally:
            fleet.end()
