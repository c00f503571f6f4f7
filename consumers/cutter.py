"""Cuts the stream into windows of decoded messages, all of which could be emitted whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.codecs.examples import Codec, Decoded
from consumers.codecs.wire import HEADERS_ROOM
from consumers.records.ledger import Range
from consumers.settings import Settings
from consumers.transform import InputRecord, Partition
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.window import Window, WindowBuilder

__all__ = ["WindowCutter", "largest_coreset_message", "ranges"]


def largest_coreset_message(settings: Settings) -> int:
    """Bytes that a message of the coreset topic may take: the input's limit, and room for our headers."""
    return settings.input.max_message_bytes + HEADERS_ROOM


_DEAD_LETTER_BYTES = 2_048  # of headers; at most as much of the value as the message has


class WindowCutter:
    """Decodes messages and closes windows by examples, bytes and age.

    The codec refuses messages above the input's limit, and any sample of the others fits the coreset topic:
    were a record refused after the draw, a retry would condition on the draw, and bias the sample.
    """

    def __init__(self, settings: Settings, codec: Codec, sampler: SensitivitySampler) -> None:
        limits = settings.window
        draws = sampler.expected_size if sampler.design == "iid" else None
        self._codec = codec
        self._limit = largest_coreset_message(settings)
        self._builder = WindowBuilder[Decoded](limits.size, limits.max_bytes, limits.age_seconds, draws=draws)

    @property
    def pending_bytes(self) -> int:
        """Bytes of the open window."""
        return self._builder.pending_bytes

    def clear(self) -> None:
        """Forget the open window."""
        self._builder.clear()

    def cut(self, records: Sequence[InputRecord], now: float) -> list[Window[Decoded]]:
        """Add messages; the windows that closed."""
        closed: list[Window[Decoded]] = []
        for record in records:
            decoded = self._codec.decode(record)
            bound = self._codec.largest_output(decoded, self._limit)
            nbytes = max(bound.total, record.nbytes) + len(decoded.errors) * _DEAD_LETTER_BYTES
            closed += self._builder.add(decoded, decoded.rows, nbytes, now, largest=bound.single)
        return closed + self._builder.due(now)


def ranges(items: Sequence[Decoded]) -> list[Range]:
    """The offsets of a window's messages by partition, the partition of its first message first."""
    starts: dict[Partition, int] = {}
    ends: dict[Partition, int] = {}
    for item in items:
        partition = (item.record.topic, item.record.partition)
        starts.setdefault(partition, item.record.offset)
        ends[partition] = item.record.offset + 1
    return [Range(topic, number, start, ends[topic, number]) for (topic, number), start in starts.items()]
