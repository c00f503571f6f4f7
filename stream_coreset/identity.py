"""Which center is which: ids that are never used again, and generations that end when a center has moved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Identity"]

_MOVED = 0.5  # root mean square radii; further away than this, losses asked earlier no longer hold


@dataclass(frozen=True)
class Identity:
    """Ids and generations of k centers.

    Attributes
    ----------
    ids : int64, shape (k,)
        Distinct, and never used again after a center is gone.
    generations : int64, shape (k,)
        How often the center has moved by more than half its radius since its generation began.
    origins : float64, shape (k, d)
        Where its generation began.
    radii : float64, shape (k,)
        Root mean square distance of its points when last seen; NaN before.
    next_id : int
        First id not used yet.

    Examples
    --------
    >>> two = Identity.none().heir(np.array([-1, -1]), np.array([[0.0], [8.0]]))
    >>> centers = np.array([[9.0], [1.0]])
    >>> after = two.heir(np.array([1, -1]), centers).follow(centers, np.array([1.0, 1.0]))
    >>> after.ids.tolist(), after.generations.tolist()
    ([1, 2], [1, 0])
    """

    ids: NDArray[np.int64]
    generations: NDArray[np.int64]
    origins: NDArray[np.float64]
    radii: NDArray[np.float64]
    next_id: int

    @classmethod
    def none(cls, next_id: int = 0) -> Identity:
        """No centers yet."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros((0, 0)), np.zeros(0), next_id)

    @classmethod
    def begin(
        cls,
        centers: NDArray[np.floating],
        ids: ArrayLike | None = None,
        generations: ArrayLike | None = None,
        next_id: int | None = None,
    ) -> Identity:
        """Identities known from elsewhere, whose generations are taken to begin here.

        When missing, `ids` are 0 .. k-1, `generations` zeros, and `next_id` is the largest id plus one.

        Raises
        ------
        ValueError
            Two centers have one id, or an array does not fit.
        """
        k = len(centers)
        ids = np.arange(k) if ids is None else np.asarray(ids, np.int64)
        generations = np.zeros(k, np.int64) if generations is None else np.asarray(generations, np.int64)
        if ids.shape != (k,) or generations.shape != (k,) or len(np.unique(ids)) != k:
            raise ValueError(f"ids and generations: expected {k}, one for each center, no id twice")
        unused = max(int(ids.max(initial=-1)) + 1, next_id or 0)
        return cls(ids, generations, centers.astype(np.float64), np.full(k, np.nan), unused)

    def heir(self, ancestors: NDArray[np.int64], centers: NDArray[np.floating]) -> Identity:
        """Identities of new centers: those of their ancestors' rows, fresh ones where that is -1."""
        fresh, rows = ancestors < 0, ancestors[ancestors >= 0]
        count = int(fresh.sum())
        ids, generations = np.zeros((2, len(ancestors)), np.int64)
        origins, radii = centers.astype(np.float64), np.full(len(ancestors), np.nan)
        ids[fresh] = np.arange(self.next_id, self.next_id + count)
        ids[~fresh], generations[~fresh] = self.ids[rows], self.generations[rows]
        radii[~fresh] = self.radii[rows]
        if len(rows):
            origins[~fresh] = self.origins[rows]
        return Identity(ids, generations, origins, radii, self.next_id + count)

    def follow(self, centers: NDArray[np.floating], mean_squares: NDArray[np.float64]) -> Identity:
        """The same centers after a move; mean squared distances of their points, NaN where there are none."""
        radii = np.where(np.isnan(mean_squares), self.radii, np.sqrt(mean_squares))
        moved = np.sqrt(((centers - self.origins) ** 2).sum(axis=1)) > _MOVED * radii  # false for NaN
        return replace(
            self,
            radii=radii,
            generations=self.generations + moved,
            origins=np.where(moved[:, None], centers, self.origins),
        )
