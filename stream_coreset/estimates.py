"""What a weighted sample says about the whole, how far it may be off, and how large it must be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "anticipated_standard_error",
    "effective_sample_size",
    "error_bound",
    "horvitz_thompson",
    "size_for",
    "uniform_variance",
]


def horvitz_thompson(losses: ArrayLike, weights: ArrayLike) -> float:
    """Estimate of the total over all examples: the weighted total over the sampled ones.

    Unbiased for losses under a model that did not learn from this sample.

    Parameters
    ----------
    losses, weights : (m,) array_like
        Of the sampled examples, in the same order; a repeated draw counts each time.

    Raises
    ------
    ValueError
        When the shapes differ or a value is not finite.

    References
    ----------
    Horvitz, Thompson 1952; with repeated draws Hansen, Hurwitz 1943.

    Examples
    --------
    >>> horvitz_thompson([1.0, 3.0], [10.0, 2.0])
    16.0
    """
    return float(_vector(losses, "losses") @ _vector(weights, "weights", like=losses))


def effective_sample_size(weights: ArrayLike) -> float:
    """(sum w)**2 / sum w**2: how many equally weighted examples the sample is worth; 0 when empty.

    References
    ----------
    Kish 1965, Survey Sampling, section 11.2.

    Examples
    --------
    >>> effective_sample_size([2.0, 2.0, 2.0])
    3.0
    """
    w = _vector(weights, "weights")
    return float(w.sum() ** 2 / (w @ w)) if w.any() else 0.0


def uniform_variance(losses: ArrayLike, s: float) -> float:
    """Exact variance of the total estimated from a uniform sample without replacement of size s.

    The size is floor(s) or ceil(s), s in expectation, and the weight n/s: the yardstick for every sampler
    at the same budget.

    Parameters
    ----------
    losses : (n,) array_like
        Of all examples.
    s : float
        Expected size, 0 < s <= n.

    Raises
    ------
    ValueError
        When s is not in (0, n] or a loss is not finite.

    Examples
    --------
    >>> round(uniform_variance([0.0, 1.0, 2.0, 3.0], 1.5), 6)  # sizes 1 and 2, weight 4/1.5
    14.37037
    >>> uniform_variance([0.0, 1.0, 2.0], 3)
    0.0
    """
    values = _vector(losses, "losses")
    n = len(values)
    if not 0 < s <= n:
        raise ValueError(f"s: expected a size above 0 and at most n = {n}, got {s}")
    fraction = s - math.floor(s)
    of_size = fraction * (1 - fraction)
    within = (s - (s**2 + of_size) / n) * (values.var(ddof=1) if n > 1 else 0.0)
    return float((n / s) ** 2 * (within + of_size * values.mean() ** 2))


def anticipated_standard_error(means: ArrayLike, roots: ArrayLike, pi: ArrayLike) -> float:
    """Standard error of the estimated total that predictions of the losses promise, before any is known.

    Only what was not foreseen counts, sqrt(sum (1 - pi) / pi max(0, E[l^2] - E[l]^2)): designs that pass
    through the examples in the order of what they promise spread the rest evenly.

    Parameters
    ----------
    means, roots : (n,) array_like
        E[l | x], and the square root of E[l^2 | x].
    pi : (n,) array_like
        Inclusion probabilities above 0.

    Examples
    --------
    >>> anticipated_standard_error([1.0, 3.0], [1.0, 5.0], [0.5, 0.5])
    4.0
    """
    m, r, chance = _vector(means, "means"), _vector(roots, "roots"), _vector(pi, "pi")
    return math.sqrt(float(np.sum((1 - chance) / chance * np.maximum(0.0, r**2 - m**2))))


def size_for(epsilon: float, delta: float, share: float = 1.0) -> float:
    """Expected sample size at which the error exceeds epsilon U with probability at most delta.

    U is the window's sum of proxy loss + L distance**z, known before the draw. The bound holds for
    independent draws and needs |l(e) - l(c)| <= L distance**z for *every* example: with an L estimated as
    a quantile it is a guide and no guarantee.

    Parameters
    ----------
    epsilon : float
        Error as a fraction of U, above 0.
    delta : float
        Probability of a larger error, 0 < delta < 1.
    share : float
        The part a of the paper's score in p, 0 < a <= 1: where p >= a times the paper's p, both the range
        and the variance of a draw's contribution grow by at most 1/a, and so does the size.

    Raises
    ------
    ValueError
        When an argument is out of its range.

    References
    ----------
    Axiotis et al. 2024, section 3, theorem 1; with the factor ln(2/delta) of Bernstein's inequality.

    Examples
    --------
    >>> round(size_for(0.1, 0.1)), round(size_for(0.1, 0.1, share=0.4))
    (619, 1548)
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: expected a number above 0, got {epsilon}")
    return math.log(2 / _probability(delta)) * (2 + 2 * epsilon / 3) / epsilon**2 / _share(share)


def error_bound(upper_total: float, s: float, delta: float, share: float = 1.0) -> float:
    """Bound on the absolute error of the estimated total: epsilon U of `size_for`, solved for epsilon.

    A bound, never an interval: usually far above the error.

    Parameters
    ----------
    upper_total : float
        U, the window's sum of proxy loss + L distance**z.
    s : float
        Expected sample size, above 0.
    delta, share : float
        As in `size_for`.

    Raises
    ------
    ValueError
        When an argument is out of its range.

    References
    ----------
    Axiotis et al. 2024, section 3, theorem 1.

    Examples
    --------
    >>> round(error_bound(50.0, size_for(0.1, 0.05), 0.05), 9)
    5.0
    """
    if not 0 <= upper_total < math.inf:
        raise ValueError(f"upper_total: expected a finite sum of 0 or more, got {upper_total}")
    if not 0 < s < math.inf:
        raise ValueError(f"s: expected a size above 0, got {s}")
    ratio = s * _share(share) / math.log(2 / _probability(delta))
    return upper_total * (1 / 3 + math.sqrt(1 / 9 + 2 * ratio)) / ratio


def _probability(delta: float) -> float:
    if not 0 < delta < 1:
        raise ValueError(f"delta: expected a probability between 0 and 1, got {delta}")
    return delta


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a fraction above 0 and at most 1, got {share}")
    return share


def _vector(
    values: ArrayLike, name: str, like: ArrayLike | None = None
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or (like is not None and vector.shape != np.shape(like)):
        raise ValueError(f"{name}: expected one value per example, got shape {vector.shape}")
    bad = ~np.isfinite(vector)
    if bad.any():
        raise ValueError(f"{name}: row {np.argmax(bad)} is {vector[bad][0]}; expected finite values")
    return vector
