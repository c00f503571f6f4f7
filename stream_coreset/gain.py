"""How much smaller than uniform sampling's the error of a sampler is, on examples whose losses are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance

__all__ = ["Gain", "sampling_gain", "uniform_rate"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_STRETCHES, _LEAST = 20, 5  # of examples each; with fewer there is one stretch, and no jackknife
_QUANTILE = 2.093024  # of Student's t with 19 degrees of freedom, for 95 %
_TINY = 1e-9  # of the total: no error but that of rounding


@dataclass(frozen=True)
class Gain:
    """The error of a sampler in that of uniform sampling.

    Attributes
    ----------
    ratio : float
        Root mean square error of the estimated total loss, relative to that of a uniform sample without
        replacement of the same expected size: below 1 the sampler is better. NaN where uniform sampling has
        no error.
    log_error : float
        Standard error of the logarithm of `ratio`; NaN where it cannot be told.
    expected_size : float
        Of a sample of the examples.
    deciding : float
        Of how many examples most of the error of uniform sampling comes: the squares of the deviations,
        summed and squared, relative to the sum of their squares.
    """

    ratio: float
    log_error: float
    expected_size: float
    deciding: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `ratio`; too narrow where few examples decide."""
        factor = math.exp(_QUANTILE * self.log_error)
        return self.ratio / factor, self.ratio * factor


def sampling_gain(
    losses: ArrayLike, probabilities: ArrayLike, *, design: str = "pivotal", order: Int | None = None
) -> Gain:
    """Compare the exact error of a design with that of uniform sampling, for losses that are all known.

    The examples may be a uniform sample of a stream, each with the expected count that it had there: then
    this tells what sampling the stream gains, or a little less, for among fewer examples fewer are alike.
    A level that the losses have for a while and lose again is nobody's error: uniform sampling, too, is one
    of windows. So its variance is that within twenty stretches of the examples.

    Parameters
    ----------
    losses : (n,) array_like
        Of the examples, as they came.
    probabilities : (n,) array_like
        Expected counts: inclusion probabilities, or s p for iid.
    design : {"pivotal", "systematic", "iid"}
    order : (n,) int64, optional
        In which the design passes through the examples.

    Returns
    -------
    Gain
        Its standard error is a jackknife over the stretches: what a few large losses do to the comparison
        shows there.

    Raises
    ------
    ValueError
        As `design_variance` and `uniform_variance`.

    References
    ----------
    Wolter 2007, Introduction to Variance Estimation, chapter 4: the delete-a-group jackknife.

    Examples
    --------
    >>> losses = np.array([1.0, 1.0, 1.0, 1.0, 6.0, 6.0])
    >>> round(sampling_gain(np.tile(losses, 20), np.tile(losses / 8, 20)).ratio, 3)  # proportional: no error
    0.0
    """
    examples = _Examples(
        np.asarray(losses, np.float64),
        np.asarray(probabilities, np.float64),
        np.arange(np.size(losses)) if order is None else order,
        design,
    )
    n = len(examples.losses)
    count = _STRETCHES if n >= _LEAST * _STRETCHES else 1
    stretches = np.arange(n) * count // max(n, 1)
    whole = examples.log_ratio(stretches)
    without = [
        examples.among(stretches != one).log_ratio(stretches[stretches != one])
        for one in (range(count) if count > 1 else ())
    ]
    told = len(without) > 0 and bool(np.isfinite(without).all())
    spread = math.sqrt((count - 1) * np.var(without)) if told else math.nan
    squares = np.square(examples.within(stretches) - examples.losses.mean()) if n else np.zeros(0)
    relative = squares / (squares.max(initial=0) or 1.0)
    deciding = float(relative.sum() ** 2 / max(relative @ relative, 1.0))
    return Gain(float(np.exp(whole)), spread, float(examples.counts.sum()), deciding)


def uniform_rate(rate: float, ratio: float) -> float:
    """The rate at which uniform sampling has the error of a sampler that has `ratio` of it at `rate`.

    Examples
    --------
    >>> round(uniform_rate(0.01, 0.5), 4), uniform_rate(0.01, 1.0)
    (0.0388, 0.01)
    """
    return 1.0 / (1.0 + ratio**2 * (1.0 / rate - 1.0))


@dataclass(frozen=True, eq=False)
class _Examples:
    losses: Float
    counts: Float
    order: Int
    design: str

    def among(self, kept: NDArray[np.bool_]) -> _Examples:
        """Some of them, in the same order."""
        number = np.cumsum(kept) - 1
        return _Examples(
            self.losses[kept], self.counts[kept], number[self.order[kept[self.order]]], self.design
        )

    def log_ratio(self, stretches: Int) -> float:
        """Logarithm of the ratio of the errors; -inf for none of ours, NaN for none of uniform's."""
        s = round(float(self.counts.sum()), 9)  # a sum of probabilities that is meant to be whole
        size = min(s, float(len(self.losses)))
        uniform = uniform_variance(self.within(stretches), size) if size > 0 else 0.0
        if uniform <= (_TINY * self.losses.sum()) ** 2:
            return math.nan
        ours = design_variance(self.losses, self.counts, s, self.design, self.order)
        with np.errstate(divide="ignore"):
            return float(0.5 * (np.log(ours) - np.log(uniform)))

    def within(self, stretches: Int) -> Float:
        """Losses at the level of all."""
        sizes = np.bincount(stretches)
        means = np.bincount(stretches, self.losses) / np.maximum(sizes, 1)
        return np.asarray(self.losses - means[stretches] + self.losses.mean())
