"""The page for users: its tables are those of the results that are kept."""

from __future__ import annotations

import pytest

from benchmarks.quality.page import PAGE, rewritten


def test_the_tables_are_those_of_the_newest_results() -> None:
    """After new results: `python -m benchmarks.quality.page`."""
    page = PAGE.read_text()
    assert rewritten(page) == page


def test_a_table_that_is_not_there_is_missed() -> None:
    with pytest.raises(ValueError, match="markers of streams, not 0"):
        rewritten(PAGE.read_text().replace("<!-- streams -->", ""))
