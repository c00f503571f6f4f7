"""Joins what was emitted with the losses that come back, in any order, within bounds of memory and age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import structlog

from consumers.feedback.emitted import Draw
from consumers.feedback.results import Found
from consumers.feedback.window import WindowInWait
from consumers.records.feedback import FeedbackRecord
from consumers.records.ledger import LedgerEntry

__all__ = ["Joiner"]

log = structlog.get_logger(__name__)

_UNKNOWN_SHARE = 4  # windows that the ledger does not know take at most this part of the memory

Windows = OrderedDict[str, WindowInWait]


class Joiner:
    """Windows in wait; `take` yields what has been found. Pure: time is passed in, in ms since 1970.

    Parameters
    ----------
    max_bytes : int
        Memory; beyond it the oldest windows are forgotten.
    max_age_ms, wait_ms : int
        Since a window closed: when it is forgotten, and when its missing losses are spoken of.
    refuse : callable
        Told the reason and the number of losses that are not used.
    """

    def __init__(
        self, *, max_bytes: int, max_age_ms: int, wait_ms: int, refuse: Callable[[str, int], None]
    ) -> None:
        self._max_bytes, self._max_age_ms, self._wait_ms = max_bytes, max_age_ms, wait_ms
        self._refuse = refuse
        self._known, self._unknown = Windows(), Windows()
        self._sizes: dict[str, int] = {}
        self._bytes, self._unknown_bytes = 0, 0
        self._touched: dict[str, None] = {}
        self._found = Found()

    @property
    def nbytes(self) -> int:
        """About the memory that it takes."""
        return self._bytes + self._unknown_bytes

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def add_entry(self, entry: LedgerEntry, now_ms: int) -> None:
        """Take an entry of the ledger."""
        if entry.window in self._known or entry.closed_ms <= now_ms - self._max_age_ms:
            return
        window = self._forget(self._unknown, entry.window) or WindowInWait(now_ms)
        window.add_entry(entry)
        self._known[entry.window] = window
        self._touch(entry.window)

    def add_draw(self, draw: Draw, now_ms: int) -> None:
        """Take a draw that the coreset holds."""
        self._window(draw.window, now_ms).add_draw(draw)
        self._touch(draw.window)

    def add_feedback(self, record: FeedbackRecord, now_ms: int) -> bool:
        """Take a loss that came back; whether it is of use as far as is known by now. A null waits."""
        if record.loss is None:
            return False
        window = self._window(record.window, now_ms)
        reason = window.add_loss(record.source, record.loss, record.model_version)
        self._touch(record.window)
        if reason is not None:
            self._refuse(reason, 1)
        return reason is None

    def expire(self, now_ms: int) -> None:
        """Speak of what is missing, forget what is old; all that was written by `now_ms` has been read."""
        self._settle()
        for name, window in list(self._unknown.items()):
            if window.born_ms <= now_ms - self._wait_ms:
                self._drop_unknown(name)
        for name, window in list(self._known.items()):
            self._expire(name, window, now_ms)

    def take(self) -> Found:
        """What has been found since the last call, windows in the order in which they closed."""
        self._settle()
        found, self._found = self._found, Found()
        found.complete.sort(key=lambda one: (one.entry.closed_ms, one.entry.window))
        return found

    def _settle(self) -> None:
        touched, self._touched = self._touched, {}
        for name in touched:
            if name in self._known:
                self._look_into(name, self._known[name])

    def _look_into(self, name: str, window: WindowInWait) -> None:
        try:
            strange = window.close()
        except ValueError as error:
            log.warning("a window without an estimate", reason=str(error))
            self._forget(self._known, name)
            return
        if strange:
            self._refuse("never emitted", strange)
        self._found.labels.extend(window.labels())
        self._found.complete.extend(window.complete())
        self._weigh(name)

    def _expire(self, name: str, window: WindowInWait, now_ms: int) -> None:
        age = now_ms - (window.entry.closed_ms if window.entry else window.born_ms)
        if age >= self._wait_ms and not (window.gave_up or window.is_complete):
            window.gave_up = True
            missing = window.missing()
            if missing is not None:
                self._found.missing.append(missing)
        if age >= self._max_age_ms:
            self._forget(self._known, name)

    def _window(self, name: str, now_ms: int) -> WindowInWait:
        if name in self._known:
            return self._known[name]
        return self._unknown.setdefault(name, WindowInWait(now_ms))

    def _touch(self, name: str) -> None:
        self._touched[name] = None
        self._weigh(name)

    def _weigh(self, name: str) -> None:
        """Note how large a window has become, and keep within bounds."""
        for windows in (self._known, self._unknown):
            if name in windows:
                self._resize(windows, name, windows[name].nbytes + 2 * len(name))
        while self._unknown_bytes > self._max_bytes // _UNKNOWN_SHARE:
            self._drop_unknown(next(iter(self._unknown)))
        while self.nbytes > self._max_bytes and self._known:
            self._forget(self._known, next(iter(self._known)))

    def _resize(self, windows: Windows, name: str, nbytes: int) -> None:
        grown = nbytes - self._sizes.pop(name, 0)
        if nbytes:
            self._sizes[name] = nbytes
        if windows is self._known:
            self._bytes += grown
        else:
            self._unknown_bytes += grown

    def _drop_unknown(self, name: str) -> None:
        window = self._forget(self._unknown, name)
        if window is not None and window.losses_held:
            self._refuse("unknown window", window.losses_held)

    def _forget(self, windows: Windows, name: str) -> WindowInWait | None:
        window = windows.pop(name, None)
        if window is not None:
            self._resize(windows, name, 0)
        return window
