"""Faults around the service: its brokers, the connections to them, the model endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from chaos.arena import Arena, Hit
from chaos.deck import Card
from chaos.deployment import PARTITIONS
from chaos.pace import scaled

from consumers.errors import BrokerError

__all__ = ["brokers_ready", "kill_node", "mend_brokers", "strike_broker", "strike_endpoint", "strike_network"]

_DOWN = (0.5, 3.0)  # seconds until a killed node starts again
_FROZEN = (2.0, 6.0)
_TROUBLED = (2.0, 6.0)
_AILING = (2.0, 4.0)
_WHOLE_SECONDS = 60.0


def brokers_ready(arena: Arena) -> bool:
    """Wait until every node runs with every replica in sync: two outages at once are the test's doing."""
    seconds = scaled(_WHOLE_SECONDS)
    if arena.agenda.wait(arena.brokers.whole, seconds):
        return True
    arena.find(f"the brokers were not whole again within {seconds:.0f} s: the run says less than it should")
    return False


def kill_node(arena: Arena, node: int) -> None:
    """Kill a node, and start it again on its disk a moment later."""
    arena.brokers.kill(node)

    def restart() -> None:
        began = time.monotonic()
        try:
            arena.brokers.restart(node)
        except BrokerError as error:
            arena.find(f"the harness itself failed: {error}")
        else:
            arena.say(f"     node {node} is back, {time.monotonic() - began:.1f} s after its restart")

    arena.agenda.later(arena.rng.uniform(*_DOWN), threading.Thread(target=restart, daemon=True).start)


def mend_brokers(arena: Arena, broken: Iterable[int]) -> None:
    """Start nodes again that run and do not serve, as an operator does."""
    for node in broken:
        arena.say(f"     node {node} runs, but refuses to coordinate (a defect of Apache Kafka): once more")
        arena.brokers.mended += 1
        kill_node(arena, node)


def strike_broker(arena: Arena, card: Card) -> Hit | None:
    """Kill a node, or let it stand still; None when the brokers have not recovered from the last time."""
    if not brokers_ready(arena):
        return None
    node = _aim(arena, card.what)
    hit = arena.everywhere(f"node {node}")
    if card.what == "node frozen":
        arena.brokers.freeze(node)
        arena.agenda.later(arena.rng.uniform(*_FROZEN), lambda: arena.brokers.thaw(node))
    else:
        kill_node(arena, node)
    return hit


def _aim(arena: Arena, what: str) -> int:
    name = arena.rng.choice(arena.deployments).name
    role = arena.rng.choice(("sampler", "clusterer"))
    if what == "group coordinator killed":
        return arena.brokers.group_coordinator(f"{name}-{role}")
    if what == "transaction coordinator killed":
        suffix = "-0" if role == "sampler" else ""
        return arena.brokers.transaction_coordinator(f"{name}-{role}{suffix}")
    if what == "leader killed":
        topic, partitions = arena.rng.choice(
            [("examples", PARTITIONS), ("coreset", PARTITIONS), ("windows", 1)]
        )
        return arena.brokers.leader(f"{name}-{topic}", arena.rng.randrange(partitions))
    return arena.rng.randint(1, arena.brokers.count)


def strike_network(arena: Arena, card: Card) -> Hit:
    """Trouble some or all of the connections between the service and the brokers."""
    share = arena.rng.choice((0.3, 1.0))
    hit = arena.everywhere(f"{share:.0%} of the connections")
    arena.proxy.strike(card.what, share)  # type: ignore[arg-type]
    arena.agenda.later(arena.rng.uniform(*_TROUBLED), arena.proxy.heal)
    return hit


def strike_endpoint(arena: Arena, card: Card) -> Hit:
    """Let the model endpoint ail for a while."""
    hit = arena.everywhere("the endpoint")
    arena.endpoint.ailment = card.what  # type: ignore[assignment]

    def recover() -> None:
        if arena.endpoint.ailment == card.what:
            arena.endpoint.ailment = None

    arena.agenda.later(arena.rng.uniform(*_AILING), recover)
    return hit
