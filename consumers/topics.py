"""The topics of the service: what each must be like, creating them, and saying what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from consumers.clients import admin_client
from consumers.connecting import mended_by_a_person
from consumers.cutter import largest_coreset_message
from consumers.errors import BrokerError, TopicError
from consumers.settings import Settings

__all__ = ["TopicPlan", "ensure_topics", "planned", "verify_topics"]

_FRAMING = 4_096  # of a record batch around one large message
_NOT_ALLOWED = 29  # error code of a topic that we may not even see
_HOUR_MS = 3_600_000
_LEDGER_TIMES = 10  # the ledger is kept that many times as long as what it accounts for
_RECORD_BYTES = 1_048_588  # Kafka's own default, and more than any record of ours
_STATISTICS_HOURS = 1


@dataclass(frozen=True)
class TopicPlan:
    """What a topic of ours must be like.

    Attributes
    ----------
    name : str
    partitions : int
    configs : mapping
        What we create it with.
    exactly : mapping
        The part of these that our promises rest on.
    least : mapping
        Settings that must be at least this much.
    """

    name: str
    partitions: int
    configs: Mapping[str, str]
    exactly: Mapping[str, str] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)


def planned(settings: Settings, input_partitions: int) -> list[TopicPlan]:
    """The topics that the settings ask for; by default the coreset has as many partitions as the input."""
    hours = settings.topics.retention_hours
    largest = max(_RECORD_BYTES, largest_coreset_message(settings) + _FRAMING)
    partitions = settings.topics.coreset_partitions or input_partitions
    long = _LEDGER_TIMES * hours
    plans = [
        _kept(settings.topic("coreset"), partitions, hours, largest),
        _kept(settings.topic("windows"), 1, long, _RECORD_BYTES),
        _kept(settings.topic("dead_letters"), 1, hours, _RECORD_BYTES),
        _kept(settings.topic("statistics"), 1, _STATISTICS_HOURS, _RECORD_BYTES),
        _compacted(settings.topic("clusters")),
    ]
    if settings.feedback.topic is not None:
        plans.append(_kept(settings.topic("estimates"), 1, long, _RECORD_BYTES))
    return plans


def ensure_topics(settings: Settings) -> list[str]:
    """Create what is missing and verify the rest; returns a line for each topic.

    Raises
    ------
    TopicError
        When the input does not exist (it is yours to create), or a topic breaks a promise of the service.
    BrokerError
        When the brokers cannot be reached or deny us a right.
    """
    with closing(_connected(settings)) as admin:
        plans, there = _look(settings, admin)
        missing = [plan for plan in plans if plan.name not in there]
        if missing:
            _ask(lambda: admin.create_topics(_new(settings, missing), wait_for_metadata=True))
        _verify(admin, [plan for plan in plans if plan.name in there], there)
        return [f"{plan.name}: {'created' if plan in missing else 'is as it should be'}" for plan in plans]


def verify_topics(settings: Settings) -> list[str]:
    """Verify every topic and create nothing; returns a line for each. Raises as `ensure_topics` does."""
    with closing(_connected(settings)) as admin:
        plans, there = _look(settings, admin)
        missing = [plan.name for plan in plans if plan.name not in there]
        if missing:
            raise TopicError(f"There is no topic {', '.join(missing)}; create with: stream-coreset topics")
        _verify(admin, plans, there)
        return [f"{plan.name}: is as it should be" for plan in plans]


def _kept(name: str, partitions: int, hours: float, largest: int) -> TopicPlan:
    least = {"max.message.bytes": largest}
    configs = {
        "cleanup.policy": "delete",
        "retention.ms": str(round(hours * _HOUR_MS)),
        "max.message.bytes": str(largest),
    }
    return TopicPlan(name, partitions, configs, {"cleanup.policy": "delete"}, least)


def _compacted(name: str) -> TopicPlan:
    configs = {"cleanup.policy": "compact", "segment.bytes": "32000000", "min.cleanable.dirty.ratio": "0.1"}
    return TopicPlan(name, 1, configs, {"cleanup.policy": "compact"}, {"max.message.bytes": _RECORD_BYTES})


def _connected(settings: Settings) -> Any:
    return _ask(lambda: admin_client(settings))


def _look(settings: Settings, admin: Any) -> tuple[list[TopicPlan], dict[str, int]]:
    """What should be there, and the partitions of what is there."""
    names = [settings.input.topic, *(settings.topic(role) for role in settings.roles)]
    described = _ask(lambda: admin.describe_topics(names))  # by name: what we may not see is not listed
    hidden = [topic["name"] for topic in described if topic["error_code"] == _NOT_ALLOWED]
    if hidden:
        raise BrokerError(f"We may not see {', '.join(sorted(hidden))}: grant DESCRIBE on it.")
    there = {str(topic["name"]): len(topic["partitions"]) for topic in described if not topic["error_code"]}
    if settings.input.topic not in there:
        raise TopicError(
            f"There is no topic {settings.input.topic}, the input; create it, or set input.topic to another."
        )
    return planned(settings, there[settings.input.topic]), there


def _new(settings: Settings, missing: list[TopicPlan]) -> dict[str, dict[str, Any]]:
    return {
        plan.name: {
            "num_partitions": plan.partitions,
            "replication_factor": settings.topics.replication_factor,
            "configs": dict(plan.configs),
        }
        for plan in missing
    }


def _verify(admin: Any, plans: list[TopicPlan], there: Mapping[str, int]) -> None:
    wrong = [
        f"{plan.name}: {said}"
        for plan in plans
        for said in _complaints(plan, there[plan.name], _configs(admin, plan))
    ]
    if wrong:
        raise TopicError("Topics are not as they must be: " + "; ".join(wrong) + ". Change or delete them.")


def _configs(admin: Any, plan: TopicPlan) -> dict[str, str]:
    wanted = [*plan.exactly, *plan.least]
    resource = ConfigResource(ConfigResourceType.TOPIC, plan.name, configs=dict.fromkeys(wanted))
    found = _ask(lambda: admin.describe_configs([resource], config_filter="all"))
    entries = found["topic"][plan.name]
    if not entries:  # the client says no more when we may not look
        raise BrokerError(f"We may not read the configuration of {plan.name}: grant DESCRIBE_CONFIGS on it.")
    return {name: str(entry["value"]) for name, entry in entries.items()}


def _complaints(plan: TopicPlan, partitions: int, configs: Mapping[str, str]) -> Iterator[str]:
    if plan.partitions == 1 and partitions != 1:
        yield f"has {partitions} partitions and must have one"
    for name, value in plan.exactly.items():
        if configs.get(name) != value:
            yield f"{name} is {configs.get(name)} and must be {value}"
    for name, least in plan.least.items():
        if int(configs.get(name, 0)) < least:
            yield f"{name} is {configs.get(name)} and must be at least {least}"


def _ask(what: Callable[[], Any]) -> Any:
    """Ask the brokers; their refusals as sentences."""
    try:
        return what()
    except kafka_errors.KafkaError as error:
        raise mended_by_a_person(error) or BrokerError(
            f"The brokers do not answer: {type(error).__name__}: {error}"
        ) from error
