"""One run: the service under fire, fault after fault, then calm, then the checkers' judgement."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.aftermath import calm_down, judge, stop
from chaos.arena import Arena, build
from chaos.deck import Card, deal
from chaos.deployment import PARTITIONS
from chaos.outcome import Fault, Outcome
from chaos.pace import scaled, slowness
from chaos.processes import strike_at_point, strike_process
from chaos.surroundings import mend_brokers, strike_broker, strike_endpoint, strike_network
from chaos.watch import Watch

__all__ = ["Harness"]

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
_HANG_SECONDS = 180.0  # ... which it must within this, or it hangs: what hangs does so for ever
_PATIENCE = 4.0  # seconds for the next window after a fault; then the next fault comes all the same
_PAUSE = (0.1, 0.9)
_POSTPONED = 3  # cards that could not be played when they were dealt wait until there are more


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
            calm_down(arena)
            stop(arena)
            judge(arena, self._watch, self._outcome)
        self._outcome.seconds, self._outcome.slowness = time.monotonic() - began, slowness()
        return self._outcome

    @contextmanager
    def _watched(self, arena: Arena) -> Iterator[Watch]:
        ledgers = {one.settings.topic("windows"): one.name for one in arena.deployments}
        with Watch(arena.brokers.bootstrap_servers, ledgers) as watch:
            yield watch

    def _begin(self) -> None:
        arena = self._arena_now
        arena.agenda.chores += [self._look_after, arena.fleet.weigh, self._mend_brokers]
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

    def _mend_brokers(self) -> None:
        arena = self._arena_now
        if (broken := arena.brokers.broken()) and self._stalled():
            mend_brokers(arena, broken)

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
        unserved = self._watch.unserved(deployment, PARTITIONS, time.time())
        return min(unserved.values()) < scaled(_FLOWS_SECONDS)

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
        if self._stalled():
            self._outwait_stall(fault)

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

    def _stalled(self) -> list[str]:
        limit = scaled(_STALL_SECONDS)
        return [name for name, seconds in self._unserved().items() if seconds > limit]

    def _outwait_stall(self, fault: Fault) -> None:
        """No more faults until every partition is served again; none that is not hangs."""
        arena, unserved = self._arena_now, max(self._unserved().values())
        self._say(f"     {', '.join(self._stalled())} not served: cease fire")
        moment = time.time()
        arena.agenda.finish(scaled(_HANG_SECONDS))
        if arena.agenda.wait(lambda: not self._stalled(), scaled(_HANG_SECONDS)):
            self._outcome.stalls.append(unserved + time.time() - moment)
            return
        stuck = self._stalled()
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
        arena.agenda.wait(lambda: not self._stalled(), scaled(_HANG_SECONDS))
