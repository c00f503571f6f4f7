"""Losses of examples of a window that were asked before its draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import check_losses
from stream_coreset.limits import cut_to_share

__all__ = ["KnownLosses"]

Float = NDArray[np.float64]

_LEAST = 0.01  # of the score that a known loss takes the place of


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
        When a row is negative or comes twice, a loss is not a finite number of 0 or more, or there is not one
        for each row.

    Examples
    --------
    >>> KnownLosses(np.array([2]), np.array([5.0])).put_into(np.ones(4))
    array([1., 1., 5., 1.])
    """

    rows: NDArray[np.int64]
    losses: Float

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows, np.int64)
        if rows.ndim != 1 or len(np.unique(rows)) < len(rows) or (rows < 0).any():
            raise ValueError("known: expected rows of the window, each once, counted from 0")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "losses", check_losses(self.losses, len(rows), "losses"))

    def __len__(self) -> int:
        return len(self.losses)

    def put_into(self, expected: Float) -> Float:
        """Expected losses (n,) with those that are known in their place.

        Raises
        ------
        ValueError
            When a row is none of the n.
        """
        if len(self) and self.rows.max() >= len(expected):
            raise ValueError(f"known: row {self.rows.max()} of {len(expected)} examples; count them from 0")
        found: Float = expected.copy()
        found[self.rows] = self.losses
        return found

    def put_into_score(self, score: Float, enough: float) -> Float:
        """A score (n,) in the unit of losses with what is known in its place.

        One large loss must not leave nothing for all others: none gets more than the share `enough` of the
        sum, at which it is drawn for certain. A loss of 0 keeps a hundredth of the score it had, and so a
        chance: the weights serve other losses, too.
        """
        found = np.maximum(self.put_into(score), _LEAST * score)
        if enough < 1 and len(self):
            found[self.rows] = np.minimum(found[self.rows], cut_to_share(found, enough).max())
        return found
