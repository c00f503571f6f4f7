"""The demo: everything at once on this machine, the whole loop closed, and what came of it."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from consumers.audit import AuditReport, audit
from consumers.broker import broker_or_environment
from consumers.clients import admin_client
from consumers.demo.data import Events
from consumers.demo.display import Display
from consumers.demo.evaluation import Contest, Window, loss_error_ratio
from consumers.demo.joining import CoresetWindow
from consumers.demo.model import LinearModel
from consumers.demo.replay import create_input, event_numbers, replay
from consumers.demo.report import Report
from consumers.demo.server import LossServer
from consumers.demo.service import SAMPLERS, Service, write_settings
from consumers.demo.trainer import Trainer
from consumers.errors import ServiceError
from consumers.settings import Settings
from consumers.topics import ensure_topics

__all__ = ["Options", "show"]

_TICK_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
_VICTIM = "sampler 1"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    seed: int
    kill: bool
    rate: float


class _Run:
    """The state of one run: the windows so far and the learners."""

    def __init__(self, events: Events, seed: int) -> None:
        self.events, self.contest = events, Contest(seed)
        self.windows: list[Window] = []
        self.done = self.emitted = 0
        self.last_change = time.monotonic()

    def learn(self, arrived: CoresetWindow) -> LinearModel | None:
        """Test and train the coreset's learner on a window."""
        window = self._window(arrived)
        self.windows.append(window)
        self.last_change = time.monotonic()
        self.done += arrived.entry.valid + arrived.entry.dead
        self.emitted += arrived.entry.emitted
        return self.contest.coreset(window)

    def twins(self) -> None:
        """Test and train the other two on the same window."""
        self.contest.twins(self.windows[-1])

    def _window(self, arrived: CoresetWindow) -> Window:
        entry = arrived.entry
        numbers = [n for part in entry.ranges for n in event_numbers(part.partition, part.start, part.end)]
        if len(numbers) != entry.valid:
            raise ServiceError(f"The window {entry.window} has {entry.valid} of {len(numbers)} events.")
        chosen = np.array(numbers, np.int64)
        events = Events(self.events.embeddings[chosen], self.events.labels[chosen])
        return Window(
            events, arrived.sampled, arrived.weights, entry.s, entry.clusters_version, entry.closed_ms
        )


@contextmanager
def _later() -> Iterator[None]:
    """Let an interrupt wait until the end of the block: one within a thread's start leaves half a thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Replay:
    """Sends the events on a thread of its own, as a context manager."""

    def __init__(self, settings: Settings, events: Events, rate: float, sent: Callable[[int], None]) -> None:
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._send = partial(replay, settings, events, rate, self._stop, sent)
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def __enter__(self) -> _Replay:
        try:
            with _later():
                self._thread.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:
            self.failure = error


@dataclass(frozen=True)
class _Parts:
    """Everything that runs beside the service."""

    options: Options
    display: Display
    settings: Settings
    run: _Run
    server: LossServer
    trainer: Trainer

    def progress(self) -> None:
        """Show how far it is."""
        run, accuracy = self.run, self.run.contest.balanced_accuracy()
        self.display.sampled(run.done, len(run.windows), run.emitted, len(self.trainer.history), accuracy)


def show(options: Options, display: Display, events: Events) -> Report:
    """Run the demo.

    Raises
    ------
    ServiceError
        When something does not work on this machine; says what.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-coreset-demo-")))
        servers = stack.enter_context(broker_or_environment(display.say))
        run, server = _Run(events, options.seed), stack.enter_context(LossServer())
        config, settings = write_settings(folder, servers, server.url, server.name, options.seed)
        stack.enter_context(_topics(settings))
        trainer = stack.enter_context(Trainer(settings, server, run.learn, run.twins))
        parts = _Parts(options, display, settings, run, server, trainer)
        with Service(config) as service:
            display.say("Starting two samplers, the clusterer, and a trainer that serves its own losses")
            service.wait_until_ready()
            display.say(f"Replaying {len(events):,} events; 1 % of them go into the coreset")
            seconds = _stream(parts, service)
        display.say("Reading the topics back, to audit them")
        return _report(parts, audit(settings), seconds)


def _stream(parts: _Parts, service: Service) -> float:
    """Replay all events and wait until they are in the ledger; returns the seconds that took."""
    run, options = parts.run, parts.options
    kill_at = 0.4 * len(run.events) if options.kill else math.inf
    began = time.monotonic()
    with _Replay(parts.settings, run.events, options.rate, parts.display.sent) as replaying:
        while run.done < len(run.events):
            _check(parts, service, replaying)
            if run.done >= kill_at:
                kill_at = math.inf
                _kill(service, parts.display)
            parts.progress()
            time.sleep(_TICK_SECONDS)
    parts.progress()
    return time.monotonic() - began


def _check(parts: _Parts, service: Service, replaying: _Replay) -> None:
    service.check()
    for failure in (parts.trainer.failure, replaying.failure):
        if failure is not None:
            raise failure
    if time.monotonic() - parts.run.last_change > _PATIENCE_SECONDS:
        raise ServiceError(f"Nothing has come out of the service for {_PATIENCE_SECONDS:.0f} s.")


def _kill(service: Service, display: Display) -> None:
    display.say(f"[bold]Killed {_VICTIM} with SIGKILL in mid-stream[/]")
    service.kill(_VICTIM)
    time.sleep(1.0)
    service.start(_VICTIM)
    display.say(f"Started {_VICTIM} again")


def _report(parts: _Parts, audited: AuditReport, seconds: float) -> Report:
    run = parts.run
    return Report(
        examples=run.done,
        emitted=run.emitted,
        windows=len(run.windows),
        weight_z=audited.weight_z,
        loss_error_ratio=loss_error_ratio(run.windows, parts.trainer.history),
        balanced_accuracy=dict(run.contest.balanced_accuracy()),
        queries=parts.server.queries,
        seed=parts.options.seed,
        events_per_second=run.done / seconds,
        violations=audited.violations,
    )


@contextmanager
def _topics(settings: Settings) -> Iterator[None]:
    """Create the topics; on a broker of one's own, delete them at the end with the groups that read them."""
    create_input(settings)
    for _ in ensure_topics(settings):
        pass
    try:
        yield
    finally:
        if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
            with suppress(KafkaError):
                _delete(settings)


def _delete(settings: Settings) -> None:
    with closing(admin_client(settings)) as admin:
        admin.delete_topics([settings.input.topic, *map(settings.topic, settings.roles)])
        # samplers are static members, which a group keeps for a while after they have stopped
        group = f"{settings.name}-sampler"
        members = [MemberToRemove(group_instance_id=f"{group}-{instance}") for instance in SAMPLERS]
        admin.remove_group_members(group, members)
        admin.delete_groups([group, f"{settings.name}-clusterer"])
