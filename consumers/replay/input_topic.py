"""What the input topic takes back: its partitions, its largest message, how old a message may be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType

from consumers.clients import admin_client
from consumers.errors import BrokerError, TopicError
from consumers.replay.judge import InputTopic
from consumers.rights import missing_rights
from consumers.settings import Settings

__all__ = ["look_at_input"]

_AGE = ("cleanup.policy", "message.timestamp.type", "retention.ms", "message.timestamp.before.max.ms")
_SIZE = "max.message.bytes"


def look_at_input(settings: Settings) -> InputTopic:
    """Ask the brokers, also whether they grant us all that a replay needs.

    Raises
    ------
    TopicError
        When there is no such topic.
    BrokerError
        When we lack rights; names each.
    """
    name = settings.input.topic
    with closing(admin_client(settings)) as admin:
        missing = missing_rights(settings, admin, "replay")
        if missing:
            raise BrokerError(
                f"The brokers do not grant us: {', '.join(map(str, missing))}; the commands that do: "
                "stream-coreset rights --part replay"
            )
        found = admin.describe_topics([name])
        if not found or found[0]["error_code"]:
            raise TopicError(f"There is no topic {name}, the input, or we lack the right to see it.")
        configs = _configs(admin, name)
    largest = int(configs[_SIZE]) if _SIZE in configs else None
    return InputTopic(name, len(found[0]["partitions"]), largest, _oldest(configs))


def _configs(admin: Any, topic: str) -> dict[str, str]:
    wanted = dict.fromkeys((*_AGE, _SIZE))
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=wanted)
    entries = admin.describe_configs([resource], config_filter="all")["topic"][topic] or {}
    return {name: str(entry["value"]) for name, entry in entries.items()}


def _oldest(configs: Mapping[str, str]) -> int | None:
    """The oldest time of a message, in milliseconds since 1970, that is neither refused nor deleted."""
    if not set(_AGE) <= configs.keys() or configs["message.timestamp.type"] == "LogAppendTime":
        return None
    retention = int(configs["retention.ms"]) if "delete" in configs["cleanup.policy"] else -1
    ages = [age for age in (retention, int(configs["message.timestamp.before.max.ms"])) if age >= 0]
    return max(0, time.time_ns() // 1_000_000 - min(ages)) if ages else None
