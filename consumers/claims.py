"""Whose a name is, and who has a place in a group.

A name keeps its stream for life: who comes with another one is refused, whether the first runs or rests.
While members run, the group itself refuses (:func:`consumers.clients.input_consumer`), however close together
two deployments start. While nobody runs, the committed offsets say it: each carries the digest of the stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Literal

from kafka import errors as kafka_errors

from consumers.clients import admin_client
from consumers.errors import StreamError
from consumers.settings import Settings

__all__ = ["Holder", "holder", "refuse_another_stream"]

Holder = Literal["nobody", "ourselves", "another", "unsettled"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


def refuse_another_stream(settings: Settings, group: str) -> None:
    """Look at what the groups of this name have committed: all of it must be of our stream.

    Offsets that a person has set carry no digest and count as ours.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    group : str
        Our own; those of both roles are looked at beside it, where we may.

    Raises
    ------
    StreamError
        When one of them has read another stream.
    """
    ours = settings.stream_digest()
    groups = {group, settings.group("sampler"), settings.group("clusterer")}
    for where, topic, digest in _claims(settings, sorted(groups)):
        if digest != ours:
            raise StreamError(
                f"The name {settings.name} belongs to another stream (its topic, format, embedding or "
                f"dimension differ): the group {where} has read {topic}; give this deployment another `name`."
            )


def _claims(settings: Settings, groups: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield group, topic and digest of every committed offset that carries one."""
    with closing(admin_client(settings)) as admin:
        for group in groups:
            # only of the other role's: that of our own group stops us when we join
            with suppress(kafka_errors.GroupAuthorizationFailedError):
                for partition, committed in admin.list_group_offsets(group)[group].items():
                    if _DIGEST.fullmatch(committed.metadata or ""):
                        yield group, partition.topic, committed.metadata


def holder(settings: Settings, group: str, instance_id: str, mark: str) -> Holder:
    """Who has the place of this instance id in the group at the moment: we by our mark, or another.

    While the group is rebalancing it does not tell the marks, and expires nobody.
    """
    with closing(admin_client(settings)) as admin:
        described = admin.describe_groups([group])[group]
    members = [one for one in described["members"] if one["group_instance_id"] == instance_id]
    if not members:
        return "nobody"
    if described["group_state"] != "Stable":
        return "unsettled"
    told = members[0]["member_metadata"].get("user_data")
    return "ourselves" if told in (mark, mark.encode()) else "another"
