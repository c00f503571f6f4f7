"""What becomes of each dead letter: replayed, or why not. Knows no Kafka."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from consumers.codecs.examples import Codec
from consumers.codecs.wire import framed_size
from consumers.records.replays import Letter, replayed
from consumers.replay.selection import Selection
from consumers.transform import InputRecord, Output

__all__ = ["VERDICTS", "InputTopic", "Judge", "Judgement", "Verdict"]

Verdict = Literal[
    "replayed", "still fails", "too often", "source gone", "too old", "too large", "other input"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class InputTopic:
    """What the input takes.

    Attributes
    ----------
    name : str
    partitions : int
    largest : int or None
        The topic's max.message.bytes; None where we may not look.
    oldest_ms : int or None
        Retention deletes messages older than this, in milliseconds since 1970; None: none, or not known.
    """

    name: str
    partitions: int
    largest: int | None = None
    oldest_ms: int | None = None


@dataclass(frozen=True)
class Judgement:
    """What becomes of a letter; `output` is what goes back into the stream, `says` why it does not."""

    verdict: Verdict
    output: Output | None = None
    says: str = ""


class Judge:
    """Decides letter by letter.

    Parameters
    ----------
    selection : Selection
        What is asked for.
    codec : Codec
        Of the input, with the settings of now.
    topic : InputTopic
        Where messages go back to.
    whole : callable
        The whole message of a letter; None where it can no longer be had.
    """

    def __init__(
        self,
        selection: Selection,
        codec: Codec,
        topic: InputTopic,
        whole: Callable[[Letter], InputRecord | None],
    ) -> None:
        self._selection = selection
        self._codec = codec
        self._topic = topic
        self._whole = whole

    def judge(self, letter: Letter) -> Judgement:
        """Judge one letter."""
        if letter.message.topic != self._topic.name:
            return Judgement("other input", says=f"the input is {self._topic.name} now")
        if letter.replays >= self._selection.max_replays:
            return Judgement("too often", says=f"replayed {letter.replays} times already")
        message = self._whole(letter)
        if message is None:
            return Judgement("source gone", says="the letter holds its beginning only, the source is gone")
        return self._judge(replayed(letter, message))

    def _judge(self, message: InputRecord) -> Judgement:
        size, largest = framed_size(message, len(message.value or b""), message.headers), self._topic.largest
        if largest is not None and size > largest:
            return Judgement("too large", says=f"{size} bytes, max.message.bytes of the input is {largest}")
        reason = None if self._selection.force else self._refused(message)
        return reason or Judgement("replayed", self._output(message))

    def _refused(self, message: InputRecord) -> Judgement | None:
        decoded = self._codec.decode(message)
        if not len(decoded.valid_rows):
            error = decoded.errors[0] if decoded.errors else None
            says = f"{error.exception}: {error.message}" if error else "it holds no example"
            return Judgement("still fails", says=says)
        oldest = self._topic.oldest_ms
        if oldest is not None and 0 < message.timestamp_ms < oldest:
            return Judgement("too old", says="the input's retention would delete it; raise its retention.ms")
        return None

    def _output(self, message: InputRecord) -> Output:
        partition = message.partition if message.partition < self._topic.partitions else None
        return Output(
            self._topic.name, message.value, message.key, message.headers, message.timestamp_ms, partition
        )
