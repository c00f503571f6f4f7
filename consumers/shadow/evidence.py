"""Examples whose losses are known, with the probabilities that they had: what the gain is measured on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.gain import Gain, sampling_gain
from stream_coreset.kernels import nearest
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.scores import draw_order, expected_losses, promised

__all__ = ["Comparison", "Evidence", "ScoredWindow"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_RATES = (0.01, 0.02, 0.05, 0.1)  # beside the one as set
_LEAST_DRAWN = 8  # by a sample of the examples at hand; less says nothing of a rate
_ALIKE = 1.02  # rates that are shown once


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
    """Some examples of a window: what they add to a total, expected counts at each rate (its own first)."""

    window: str
    version: str
    rate: float
    embeddings: NDArray[np.float32]
    losses: Float
    preference: Float
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
    rates : tuple of float
        To compare at, beside that of the windows.
    """

    def __init__(self, design: str, z: float, rates: tuple[float, ...] = _RATES) -> None:
        self._design, self._z, self._rates = design, z, rates
        self._known: list[_Known] = []

    def __len__(self) -> int:
        return sum(len(known.losses) for known in self._known)

    @property
    def windows(self) -> int:
        """Of how many windows losses are known."""
        return len({known.window for known in self._known})

    @property
    def versions(self) -> int:
        """Under how many versions of the model."""
        return len({known.version for known in self._known})

    def add(self, window: ScoredWindow, rows: Int, losses: Float, version: str) -> None:
        """Add the losses (m,) of some rows of a window, chosen whatever their losses are."""
        if not len(rows):
            return
        n = len(window)
        sizes = [window.expected_size, *(rate * n for rate in self._rates)]
        self._known.append(
            _Known(
                window.name,
                version,
                window.expected_size / n,
                window.embeddings[rows],
                losses * window.weights[rows],
                window.scores[rows] * n,
                np.array([self._counts(window.scores, size)[rows] for size in sizes]),
                None if window.predicted is None else window.predicted[rows],
            )
        )

    def preferred(self) -> bool:
        """Whether they can be no uniform sample: their mean of n p is above 1 by five standard errors."""
        if not self._known:
            return False
        values = np.concatenate([known.preference for known in self._known])
        return bool(values.mean() - 1 > 5 * values.std() / math.sqrt(len(values)))

    def compare(self, clusters: Clusters) -> list[Comparison]:
        """Compare with uniform sampling at the stream's own rate first, then at others where there is enough.

        All examples at hand are sampled as if they were one window of the clusters as they are now, each with
        the expected count that it had in its own. Losses of several model versions are brought to one mean.
        """
        return list(self._compared(clusters)) if self._known else []

    def _compared(self, clusters: Clusters) -> Iterator[Comparison]:
        losses = self._losses()
        counts = np.concatenate([known.counts for known in self._known], axis=1)
        labels, _ = nearest(np.concatenate([known.embeddings for known in self._known]), clusters.centers)
        of_centers = expected_losses(labels, clusters, z=self._z)
        promises = self._promises(of_centers)
        own = sum(known.rate * len(known.losses) for known in self._known) / len(losses)
        rates = [own, *self._rates]
        for place, (rate, expected) in enumerate(zip(rates, counts, strict=True)):
            known_already = place > 0 and max(rate, own) < _ALIKE * min(rate, own)
            if expected.sum() < _LEAST_DRAWN or known_already:
                continue
            alike, s = np.full(len(losses), min(1.0, expected.mean())), float(expected.sum())
            order, by_cluster = (draw_order(labels, clusters, of, s) for of in (promises, of_centers))
            ours = sampling_gain(losses, expected, design=self._design, order=order)
            yield Comparison(rate, ours, sampling_gain(losses, alike, order=by_cluster))

    def _counts(self, scores: Float, size: float) -> Float:
        return size * scores if self._design == "iid" else inclusion_probabilities(scores, size)

    def _losses(self) -> Float:
        """Of all examples, those of each model version relative to their mean."""
        of_version: dict[str, list[Float]] = {}
        for known in self._known:
            of_version.setdefault(known.version, []).append(known.losses)
        means = {version: np.concatenate(parts).mean() or 1.0 for version, parts in of_version.items()}
        return np.concatenate([known.losses / means[known.version] for known in self._known])

    def _promises(self, of_centers: Float) -> Float:
        """Loss expected / p: by the surrogate, if it spoke of all examples, or the center losses given."""
        parts = [known.predicted for known in self._known if known.predicted is not None]
        expected = np.concatenate(parts) if len(parts) == len(self._known) else of_centers
        return promised(expected, np.concatenate([known.preference for known in self._known]))
