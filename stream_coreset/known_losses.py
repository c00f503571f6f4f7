"""Losses of examples of a window that were asked before its draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import check_losses

__all__ = ["KnownLosses"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnownLosses:
    """The examples of a window whose own losses are known; anything known before the draw may enter p.

    Attributes
    ----------
    rows : (q,) int64
        Of the window, each once.
    losses : (q,) float64

    Raises
    ------
    ValueError
        When a row is negative, a loss is not a finite number of 0 or more, or there is not one for each row.

    Examples
    --------
    >>> KnownLosses(np.array([2]), np.array([5.0])).put_into(np.ones(4))
    array([1., 1., 5., 1.])
    """

    rows: NDArray[np.int64]
    losses: Float

    def __post_init__(self) -> None:
        if (self.rows < 0).any():
            raise ValueError(f"known: row {self.rows.min()} is negative")
        object.__setattr__(self, "losses", check_losses(self.losses, len(self.rows), "losses"))

    def __len__(self) -> int:
        return len(self.rows)

    def put_into(self, score: Float) -> Float:
        """A score of all examples (n,) in the unit of losses, with the losses that are known.

        Raises
        ------
        ValueError
            When a row is none of the n.
        """
        if len(self) and self.rows.max() >= len(score):
            raise ValueError(f"known: row {self.rows.max()} of {len(score)} examples; count them from 0")
        found: Float = score.copy()
        found[self.rows] = self.losses
        return found
