"""What a sampler gathers for the clusterer between two flushes: its centers as weighted points, and probes.

All of it is soft: losing some costs variance, never correctness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from consumers.codecs.examples import Codec, Decoded
from consumers.emission import place
from consumers.records.publication import Publication
from consumers.records.statistics import Probe, Statistics, encode_statistics
from consumers.settings import Settings
from stream_coreset.clusters import Clusters
from stream_coreset.kernels import cluster_sums, totals
from stream_coreset.kmeans import WeightedPoints
from stream_coreset.probes import choose_probes
from stream_coreset.stream import AdaptedWindow
from stream_coreset.window import Window

__all__ = ["Flush", "Gatherer"]

PROBE_BYTES = 256_000  # of a flush
_TIMES = 4  # points held, in times the centers, before those of one center are made one
_Key = tuple[int, int]  # version of the clusters, id of a center: a center just placed has an id only there


@dataclass(frozen=True)
class Flush:
    """Records for the statistics topic, and the probes in them."""

    values: tuple[bytes, ...] = ()
    probes: int = 0


class Gatherer:
    """Adds up the statistics of windows, and says when it is time to send them.

    A flush of b bytes is followed by a pause of ``flush_seconds * max(1, b / flush_bytes)``.
    """

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._next_flush = 0.0
        self._version = 0
        self._wanted: tuple[int, ...] = ()
        self._served: Counter[int] = Counter()
        self.clear()

    def begin(self, publication: Publication) -> None:
        """Serve what a new version of the clusters wants."""
        self._version = publication.clusters.version
        self._wanted = tuple(int(center) for center in publication.wanted)
        self._served = Counter()

    def clear(self) -> None:
        """Forget what was not sent."""
        self._keys: list[_Key] = []
        self._published: list[bool] = []
        self._points: list[WeightedPoints] = []
        self._probes: list[tuple[_Key, Probe]] = []
        self._room = PROBE_BYTES
        self._distinct = 0

    def add(
        self, window: Window[Decoded], adapted: AdaptedWindow, published: Clusters, rng: np.random.Generator
    ) -> None:
        """Add one window's centers, and probes of those that are wanted or were just placed."""
        ids = adapted.clusters.ids[adapted.members]
        known = np.isin(ids, published.ids)
        self._keys += [(self._version, int(center)) for center in ids]
        self._published += known.tolist()
        self._points.append(adapted.statistics)
        if len(self._keys) > _TIMES * self._settings.clustering.n_clusters + self._distinct:
            self._merge()
        label_of = dict(zip(ids.tolist(), adapted.members.tolist(), strict=True))
        asked = [center for center in self._wanted if center in label_of]
        self._add_probes(
            window, adapted, [label_of[c] for c in self._fitting([*asked, *ids[~known]], window)], rng
        )

    def flush(self, now: float, closed_ms: int) -> Flush:
        """What to send now: nothing where it is not time. What is sent is forgotten here."""
        if now < self._next_flush or not self._points:
            return Flush()
        statistics = self._statistics(closed_ms)
        values = tuple(encode_statistics(statistics))
        clustering = self._settings.clustering
        pause = max(1.0, sum(map(len, values)) / clustering.flush_bytes)
        self._next_flush = now + pause * clustering.flush_seconds
        self.clear()
        return Flush(values, len(statistics.probes))

    def _fitting(self, centers: Sequence[int], window: Window[Decoded]) -> list[int]:
        """Those of the centers whose probes still fit this flush, the least served ones first."""
        each = self._settings.sampling.probes * max(1.0, window.nbytes / max(1, window.rows))
        return sorted(map(int, centers), key=self._served.__getitem__)[: max(0, int(self._room / each))]

    def _add_probes(
        self,
        window: Window[Decoded],
        adapted: AdaptedWindow,
        labels: Sequence[int],
        rng: np.random.Generator,
    ) -> None:
        probes = choose_probes(adapted.assignment, labels, self._settings.sampling.probes - 1, rng)
        messages, rows = place(window.items, probes.rows)
        for i, (message, row) in enumerate(zip(messages, rows, strict=True)):
            example = self._codec.example(window.items[message], int(row))
            center = int(adapted.clusters.ids[probes.labels[i]])
            nearest, count = bool(probes.is_nearest[i]), float(probes.member_counts[i])
            probe = Probe(0, nearest, float(probes.distances[i]), count, example)
            self._probes.append(((self._version, center), probe))
            self._served[center] += nearest
            self._room -= len(example)

    def _merge(self) -> None:
        """Make the points of one center one, so that what is held does not grow with the windows."""
        keys, places = np.unique(np.array(self._keys), axis=0, return_inverse=True)
        places = places.ravel()
        published = np.zeros(len(keys), dtype=np.bool_)
        published[places] = self._published
        self._points = [_added_up(self._points, places, len(keys))]
        self._keys = [(int(version), int(center)) for version, center in keys]
        self._published = published.tolist()
        self._distinct = len(keys)

    def _statistics(self, closed_ms: int) -> Statistics:
        self._merge()
        row = {key: place for place, key in enumerate(self._keys)}
        probes = tuple(replace(probe, point=row[key]) for key, probe in self._probes)
        ids = np.where(self._published, np.array(self._keys)[:, 1], -1)
        return Statistics(self._settings.instance, self._version, closed_ms, self._points[0], ids, probes)


def _added_up(windows: Sequence[WeightedPoints], places: NDArray[np.intp], k: int) -> WeightedPoints:
    """Weighted points of several windows, those of one center made one: mass and cost are kept exactly."""
    means = np.concatenate([part.points for part in windows])
    counts = np.concatenate([part.counts for part in windows])
    sums, mass = cluster_sums(means, places, k, counts)
    centers = sums / mass[:, None]
    apart = counts * ((means - centers[places]) ** 2).sum(axis=1)
    costs: NDArray[np.float64] = np.concatenate([part.costs for part in windows]) + apart
    return WeightedPoints(centers.astype(np.float32), mass, totals(places, costs, k))
