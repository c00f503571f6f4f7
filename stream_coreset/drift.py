"""Tells when the stream has changed abruptly: where its examples lie, or what the model loses on them.

Slow change needs no alarm, for clusters follow it; after a jump, losses should be asked again at once and
what was learned before should count less.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Alarm", "ChangeDetector", "PlaceDrift"]

Float = NDArray[np.float64]

_WARM_UP = 10  # values that say what is usual; also the quiet time after a detection
_TOLERANCE, _THRESHOLD = 0.5, 6.0  # in usual deviations: of one value, and summed up
_LEAST_DEVIATION = 0.01
_LARGEST = 1e100  # its square stays a number
_NEAR = 0.8  # share of the stream that was near its centers so far
_FAR = 3.0  # times that squared distance
_SMOOTHING = 0.2


class ChangeDetector:
    """Page and Hinkley's test on a signal whose level and noise are learned from its first ten values.

    After a detection it begins anew, so that one change is not told of again and again.

    Parameters
    ----------
    mode : {"up", "both"}
        Whether only a rise counts.

    References
    ----------
    Page 1954, Biometrika 41; river.drift.PageHinkley.

    Examples
    --------
    >>> detector = ChangeDetector()
    >>> [detector.update(value) for value in [0.0, 0.1] * 6 + [0.9] * 3].index(True)
    12
    """

    def __init__(self, mode: Literal["up", "both"] = "up") -> None:
        self._mode = mode
        self._first: list[float] = []

    def update(self, value: float) -> bool:
        """Take the next value; whether it shows that the signal has changed."""
        if not np.isfinite(value):
            return False
        value = float(np.clip(value, -_LARGEST, _LARGEST))
        if len(self._first) < _WARM_UP:
            self._first.append(value)
            if len(self._first) == _WARM_UP:
                self._begin()
            return False
        if self._changed(value):
            self._first = []
            return True
        return False

    def _begin(self) -> None:
        from river import drift  # noqa: PLC0415 - takes longer than all else that a process imports

        self._mean, self._deviation = np.mean(self._first), np.std(self._first) + _LEAST_DEVIATION
        self._test: Any = drift.PageHinkley(
            min_instances=1, delta=_TOLERANCE, threshold=_THRESHOLD, alpha=1.0, mode=self._mode
        )
        for first in self._first:  # it compares with the mean of all that it was told
            self._changed(first)

    def _changed(self, value: float) -> bool:
        self._test.update((value - self._mean) / self._deviation)
        return bool(self._test.drift_detected)


class PlaceDrift:
    """Tells when examples lie where there were none, by their distances to the centers before these adapt.

    The signal is the share of examples that are farther from every center than four fifths used to be. The
    mean distance is of no use: a few outliers move it more than any change does.

    Examples
    --------
    >>> rng, detector = np.random.default_rng(0), PlaceDrift()
    >>> windows = [rng.chisquare(16, 1000) for _ in range(20)]
    >>> any(detector.update(squares, np.ones(1000)) for squares in windows)
    False
    >>> detector.update(np.append(windows[0][:700], np.full(300, 100.0)), np.ones(1000))
    True
    """

    def __init__(self) -> None:
        self._detector = ChangeDetector("up")
        self._far: float | None = None  # log of the squared distance that four fifths had at most

    def update(self, squares: ArrayLike, weights: ArrayLike) -> bool:
        """Take what arrived since the last call; whether it shows that the stream has changed.

        Parameters
        ----------
        squares, weights : (m,) array_like
            Mean squared distance of the examples of each point to the nearest center, and their number.
        """
        found, mass = np.asarray(squares, np.float64), np.asarray(weights, np.float64)
        if not mass.sum() > 0:
            return False
        logs = np.log(np.maximum(found, np.finfo(np.float64).tiny))
        limit = _quantile(logs, mass, _NEAR)
        if self._far is None:
            self._far = limit
            return False
        share = mass[logs > self._far + np.log(_FAR)].sum() / mass.sum()
        self._far = (1 - _SMOOTHING) * self._far + _SMOOTHING * limit
        return self._detector.update(float(share))


class Alarm:
    """Both signals of a stream, and how often either has told of a change.

    Parameters
    ----------
    count : int
        Changes that were told of before.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self._places, self._losses = PlaceDrift(), ChangeDetector("both")

    def places(self, squares: ArrayLike, weights: ArrayLike) -> bool:
        """As `PlaceDrift.update`."""
        return self._told(self._places.update(squares, weights))

    def losses(self, change: float) -> bool:
        """Take the mean log ratio of losses asked again to those of before; NaN where there are none."""
        return self._told(self._losses.update(change))

    def _told(self, changed: bool) -> bool:
        self.count += changed
        return changed


def _quantile(values: Float, weights: Float, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= share * weights.sum()
    return float(values[order][np.argmax(reached)])
