"""What kafka-python 3.0.12 gets wrong, put right where it is imported: each of these was met in a test."""

from __future__ import annotations

from functools import cache
from typing import Any

from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.record.default_records import DefaultRecordBatch

from consumers.transform import UnreadableName

__all__ = ["mend_client"]


@cache
def mend_client() -> None:
    """Mend the client's classes, once for this process."""
    _hear_last_words(KafkaTCPTransport)
    _hear_last_words(KafkaSSLTransport)
    _read_any_header(DefaultRecordBatch)
    _ask_all_leaders(Fetcher)


def _hear_last_words(transport: type[Any]) -> None:
    """Let the client read what brokers say before they hang up: that they refuse the login, and why.

    kafka-python 3.0.12 drops what arrives together with the end of the connection.
    """
    receive = transport._sock_recv

    def receive_first(self: Any) -> tuple[bytes, Exception | None]:
        data, error = receive(self)
        return data, None if data else error  # the end comes again at the next call

    transport._sock_recv = receive_first


class _Lenient(bytearray):
    """Bytes whose parts can be decoded whatever they are."""

    def __getitem__(self, part: Any) -> Any:
        found = super().__getitem__(part)
        return _Lenient(found) if isinstance(part, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return UnreadableName(super().decode(encoding, "backslashreplace"))


def _read_any_header(batch: type[Any]) -> None:
    """Let the client read headers whose names are no UTF-8: brokers take them, and others may write them.

    kafka-python 3.0.12 raises at every poll: one such message would stop its partition for good.
    """
    read = batch._read_msg

    def read_leniently(self: Any) -> Any:
        position = self._pos
        try:
            return read(self)
        except UnicodeDecodeError:
            buffer, self._buffer, self._pos = self._buffer, _Lenient(self._buffer), position
            try:
                return read(self)
            finally:
                self._buffer = buffer

    batch._read_msg = read_leniently


def _ask_all_leaders(fetcher: type[Any]) -> None:
    """Let offsets be asked of all partitions or none: where one has no leader the client waits, or says so.

    kafka-python 3.0.12 forgets such a partition, and raises KeyError, or tells of no offset at that time.
    """
    group = fetcher._group_list_offset_requests

    def group_all(self: Any, timestamps: Any) -> Any:
        by_node = group(self, timestamps)
        if sum(map(len, by_node.values())) < len(timestamps):
            raise kafka_errors.LeaderNotAvailableError()
        return by_node

    fetcher._group_list_offset_requests = group_all
