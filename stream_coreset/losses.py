"""What the model said of each center: which losses are due, and the scores' inputs that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.loss_statistics import (
    FACTOR_LIMITS,
    MIN_PAIRS,
    holder_constants,
    mean_square,
    member_squares,
    shrunk,
    spread,
)

__all__ = ["LossBook", "LossTable", "holder_constants", "spread"]

Floats = NDArray[np.float64]

MAX_LOSS = 1e100  # its square must stay a number
VERSIONS_KEPT = 8


@dataclass(frozen=True)
class LossTable:
    """The losses of k centers at one moment, in the order of the ids asked for; NaN = not known.

    Attributes
    ----------
    losses, spreads : (k,) float64
        Center loss and spread, under the book's current model version.
    ages : (k,) float64
        Seconds since the loss was asked.
    mean_square : float
        The mass-weighted mean square loss; NaN where no loss is known.
    holders : (2,) float64
        L of the center-loss score and of the spread score.
    """

    losses: Floats
    spreads: Floats
    ages: Floats
    mean_square: float
    holders: Floats


@dataclass(frozen=True)
class _Entry:
    """One center's answer, as the model gave it."""

    generation: int
    loss: float
    sum_squares: float
    members: int
    model_version: str
    asked: float
    by_version: Mapping[str, float] = field(default_factory=dict)


class LossBook:
    """The losses of all centers, and which to ask next.

    Time is passed in: any clock in seconds, always the same one.

    Parameters
    ----------
    probes : int
        Queries a center: its nearest example and at most `probes - 1` uniform members of its cluster.

    Examples
    --------
    >>> book = LossBook(probes=2)
    >>> book.due([7, 8, 9], [0, 0, 0], budget_queries=4, now=0.0, max_age=60.0)
    [7, 8]
    >>> book.record(7, 0, 1.0, [2.0], model_version="1", now=0.0)
    >>> book.due([7, 8, 9], [0, 0, 0], budget_queries=4, now=1.0, max_age=60.0)
    [8, 9]
    """

    def __init__(self, probes: int = 9) -> None:
        if probes < 1:
            raise ValueError(f"probes is {probes}; ask at least 1 loss of each cluster.")
        self.probes = probes
        self.model_version = ""
        self._entries: dict[int, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def due(
        self,
        ids: Iterable[int],
        generations: Iterable[int],
        *,
        budget_queries: int,
        now: float,
        max_age: float,
        model_version: str | None = None,
    ) -> list[int]:
        """Ids of the centers to ask, the most urgent first.

        Never asked first (in the order given), then moved (their generation is another), then asked under
        another model version, then older than `max_age`; within the last three the oldest first.

        Parameters
        ----------
        ids, generations : (k,) int
            The centers as they are now.
        budget_queries : int
            Losses that may be asked. A center takes `probes`: at most `budget_queries // probes` ids.
        now, max_age : float
            Seconds.
        model_version : str, optional
            The version the model serves now; by default the one of the last answer.

        Returns
        -------
        list of int
        """
        version = self.model_version if model_version is None else model_version
        ranked: list[tuple[int, float, int]] = []
        for center_id, generation in zip(map(int, ids), map(int, generations), strict=True):
            entry = self._entries.get(center_id)
            urgency = _urgency(entry, generation, version, now - max_age)
            if urgency is not None:
                ranked.append((urgency, entry.asked if entry else 0.0, center_id))
        ranked.sort(key=lambda item: item[:2])
        return [center_id for _, _, center_id in ranked[: max(0, budget_queries // self.probes)]]

    def loss(self, center_id: int, generation: int, model_version: str) -> float | None:
        """The center loss that is known, if it was asked at this place and of this version of the model."""
        entry = self._entries.get(center_id)
        same = entry is not None and (entry.generation, entry.model_version) == (generation, model_version)
        return entry.loss if entry is not None and same else None

    def record(
        self,
        center_id: int,
        generation: int,
        nearest_loss: float,
        member_losses: ArrayLike,
        *,
        model_version: str,
        now: float,
    ) -> None:
        """Note the losses of one center's probes; they replace what was known of it.

        Parameters
        ----------
        center_id, generation : int
            The center, and its generation when the probes were chosen.
        nearest_loss : float
            Loss of the example nearest to the center.
        member_losses : (m,) float
            Losses of uniform members of the cluster, m <= probes - 1.
        model_version : str
            The version of the model that answered; from now on the book's current one.
        now : float
            Seconds.

        Raises
        ------
        ValueError
            Where a loss is negative, NaN or above 1e100, or there are more members than probes.
        """
        members = np.asarray(member_losses, np.float64)
        _check_answer(center_id, np.append(members, nearest_loss), self.probes)
        earlier = self._entries.get(int(center_id))
        history = dict(earlier.by_version) if earlier else {}
        history.pop(model_version, None)
        history[model_version] = float(nearest_loss)
        kept = dict(list(history.items())[-VERSIONS_KEPT:])
        squares = float(np.sum(members**2))
        self._entries[int(center_id)] = _Entry(
            int(generation), float(nearest_loss), squares, members.size, model_version, now, kept
        )
        self.model_version = model_version

    def table(
        self, ids: Iterable[int], counts: ArrayLike, centers: ArrayLike, now: float, z: float = 2.0
    ) -> LossTable:
        """The losses as the scores need them, all under the current model version.

        Losses asked under an older version are multiplied by (sum of the new / sum of the old center
        losses) over the centers asked under both, clipped to [0.1, 10], and by 1 where there are fewer than
        five such centers.

        Parameters
        ----------
        ids : (k,) int
            The centers.
        counts : (k,) float
            Their mass, which weighs the mean square.
        centers : (k, d) float
            Their places, for the Hölder constants.
        now : float
            Seconds.
        z : float
            The exponent of the distance.

        Returns
        -------
        LossTable
        """
        entries = [self._entries.get(int(center_id)) for center_id in ids]
        factors = {version: self._factor(version) for version in {e.model_version for e in entries if e}}
        scales = np.array([factors[entry.model_version] if entry else np.nan for entry in entries])
        losses = scales * [entry.loss if entry else np.nan for entry in entries]
        squares = scales**2 * [entry.sum_squares if entry else np.nan for entry in entries]
        members = np.array([entry.members if entry else 0 for entry in entries])
        g = mean_square(losses, squares, members, counts)
        spreads = shrunk(squares, members, g)
        ages = np.maximum(0.0, [now - entry.asked if entry else np.nan for entry in entries])
        holders = np.array([holder_constants(centers, values, z) for values in (losses, spreads)])
        return LossTable(losses, spreads, ages, g, holders)

    def restore(self, clusters: Clusters, now: float) -> None:
        """Take over the losses of published clusters, after a restart.

        They were published under one model version, which they keep. The spread is undone as if every
        center had had all its probes.
        """
        members, version = self.probes - 1, clusters.model_version
        squares = member_squares(clusters.spreads, members, clusters.mean_square)
        self._entries, self.model_version = {}, version
        for row in np.flatnonzero(clusters.known):
            generation, loss = int(clusters.generations[row]), float(clusters.losses[row])
            asked, of_members = now - float(clusters.loss_ages[row]), float(squares[row])
            self._entries[int(clusters.ids[row])] = _Entry(
                generation, loss, of_members, members, version, asked, {version: loss}
            )

    def forget(self, keep: Iterable[int]) -> None:
        """Drop every center whose id is not in `keep`."""
        kept = set(map(int, keep))
        self._entries = {center_id: entry for center_id, entry in self._entries.items() if center_id in kept}

    def _factor(self, version: str) -> float:
        """How losses of an older model version compare with the current one's."""
        if version == self.model_version:
            return 1.0
        histories = [entry.by_version for entry in self._entries.values()]
        both = [asked for asked in histories if {version, self.model_version} <= asked.keys()]
        if len(both) < MIN_PAIRS:
            return 1.0
        old, new = (sum(asked[which] for asked in both) for which in (version, self.model_version))
        if old == 0.0:
            return 1.0 if new == 0.0 else FACTOR_LIMITS[1]
        return float(np.clip(new / old, *FACTOR_LIMITS))


def _urgency(entry: _Entry | None, generation: int, version: str, asked_before: float) -> int | None:
    if entry is None:
        return 0
    if entry.generation != generation:
        return 1
    if entry.model_version != version:
        return 2
    return 3 if entry.asked < asked_before else None


def _check_answer(center_id: int, losses: Floats, probes: int) -> None:
    if losses.size > probes:
        raise ValueError(
            f"Center {center_id} has {losses.size - 1} member losses; pass at most probes - 1 = {probes - 1}."
        )
    if not np.all((losses >= 0) & (losses <= MAX_LOSS)):
        raise ValueError(f"A loss of center {center_id} is not a number between 0 and {MAX_LOSS:g}.")
