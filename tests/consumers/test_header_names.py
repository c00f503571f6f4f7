"""Messages that no other client of ours would write: headers whose names are no UTF-8, on the real broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from support.loop import example

from consumers.metrics import SamplerMetrics
from consumers.reader import read_to_end
from consumers.records import LedgerEntry, read_dead_letter
from consumers.sampler import SamplerTransform
from consumers.settings import Settings
from consumers.transform import UnreadableName


class Raw(str):
    """A name that is encoded to other bytes than UTF-8."""

    def encode(self, *how: Any) -> bytes:
        return b"\xff\xfe" + str.encode(self)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_header_that_is_no_utf8_is_a_dead_letter_and_the_stream_goes_on(
    kafka: str,
    make_topic: Callable[..., str],
    make_settings: Callable[..., Settings],
    running: Callable[..., Any],
    wait: Callable[..., None],
    compression: str | None,
) -> None:
    topic = make_topic()
    settings = make_settings(topic, window={"size": 5, "age_seconds": 0.5}, sampling={"rate": 1.0})
    for role in ("coreset", "windows", "statistics", "dead_letters"):
        make_topic(name=settings.topic(role))
    producer = KafkaProducer(bootstrap_servers=kafka, compression_type=compression, linger_ms=50)
    for offset in range(5):
        name = Raw("odd") if offset == 2 else "ünïcode"
        producer.send(topic, example(np.ones(2) * offset), headers=[("own", b"1"), (name, b"\0")])
    producer.close()
    names = [record.headers[1][0] for record in read_to_end(settings, topic)]
    assert names == ["ünïcode", "ünïcode", r"\xff\xfeodd", "ünïcode", "ünïcode"]
    assert [isinstance(name, UnreadableName) for name in names] == [False, False, True, False, False]

    transform = SamplerTransform(settings, lambda: None, SamplerMetrics())
    with running(settings, transform):
        wait(lambda: list(read_to_end(settings, settings.topic("windows"))))
    (entry,) = (
        LedgerEntry.decode(record.value) for record in read_to_end(settings, settings.topic("windows"))
    )
    assert (entry.valid, entry.dead, entry.emitted) == (4, 1, 4)
    (letter,) = read_to_end(settings, settings.topic("dead_letters"))
    told = read_dead_letter(letter.key, letter.headers)
    assert (told.source, told.exception) == (f"{topic}/0/2", "BadHeader")
    assert dict(letter.headers)[r"\xff\xfeodd"] == b"\0"
    assert letter.value == example(np.ones(2) * 2)
