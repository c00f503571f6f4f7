"""What goes into one transaction, with a committer that takes as long as a broker under a quota would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from consumers import pipeline as module
from consumers.pipeline import Epoch, Pipeline
from consumers.transform import Outcome, Output, Unit

KILOBYTE = bytes(1000)


class Slow:
    """Commits what fits into 100 kB, and gives up on more only after a while."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def commit(self, units: Sequence[Unit], membership: Any) -> Outcome:
        self.sizes.append(len(units))
        if len(units) <= 100:
            return "committed"
        time.sleep(0.15)
        return "aborted"


class Kilobytes:
    """Every window comes to one output of a kilobyte."""

    def apply(self, window: int) -> Unit:
        return Unit([Output("out", KILOBYTE)], {("in", 0): window + 1})

    def window_bytes(self, window: int) -> int:
        return 0


def test_transactions_shrink_until_they_fit_and_grow_again(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[..., None]
) -> None:
    """The same transaction would be too slow again, for ever."""
    monkeypatch.setattr(module, "_QUICK_SECONDS", 0.1)
    committer = Slow()
    pipeline: Pipeline[int] = Pipeline(Kilobytes(), committer, interval=0.5)  # type: ignore[arg-type]
    pipeline.start()
    begin(pipeline, 1)
    wait(lambda: committer.sizes == [1])  # the next wait for others
    begin(pipeline, 400)
    for _ in range(3):
        wait(pipeline.spoiled)
        begin(pipeline, 400)
    pipeline.close(1.0)
    assert committer.sizes[:5] == [1, 400, 200, 100, 200]


def begin(pipeline: Pipeline[int], windows: int) -> None:
    """Begin an epoch, as after an abort."""
    pipeline.drop()
    assert pipeline.wait_idle(5)
    pipeline.begin(Epoch(None, ()), {})  # type: ignore[arg-type]
    for number in range(windows):
        pipeline.submit(number)
