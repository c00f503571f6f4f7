"""One run: the service under fire, fault after fault, then calm, then the checkers' judgement."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.arena import Arena, Hit, build
from chaos.checker import Report
from chaos.deck import Card, deal
from chaos.deployment import PARTITIONS
from chaos.pace import scaled, slowness
from chaos.processes import strike_at_point, strike_process
from chaos.surroundings import strike_broker, strike_endpoint, strike_network
from chaos.watch import Watch

__all__ = ["Fault", "Harness", "Outcome"]

_STRIKES = {
    "process": strike_process,
    "broker": strike_broker,
    "network": strike_network,
    "endpoint": strike_endpoint,
    "point": strike_at_point,
}
_BEGIN_SECONDS = 60.0  # within which every partition must be served at first
_FLOWS_SECONDS = 1.5  # since the last window was committed
_STALL_SECONDS = 40.0  # unserved for so long under fire: no more faults until it flows again ...
_HANG_SECONDS = 60.0  # ... which it must within this, or it hangs
_END_SECONDS = 60.0  # within which everything produced must be processed
_STOP_SECONDS = 15.0
_CHECK_SECONDS = 120.0
_PATIENCE = 4.0  # seconds for the next window after a fault; then the next fault comes all the same
_PAUSE = (0.1, 0.9)
_POSTPONED = 3  # cards that could not be played when they were dealt wait until there are more
_SWALLOWED_LIMIT = (
    64_000_000  # bytes of an endless answer: the client's limit is 1 MB, the rest lies in buffers
)


@dataclass(frozen=True)
class Fault:
    """A fault that happened."""

    number: int
    card: Card
    hit: Hit


@dataclass
class Outcome:
    """What a run comes to."""

    faults: list[Fault] = field(default_factory=list)
    next_window: dict[int, float] = field(default_factory=dict)  # seconds, by the number of the fault
    all_served: dict[int, float] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    examples: int = 0
    restarts: int = 0
    losses: int = 0
    swallowed: int = 0
    peak_mb: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    slowness: float = 1.0
    interrupted: bool = False


class Harness:
    """Runs the service under fire.

    Parameters
    ----------
    faults : int
        How many.
    seed : int
        Draws the faults; timing is not repeated.
    nodes : int
        Of the brokers, 1 or 3.
    directory : Path
        For logs, settings and the brokers' data.
    say : callable
        Told what happens, in lines.
    note : callable
        Given every fault.
    """

    def __init__(
        self,
        faults: int,
        seed: int,
        nodes: int,
        directory: Path,
        say: Callable[[str], None],
        note: Callable[[Fault], None] = lambda fault: None,
    ) -> None:
        self._count = faults
        self._rng = random.Random(seed)
        self._nodes = nodes
        self._directory = directory
        self._say = say
        self._note = note
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Run, and judge; an interrupt ends the faults, not the judgement."""
        began = time.monotonic()
        with (
            build(self._nodes, self._directory, self._rng, self._say) as arena,
            self._watched(arena) as self._watch,
        ):
            self._arena_now = arena
            try:
                self._begin()
                self._fire()
            except KeyboardInterrupt:
                self._say("interrupted: calming down, then checking")
                self._outcome.interrupted = True
            self._calm_down()
            self._stop()
            self._judge()
        self._outcome.seconds, self._outcome.slowness = time.monotonic() - began, slowness()
        return self._outcome

    @contextmanager
    def _watched(self, arena: Arena) -> Iterator[Watch]:
        ledgers = {one.settings.topic("windows"): one.name for one in arena.deployments}
        with Watch(arena.brokers.bootstrap_servers, ledgers) as watch:
            yield watch

    def _begin(self) -> None:
        arena = self._arena_now
        arena.agenda.chores += [self._look_after, arena.fleet.weigh]
        arena.flowing = self._flowing
        for one in arena.deployments:
            one.checker.start()
            one.producer.start()
            for member in one.members():
                arena.fleet.start(member)
        moment = time.time()
        if not arena.agenda.wait(lambda: self._all_served(moment), scaled(_BEGIN_SECONDS)):
            arena.find(f"not every partition was served within {scaled(_BEGIN_SECONDS):.0f} s of the start")
        self._say(f"every partition is served {time.time() - moment:.1f} s after the start; open fire")

    def _all_served(self, moment: float) -> bool:
        return all(
            self._watch.all_served(one.name, moment, PARTITIONS) is not None
            for one in self._arena_now.deployments
        )

    def _look_after(self) -> None:
        """Note ends that nobody asked for, and start again what ended so, as a supervisor would."""
        arena = self._arena_now
        for member, code, expected in arena.fleet.ended():
            if expected:
                continue
            arena.find(f"{member.name} ended by itself with code {code}: {member.last_words()}")
            if not member.passing:
                arena.agenda.later(1.0, lambda member=member: member.alive or arena.fleet.start(member))

    def _fire(self) -> None:
        cards, again = deal(self._rng), deque[Card]()
        while len(self._outcome.faults) < self._count:
            card = again.popleft() if len(again) > _POSTPONED else next(cards)
            hit = _STRIKES[card.family](self._arena_now, card)
            if hit is None:
                self._say(f"     {card.kind}: not now, later")
                again.append(card)
                continue
            fault = Fault(len(self._outcome.faults) + 1, card, hit)
            self._outcome.faults.append(fault)
            self._note(fault)
            self._let_flow(fault)

    def _flowing(self, deployment: str) -> bool:
        return min(self._watch.unserved(deployment, PARTITIONS, time.time()).values()) < scaled(
            _FLOWS_SECONDS
        )

    def _let_flow(self, fault: Fault) -> None:
        """A short pause, and a chance for a window; a stall ends the fire until it flows again."""
        arena = self._arena_now
        arena.agenda.wait(lambda: False, self._rng.uniform(*_PAUSE))
        arena.agenda.wait(lambda: self._flowed(fault), scaled(_PATIENCE))
        if self._nodes == 1:  # nothing can happen to processes that wait for their only broker
            arena.agenda.wait(lambda: not arena.brokers.down, scaled(_STALL_SECONDS))
        unserved = self._unserved()
        self._say(
            f"{fault.number:4} {fault.card.kind} -> {fault.hit.target}"
            f" | {len(self._watch.served)} windows, unserved for at most {max(unserved.values()):.1f} s"
        )
        if max(unserved.values()) > scaled(_STALL_SECONDS):
            self._outwait_stall(fault, unserved)

    def _flowed(self, fault: Fault) -> bool:
        return all(
            self._watch.next_window(name, fault.hit.moment) is not None for name in fault.hit.deployments
        )

    def _unserved(self) -> dict[str, float]:
        now = time.time()
        return {
            f"{one.name}/{partition}": seconds
            for one in self._arena_now.deployments
            for partition, seconds in self._watch.unserved(one.name, PARTITIONS, now).items()
        }

    def _outwait_stall(self, fault: Fault, unserved: dict[str, float]) -> None:
        arena = self._arena_now
        where = ", ".join(name for name, seconds in unserved.items() if seconds > scaled(_STALL_SECONDS))
        self._say(f"     {where} unserved for more than {scaled(_STALL_SECONDS):.0f} s: cease fire")
        moment = time.time()
        arena.agenda.finish(scaled(_HANG_SECONDS))
        if arena.agenda.wait(
            lambda: max(self._unserved().values()) < scaled(_STALL_SECONDS), scaled(_HANG_SECONDS)
        ):
            self._outcome.stalls.append(max(unserved.values()) + time.time() - moment)
            return
        stuck = [name for name, seconds in self._unserved().items() if seconds > scaled(_STALL_SECONDS)]
        arena.find(
            f"{', '.join(stuck)} hung: not served for {max(self._unserved().values()):.0f} s although the "
            f"faults had ended, the last one being {fault.number} ({fault.card.kind} -> {fault.hit.target})"
        )
        for name in {name.partition("/")[0] for name in stuck}:
            arena.fleet.dump_stacks(name)
            time.sleep(1)
            for member in arena.fleet.select(name):
                arena.fleet.kill(member)
                arena.fleet.start(member)
        arena.agenda.wait(
            lambda: max(self._unserved().values()) < scaled(_STALL_SECONDS), scaled(_HANG_SECONDS)
        )

    def _calm_down(self) -> None:
        arena = self._arena_now
        if not arena.agenda.finish(scaled(_HANG_SECONDS)):
            arena.find("the harness itself failed: a fault did not end")
        arena.proxy.heal()
        arena.endpoint.ailment = None
        for one in arena.deployments:
            one.producer.stop()
            self._outcome.examples += one.producer.examples
        self._say("the last fault has ended, nothing more is produced; waiting for the rest to be processed")
        began = time.monotonic()
        left: dict[str, int] = {}

        def done() -> bool:
            left.clear()
            left.update({k: v for one in arena.deployments for k, v in one.behind().items()})
            return not left

        if not arena.agenda.wait(done, scaled(_END_SECONDS)):
            arena.find(f"not processed within {scaled(_END_SECONDS):.0f} s of the end: {left}")
            for one in arena.deployments:
                arena.fleet.dump_stacks(one.name)
            time.sleep(1)
        self._say(f"everything is processed {time.monotonic() - began:.1f} s later")

    def _stop(self) -> None:
        """Ask every process to end, as an orchestrator does."""
        arena = self._arena_now
        for member in list(arena.fleet.members):
            arena.fleet.terminate(member)
        if not arena.agenda.wait(
            lambda: not any(one.alive for one in arena.fleet.members), scaled(_STOP_SECONDS)
        ):
            late = [member.name for member in arena.fleet.members if member.alive]
            arena.find(f"did not end within {scaled(_STOP_SECONDS):.0f} s of SIGTERM: {', '.join(late)}")

    def _judge(self) -> None:
        arena, outcome = self._arena_now, self._outcome
        for one in arena.deployments:
            report = one.checker.finish(scaled(_CHECK_SECONDS))
            outcome.reports[one.name] = report
            arena.findings += [f"{one.name}: {finding}" for finding in report.findings]
        if arena.endpoint.swallowed > _SWALLOWED_LIMIT:
            arena.find(f"a client took {arena.endpoint.swallowed:,} bytes of an answer without end")
        outcome.findings = arena.findings
        outcome.losses, outcome.swallowed = arena.endpoint.answered, arena.endpoint.swallowed
        outcome.restarts = sum(member.starts - 1 for member in arena.fleet.members)
        for member in arena.fleet.members:
            peak = outcome.peak_mb.get(member.role, 0.0)
            outcome.peak_mb[member.role] = max(peak, member.peak_mb)
        self._recoveries()

    def _recoveries(self) -> None:
        for fault in self._outcome.faults:
            hit = fault.hit
            first = [self._watch.next_window(name, hit.moment) for name in hit.deployments]
            every = [self._watch.all_served(name, hit.moment, PARTITIONS) for name in hit.deployments]
            if None not in first:
                self._outcome.next_window[fault.number] = max(x for x in first if x is not None)
            if None not in every:
                self._outcome.all_served[fault.number] = max(x for x in every if x is not None)
