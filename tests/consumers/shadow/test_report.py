"""What a dry run says, and what it keeps to itself."""

from __future__ import annotations

import pytest

from consumers.shadow.evidence import Comparison
from consumers.shadow.report import FEW, ShadowReport
from stream_coreset.gain import Gain


def report(deciding: float) -> ShadowReport:
    ours, stratified = Gain(0.5, 0.1, 20.0, deciding), Gain(0.9, 0.1, 20.0, deciding)
    compared = [Comparison(0.01, ours, stratified)]
    return ShadowReport(
        "clicks", 10, 5_000, 2, 8, 800, 1, 90, "the model tells the losses", False, 0.01, compared
    )


def test_an_interval_is_told_where_enough_examples_decide() -> None:
    found = report(FEW)
    assert "(95 %: 0.41 to 0.62)" in " ".join(found.render().split())
    assert found.json()["comparisons"][0]["low"] == pytest.approx(0.5 * 0.811, rel=1e-3)


def test_no_interval_is_told_where_few_large_losses_decide() -> None:
    found = report(FEW - 1)
    assert "no more than 19 large losses decide that" in " ".join(found.render().split())
    assert "0.41" not in found.render()
    assert found.json()["comparisons"][0]["low"] is None
    assert found.json()["comparisons"][0]["deciding"] == FEW - 1
