"""The replay itself: batches of dead letters, each in one transaction with the notes that they were replayed.

Exactly once rests on two things. A letter's note commits together with its message, or neither does. And only
one replay of a deployment can write: each initialises the same transactional id first, which ends what its
predecessor left open and fences it; only then does it read which letters have notes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

from kafka import errors as kafka_errors
from kafka.structs import ConsumerGroupMetadata

from consumers.codecs import codec_for
from consumers.committer import Committer
from consumers.connecting import mended_by_a_person
from consumers.errors import BrokerError, FencedError
from consumers.reader import read_to_end, undecided
from consumers.records.format import RecordError
from consumers.records.replays import Letter, read_letter, replay_note, replayed_offset
from consumers.replay.input_topic import look_at_input
from consumers.replay.judge import Judge, Judgement
from consumers.replay.report import ReplayReport
from consumers.replay.selection import Selection
from consumers.replay.source import Source
from consumers.settings import Settings
from consumers.transform import InputRecord, Silent, Unit

__all__ = ["replay"]

Progress = Callable[[str], None]
_BATCH_LETTERS, _BATCH_BYTES = 500, 8_000_000
_TRIES = 5
_CONNECT_SECONDS = 30.0
_NO_GROUP = ConsumerGroupMetadata()  # a replay commits no offsets


def replay(settings: Settings, selection: Selection, progress: Progress = lambda _: None) -> ReplayReport:
    """Put dead letters back into the input, each exactly once however often this is run.

    Parameters
    ----------
    settings : Settings
        Of the deployment, with the cause mended.
    selection : Selection
        Which letters, and how.
    progress : callable, optional
        Told in a few words how far it is.

    Raises
    ------
    FencedError
        When another replay has begun meanwhile.
    ServiceError
        When a person must mend something; what is replayed then is whole, and noted.
    """
    try:
        return _replay(settings, selection, progress)
    except FencedError as error:
        raise FencedError(
            "Another replay of this deployment has begun, and this one has stopped; the other one does not "
            "repeat what was done here: let it finish."
        ) from error
    except kafka_errors.KafkaError as error:
        raise mended_by_a_person(error) or BrokerError(
            f"The dead letters cannot be replayed: {type(error).__name__}: {error}"
        ) from error


def _replay(settings: Settings, selection: Selection, progress: Progress) -> ReplayReport:
    codec, topic = codec_for(settings.input), look_at_input(settings)
    committer = Committer(settings, f"{settings.name}-replay", Silent())
    with Source(settings, codec) as source, closing(committer):
        judge = Judge(selection, codec, topic, source.whole)
        run = _Run(settings, selection, judge, committer, progress)
        for _ in range(_TRIES):
            if run.turn():
                return run.report
    raise BrokerError("The brokers did not commit what was replayed, several times in a row: see the log.")


@dataclass
class _Batch:
    """Letters that go back in one transaction."""

    letters: list[tuple[Letter, Judgement]] = field(default_factory=list)
    nbytes: int = 0

    def add(self, letter: Letter, judgement: Judgement) -> None:
        self.letters.append((letter, judgement))
        self.nbytes += len(judgement.output.value or b"") if judgement.output else 0

    @property
    def full(self) -> bool:
        return len(self.letters) >= _BATCH_LETTERS or self.nbytes >= _BATCH_BYTES

    def unit(self, topic: str) -> Unit:
        """The messages, and the notes that they were replayed."""
        messages = [judgement.output for _, judgement in self.letters if judgement.output]
        return Unit([*messages, *(replay_note(topic, letter) for letter, _ in self.letters)], {})


class _Run:
    """One replay: turns over the dead letters, until one comes to the end of them."""

    def __init__(
        self, settings: Settings, selection: Selection, judge: Judge, committer: Committer, progress: Progress
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._judge = judge
        self._committer = committer
        self._progress = progress
        self._topic = settings.topic("dead_letters")
        self._tried: set[int] = set()  # offsets of letters that this run has sent: their notes are its own
        self.report = ReplayReport()

    def turn(self) -> bool:
        """Go over all dead letters; False where a transaction did not commit, or nobody knows whether."""
        self.report = ReplayReport(dry_run=self._selection.dry_run)
        if not self._selection.dry_run:
            _initialise(self._committer)
        for topic in undecided(self._settings, self._topic):  # behind it lie notes that cannot be seen yet
            raise BrokerError(
                f"A transaction that has written to {topic} stays open: end it with kafka-transactions.sh, "
                "then replay again."
            )
        noted = self._noted()
        return all(map(self._commit, self._batches(noted)))

    def _noted(self) -> set[int]:
        """Offsets of the letters that were replayed before."""
        self._progress("reading the dead letters")
        noted = set[int]()
        for record in self._records():
            with suppress(RecordError):
                offset = replayed_offset(record)
                noted |= set() if offset is None else {offset}
        return noted

    def _records(self) -> Iterator[InputRecord]:
        return read_to_end(self._settings, self._topic)

    def _batches(self, noted: set[int]) -> Iterator[_Batch]:
        batch = _Batch()
        for letter in self._outstanding(noted):
            if self.report.replayed + len(batch.letters) == self._selection.limit:
                break
            judgement = self._judge.judge(letter)
            if judgement.output is None:
                self.report.add(letter, judgement)
                continue
            batch.add(letter, judgement)
            if batch.full:
                yield batch
                batch = _Batch()
        if batch.letters:
            yield batch

    def _outstanding(self, noted: set[int]) -> Iterator[Letter]:
        """Letters that are asked for and have no note."""
        for record in self._records():
            letter = self._letter(record)
            if letter is None or not self._selection.includes(letter):
                continue
            if letter.offset not in noted:
                yield letter
            elif letter.offset in self._tried:
                self.report.add(letter, Judgement("replayed"))
            else:
                self.report.before += 1

    def _letter(self, record: InputRecord) -> Letter | None:
        try:
            return read_letter(record) if replayed_offset(record) is None else None
        except RecordError:
            self.report.unread += 1
            return None

    def _commit(self, batch: _Batch) -> bool:
        if not self._selection.dry_run:
            self._tried |= {letter.offset for letter, _ in batch.letters}
            if self._committer.commit([batch.unit(self._topic)], _NO_GROUP) != "committed":
                return False
        for letter, judgement in batch.letters:
            self.report.add(letter, judgement)
        self._progress(f"{self.report.replayed:,} replayed, {self.report.stayed:,} stay")
        return True


def _initialise(committer: Committer) -> None:
    stop, until = threading.Event(), time.monotonic() + _CONNECT_SECONDS

    def look_at_the_clock() -> None:
        if time.monotonic() > until:
            stop.set()

    if not committer.initialise(stop, look_at_the_clock):
        raise BrokerError("The brokers cannot be reached: start them or correct kafka.bootstrap_servers.")
