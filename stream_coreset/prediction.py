"""What a learned surrogate predicts of the losses of a window, made safe to sample by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.known_losses import KnownLosses

__all__ = ["EQUAL_TRUST", "LARGEST_PREDICTION", "SCORES", "Prediction", "check_shares"]

Float = NDArray[np.float64]

LARGEST_PREDICTION = 1e100
SCORES = ("center loss", "spread", "predicted mean", "predicted root mean square", "uniform")
EQUAL_TRUST: tuple[float, ...] = (0.1875, 0.1875, 0.3125, 0.3125, 0.0)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted losses of n examples, and how much of p follows them.

    A surrogate may be wrong in any way. What is no loss (NaN, negative) counts as 0 and what is too large as
    the largest, so that the scores stay numbers; the floor of the sampler bounds what the rest can cost.

    Attributes
    ----------
    means : (n,) float64
        E[l | x].
    roots : (n,) float64
        The square root of E[l^2 | x], in the loss's own unit.
    shares : (5,) float64
        How the scores mix: center loss, spread, means, roots, uniform; 0 or more, sum 1.

    Raises
    ------
    ValueError
        When shapes disagree, or the shares are none.

    Examples
    --------
    >>> Prediction([1.0, float("nan"), -2.0], [1.0, float("inf"), 3.0]).roots
    array([1.e+000, 1.e+100, 3.e+000])
    """

    means: Float
    roots: Float
    shares: Float = field(default_factory=lambda: np.array(EQUAL_TRUST))

    def __post_init__(self) -> None:
        means, roots = _usable(self.means), _usable(self.roots)
        if means.ndim != 1 or means.shape != roots.shape:
            raise ValueError(
                f"prediction: means of shape {means.shape} and roots of shape {roots.shape}; pass one of "
                "each for every example"
            )
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "roots", roots)
        object.__setattr__(self, "shares", check_shares(self.shares))

    def __len__(self) -> int:
        return len(self.means)

    def with_known(self, known: KnownLosses, enough: float) -> Prediction:
        """The same with the losses that are known in place of what was predicted, see `KnownLosses`."""
        means, roots = (known.put_into_score(score, enough) for score in (self.means, self.roots))
        return replace(self, means=means, roots=roots)

    def joined(self, scores: list[Float]) -> tuple[list[Float], Float]:
        """The scores of clusters, one or two, with these two and a uniform one, and the shares of all."""
        of_clusters = self.shares[:2] if len(scores) == 2 else self.shares[:2].sum(keepdims=True)
        joined = [*scores, self.means, self.roots, np.ones(len(self))]
        return joined, np.concatenate([of_clusters, self.shares[2:]])


def check_shares(shares: ArrayLike) -> Float:
    """Shares of the five scores as float64.

    Raises
    ------
    ValueError
        Not five numbers of 0 or more that sum to 1.
    """
    values = np.array(shares, np.float64)
    allowed = values.shape == (len(SCORES),) and bool(((values >= 0) & (values <= 1)).all())
    if not allowed or abs(values.sum() - 1) > 1e-6:
        raise ValueError(f"shares: expected one of 0 or more for each of {', '.join(SCORES)}; sum 1")
    shares_of_one: Float = values / values.sum()
    return shares_of_one


def _usable(values: ArrayLike) -> Float:
    numbers = np.asarray(values, np.float64)
    return np.clip(np.where(numbers > 0, numbers, 0.0), 0.0, LARGEST_PREDICTION)
