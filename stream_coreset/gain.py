"""How much smaller than uniform sampling's the error of a sampler is, on examples whose losses are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.estimates import uniform_variance
from stream_coreset.sampling import draw

__all__ = ["Gain", "sampling_gain", "uniform_rate"]

Float = NDArray[np.float64]

_BLOCKS = 10
_TINY = 1e-9  # of the total: no error but that of rounding
_NORMAL_95 = 1.959963984540054


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
        Standard error of the logarithm of `ratio`; NaN with fewer than ten examples.
    expected_size : float
        Of the samples that were drawn.
    """

    ratio: float
    log_error: float
    expected_size: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `ratio`."""
        factor = math.exp(_NORMAL_95 * self.log_error)
        return self.ratio / factor, self.ratio * factor


def sampling_gain(
    losses: ArrayLike,
    probabilities: ArrayLike,
    *,
    design: str = "pivotal",
    order: NDArray[np.int64] | None = None,
    draws: int = 1_000,
    rng: np.random.Generator | int | None = None,
) -> Gain:
    """Draw many samples of examples whose losses are known, and compare with uniform sampling's exact error.

    The examples may be a uniform sample of a stream, each with the expected count that it had there: then
    this tells what sampling the stream gains, or a little less, for among fewer examples fewer are alike.

    Parameters
    ----------
    losses : (n,) array_like
        Of the examples, as they came.
    probabilities : (n,) array_like
        Expected counts: inclusion probabilities, or s p for iid.
    design : {"pivotal", "systematic", "iid"}
    order : (n,) int64, optional
        In which the design passes through the examples.
    draws : int
        The error that a finite number of them leaves in `ratio` is about 1 / sqrt(2 draws), relative.
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    Gain
        Its standard error is a jackknife over ten stretches of the examples: what a few large losses do to
        the comparison shows there.

    Raises
    ------
    ValueError
        As `draw` and `uniform_variance`.

    References
    ----------
    Wolter 2007, Introduction to Variance Estimation, chapter 4: the delete-a-group jackknife.

    Examples
    --------
    >>> losses = np.array([1.0, 1.0, 1.0, 1.0, 6.0, 6.0])
    >>> round(sampling_gain(losses, losses / 8, rng=0).ratio, 3)  # proportional to the loss: no error at all
    0.0
    """
    rng = np.random.default_rng(rng)
    values, pi = np.asarray(losses, np.float64), np.asarray(probabilities, np.float64)
    n, s = len(values), float(pi.sum())
    blocks = np.arange(n) * _BLOCKS // max(n, 1)
    errors = np.empty((draws, _BLOCKS))
    for row in errors:
        indices, weights, _ = draw(pi, s, design, order, rng)
        row[:] = np.bincount(blocks[indices], weights * values[indices], minlength=_BLOCKS)
    errors -= np.bincount(blocks, values, minlength=_BLOCKS)
    whole = errors.sum(axis=1)
    ratio = _log_ratio(whole, values, s)
    without = [
        _log_ratio(whole - errors[:, block], values[blocks != block], float(pi[blocks != block].sum()))
        for block in (range(_BLOCKS) if n >= _BLOCKS else ())
    ]
    spread = math.sqrt((_BLOCKS - 1) * np.var(without)) if without else math.nan
    return Gain(float(np.exp(ratio)), spread, s)


def uniform_rate(rate: float, ratio: float) -> float:
    """The rate at which uniform sampling has the error of a sampler that has `ratio` of it at `rate`.

    Examples
    --------
    >>> round(uniform_rate(0.01, 0.5), 4), uniform_rate(0.01, 1.0)
    (0.0388, 0.01)
    """
    return 1.0 / (1.0 + ratio**2 * (1.0 / rate - 1.0))


def _log_ratio(errors: Float, losses: Float, s: float) -> float:
    """Logarithm of the ratio of root mean square errors; -inf for none of ours, NaN for none of uniform's."""
    s = min(round(s, 9), len(losses))  # a sum of probabilities that is meant to be whole
    uniform = uniform_variance(losses, s)
    if uniform <= (_TINY * losses.sum()) ** 2:
        return math.nan
    with np.errstate(divide="ignore"):
        return float(0.5 * (np.log(np.mean(np.square(errors))) - np.log(uniform)))
