"""Examples whose losses are known, with the probabilities that they had: what the gain is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.gain import Gain, sampling_gain
from stream_coreset.kernels import nearest
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.scores import draw_order
from stream_coreset.weighted import Assignment

__all__ = ["RATES", "Comparison", "Evidence", "ScoredWindow"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

RATES = (0.01, 0.02, 0.05, 0.1)
_LEAST_DRAWN = 8  # by a sample of the examples at hand; less says nothing of a rate


@dataclass(frozen=True, eq=False)
class ScoredWindow:
    """A window as it was drawn from, until the losses of some of its examples are known.

    Attributes
    ----------
    name : str
        Window id.
    warm : bool
        Whether enough was known for it to count.
    embeddings : (n, d) float32
    weights : (n,) float64
        What each example weighed in the input.
    scores : (n,) float64
        p, the sampling probabilities.
    expected_size : float
    predicted : (n,) float64 or None
        Losses that the surrogate expected.
    """

    name: str
    warm: bool
    embeddings: NDArray[np.float32]
    weights: Float
    scores: Float
    expected_size: float
    predicted: Float | None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Comparison:
    """Sampling at one rate: the gain of the method, and of uniform sampling stratified by cluster alone."""

    rate: float
    ours: Gain
    stratified: Gain


@dataclass(frozen=True, eq=False)
class _Known:
    """Examples of one window: what they add to a total, and expected counts at each rate (first its own)."""

    window: str
    embeddings: NDArray[np.float32]
    losses: Float
    scores: Float
    counts: Float
    predicted: Float | None


class Evidence:
    """Known losses of a uniform sample of the stream, window by window.

    Parameters
    ----------
    design : str
        Of the draws.
    z : float
        Exponent of the distance in the scores.
    """

    def __init__(self, design: str, z: float) -> None:
        self._design, self._z = design, z
        self._known: list[_Known] = []
        self._rates: list[float] = []

    def __len__(self) -> int:
        return sum(len(known.losses) for known in self._known)

    @property
    def windows(self) -> int:
        """Of how many windows losses are known."""
        return len({known.window for known in self._known})

    def add(self, window: ScoredWindow, rows: Int, losses: Float) -> None:
        """Add the losses (m,) of some rows of a window, chosen whatever their losses are."""
        if not len(rows):
            return
        n = len(window)
        sizes = [window.expected_size, *(rate * n for rate in RATES)]
        counts = [self._counts(window.scores, size)[rows] for size in sizes]
        predicted = None if window.predicted is None else window.predicted[rows]
        self._rates.append(window.expected_size / n)
        self._known.append(
            _Known(
                window.name,
                window.embeddings[rows],
                losses * window.weights[rows],
                window.scores[rows] * n,
                np.array(counts),
                predicted,
            )
        )

    def compare(self, clusters: Clusters, rng: np.random.Generator) -> list[Comparison]:
        """Compare with uniform sampling at the stream's own rate, then at `RATES` where there is enough.

        All examples at hand are sampled as if they were one window of the clusters as they are now, each with
        the expected count that it had in its own.
        """
        if not self._known:
            return []
        return list(self._compared(clusters, rng))

    def _compared(self, clusters: Clusters, rng: np.random.Generator) -> Iterator[Comparison]:
        losses = np.concatenate([known.losses for known in self._known])
        counts = np.concatenate([known.counts for known in self._known], axis=1)
        labels, squares = nearest(
            np.concatenate([known.embeddings for known in self._known]), clusters.centers
        )
        assignment = Assignment(labels, np.sqrt(squares))
        order = draw_order(assignment, clusters, z=self._z, promises=self._promises())
        by_cluster = draw_order(assignment, clusters, z=self._z)
        for rate, expected in zip((float(np.mean(self._rates)), *RATES), counts, strict=True):
            if expected.sum() < _LEAST_DRAWN:
                continue
            alike = np.full(len(losses), expected.sum() / len(losses))
            ours = sampling_gain(losses, expected, design=self._design, order=order, rng=rng)
            yield Comparison(rate, ours, sampling_gain(losses, alike, order=by_cluster, rng=rng))

    def _counts(self, scores: Float, size: float) -> Float:
        return size * scores if self._design == "iid" else inclusion_probabilities(scores, size)

    def _promises(self) -> Float | None:
        """Loss expected / p, if a surrogate spoke of all examples."""
        parts = [known.predicted / known.scores for known in self._known if known.predicted is not None]
        return np.concatenate(parts) if len(parts) == len(self._known) else None
