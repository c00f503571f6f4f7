"""Errors that a person must mend: one plain sentence each, shown without a traceback (exit code 1)."""

from __future__ import annotations

__all__ = [
    "BrokerError",
    "FencedError",
    "OffsetError",
    "RecordError",
    "ServiceError",
    "StreamError",
    "TopicError",
]


class ServiceError(Exception):
    """The service cannot go on until a person mends something; the message says what and how."""


class BrokerError(ServiceError):
    """The brokers cannot be reached, or refuse us (password, rights, certificate)."""


class TopicError(ServiceError):
    """A topic is missing or configured in a way that breaks a promise of the service."""


class OffsetError(ServiceError):
    """Where to read next is unknown or has been deleted; going on would lose or repeat examples."""


class FencedError(ServiceError):
    """Another process with the same name and instance has taken over."""


class RecordError(ServiceError):
    """A record that we made was refused by the broker; sending it again would be refused again."""


class StreamError(ServiceError):
    """Another deployment has the same name and another stream."""
