"""Faults of processes: killed, frozen beyond their session, joining, leaving, struck at a point."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from chaos.arena import Arena, Hit
from chaos.deck import Card
from chaos.deployment import session_seconds, transaction_seconds
from chaos.fleet import CRASHED, GAVE_WAY, Member
from chaos.pace import scaled
from chaos.surroundings import brokers_ready, kill_node

__all__ = ["strike_at_point", "strike_process"]

_BRIEF = (0.0, 2.0)  # seconds until what was killed starts again
_BEYOND_SESSION = (1.2, 1.7)  # sessions
_TO_END = 30.0
_TO_BE_FENCED = 60.0  # seconds within which a zombie must notice its successor, also while brokers recover
_LOOK_SECONDS = 0.2
_TO_FLOW = 30.0  # seconds for windows to be committed again, before a point can be reached
_TO_REACH = 8.0  # seconds within which a point must be reached


def _beyond_session(arena: Arena) -> float:
    return arena.rng.uniform(*_BEYOND_SESSION) * session_seconds()


def _killed(arena: Arena, member: Member) -> None:
    arena.fleet.kill(member)
    _start_soon(arena, member)


def _zombie(arena: Arena, member: Member) -> None:
    arena.fleet.freeze(member)
    arena.agenda.later(_beyond_session(arena), lambda: arena.fleet.thaw(member))


def _succeeded_zombie(arena: Arena, member: Member) -> None:
    """Another process of the same name starts while the first is stopped: one must go when that wakes."""
    arena.fleet.freeze(member)
    zombie = arena.fleet.divide(member)
    _start_soon(arena, member)

    def wake() -> None:
        arena.fleet.thaw(zombie)
        zombie.expected = {GAVE_WAY}  # after a sentence that says who has taken over
        _must_end(arena, zombie, scaled(_TO_BE_FENCED), f"{zombie.name} goes on though its successor runs")

    arena.agenda.later(_beyond_session(arena), wake)


def _guest(arena: Arena, member: Member) -> None:
    """One more sampler joins the group, and leaves it again."""
    guest = arena.deployment(member.deployment).sampler(f"guest-{len(arena.fleet.members)}")
    guest.passing = True
    arena.fleet.start(guest)
    arena.agenda.later(arena.rng.uniform(5.0, 9.0), lambda: _ask_to_end(arena, guest))


def _leaves(arena: Arena, member: Member) -> None:
    arena.fleet.terminate(member)
    _start_soon(arena, member)


_FAULTS: dict[str, tuple[str, Callable[[Arena, Member], None]]] = {
    "sampler killed": ("sampler", _killed),
    "clusterer killed": ("clusterer", _killed),
    "sampler a zombie": ("sampler", _zombie),
    "clusterer a zombie": ("clusterer", _zombie),
    "zombie with a successor": ("sampler", _succeeded_zombie),
    "sampler joins and leaves": ("sampler", _guest),
    "sampler leaves": ("sampler", _leaves),
    "clusterer leaves": ("clusterer", _leaves),
}


def strike_process(arena: Arena, card: Card) -> Hit | None:
    """Let something happen to a process drawn at random; None when none runs."""
    role, fault = _FAULTS[card.what]
    members = arena.fleet.select(role=role)
    if not members:
        return None
    member, moment = arena.rng.choice(members), time.time()
    fault(arena, member)
    return Hit(member.name, moment, (member.deployment,))


def strike_at_point(arena: Arena, card: Card) -> Hit | None:
    """Wait until a process comes to a point of the loop, and strike there; None when none comes."""
    deployment = arena.rng.choice(arena.deployments).name
    role = arena.rng.choice(("sampler", "sampler", "clusterer"))
    node = 0
    if not arena.agenda.wait(lambda: arena.flowing(deployment), scaled(_TO_FLOW)):
        return None
    if card.what == "broker killed":
        if not brokers_ready(arena):
            return None
        node = arena.brokers.transaction_coordinator(f"{deployment}-clusterer")
    if card.point.endswith("initialise"):
        _begin_anew(arena, deployment, role)
    member = _await(arena, arena.fleet.select(deployment, role), card.point)
    if member is None:
        return None
    moment = time.time()
    _act(arena, card, member, node)
    return Hit(
        f"{member.name} (of node {node})" if card.what == "broker killed" else member.name,
        moment,
        (deployment,),
    )


def _begin_anew(arena: Arena, deployment: str, role: str) -> None:
    """Ids are initialised by a process that starts, or takes over."""
    members = arena.fleet.select(deployment, role)
    if members:
        member = arena.rng.choice(members)
        arena.fleet.kill(member)
        arena.fleet.start(member)


def _await(arena: Arena, members: Sequence[Member], point: str) -> Member | None:
    by_pid = {member.pid: member for member in members}
    arena.director.arm(by_pid, point)
    reached: list[int] = []

    def has_come() -> bool:
        pid = arena.director.reached(point)
        reached.extend([] if pid is None else [pid])
        return bool(reached)

    arena.agenda.wait(has_come, scaled(_TO_REACH))
    arena.director.arm(by_pid, "")
    return by_pid.get(reached[0]) if reached else None


def _act(arena: Arena, card: Card, member: Member, node: int) -> None:
    order = card.what
    if order == "kill":
        member.expected = {-9}
        _start_soon(arena, member)
    elif order == "stop":
        member.frozen = True
        arena.agenda.later(_beyond_session(arena), lambda: arena.fleet.thaw(member))
    elif order == "raise" and card.point.endswith("apply"):
        member.expected = {CRASHED}  # a mistake of our own, which a supervisor answers with another start
        _start_soon(arena, member)
    elif order == "sleep":
        order = f"sleep {arena.rng.choice((1.0, transaction_seconds() + 1))}"
    elif order == "broker killed":
        kill_node(arena, node)
        order = "go"
    arena.director.tell(member.pid, order)


def _start_soon(arena: Arena, member: Member) -> None:
    """Start it again a moment after it has ended."""
    deadline = time.monotonic() + scaled(_TO_END)

    def again() -> None:
        if not member.alive:
            arena.fleet.start(member)
        elif time.monotonic() < deadline:
            arena.agenda.later(0.2, again)
        else:
            arena.find(f"{member.name} did not end within {scaled(_TO_END):.0f} s; see {member.log}")
            arena.fleet.kill(member)
            arena.fleet.start(member)

    arena.agenda.later(arena.rng.uniform(*_BRIEF), again)


def _ask_to_end(arena: Arena, member: Member) -> None:
    arena.fleet.terminate(member)
    _must_end(arena, member, scaled(_TO_END), f"{member.name} did not end when asked to")


def _nobody_learns(arena: Arena, member: Member) -> bool:
    """Whether there are no brokers, or none that coordinates: it is they who say who has taken over."""
    return bool(arena.brokers.down or (arena.brokers.broken() and not arena.flowing(member.deployment)))


def _must_end(arena: Arena, member: Member, seconds: float, sentence: str) -> None:
    process, left = member.process, seconds

    def look() -> None:
        nonlocal left
        if not member.alive or member.process is not process:
            return
        left -= 0.0 if _nobody_learns(arena, member) else _LOOK_SECONDS
        if left > 0:
            arena.agenda.later(_LOOK_SECONDS, look)
            return
        arena.find(f"{sentence} for {seconds:.0f} s; see {member.log}")
        arena.fleet.kill(member)

    look()
