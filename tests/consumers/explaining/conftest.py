"""What is explained: a publication, an entry of the ledger, texts of an emission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from consumers.records import LedgerEntry, Publication
from consumers.records.ledger import Range, emitted_digest
from consumers.settings import Settings, load_settings
from stream_coreset.clusters import Clusters

NAN = float("nan")


@pytest.fixture
def settings() -> Settings:
    return load_settings(name="clicks", input={"topic": "raw", "dimension": 2}, sampling={"rate": 0.1})


@pytest.fixture
def make_clusters() -> Callable[..., Clusters]:
    """Four clusters on a line, ten apart; the loss of the last one is unknown."""

    def make(**given: Any) -> Clusters:
        values: dict[str, Any] = {
            "version": 7,
            "model_version": "m2",
            "ids": np.array([3, 5, 8, 9]),
            "generations": np.zeros(4, np.int64),
            "centers": np.array([[0.0, 0], [10, 0], [20, 0], [30, 0]]),
            "counts": np.array([70.0, 20.0, 10.0, 0.0]),
            "losses": np.array([1.0, 2.0, 8.0, NAN]),
            "spreads": np.array([1.0, 3.0, 9.0, NAN]),
            "loss_ages": np.array([5.0, 6.0, 100.0, NAN]),
            "mean_square": 9.0,
            "holders": np.array([0.1, 0.2]),
        }
        return Clusters(**{**values, **given})

    return make


@pytest.fixture
def make_publication(
    settings: Settings, make_clusters: Callable[..., Clusters]
) -> Callable[..., Publication]:
    def make(**given: Any) -> Publication:
        said = (settings.stream_digest(), np.zeros(0, np.int64), 0.2, 0.1, 1_000_000)
        return Publication(make_clusters(**given), *said)

    return make


@pytest.fixture
def make_entry() -> Callable[..., LedgerEntry]:
    """The window raw/0/100-150 and raw/1/7-57, of 100 examples."""

    def make(**given: Any) -> LedgerEntry:
        ranges = given.pop("ranges", (Range("raw", 0, 100, 150), Range("raw", 1, 7, 57)))
        values: dict[str, Any] = {
            "window": f"{ranges[0].topic}/{ranges[0].partition}/{ranges[0].start}",
            "ranges": ranges,
            "valid": 100,
            "dead": 0,
            "emitted": 10,
            "emitted_digest": emitted_digest([]),
            "s": 10.0,
            "design": "pivotal",
            "rate": 0.1,
            "eta": 0.2,
            "clusters_version": 6,
            "clusters_digest": "0" * 64,
            "surrogate_digest": None,
            "weight_sum": 100.0,
            "anticipated_se": None,
            "cost": 400.0,
            "closed_ms": 1_700_000_000_000,
        }
        return LedgerEntry(**{**values, **given})

    return make


@pytest.fixture
def make_texts() -> Callable[..., dict[str, str]]:
    def make(source: str = "raw/0/101", **given: str) -> dict[str, str]:
        why = "distance=5 center_loss=8 spread=9 loss_age=12 predicted=- score=0.04"
        said = {"weight": "2.5", "probability": "0.4", "cluster": "8", "clusters": "6", "rank": "3"}
        return {"source": source, "window": "raw/0/100", "why": why, **said, **given}

    return make
