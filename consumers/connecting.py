"""Reaching the brokers: wait while they are down, and say in plain words what a person must mend."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import structlog
from kafka import errors as kafka_errors

from consumers.credentials import explain_refusal
from consumers.errors import (
    BrokerError,
    FencedError,
    OffsetError,
    RecordError,
    ServiceError,
    StreamError,
    TopicError,
)
from consumers.settings import Settings

__all__ = ["attempt", "connect", "mended_by_a_person"]

Client = TypeVar("Client")
log = structlog.get_logger()

_SAY_EVERY_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
_SENTENCES: tuple[tuple[type[Exception], type[ServiceError], str], ...] = (
    (
        kafka_errors.TopicAuthorizationFailedError,
        BrokerError,
        "We lack a right on a topic: grant READ on the topics we read and WRITE on those we write "
        "(stream-coreset rights prints how).",
    ),
    (
        kafka_errors.GroupAuthorizationFailedError,
        BrokerError,
        "We lack a right on the consumer group: grant READ on it (stream-coreset rights prints how).",
    ),
    (
        kafka_errors.TransactionalIdAuthorizationFailedError,
        BrokerError,
        "We lack a right on the transactional id: grant WRITE on it (stream-coreset rights prints how).",
    ),
    (kafka_errors.AuthorizationError, BrokerError, "The brokers deny us a right."),
    (
        kafka_errors.InconsistentGroupProtocolError,
        StreamError,
        "Another deployment with our name runs and reads another stream (its topic, format, embedding or "
        "dimension differ); give this one another `name`.",
    ),
    (kafka_errors.SaslAuthenticationFailedError, BrokerError, "The brokers refuse our name or password."),
    (
        kafka_errors.UnsupportedSaslMechanismError,
        BrokerError,
        "The brokers do not speak kafka.sasl_mechanism.",
    ),
    (kafka_errors.KafkaConfigurationError, BrokerError, "kafka.options do not fit together."),
    (kafka_errors.UnsupportedVersionError, BrokerError, "The brokers are too old: 2.8 or newer is needed."),
    (kafka_errors.UnknownTopicOrPartitionError, TopicError, "A topic that we use does not exist."),
    (
        kafka_errors.LogTruncationError,
        OffsetError,
        "The brokers lost messages that we had read (an unclean election of a leader); audit, then set the "
        "group's offsets with kafka-consumer-groups.",
    ),
    (
        kafka_errors.FencedInstanceIdError,
        FencedError,
        "Another process with the same name and instance has joined the group; give each its own `instance`.",
    ),
    (
        kafka_errors.MessageSizeTooLargeError,
        RecordError,
        "A record is larger than its topic allows; raise max.message.bytes (see: stream-coreset topics).",
    ),
    (
        kafka_errors.InvalidTransactionTimeoutError,
        BrokerError,
        "transaction_timeout_seconds is longer than the brokers allow (transaction.max.timeout.ms).",
    ),
    (
        kafka_errors.InvalidSessionTimeoutError,
        BrokerError,
        "session_timeout_seconds is not within what the brokers allow (group.min/max.session.timeout.ms).",
    ),
    (
        kafka_errors.InvalidRecordError,
        RecordError,
        "A topic refuses our record: a record without a key cannot go to a compacted topic.",
    ),
)


def mended_by_a_person(error: BaseException | None) -> ServiceError | None:
    """The sentence for an error that would only come back if we tried again; None for any other.

    Examples
    --------
    >>> str(mended_by_a_person(kafka_errors.UnsupportedVersionError("v")))
    'The brokers are too old: 2.8 or newer is needed. (UnsupportedVersionError: v)'
    >>> mended_by_a_person(kafka_errors.KafkaTimeoutError()) is None
    True
    """
    if isinstance(error, ServiceError):
        return error
    for kind, ours, says in _SENTENCES:
        if isinstance(error, kind):
            return ours(f"{says} ({type(error).__name__}: {_detail(error)})")
    # a producer that has failed wraps the reason of its failure
    inner = (mended_by_a_person(one) for one in getattr(error, "args", ()) if isinstance(one, Exception))
    return next(filter(None, inner), None)


def _detail(error: BaseException) -> str:
    parts = (", ".join(sorted(map(str, one))) if isinstance(one, set) else str(one) for one in error.args)
    return ", ".join(parts)[:300]


def connect(
    make: Callable[[], Client],
    settings: Settings,
    stop: threading.Event,
    alive: Callable[[], None] = lambda: None,
) -> Client | None:
    """Make a client, however long the brokers are down; None when `stop` was set meanwhile.

    Waiting for ever is right for a service: its readiness says that it has no partitions, its log says
    why, and `alive`, called at every try, that it does not hang.

    Raises
    ------
    ServiceError
        When the brokers answer but refuse us: waiting would not help.
    """
    said = -_SAY_EVERY_SECONDS
    while not stop.is_set():
        alive()
        client, reason = attempt(make, settings)
        if client is not None:
            return client
        if time.monotonic() - said >= _SAY_EVERY_SECONDS:
            log.warning("waiting for the brokers", servers=settings.kafka.bootstrap_servers, reason=reason)
            said = time.monotonic()
        stop.wait(_PAUSE_SECONDS)
    return None


def attempt(make: Callable[[], Client], settings: Settings) -> tuple[Client | None, str]:
    """Try once to make a client: it, or None and the reason.

    Raises
    ------
    ServiceError
        When the brokers answer but refuse us.
    """
    if not any(_listens(server) for server in settings.kafka.bootstrap_servers.split(",")):
        return None, "nobody listens there"
    with _last_words() as words:
        try:
            return make(), ""
        except kafka_errors.KafkaError as error:
            sentence = mended_by_a_person(error)
            if sentence is not None:
                raise sentence from error
            said = words.copy()  # at once: threads of other clients go on writing to the log
            refusal = explain_refusal(said)
            if refusal is not None:
                raise BrokerError(
                    f"No connection with the brokers at {settings.kafka.bootstrap_servers}, and waiting will "
                    f"not help: {refusal}."
                ) from error
            return None, next((word for word in reversed(said) if "lost" in word), str(error))[:300]


def _listens(server: str) -> bool:
    # A client that cannot reach anybody would leave a thread behind at every try.
    host, _, port = server.strip().rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=2.0)):
            return True
    except ValueError as error:
        raise ServiceError(f"kafka.bootstrap_servers: {server!r} is not host:port.") from error
    except OSError:
        return False


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: deque[str] = deque(maxlen=1_000)

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


@contextmanager
def _last_words() -> Iterator[deque[str]]:
    """Listen to the client's log: a wrong password looks like a broker that is down, but for a line there."""
    listener, logger = _Listener(), logging.getLogger("kafka")
    logger.addHandler(listener)
    try:
        yield listener.words
    finally:
        logger.removeHandler(listener)
