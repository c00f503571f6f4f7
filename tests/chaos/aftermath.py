"""After the last fault: everything is processed, everybody ends when asked to, and the checkers judge."""

from __future__ import annotations

import time

from chaos.arena import Arena
from chaos.deployment import PARTITIONS
from chaos.outcome import Outcome
from chaos.pace import scaled
from chaos.watch import Watch

__all__ = ["calm_down", "judge", "stop"]

_HEAL_SECONDS = 60.0
_END_SECONDS = 180.0  # within which everything produced must be processed
_STOP_SECONDS = 20.0
_CHECK_SECONDS = 120.0
_SWALLOWED_LIMIT = 64_000_000  # bytes of an endless answer: the client's limit is 1 MB, buffers hold the rest


def calm_down(arena: Arena) -> None:
    """Wait until the faults have ended, stop the producers, and wait until all they sent is processed."""
    if not arena.agenda.finish(scaled(_HEAL_SECONDS)):
        arena.find("the harness itself failed: a fault did not end")
    arena.proxy.heal()
    arena.endpoint.ailment = None
    for one in arena.deployments:
        one.producer.stop()
    arena.say("the faults have ended, nothing more is produced; waiting for the rest to be processed")
    began, left = time.monotonic(), dict[str, int]()

    def done() -> bool:
        left.clear()
        for one in arena.deployments:
            left.update(one.behind())
        return not left

    if arena.agenda.wait(done, scaled(_END_SECONDS)):
        arena.say(f"everything is processed {time.monotonic() - began:.1f} s later")
        return
    arena.find(f"hung: not processed {scaled(_END_SECONDS):.0f} s after the faults had ended: {left}")
    for one in arena.deployments:
        arena.fleet.dump_stacks(one.name)
    time.sleep(1)


def stop(arena: Arena) -> None:
    """Ask every process to end, as an orchestrator does."""
    for member in list(arena.fleet.members):
        arena.fleet.terminate(member)
    seconds = scaled(_STOP_SECONDS)
    if not arena.agenda.wait(lambda: not any(one.alive for one in arena.fleet.members), seconds):
        late = [member.name for member in arena.fleet.members if member.alive]
        arena.find(f"did not end within {seconds:.0f} s of SIGTERM: {', '.join(late)}")


def judge(arena: Arena, watch: Watch, outcome: Outcome) -> None:
    """Let the checkers judge, and gather everything into the outcome."""
    for one in arena.deployments:
        report = one.checker.finish(scaled(_CHECK_SECONDS))
        outcome.reports[one.name] = report
        outcome.examples += one.producer.examples
        for finding in report.findings:
            arena.find(f"{one.name}: {finding}")
    if arena.endpoint.swallowed > _SWALLOWED_LIMIT:
        arena.find(f"a client took {arena.endpoint.swallowed:,} bytes of an answer without end")
    outcome.findings = arena.findings
    outcome.losses, outcome.swallowed = arena.endpoint.answered, arena.endpoint.swallowed
    outcome.mended = arena.brokers.mended
    outcome.restarts = sum(member.starts - 1 for member in arena.fleet.members)
    for member in arena.fleet.members:
        outcome.peak_mb[member.role] = max(outcome.peak_mb.get(member.role, 0.0), member.peak_mb)
    _measure(outcome, watch)


def _measure(outcome: Outcome, watch: Watch) -> None:
    """How soon each fault was overcome, in the deployments that felt it."""
    for fault in outcome.faults:
        names, moment = fault.hit.deployments, fault.hit.moment
        first = [watch.next_window(name, moment) for name in names]
        every = [watch.all_served(name, moment, PARTITIONS) for name in names]
        for found, kept in ((first, outcome.next_window), (every, outcome.all_served)):
            seconds = [one for one in found if one is not None]
            if len(seconds) == len(names):
                kept[fault.number] = max(seconds)
