"""Dead letters of a deployment on the real Apache Kafka, without a service that made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from kafka import KafkaProducer

from consumers.clients import release, transactional_producer
from consumers.reader import read_to_end
from consumers.records.dead_letters import dead_letter
from consumers.records.replays import replayed_offset
from consumers.settings import Settings
from consumers.topics import ensure_topics
from consumers.transform import InputRecord, Output

__all__ = ["WHY", "Dead", "example"]

WHY = {"stage": "decode", "exception": "WrongDimension", "message": "not two numbers"}


def example(number: int) -> bytes:
    return orjson.dumps({"id": number, "embedding": [number, 1.0]})


class Dead:
    """Its settings, and what lies in its topics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: list[KafkaProducer] = []
        ensure_topics(settings)

    def write(self, outputs: Sequence[Output], name: str = "writer", commit: bool = True) -> KafkaProducer:
        """Write in a transaction of this name, which stays open unless it is to `commit`."""
        producer = transactional_producer(self.settings, f"{self.settings.name}-{name}")
        self._open.append(producer)
        producer.init_transactions()
        producer.begin_transaction()
        sent = [
            producer.send(one.topic, one.value, one.key, list(one.headers), one.partition, one.timestamp_ms)
            for one in outputs
        ]
        for future in sent:
            future.get(timeout=5)
        if commit:
            producer.commit_transaction()
        return producer

    def close(self) -> None:
        """Let all producers go, also those with an open transaction."""
        for producer in self._open:
            release(producer)

    def letters(self, values: Sequence[bytes | None], first: int = 0, **how: Any) -> None:
        """Write a dead letter for each value, as if the input had held them from offset `first` on."""
        topic = self.settings.input.topic
        records = [
            InputRecord(topic, 0, offset, None, value, **how) for offset, value in enumerate(values, first)
        ]
        self.write([dead_letter(self.settings.topic("dead_letters"), record, **WHY) for record in records])

    def input(self) -> list[InputRecord]:
        return list(read_to_end(self.settings, self.settings.input.topic))

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.input()]

    def notes(self) -> list[int]:
        """Offsets of the letters that have a note."""
        records = read_to_end(self.settings, self.settings.topic("dead_letters"))
        return [at for at in map(replayed_offset, records) if at is not None]
