"""Dead letters on their way back into the stream: what each one holds, and the note that it was replayed.

A replayed message is a new message of the input. It carries how often it has been replayed, and the source
id that it had first. The *note*, a record without value in the topic of the dead letters, is written in the
same transaction: a letter with a note is never replayed again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from consumers.records.dead_letters import PREFIX, DeadLetter, read_dead_letter
from consumers.records.format import RecordError
from consumers.records.ledger import parse_source
from consumers.transform import InputRecord, Output

__all__ = ["COUNT", "FIRST_SOURCE", "Letter", "read_letter", "replay_note", "replayed", "replayed_offset"]

_OURS = "__coreset.replays."
COUNT, FIRST_SOURCE = _OURS + "count", _OURS + "source"
_NOTE = PREFIX + "replayed"  # no header of a user's begins so in a dead letter
_MOST_REPLAYS = 1_000_000


@dataclass(frozen=True)
class Letter:
    """A dead letter with all it holds.

    Attributes
    ----------
    offset : int
        Its own, in the topic of the dead letters.
    about : DeadLetter
        Where it came from and why.
    message : InputRecord
        The message at its source as far as the letter holds it; for one row of many, that row alone.
    row : int or None
    whole : bool
        Whether the letter holds all of the message; otherwise the source has to be read again.
    sha256 : str
        Of the whole value, where only the beginning is held; otherwise empty.
    replays : int
        How often this message has been replayed already.
    """

    offset: int
    about: DeadLetter
    message: InputRecord
    row: int | None
    whole: bool
    sha256: str
    replays: int


def read_letter(record: InputRecord) -> Letter:
    """Read a dead letter; RecordError where it is not one of ours."""
    about = read_dead_letter(record.key, record.headers)
    topic, partition, offset, row = parse_source(about.source)
    found = {name[len(PREFIX) :]: value for name, value in record.headers if name.startswith(PREFIX)}
    own = tuple(pair for pair in record.headers if not pair[0].startswith(PREFIX))
    message = InputRecord(topic, partition, offset, found.get("key"), record.value, own, record.timestamp_ms)
    sha256 = found.get("sha256", b"").decode("ascii", "replace")
    whole = not sha256 and "cut" not in found
    return Letter(record.offset, about, message, row, whole, sha256, _count(message))


def replayed(letter: Letter, message: InputRecord) -> InputRecord:
    """Return what goes back into the stream: the message, with one more replay counted in its headers."""
    kept = tuple(pair for pair in message.headers if not pair[0].startswith(_OURS))
    first = dict(message.headers).get(FIRST_SOURCE, letter.about.source.encode())
    ours = ((COUNT, b"%d" % (letter.replays + 1)), (FIRST_SOURCE, first))
    return replace(message, headers=kept + ours)


def replay_note(topic: str, letter: Letter) -> Output:
    """Return the note that a letter was replayed; it lies in the letter's topic, under the same key."""
    return Output(topic, None, letter.about.source.encode(), ((_NOTE, b"%d" % letter.offset),))


def replayed_offset(record: InputRecord) -> int | None:
    """Return the offset of the dead letter that a note is about; None for a record that is no note.

    Raises
    ------
    RecordError
        For a note that cannot be read.
    """
    found = [value for name, value in record.headers if name == _NOTE]
    if not found:
        return None
    if not (found[-1].isdigit() and len(found[-1]) < 20):
        raise RecordError("a note of a replay without the offset of its dead letter")
    return int(found[-1])


def _count(message: InputRecord) -> int:
    """How often it was replayed; anybody could have written the header."""
    said = dict(message.headers).get(COUNT, b"0")
    return min(int(said), _MOST_REPLAYS) if said.isdigit() and len(said) < 10 else 0
