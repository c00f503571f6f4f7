"""What the brokers allow us, compared with what the service needs; asks only, changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from consumers.connecting import mended_by_a_person
from consumers.errors import BrokerError
from consumers.settings import Settings

__all__ = ["missing_rights"]

Answer = TypeVar("Answer")

_TRIES, _PAUSE_SECONDS = 10, 0.3  # a coordinator that is asked for the first time needs a moment
_NOT_ALLOWED = 29  # error code of a topic that we may not even see


def missing_rights(settings: Settings, admin: Any) -> list[str]:
    """List the rights that both roles together lack, such as ``WRITE on topic coreset``.

    Parameters
    ----------
    settings : Settings
        Names of topics, groups and transactional ids.
    admin : kafka.KafkaAdminClient
        Connected as the user that the service will be.

    Raises
    ------
    BrokerError
        When the brokers do not answer.
    """
    return [*_topics(settings, admin), *_groups(settings, admin), *_transactional_ids(settings, admin)]


def _needed(settings: Settings) -> dict[str, set[str]]:
    both, write = {"READ", "WRITE"}, {"WRITE"}
    ours = {"coreset": write, "windows": both, "statistics": both, "clusters": both, "dead_letters": write}
    needed = {settings.topic(role): rights for role, rights in ours.items()}  # type: ignore[arg-type]
    return {settings.input.topic: {"READ"}, **needed}


def _topics(settings: Settings, admin: Any) -> Iterator[str]:
    needed = _needed(settings)
    for topic in _ask(lambda: admin.describe_topics(list(needed))) or []:
        name, granted = topic["name"], topic.get("authorized_operations")
        if topic["error_code"] == _NOT_ALLOWED:
            granted = []
        elif topic["error_code"] or granted is None:
            continue  # not there: nothing to be granted; or brokers that do not say
        yield from (f"{right} on topic {name}" for right in sorted(needed[name] - set(granted)))


def _groups(settings: Settings, admin: Any) -> Iterator[str]:
    for group in (f"{settings.name}-sampler", f"{settings.name}-clusterer"):
        described = _ask(lambda group=group: admin.describe_groups([group])[group])  # type: ignore[misc]
        granted = None if described is None else described["authorized_operations"]
        refused = described is None or "Authorization" in (described["error"] or "")
        if refused or (granted is not None and "READ" not in granted):
            yield f"READ on group {group}"


def _transactional_ids(settings: Settings, admin: Any) -> Iterator[str]:
    for name in (f"{settings.name}-sampler-{settings.instance}", f"{settings.name}-clusterer"):
        # Only describing does not fence a process that runs; who may write may describe.
        if _ask(lambda name=name: admin.describe_transactions([name])) is None:  # type: ignore[misc]
            yield f"WRITE on transactional id {name}"


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
