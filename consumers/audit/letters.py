"""The dead letters of an audit: what was dead stays so, also where the settings of now could use it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from consumers.audit.report import Violations
from consumers.codecs import Decoded, RowError
from consumers.records.ledger import parse_source, source_id

__all__ = ["Letters"]

_Message = tuple[str, int, int]
_THEN = "dead under the settings of then"


class Letters:
    """Dead letters, and those of them that a replay took back into the stream.

    A letter was written under the settings of then. After its cause is mended it can perhaps be used; to its
    window it belongs as dead all the same. One that could be used and was not replayed is a violation: the
    settings have changed and it waits for its replay, or it should never have been a dead letter.

    Parameters
    ----------
    violations : Violations
        Told of letters that come twice, that lack, or that could be used.
    """

    def __init__(self, violations: Violations) -> None:
        self._violations = violations
        self._rows: dict[_Message, set[int | None]] = defaultdict(set)
        self._replayed: set[str] = set()
        self._waiting: list[str] = []

    def add(self, source: str) -> bool:
        """Take a dead letter; False where it was taken before."""
        topic, partition, offset, row = parse_source(source)
        rows = self._rows[topic, partition, offset]
        if row in rows:
            self._violations.add(f"{source} is a dead letter twice")
            return False
        rows.add(row)
        return True

    def add_replayed(self, source: str) -> None:
        """Take the note that a dead letter was replayed."""
        self._replayed.add(source)

    def as_it_was(self, decoded: Decoded) -> Decoded:
        """The message as its window counted it: rows with a letter are dead, rows without one need one."""
        rows = self._rows.get(_message(decoded), set())
        usable = {None, *decoded.valid_rows.tolist()} if len(decoded.valid_rows) else set()
        for row in rows & usable:
            self._could_be_used(_source(decoded, row))
        for error in decoded.errors:
            if error.row not in rows and None not in rows:
                self._violations.add(f"{_source(decoded, error.row)} cannot be used, but is no dead letter")
        return _without(decoded, rows) if rows & usable else decoded

    def close(self) -> None:
        """Tell of the letters that could be used."""
        if self._waiting:
            self._violations.add(
                f"{len(self._waiting)} dead letters, the first {self._waiting[0]}, can be used with the "
                "settings of now; where these were mended, put them back: stream-coreset replay-dead-letters"
            )

    def _could_be_used(self, source: str) -> None:
        if source not in self._replayed:
            self._waiting.append(source)


def _message(decoded: Decoded) -> _Message:
    record = decoded.record
    return record.topic, record.partition, record.offset


def _source(decoded: Decoded, row: int | None) -> str:
    return source_id(*_message(decoded), row)


def _without(decoded: Decoded, rows: set[int | None]) -> Decoded:
    """The message with these rows, or for None all of it, as dead ones."""
    keep = np.array([not {None, row} & rows for row in decoded.valid_rows.tolist()], np.bool_)
    kept = () if None in rows else decoded.errors
    dead = [None] if None in rows else decoded.valid_rows[~keep].tolist()
    errors = (*kept, *(RowError(row, "Dead", _THEN) for row in dead))
    return replace(
        decoded,
        rows=int(keep.sum()) + len(errors),
        embeddings=decoded.embeddings[keep],
        valid_rows=decoded.valid_rows[keep],
        weights=decoded.weights[keep],
        errors=errors,
    )
