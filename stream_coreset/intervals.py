"""How far an estimated total may be off, and what uniform sampling would have done, from the sample alone.

Only losses under a model that was fixed before the draw count. Nothing here is needed to draw; it tells
afterwards how good the draws were.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.estimates import horvitz_thompson

__all__ = ["Drawn", "Estimate", "EstimatePool", "FloorRule", "estimate"]

Float = NDArray[np.float64]

_SMALLEST = 20  # drawn examples; with fewer the differences say too little
_WINDOWS = 20
_FADING = 0.9  # weight of a window in the pool beside the one after it
_END = 5 / 6
_BLOCK, _RESAMPLES = 4, 400
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Drawn:
    """The sample of a window, with all of its losses.

    Attributes
    ----------
    losses, probabilities : (m,) float64
        In draw order: losses, and expected counts (inclusion probabilities; s p for design="iid").
    n : int
        Valid examples of the window.
    expected_size : float
        s, the sum of the probabilities over the window.
    """

    losses: Float
    probabilities: Float
    n: int
    expected_size: float

    def __len__(self) -> int:
        return len(self.losses)


@dataclass(frozen=True)
class Estimate:
    """What the samples of one or more windows say.

    Attributes
    ----------
    total : float
        Estimated total loss, unbiased.
    variance : float
        Of `total`, by second differences.
    uniform_variance : float
        Of the total that uniform sampling without replacement of the same size would have given.
    n : int
    expected_size : float
    """

    total: float
    variance: float
    uniform_variance: float
    n: int
    expected_size: float


def estimate(windows: Sequence[Drawn], design: str = "pivotal") -> Estimate:
    """Estimate the total loss of consecutive windows, its variance and that of uniform sampling.

    Parameters
    ----------
    windows : sequence of Drawn
        At least one; together they should hold 20 drawn examples (at 1.5 the variance is .7 of the truth).
    design : {"pivotal", "systematic", "iid"}
        Of the draws; with "systematic" the variance came out a fifth too small on smooth data.

    Raises
    ------
    ValueError
        Without windows, or when a loss is not finite.

    References
    ----------
    Wolter 2007, Introduction to Variance Estimation, section 8.2: second differences, which unlike first ones
    do not take the trend of the order for error.

    Examples
    --------
    >>> losses = np.arange(30) % 3 + 1.0
    >>> sample = Drawn(losses, np.full(30, 0.1), n=300, expected_size=30.0)
    >>> found = estimate([sample])
    >>> round(found.total), round(found.variance), round(found.uniform_variance)
    (600, 2470, 1880)
    """
    if not windows:
        raise ValueError("windows: expected at least one")
    total = math.fsum(horvitz_thompson(window.losses, 1 / window.probabilities) for window in windows)
    variance = _variance(windows, design)
    n, s = sum(window.n for window in windows), sum(window.expected_size for window in windows)
    return Estimate(total, variance, _uniform_shadow(windows, total, variance, n, s), n, s)


class EstimatePool:
    """Estimates of the last windows, which together say how large the error is.

    One window's own variance is too noisy: its 95 % intervals cover .73 to .98, pooled ones .92 to 1.00 on
    six streams, .79 on one where few losses decide (`benchmarks.quality --parts foundations`). Later windows
    count more, for the variance falls while losses are learned and moves with the stream; for the ratio to
    uniform sampling all count alike.

    Parameters
    ----------
    design : str
        Of the draws.
    seed : int
        Of the bootstrap.
    """

    def __init__(self, design: str = "pivotal", seed: int = 0) -> None:
        self._design, self._seed = design, seed
        self._waiting: list[Drawn] = []
        self._estimates: deque[Estimate] = deque(maxlen=_WINDOWS)

    def __len__(self) -> int:
        return len(self._estimates)

    def add(self, window: Drawn) -> None:
        """Add the next window; small ones wait until together they hold 20 drawn examples."""
        self._waiting.append(window)
        if sum(map(len, self._waiting)) >= _SMALLEST:
            self._estimates.append(estimate(self._waiting, self._design))
            self._waiting.clear()

    def variance(self, n: int, expected_size: float) -> float:
        """Pooled variance of the total of a window of n examples; NaN while there is no estimate."""
        if not self._estimates or expected_size <= 0:
            return math.nan
        scaled = [found.variance * found.expected_size / found.n**2 for found in self._estimates]
        weights = _FADING ** np.arange(len(scaled))[::-1]
        return float(n**2 / expected_size * np.average(scaled, weights=weights))

    def interval(self, total: float, n: int, expected_size: float) -> tuple[float, float]:
        """The 95 % interval around a window's estimated total, by the pooled variance."""
        half = _NORMAL_95 * math.sqrt(self.variance(n, expected_size))
        return total - half, total + half

    def log_ratio(self) -> tuple[float, float]:
        """Log of the ratio of our variance to that of uniform sampling, and its standard error.

        Below 0 we are better. NaN until there are as many windows as two blocks of the bootstrap, and where
        either variance is zero.

        References
        ----------
        Künsch 1989: the block bootstrap, for windows that follow one another are alike.
        """
        pairs = np.array([(found.variance, found.uniform_variance) for found in self._estimates])
        if len(pairs) < 2 * _BLOCK or not (pairs.sum(axis=0) > 0).all():
            return math.nan, math.nan
        rng = np.random.default_rng(self._seed)
        starts = rng.integers(0, len(pairs) - _BLOCK + 1, (_RESAMPLES, -(-len(pairs) // _BLOCK)))
        rows = (starts[:, :, None] + np.arange(_BLOCK)).reshape(_RESAMPLES, -1)
        ours, uniform = np.moveaxis(pairs[rows].sum(axis=1), 1, 0)
        usable = (ours > 0) & (uniform > 0)
        spread = np.log(ours[usable] / uniform[usable]).std(ddof=1) if usable.sum() > 1 else math.nan
        return float(np.log(pairs[:, 0].sum() / pairs[:, 1].sum())), float(spread)


class FloorRule:
    """Falls back towards uniform sampling while it is measured to be the better one.

    Parameters
    ----------
    floor : float
        The floor as set.
    raised : float
        The floor while uniform sampling is better; unless `floor` is higher already.

    Examples
    --------
    >>> rule = FloorRule(0.2)
    >>> [rule.update(log_ratio, 0.1) for log_ratio in (-0.5, 0.15, 0.25, 0.0, -0.15)]
    [0.2, 0.2, 0.6, 0.6, 0.2]
    """

    def __init__(self, floor: float, raised: float = 0.6) -> None:
        self._floor, self._raised = floor, max(raised, floor)
        self.current = floor

    def update(self, log_ratio: float, standard_error: float) -> float:
        """The floor in force: raised when the log ratio exceeds 0 by two errors, set back one error below."""
        if log_ratio > 2 * standard_error:
            self.current = self._raised
        elif log_ratio < -standard_error:
            self.current = self._floor
        return self.current


def _variance(windows: Sequence[Drawn], design: str) -> float:
    """That of which examples are drawn, by second differences, and that of how many."""
    uncertain = [window.probabilities < 1 if design != "iid" else slice(None) for window in windows]
    losses = [window.losses[rows] for window, rows in zip(windows, uncertain, strict=True)]
    pi = [window.probabilities[rows] for window, rows in zip(windows, uncertain, strict=True)]
    z = np.concatenate(losses) / np.concatenate(pi)
    draws = [w.expected_size - (len(w) - len(drawn)) for w, drawn in zip(windows, losses, strict=True)]
    parts = np.array(draws) - np.floor(draws)
    a_draw = z.sum() / sum(draws) if sum(draws) > 0 else 0.0
    each = z if design == "iid" else np.sqrt(1 - np.concatenate(pi)) * z
    return _of_differences(each) + float((parts * (1 - parts)).sum() * a_draw**2)


def _of_differences(z: Float) -> float:
    """The mean of squared second differences / 6 = 1 + 4 + 1, times m; both ends count in full.

    An end comes into one second difference, as one of six: the first difference there makes up for the rest.
    """
    m = len(z)
    if m <= 2:  # as if each was drawn by itself
        return float(np.square(z).sum())
    inner, ends = np.square(np.diff(z, 2)) / 6, np.square(np.diff(z)[[0, -1]])
    return float(m / (m - 2 + 4 * _END) * (inner.sum() + _END * ends.sum()))


def _uniform_shadow(windows: Iterable[Drawn], total: float, variance: float, n: int, s: float) -> float:
    squares = sum(float((window.losses**2 / window.probabilities).sum()) for window in windows)
    population = max(0.0, squares - max(0.0, total**2 - variance) / n) / (n - 1) if n > 1 else 0.0
    phi = s - math.floor(s)
    within = (s - (s**2 + phi * (1 - phi)) / n) * population
    return (n / s) ** 2 * (within + phi * (1 - phi) * (total / n) ** 2) if s > 0 else 0.0
