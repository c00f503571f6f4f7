"""What the clusters of today say of an example that was processed before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.budget import sensitivity_sampler
from consumers.codecs import Decoded, codec_for
from consumers.codecs.groups import groups_of
from consumers.reader import read_spans
from consumers.records import Publication
from consumers.records.ledger import LedgerEntry
from consumers.settings import Settings
from stream_coreset.kernels import nearest
from stream_coreset.kmeans import Assignment
from stream_coreset.learning import predict_window
from stream_coreset.prediction import Prediction
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.surrogate import Surrogate

__all__ = ["Reread", "Today", "cluster_today", "example_today", "read_window"]

_AFFORDABLE = 2  # times window.size: windows hold whole messages


@dataclass(frozen=True)
class Today:
    """A cluster as it is published now, and one example under these clusters; None = unknown.

    Attributes
    ----------
    version : int
        Of the clusters.
    cluster : str
        Id.
    mass_share : float
        Of the cluster.
    loss, spread, loss_age_seconds : float or None
        Of the cluster.
    mean_loss, root_mean_square : float or None
        Of all clusters, by mass.
    distance, predicted_loss, probability : float or None
        Of the example: to its center; by the surrogate of today, where its window was drawn with one; and the
        expected number of draws. Approximate: the window was drawn with clusters adapted to it.
    examples : int
        Examples of its window that the probability was computed with.
    """

    version: int
    cluster: str
    mass_share: float
    loss: float | None
    spread: float | None
    loss_age_seconds: float | None
    mean_loss: float | None
    root_mean_square: float | None
    distance: float | None = None
    predicted_loss: float | None = None
    probability: float | None = None
    examples: int = 0

    def json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {**vars(self), "approximate": True}


@dataclass(frozen=True, eq=False)
class Reread:
    """Messages of a window, read again, and one example among them: a row of the message `own`."""

    messages: Sequence[Decoded]
    own: Decoded
    row: int

    def place(self) -> int | None:
        """Where the example is among the usable rows; None where it is not."""
        before = 0
        for item in self.messages:
            rows = (
                np.flatnonzero(item.valid_rows == self.row) if self._is_own(item) else np.zeros(0, np.int64)
            )
            if len(rows):
                return before + int(rows[0])
            before += len(item.valid_rows)
        return None

    def sources(self) -> NDArray[np.int64]:
        """For the limit of a source: the partition of each usable row, counted from 0."""
        rows = [len(item.valid_rows) for item in self.messages]
        partitions = np.repeat([item.record.partition for item in self.messages], rows)
        return np.unique(partitions, return_inverse=True)[1].astype(np.int64)

    def _is_own(self, item: Decoded) -> bool:
        own = self.own.record
        return (item.record.partition, item.record.offset) == (own.partition, own.offset)


def cluster_today(publication: Publication, cluster: str, now_ms: int) -> Today | None:
    """A cluster by its id; None where it is gone."""
    rows = np.flatnonzero(publication.clusters.ids == (int(cluster) if cluster.isdigit() else -1))
    return _row_today(publication, int(rows[0]), now_ms) if len(rows) else None


def _row_today(publication: Publication, row: int, now_ms: int) -> Today:
    clusters = publication.clusters
    age = max(0.0, (now_ms - publication.published_ms) / 1000)
    known = np.isfinite(clusters.losses) & (clusters.counts > 0)
    mean = math.nan
    if known.any():
        mean = float(np.average(clusters.losses[known], weights=clusters.counts[known]))
    return Today(
        version=clusters.version,
        cluster=str(clusters.ids[row]),
        mass_share=float(clusters.counts[row] / (clusters.counts.sum() or 1.0)),
        loss=_known(clusters.losses[row]),
        spread=_known(clusters.spreads[row]),
        loss_age_seconds=_known(clusters.loss_ages[row] + age),
        mean_loss=_known(mean),
        root_mean_square=_known(math.sqrt(clusters.mean_square)),
    )


def read_window(settings: Settings, entry: LedgerEntry, own: Decoded, row: int) -> Reread:
    """Read the messages of a window again, those that are still held; `own` alone where they are many."""
    if entry.valid + entry.dead > _AFFORDABLE * settings.window.size:
        return Reread([own], own, row)
    codec = codec_for(settings.input)
    spans = {(part.topic, part.partition): (part.start, part.end) for part in entry.ranges}
    return Reread([codec.decode(record) for record in read_spans(settings, spans)], own, row)


def example_today(
    settings: Settings, publication: Publication, entry: LedgerEntry, window: Reread, now_ms: int
) -> Today | None:
    """One example of a window under the clusters of today; None where it cannot be decoded.

    Its probability is that of a draw from the messages of its window that are at hand, with the floor and the
    design of the ledger, and with as much of the window's expected size as falls to them.

    Parameters
    ----------
    settings : Settings
        Scores and limits are those of today.
    publication : Publication
        Of today, with at least one center.
    entry : LedgerEntry
        Of the window.
    window : Reread
    now_ms : int
        Milliseconds since 1970.
    """
    place = window.place()
    if place is None:
        return None
    X = np.concatenate([item.embeddings for item in window.messages])
    labels, squares = nearest(X, publication.clusters.centers)
    assignment = Assignment(labels, np.sqrt(squares))
    predicted = _predicted(settings, publication, entry, X, assignment)
    sampler = replace(sensitivity_sampler(settings), floor=entry.eta, design=entry.design)
    clusters, groups = publication.clusters, groups_of(window.messages)
    if groups is not None:  # whose shares depend on the size of the sample
        sampler = replace(sampler, rate=None, epsilon=None, size=_size(len(X), entry))
    p = sampler.probabilities(assignment, clusters, window.sources(), predicted, groups=groups)
    return replace(
        _row_today(publication, int(labels[place]), now_ms),
        distance=float(assignment.distances[place]),
        predicted_loss=None if predicted is None else float(predicted.means[place]),
        probability=float(_expected(p, entry)[place]),
        examples=len(X),
    )


def _expected(p: NDArray[np.float64], entry: LedgerEntry) -> NDArray[np.float64]:
    """Expected draws of the rows at hand."""
    s = _size(len(p), entry)
    return s * p if entry.design == "iid" else inclusion_probabilities(p, s)


def _size(n: int, entry: LedgerEntry) -> float:
    """What falls to n rows of the window's expected size."""
    return entry.s * n / max(entry.valid, n)


def _predicted(
    settings: Settings,
    publication: Publication,
    entry: LedgerEntry,
    X: NDArray[np.float32],
    assignment: Assignment,
) -> Prediction | None:
    """What the surrogate of today predicts, where the window was drawn with one; None where it cannot."""
    if entry.surrogate_digest is None or publication.surrogate is None or not settings.learns:
        return None
    z, clusters = settings.sampling.z, publication.clusters
    try:
        return predict_window(Surrogate.from_bytes(publication.surrogate), X, assignment, clusters, z=z)
    except (ValueError, RuntimeError):
        return None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
