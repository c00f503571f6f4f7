"""The message of a dead letter: from the letter, or where that holds its beginning only, from its source."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, closing
from dataclasses import replace
from types import TracebackType

from kafka import KafkaConsumer, TopicPartition

from consumers.clients import plain_consumer, share_fetches
from consumers.codecs.examples import Codec
from consumers.reader import input_record
from consumers.records.replays import Letter
from consumers.settings import Settings
from consumers.transform import InputRecord

__all__ = ["Source"]

_POLL_MS = 200


class Source:
    """Reads messages again; a context manager.

    Parameters
    ----------
    settings : Settings
        How to reach the brokers.
    codec : Codec
        Of the input: takes one row out of a message of many.
    """

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._consumer: KafkaConsumer | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def whole(self, letter: Letter) -> InputRecord | None:
        """The whole message of a letter; None where its source is gone, or is not what it was."""
        if letter.whole:
            return letter.message
        found = self._read(letter.message)
        if found is None:
            return None
        value = found.value if letter.row is None else self._row(found, letter.row)
        return replace(found, value=value) if _is_that_of(letter, value) else None

    def _row(self, message: InputRecord, row: int) -> bytes | None:
        decoded = self._codec.decode(message)
        known = row in decoded.valid_rows or any(error.row == row for error in decoded.errors)
        return self._codec.example(decoded, row) if known else None

    def _read(self, message: InputRecord) -> InputRecord | None:
        """Read one offset of the source; None where retention or compaction has deleted it."""
        consumer, partition = self._reader(), TopicPartition(message.topic, message.partition)
        if message.partition not in (consumer.partitions_for_topic(message.topic) or ()):
            return None
        first, end = consumer.beginning_offsets([partition]), consumer.end_offsets([partition])
        if not first[partition] <= message.offset < end[partition]:
            return None
        consumer.assign([partition])
        consumer.seek(partition, message.offset)
        while consumer.position(partition) <= message.offset:
            for record in consumer.poll(timeout_ms=_POLL_MS, max_records=1).get(partition, ()):
                return input_record(record) if record.offset == message.offset else None
        return None

    def _reader(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = self._stack.enter_context(closing(plain_consumer(self._settings)))
            share_fetches(self._consumer, 1, 0)  # one message is wanted, not those after it
        return self._consumer


def _is_that_of(letter: Letter, value: bytes | None) -> bool:
    if letter.sha256:
        return value is not None and hashlib.sha256(value).hexdigest() == letter.sha256
    return value == letter.message.value
