"""``stream-coreset explain``: looks up all that is known of one example."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from consumers.codecs import Decoded, codec_for
from consumers.errors import ServiceError, StreamError
from consumers.explaining.explanation import Explanation
from consumers.explaining.ledger import find_entry
from consumers.explaining.looking import Search, message_at, reading, search
from consumers.explaining.today import Today, cluster_today, example_today, read_window
from consumers.explaining.told import Told, read_told, texts_of
from consumers.reader import latest_publication
from consumers.records import Publication, RecordError
from consumers.records.dead_letters import DeadLetter, read_dead_letter
from consumers.records.ledger import parse_source, source_id
from consumers.settings import Settings
from consumers.transform import InputRecord

__all__ = ["add_options", "explain", "report"]

_SCAN = 200_000  # messages of the coreset
_BEFORE_MS = 3_600_000  # a message is sampled within this time, where its own time is not known any more


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.usage = "%(prog)s TOPIC PARTITION OFFSET [--row R] [OPTION ...] [--SECTION.SETTING VALUE ...]"
    parser.description = (
        f"{parser.description}. TOPIC is the input, or the coreset. For an example taken: its chance, "
        "its weight and what they come from, as its message and the ledger say. For one that was not: its "
        "window, and what its chance would be, approximately, under the clusters of today. The header "
        "coreset-source of a coreset message names its source: topic/partition/offset, and /row in messages "
        "of many."
    )
    parser.add_argument("topic", metavar="TOPIC", help="the input topic, or the coreset topic")
    parser.add_argument("partition", type=_count, metavar="PARTITION", help="its partition")
    parser.add_argument("offset", type=_count, metavar="OFFSET", help="offset of the message")
    parser.add_argument("--row", type=_count, metavar="R", help="row in a message of many examples, from 0")
    parser.add_argument(
        "--scan",
        type=_count,
        default=_SCAN,
        metavar="N",
        help=f"read at most so many messages of the coreset (default {_SCAN:,})",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def report(settings: Settings, arguments: argparse.Namespace) -> Explanation:
    """Explain what the arguments name; see `explain`."""
    where = (arguments.topic, arguments.partition, arguments.offset)
    return explain(settings, *where, arguments.row, most=arguments.scan)


def explain(
    settings: Settings, topic: str, partition: int, offset: int, row: int | None = None, *, most: int = _SCAN
) -> Explanation:
    """Explain why an example was taken, or was not.

    Parameters
    ----------
    settings : Settings
        Of the deployment.
    topic, partition, offset
        Of a message of the input or of the coreset.
    row : int, optional
        In a message of many examples.
    most : int
        Messages of the coreset, and dead letters, to read at most.

    Raises
    ------
    ServiceError
        When there is no such example, it has not been processed, or nothing is known of it any more.
    """
    with reading():
        if topic == settings.input.topic:
            return _Example(settings, _input(settings, partition, offset, row)).explained(None, most)
        if topic != settings.topic("coreset"):
            both = f"the input, {settings.input.topic}, or the coreset, {settings.topic('coreset')}"
            raise ServiceError(f"{topic} is neither topic that can be explained: name {both}.")
        told = _told(settings, partition, offset, row)
        return _Example(settings, _source(settings, told.source)).explained(told, most)


@dataclass(frozen=True)
class _Place:
    """An example of the input; its message None where that is gone."""

    topic: str
    partition: int
    offset: int
    row: int | None
    message: Decoded | None

    @property
    def source(self) -> str:
        return source_id(self.topic, self.partition, self.offset, self.row)


def _input(settings: Settings, partition: int, offset: int, row: int | None) -> _Place:
    topic, many = settings.input.topic, settings.input.format == "arrow"
    record = message_at(settings, topic, partition, offset)
    message = None if record is None else codec_for(settings.input).decode(record)
    if many and row is None:
        row = _only_row(topic, partition, offset, message)
    if row is not None and not many:
        raise ServiceError("A message of this input is one example: leave --row out.")
    if row is not None and message is not None and message.content is not None and row >= message.rows:
        raise ServiceError(f"{topic}/{partition}/{offset} has the rows 0 to {message.rows - 1}, not {row}.")
    return _Place(topic, partition, offset, row, message)


def _only_row(topic: str, partition: int, offset: int, message: Decoded | None) -> int:
    if message is not None and message.rows == 1:
        return 0
    rows = "" if message is None else f" of {message.rows:,} examples"
    raise ServiceError(f"{topic}/{partition}/{offset} is a message{rows}: say which with --row, from 0 on.")


def _source(settings: Settings, source: str) -> _Place:
    """The example that a coreset message came from."""
    topic, partition, offset, row = parse_source(source)
    if topic != settings.input.topic:
        raise ServiceError(
            f"The coreset message came from {source}, not from the input {settings.input.topic}."
        )
    record = message_at(settings, topic, partition, offset)
    message = None if record is None else codec_for(settings.input).decode(record)
    return _Place(topic, partition, offset, row, message)


def _told(settings: Settings, partition: int, offset: int, row: int | None) -> Told:
    """What a message of the coreset tells."""
    topic = settings.topic("coreset")
    where, record = f"{topic}/{partition}/{offset}", message_at(settings, topic, partition, offset)
    if record is None:
        raise ServiceError(
            f"There is no message at {where}: retention has deleted it, or a transaction ended there."
        )
    try:
        told = [read_told(texts) for texts in texts_of(record, settings.input)]
        for one in told:
            parse_source(one.source)
    except ValueError as error:
        raise ServiceError(f"{where} is no message of a sampler: {error}.") from None
    if row is None and len(told) > 1:
        raise ServiceError(f"{where} is a message of {len(told)} examples: say which with --row, from 0 on.")
    if (row or 0) >= len(told):
        raise ServiceError(f"{where} has the rows 0 to {len(told) - 1}, not {row}.")
    return told[row or 0]


class _Example:
    """One example of the input, and where to look for what became of it."""

    def __init__(self, settings: Settings, place: _Place) -> None:
        self._settings = settings
        self._place = place
        time_ms = -1 if place.message is None else place.message.record.timestamp_ms
        self._entry = find_entry(settings, place.topic, place.partition, place.offset, time_ms)
        self._exact = time_ms >= 0
        self._since = time_ms if self._exact else self._entry.closed_ms - _BEFORE_MS

    def explained(self, told: Told | None, most: int) -> Explanation:
        """The explanation; `told` where it is known already."""
        if told is not None:
            return self._taken((told,))
        letter = self._dead_letter(most)
        if letter is not None:
            return Explanation(self._place.source, "dead letter", self._entry, letter=letter)
        found = self._draws(most)
        if found.found:
            return self._taken(found.found)
        return self._not_taken() if found.certain else self._unknown(found)

    def _dead_letter(self, most: int) -> DeadLetter | None:
        if not self._entry.dead:
            return None
        place, topic = self._place, self._settings.topic("dead_letters")
        names = [place.source, source_id(place.topic, place.partition, place.offset)]  # the row, or all of it
        for name in dict.fromkeys(names):
            found = search(
                self._settings, topic, name, self._entry, since_ms=self._since, most=most, items=_letters
            )
            if found.found:
                return found.found[0]
        return None

    def _draws(self, most: int) -> Search[Told]:
        if not self._entry.emitted:
            return Search()

        def items(record: InputRecord) -> Iterator[Told]:
            try:
                yield from map(read_told, texts_of(record, self._settings.input))
            except ValueError:
                return  # the audit is the place to complain

        topic = self._settings.topic("coreset")
        found = search(
            self._settings,
            topic,
            self._place.source,
            self._entry,
            since_ms=self._since,
            most=most,
            items=items,
        )
        return replace(found, certain=found.certain and self._exact)

    def _taken(self, draws: tuple[Told, ...]) -> Explanation:
        publication, caveat = _publication(self._settings)
        today = None if publication is None else cluster_today(publication, draws[0].cluster, _now_ms())
        explanation = Explanation(self._place.source, "taken", self._entry, draws=draws, today=today)
        return replace(explanation, carried=self._carried(), caveat=caveat)

    def _carried(self) -> float | None:
        """What it weighed in its input; None where that is gone, or cannot be read today."""
        if not self._settings.input.chain:
            return 1.0
        message = self._place.message
        if message is None:
            return None
        weights = message.weights[message.valid_rows == (self._place.row or 0)]
        return float(weights[0]) if len(weights) else None

    def _not_taken(self) -> Explanation:
        explanation = Explanation(self._place.source, "not taken", self._entry)
        if self._place.message is None:
            return replace(explanation, caveat="its message is gone, so that its chance cannot be estimated")
        publication, caveat = _publication(self._settings)
        if publication is None:
            return replace(explanation, caveat=caveat)
        today = self._today(publication, self._place.message)
        return replace(explanation, today=today, caveat="" if today else "it cannot be decoded today")

    def _today(self, publication: Publication, message: Decoded) -> Today | None:
        settings, entry = self._settings, self._entry
        window = read_window(settings, entry, message, self._place.row or 0)
        return example_today(settings, publication, entry, window, _now_ms())

    def _unknown(self, found: Search[Told]) -> Explanation:
        looked = f"none of the {found.looked:,} coreset messages from its time on is of it"
        why = "raise --scan to look further" if self._exact else "its own message is gone, and so is its time"
        return Explanation(self._place.source, "unknown", self._entry, caveat=f"{looked}; {why}")


def _letters(record: InputRecord) -> Iterator[DeadLetter]:
    try:
        yield read_dead_letter(record.key, record.headers)
    except RecordError:
        return


def _publication(settings: Settings) -> tuple[Publication | None, str]:
    """The newest clusters, or why there are none."""
    publication = latest_publication(settings)
    if publication is None or not publication.clusters.k:
        return None, "there are no clusters of today"
    try:
        publication.check_stream(settings)
    except StreamError:
        return None, "the clusters of today are of another stream"
    return publication, ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
