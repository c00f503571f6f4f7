"""Live progress: bars in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["Display"]

_WINDOWS_A_LINE = 10


class Display:
    """Says what happens, and how far the events, the windows and the learners are. A context manager."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._windows, self._facts, self._scores = 0, "", ""
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )
        self._sent = self._bars.add_task("events sent", total=total)
        self._sampled = self._bars.add_task("events sampled", total=total)
        self._live = Live(get_renderable=self._render, console=self.console, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Say one thing that happened."""
        self.console.print(f"[dim]•[/] {text}", soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Show a table or the like."""
        self.console.print(what)

    def sent(self, events: int) -> None:
        """So many events have been sent."""
        self._bars.update(self._sent, completed=events)

    def sampled(
        self, events: int, windows: int, emitted: int, models: int, accuracy: Mapping[str, float]
    ) -> None:
        """So far the ledger and the learners."""
        known = [f"{side} {value:.3f}" for side, value in accuracy.items() if math.isfinite(value)]
        self._facts = f"{windows} windows, {emitted} examples emitted, model {models or '-'}"
        self._scores = f"balanced accuracy: {', '.join(known) or '-'}"
        self._bars.update(self._sampled, completed=events)
        if not self.console.is_terminal and windows >= self._windows + _WINDOWS_A_LINE:
            self._windows = windows
            self.say(f"{events:,} events in {self._facts}; {self._scores}")

    def _render(self) -> RenderableType:
        return Group(self._bars, Text(f"  {self._facts}"), Text(f"  {self._scores}"))
