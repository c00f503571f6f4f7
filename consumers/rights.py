"""The least rights (ACLs) that each part of the service needs, and which of them the brokers do not grant."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeVar, get_args

from consumers.connecting import mended_by_a_person
from consumers.errors import BrokerError
from consumers.settings import ROLES, Settings

__all__ = ["PARTS", "Part", "Right", "acl_commands", "missing_rights", "rights_of"]

Answer = TypeVar("Answer")
Part = Literal["sampler", "clusterer", "topics", "audit", "explain", "replay", "check", "shadow", "trainer"]
PARTS: tuple[Part, ...] = get_args(Part)
Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
Kind = Literal["topic", "group", "transactional id"]
Needs = tuple[tuple[Operation, Kind, tuple[str, ...]], ...]

_TRIES, _PAUSE_SECONDS = 10, 0.3  # a coordinator that is asked for the first time needs a moment
_NOT_ALLOWED = 29  # error code of a topic that we may not even see

# READ and WRITE let their holder DESCRIBE as well. Samplers share the rights of their group, whatever their
# instances are called.
_SAMPLER: Needs = (
    ("READ", "topic", ("input", "windows", "clusters")),
    ("WRITE", "topic", ("coreset", "windows", "statistics", "dead_letters")),
    ("READ", "group", ("sampler",)),
    ("WRITE", "transactional id", ("sampler-*",)),
)
_CLUSTERER: Needs = (
    ("READ", "topic", ("statistics", "clusters")),
    ("WRITE", "topic", ("clusters",)),
    ("READ", "group", ("clusterer",)),
    ("WRITE", "transactional id", ("clusterer",)),
)
_NEEDS: Mapping[Part, Needs] = {
    "sampler": _SAMPLER,
    "clusterer": _CLUSTERER,
    "topics": (
        ("CREATE", "topic", ROLES),
        ("DESCRIBE", "topic", ("input", *ROLES)),
        ("DESCRIBE_CONFIGS", "topic", ROLES),
    ),
    "audit": (
        ("READ", "topic", ("input", "coreset", "windows", "clusters", "dead_letters")),
        ("DESCRIBE", "group", ("sampler",)),
        ("DESCRIBE", "transactional id", ("clusterer",)),
        ("DESCRIBE", "transactional id", ("sampler-*",)),
    ),
    "explain": (("READ", "topic", ("input", "coreset", "windows", "clusters", "dead_letters")),),
    "replay": (
        ("READ", "topic", ("dead_letters", "input")),
        ("WRITE", "topic", ("dead_letters", "input")),
        ("DESCRIBE_CONFIGS", "topic", ("input",)),
        ("WRITE", "transactional id", ("replay",)),
    ),
    "check": (*_SAMPLER, *_CLUSTERER, ("DESCRIBE_CONFIGS", "topic", ROLES)),
    "shadow": (("READ", "topic", ("input",)),),
    "trainer": (("READ", "topic", ("coreset",)),),  # and READ on a group of its own
}
# What is added where losses come back.
_RETURNED: Needs = (
    ("READ", "topic", ("coreset", "windows", "feedback")),
    ("WRITE", "topic", ("estimates",)),
)
_NEEDS_OF_FEEDBACK: Mapping[Part, Needs] = {
    "clusterer": _RETURNED,
    "topics": tuple((how, "topic", ("estimates",)) for how in ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS")),
    "check": (*_RETURNED, ("DESCRIBE_CONFIGS", "topic", ("estimates",))),
    "shadow": (("READ", "topic", ("feedback",)),),
    "trainer": (("WRITE", "topic", ("feedback",)),),
}


@dataclass(frozen=True)
class Right:
    """One operation on one resource.

    Attributes
    ----------
    operation : str
        As the brokers call it.
    kind : str
        Of the resource: topic, group or transactional id.
    name : str
    prefixed : bool
        Whether it is meant for every resource whose name begins so.
    """

    operation: Operation
    kind: Kind
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind} {self.name}{'*' * self.prefixed}"


def rights_of(settings: Settings, *parts: Part) -> list[Right]:
    """The least rights that suffice for these parts of the service together, each once."""
    needed = (
        Right(operation, kind, _named(settings, kind, name).removesuffix("*"), name.endswith("*"))
        for part in parts
        for operation, kind, names in _needs(settings, part)
        for name in names
    )
    return list(dict.fromkeys(needed))


def _needs(settings: Settings, part: Part) -> Needs:
    more = () if settings.feedback.topic is None else _NEEDS_OF_FEEDBACK.get(part, ())
    return (*_NEEDS[part], *more)


def _named(settings: Settings, kind: Kind, name: str) -> str:
    if kind != "topic":
        return f"{settings.name}-{name}"
    theirs = {"input": settings.input.topic, "feedback": settings.feedback.topic}
    return theirs.get(name) or settings.topic(name)  # type: ignore[arg-type]


def acl_commands(settings: Settings, part: Part, principal: str) -> Iterator[str]:
    """Yield the commands by which an administrator grants a part its rights."""
    where = ["--bootstrap-server", settings.kafka.bootstrap_servers, "--command-config", "admin.properties"]
    for (operation, kind, prefixed), alike in groupby(rights_of(settings, part), _alike):
        resources = [word for one in alike for word in (f"--{kind.replace(' ', '-')}", one.name)]
        pattern = ["--resource-pattern-type", "prefixed"] if prefixed else []
        what = ["--operation", operation.title().replace("_", ""), *resources, *pattern]
        yield shlex.join(["kafka-acls", *where, "--add", "--allow-principal", principal, *what])


def _alike(right: Right) -> tuple[Operation, Kind, bool]:
    """What one command has in common."""
    return right.operation, right.kind, right.prefixed


def missing_rights(settings: Settings, admin: Any, *parts: Part) -> list[Right]:
    """List the rights that parts of the service lack; asks only, changes nothing.

    Of a topic that is not there nothing can be asked. Of a transactional id only the right to DESCRIBE can,
    without fencing a process that runs; who may WRITE may describe.

    Parameters
    ----------
    settings : Settings
        Names of topics, groups and transactional ids.
    admin : kafka.KafkaAdminClient
        Connected as the user that the service will be.
    *parts : str
        As in `PARTS`.

    Raises
    ------
    BrokerError
        When the brokers do not answer.
    """
    needed = rights_of(settings, *parts)
    denied = _denied_on_topics(admin, needed)
    return [right for right in needed if right in denied or _denies(settings, admin, right)]


def _denied_on_topics(admin: Any, needed: list[Right]) -> set[Right]:
    wanted, denied = [one for one in needed if one.kind == "topic"], set[Right]()
    for topic in _ask(lambda: admin.describe_topics(sorted({one.name for one in wanted}))) or []:
        granted = topic.get("authorized_operations")
        if topic["error_code"] == _NOT_ALLOWED:
            granted = []
        elif topic["error_code"] or granted is None:
            continue  # not there: nothing to be granted; or brokers that do not say
        denied |= {one for one in wanted if one.name == topic["name"] and one.operation not in granted}
    return denied


def _denies(settings: Settings, admin: Any, right: Right) -> bool:
    if right.kind == "group":
        described = _ask(lambda: admin.describe_groups([right.name])[right.name])
        if described is None or "Authorization" in (described["error"] or ""):
            return True
        granted = described["authorized_operations"]
        return granted is not None and right.operation not in granted
    if right.kind == "transactional id":
        name = right.name + settings.instance * right.prefixed
        return _ask(lambda: admin.describe_transactions([name])) is None
    return False


def _ask(question: Callable[[], Answer]) -> Answer | None:
    """Ask until there is an answer; None where we are not allowed to."""
    for _ in range(_TRIES):
        try:
            return question()
        except Exception as error:
            if "NotFound" in type(error).__name__:
                return {}  # type: ignore[return-value]  # allowed to know that there is none
            if mended_by_a_person(error) is not None:
                return None
            last = error
        time.sleep(_PAUSE_SECONDS)
    raise BrokerError(f"The brokers do not answer what we are allowed to do: {last!r}.")
