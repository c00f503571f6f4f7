"""Puts windows together again: the ledger says how many examples a window emitted, the coreset has them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consumers.demo.data import Events, decode_examples
from consumers.records import LedgerEntry, RecordError
from consumers.transform import InputRecord

__all__ = ["CoresetWindow", "WindowJoiner"]


@dataclass(frozen=True)
class CoresetWindow:
    """A window of which everything has arrived.

    Attributes
    ----------
    entry : LedgerEntry
    sampled : Events
        The m emitted examples.
    weights : (m,) float64
    """

    entry: LedgerEntry
    sampled: Events
    weights: NDArray[np.float64]


class WindowJoiner:
    """Takes the records of both topics in any order and gives each window once it is whole.

    Parameters
    ----------
    ledger : str
        Topic of the ledger; records of any other topic are taken for the coreset's.
    """

    def __init__(self, ledger: str) -> None:
        self._ledger = ledger
        self._entries: dict[str, LedgerEntry] = {}
        self._emitted: defaultdict[str, list[tuple[bytes, float]]] = defaultdict(list)

    def feed(self, record: InputRecord) -> CoresetWindow | None:
        """Take a record; returns its window if that is whole now.

        Raises
        ------
        RecordError
            Where the record is not one of the service's.
        """
        if record.topic == self._ledger:
            entry = LedgerEntry.decode(record.value)
            self._entries[entry.window] = entry
            return self._whole(entry.window)
        window, weight = _headers(record)
        self._emitted[window].append((record.value or b"", weight))
        return self._whole(window)

    def _whole(self, window: str) -> CoresetWindow | None:
        entry, emitted = self._entries.get(window), self._emitted.get(window, [])
        if entry is None or len(emitted) < entry.emitted:
            return None
        del self._entries[window]
        self._emitted.pop(window, None)
        weights = np.array([weight for _, weight in emitted], np.float64)
        return CoresetWindow(entry, decode_examples(value for value, _ in emitted), weights)


def _headers(record: InputRecord) -> tuple[str, float]:
    headers = dict(record.headers)
    try:
        return headers["coreset-window"].decode(), float(headers["coreset-weight"])
    except (KeyError, ValueError) as error:
        raise RecordError(f"{record.topic}/{record.partition}/{record.offset}: no coreset record") from error
