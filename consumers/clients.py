"""Kafka clients made from the settings, with the options that the promises of the service rest on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.base import MemberState
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription

from consumers.credentials import Hidden, credentials, verify
from consumers.errors import ServiceError
from consumers.mends import mend_client
from consumers.settings import Settings

__all__ = [
    "admin_client",
    "input_consumer",
    "keep_joining",
    "leave_for_good",
    "plain_consumer",
    "release",
    "require_membership",
    "share_fetches",
    "transactional_producer",
]

_MEGABYTE = 1_000_000
_CLOSE_SECONDS = 2.0
_REQUEST_MS = 5_000
_ROOM_MS = 300_000  # between two polls; only looking into a long ledger keeps us from polling
_HEADERS_BYTES = 128_000
_LEAST_FETCH = 65_536
_OURS = {
    "acks", "allow_auto_create_topics", "auto_offset_reset", "enable_auto_commit", "enable_idempotence",
    "group_id", "group_instance_id", "isolation_level", "partition_assignment_strategy", "transactional_id",
    "key_serializer", "value_serializer", "key_deserializer", "value_deserializer", "bootstrap_servers",
}  # fmt: skip

mend_client()


def _connection(settings: Settings, kind: type[Any]) -> dict[str, Any]:
    """Options of every client, those of `settings.kafka.options` last."""
    options = {
        "bootstrap_servers": [server.strip() for server in settings.kafka.bootstrap_servers.split(",")],
        "client_id": f"{settings.name}-{settings.instance}",
        "request_timeout_ms": _REQUEST_MS,
        "bootstrap_timeout_ms": _REQUEST_MS,
        "reconnect_backoff_max_ms": 1_000,
        "metadata_max_age_ms": 10_000,
        **({"metrics_enabled": False} if "metrics_enabled" in kind.DEFAULT_CONFIG else {}),
        **credentials(settings.kafka),
        **_passed_through(settings, kind),
    }
    verify(options)
    return options


def _passed_through(settings: Settings, kind: type[Any]) -> dict[str, Any]:
    options = settings.kafka.options
    kinds: tuple[type[Any], ...] = (KafkaConsumer, KafkaProducer, KafkaAdminClient)
    for option in options:
        if option in _OURS:
            raise ServiceError(
                f"kafka.options.{option} is set by the service itself; remove it from the settings."
            )
        if not any(option in one.DEFAULT_CONFIG for one in kinds):
            raise ServiceError(
                f"kafka.options.{option} is not an option of kafka-python; check its spelling."
            )
    return {
        option: Hidden(value) if isinstance(value, str) else value  # a passphrase, a proxy with its password
        for option, value in options.items()
        if option in kind.DEFAULT_CONFIG
    }


def input_consumer(
    settings: Settings, group: str, instance_id: str | None = None, mark: str = ""
) -> KafkaConsumer:
    """Make a member of `group` that reads committed messages only and starts nowhere by itself.

    It tells the group its `mark`, by which it can be told from another process of the same instance id.
    """
    session_ms = round(1000 * settings.session_timeout_seconds)
    return KafkaConsumer(
        **{
            **_reading(settings),
            "max_poll_records": 10_000,
            "session_timeout_ms": session_ms,
            "heartbeat_interval_ms": max(100, session_ms // 10),
            "max_poll_interval_ms": max(_ROOM_MS, round(3000 * settings.transaction_timeout_seconds)),
            **_connection(settings, KafkaConsumer),
            "group_id": group,
            "group_instance_id": instance_id,
            "partition_assignment_strategy": (_assignor(settings, mark),),
        }
    )


def _assignor(settings: Settings, mark: str) -> type[RangePartitionAssignor]:
    """Assign by range among members of one stream: a group takes in nobody who does not know its protocol."""
    name = f"range-{settings.stream_digest()[:16]}"

    def metadata(cls: type[RangePartitionAssignor], topics: Iterable[str]) -> ConsumerProtocolSubscription:
        return ConsumerProtocolSubscription(cls.version, list(topics), mark.encode())

    own = {"name": name, "metadata": classmethod(metadata)}
    return type("StreamAssignor", (RangePartitionAssignor,), own)


def leave_for_good(consumer: KafkaConsumer) -> None:
    """Call before the close: a static member leaves the group, too, instead of being waited for.

    kafka-python leaves it in the group until its session ends, which suits a restart after a crash.
    """
    consumer._coordinator.is_dynamic_member = lambda: True


def keep_joining(consumer: KafkaConsumer) -> None:
    """Call after every poll: hold on to a join of the group that outlasted the poll.

    kafka-python 3.0.12 forgets it, and is then out of the group for ever, where the leader of the group joins
    anew because a topic has changed: having made the assignment it sees no reason to join any more.
    """
    if consumer.group_metadata().state is MemberState.REBALANCING:
        consumer._coordinator.request_rejoin()


def require_membership(consumer: KafkaConsumer) -> None:
    """Call before every poll: raises FencedInstanceIdError when another has joined with our instance id.

    kafka-python 3.0.12 then only stops its heartbeats, and takes itself for a member for ever.
    """
    coordinator = consumer._coordinator
    if coordinator.state is MemberState.STABLE and not coordinator._heartbeat_enabled:
        raise kafka_errors.FencedInstanceIdError(str(coordinator.group_instance_id))


def share_fetches(consumer: KafkaConsumer, partitions: int, nbytes: int) -> None:
    """Call with every assignment: what was fetched and not yet taken stays below `nbytes` for all partitions.

    kafka-python holds a fetch of every partition, each up to ``max_partition_fetch_bytes``: with many
    partitions that is much. A message that is larger than its share comes all the same, alone.
    """
    most = consumer.config["max_partition_fetch_bytes"]
    share = max(_LEAST_FETCH, nbytes // max(1, partitions))
    consumer._fetcher.config["max_partition_fetch_bytes"] = min(most, share)


def plain_consumer(settings: Settings, isolation: str = "read_committed") -> KafkaConsumer:
    """Make a consumer of no group, for topics that are read from an offset we choose."""
    options = {**_reading(settings), "fetch_min_bytes": 1, **_connection(settings, KafkaConsumer)}
    return KafkaConsumer(**{**options, "isolation_level": isolation})


def _reading(settings: Settings) -> dict[str, Any]:
    return {
        "allow_auto_create_topics": False,
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "fetch_max_wait_ms": 200,
        "fetch_min_bytes": _MEGABYTE,
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": 8 * _MEGABYTE,
    }


def transactional_producer(settings: Settings, transactional_id: str) -> KafkaProducer:
    """Make the producer of `transactional_id`; its transactions are not initialised yet."""
    transaction_ms = round(1000 * settings.transaction_timeout_seconds)
    return KafkaProducer(
        **{
            "acks": "all",
            "allow_auto_create_topics": False,
            "batch_size": 131_072,
            "linger_ms": 20,
            "max_request_size": max(_MEGABYTE, settings.input.max_message_bytes) + _HEADERS_BYTES,
            "retry_backoff_ms": 10,  # a transaction waits for the markers of the last one
            "transaction_timeout_ms": transaction_ms,
            "max_block_ms": transaction_ms // 2,
            **_connection(settings, KafkaProducer),
            "delivery_timeout_ms": max(transaction_ms // 2, _REQUEST_MS + 100),
            "transactional_id": transactional_id,
        }
    )


def admin_client(settings: Settings) -> KafkaAdminClient:
    """Make a client for topics, their configurations and transactions."""
    return KafkaAdminClient(**_connection(settings, KafkaAdminClient))


def release(producer: KafkaProducer) -> None:
    """Close a producer whatever its state; records still on their way fail."""
    try:
        producer.close(_CLOSE_SECONDS)
    except Exception:  # it waits for its records first, and gives up the closing when they take too long
        with suppress(Exception):
            producer._sender.force_close()
            producer.close(_CLOSE_SECONDS)
