"""A minimum rate per value of a field, in the sampler: kept in what is emitted, with weights that fit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest
from support.loop import Loop, example, settings

from consumers.settings import SettingsError


def grouped(rate: float = 0.1, least: float = 0.09, **sampling: Any) -> Any:
    return settings(
        input={"group": "tenant"},
        window={"size": 500},
        sampling={"rate": rate, "min_group_rate": least, "floor": 0.0, **sampling},
    )


def emitted(loop: Loop, windows: int) -> tuple[Counter[str], Counter[str]]:
    """Examples emitted of each tenant, and the sum of their weights; tenant b is dull, all in one place."""
    rng = np.random.default_rng(7)
    for _ in range(windows):
        dull = rng.random(500) < 0.2
        X = np.where(dull[:, None], rng.normal(0, 1e-3, (500, 2)), rng.normal(0, 10, (500, 2)))
        loop.feed([example(x, tenant="ab"[flag]) for x, flag in zip(X, dull.astype(int), strict=True)])
    counts, weights = Counter[str](), Counter[str]()
    for output in loop.of("coreset"):
        tenant = orjson.loads(output.value)["tenant"]
        counts[tenant] += 1
        weights[tenant] += float(dict(output.headers)["coreset-weight"])
    return counts, weights


@pytest.mark.parametrize("design", ["pivotal", "iid"])
def test_a_dull_tenant_gets_its_minimum_and_no_more(design: str) -> None:
    """One uniform window and 20 with 9 expected of 100 dull examples: 190, within 2.5 standard errors."""
    counts, weights = emitted(Loop(grouped(design=design)), windows=21)
    assert counts["b"] == pytest.approx(190, abs=35)
    assert counts.total() == pytest.approx(1050, abs=1)
    assert weights["b"] == pytest.approx(2100, rel=0.4)
    assert weights["a"] == pytest.approx(8400, rel=0.25)


def test_without_it_the_dull_tenant_is_hardly_seen() -> None:
    counts, _ = emitted(Loop(settings(window={"size": 500}, sampling={"floor": 0.0})), windows=21)
    assert counts["b"] < 150


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"input": {"group": "tenant"}}, "give both input.group and sampling.min_group_rate"),
        ({"sampling": {"min_group_rate": 0.1}}, "give both input.group and sampling.min_group_rate"),
        ({"input": {"group": "t"}, "sampling": {"min_group_rate": 0.2}}, "at most sampling.rate"),
        (
            {"input": {"group": "t"}, "sampling": {"rate": None, "min_group_rate": 0.02}},
            "at most sampling.rate",
        ),
        (
            {"input": {"group": "t"}, "sampling": {"rate": None, "epsilon": 0.3, "min_group_rate": 0.2}},
            "min_group_rate needs a rate",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings(**sections)
