"""The two transforms joined without Kafka: what one emits is what the other reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from consumers.clusterer import ClustererTransform
from consumers.metrics import ClustererMetrics, SamplerMetrics
from consumers.records import ClustersAssembler, LedgerEntry, Publication
from consumers.refresher import Refresher
from consumers.sampler import SamplerTransform
from consumers.settings import Settings, load_settings
from consumers.transform import InputRecord, Output, Unit


def settings(**sections: Any) -> Settings:
    """Settings of a small deployment; sections are merged into it."""
    values: dict[str, Any] = {
        "name": "test",
        "input": {"topic": "examples", "dimension": 2},
        "window": {"size": 200},
        "sampling": {"rate": 0.1, "seed": "a secret"},
        "clustering": {"n_clusters": 4, "device": "cpu", "flush_seconds": 1e-6, "publish_seconds": 1e-6},
    }
    for section, given in sections.items():
        values[section] = {**values.get(section, {}), **given} if isinstance(given, dict) else given
    return load_settings(**values)


def example(embedding: Any, **more: Any) -> bytes:
    return orjson.dumps({"embedding": embedding, **more}, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass
class Loop:
    """One sampler and one clusterer; `feed` runs examples through both."""

    settings: Settings
    refresher: Refresher | None = None
    publication: Publication | None = None
    offset: int = 0
    statistics: int = 0
    now: float = 0.0
    outputs: dict[str, list[Output]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.sampler_metrics, self.clusterer_metrics = SamplerMetrics(), ClustererMetrics()
        self.sampler = SamplerTransform(self.settings, lambda: self.publication, self.sampler_metrics)
        self.clusterer = ClustererTransform(
            self.settings, lambda: self.publication, self.clusterer_metrics, self.refresher
        )
        self.clusterer.reset([(self.settings.topic("statistics"), 0)])
        self._assembler = ClustersAssembler(self.settings.input.dimension)

    def records(self, values: Sequence[bytes | None], **how: Any) -> list[InputRecord]:
        topic, first = self.settings.input.topic, self.offset
        self.offset += len(values)
        return [InputRecord(topic, 0, first + i, None, value, **how) for i, value in enumerate(values)]

    def feed(self, values: Sequence[bytes | None]) -> list[Unit]:
        """Run messages through both roles; the sampler's units."""
        self.now += 1.0
        windows = self.sampler.cut(self.records(values), self.now)
        windows += self.sampler.cut([], self.now + self.settings.window.age_seconds)
        units = [self.sampler.apply(window) for window in windows]
        for unit in units:
            self.take(unit)
            self.turn(unit)
        return units

    def turn(self, unit: Unit | None = None) -> None:
        """Let the clusterer read what a unit says, and publish."""
        topic = self.settings.topic("statistics")
        sent = [output.value for output in unit.outputs if output.topic == topic] if unit else []
        records = [InputRecord(topic, 0, self.statistics + i, None, value) for i, value in enumerate(sent)]
        self.statistics += len(records)
        self.now += 1.0
        for merge in self.clusterer.cut(records, self.now):
            done = self.clusterer.apply(merge)
            self.take(done)
            for output in (one for one in done.outputs if one.topic == self.settings.topic("clusters")):
                self.publication = self._assembler.feed(output.key, output.value) or self.publication

    def take(self, unit: Unit) -> None:
        """What a commit does."""
        for output in unit.outputs:
            self.outputs[output.topic].append(output)
        unit.on_commit()

    def of(self, role: Any) -> list[Output]:
        return self.outputs[self.settings.topic(role)]

    def ledger(self) -> list[LedgerEntry]:
        return [LedgerEntry.decode(output.value) for output in self.of("windows")]


def blobs(n: int, seed: int = 0, k: int = 4) -> np.ndarray:
    """(n, 2) points of k clusters far apart."""
    rng = np.random.default_rng(seed)
    return 10 * rng.integers(0, k, (n, 1)) * np.ones(2) + rng.normal(size=(n, 2))
