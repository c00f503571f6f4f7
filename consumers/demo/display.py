"""Live progress: bars in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Display"]

_WINDOWS_A_LINE = 10


class Display:
    """Says what happens, and how far the events, the windows and the learners are. A context manager."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._windows = 0
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[says]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._sent = self._bar("events sent", total)
        self._sampled = self._bar("events sampled", total)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Say one thing that happened."""
        self.console.print(f"[dim]•[/] {text}", soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Show a table or the like."""
        self.console.print(what)

    def sent(self, events: int) -> None:
        """So many events have been sent."""
        self._progress.update(self._sent, completed=events)

    def sampled(
        self, events: int, windows: int, emitted: int, models: int, accuracy: Mapping[str, float]
    ) -> None:
        """So far the ledger and the learners."""
        scores = ", ".join(f"{side} {value:.3f}" for side, value in accuracy.items() if math.isfinite(value))
        says = (
            f"{windows} windows, {emitted} emitted, model {models or '-'}; balanced accuracy: {scores or '-'}"
        )
        self._progress.update(self._sampled, completed=events, says=says)
        if not self.console.is_terminal and windows >= self._windows + _WINDOWS_A_LINE:
            self._windows = windows
            self.say(f"{events:,} events in {says}")

    def _bar(self, name: str, total: int) -> TaskID:
        return self._progress.add_task(name, total=total, says="")
