"""What a draw from one window gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.limits import Shares

__all__ = ["Sample"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """A weighted sample of one window.

    Attributes
    ----------
    indices : (m,) int64
        Rows of the window in draw order, so that a row's rank is its position; iid may repeat a row.
    weights : (m,) float64
        1 / probabilities.
    probabilities : (m,) float64
        Expected number of times that the row is drawn: pi, or s p for iid.
    expected_size : float
        s, what the sizes of many such samples average to; a real number.
    scores : (n,) float64
        p, the sampling probability of every row of the window; sums to 1.
    largest : Shares
        The largest shares that p would have without the limits; zeros where there are no limits.
    order : (n,) int64 or None
        The rows as the design passed through them; None for iid.
    """

    indices: Int
    weights: Float
    probabilities: Float
    expected_size: float
    scores: Float
    largest: Shares
    order: Int | None

    def __len__(self) -> int:
        return len(self.indices)
