"""Probes: the real examples of each cluster whose losses the model is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from stream_coreset.kmeans import Assignment

__all__ = ["Answer", "ProbePool", "ProbeSet", "Probes", "choose_probes", "choose_queries"]

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class Answer:
    """The losses of one cluster's probes.

    Attributes
    ----------
    label : int
        The cluster.
    nearest_loss : float
        Loss of the member nearest to the center.
    member_losses : (m,) float64
        Losses of its uniform members.
    """

    label: int
    nearest_loss: float
    member_losses: NDArray[np.float64]


@dataclass(frozen=True)
class Probes:
    """The probes of some clusters in one window, cluster by cluster, each one's nearest member first.

    Attributes
    ----------
    rows : (q,) int64
        Rows of the window. A row that is the nearest member and a uniform one stands here twice.
    labels : (q,) int64
        Their clusters.
    is_nearest : (q,) bool
        True for the member nearest to the center, False for a uniform one.
    distances : (q,) float64
        Distance to the center, not squared.
    member_counts : (q,) int64
        Members of the probe's cluster in the window.
    farthest : (f,) int64
        Rows that are asked as well, each the farthest member of one of the clusters, or none. They stand for
        themselves alone.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    is_nearest: NDArray[np.bool_]
    distances: NDArray[np.float64]
    member_counts: NDArray[np.int64]
    farthest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def queries(self) -> NDArray[np.int64]:
        """The rows to ask, each once, ascending."""
        return np.union1d(self.rows, self.farthest)

    def answers(self, losses: ArrayLike) -> Iterator[Answer]:
        """Sort the losses of `queries()`, shape (len(queries()),), by cluster."""
        values = np.asarray(losses, np.float64)[np.searchsorted(self.queries(), self.rows)]
        starts = np.flatnonzero(self.is_nearest)
        for start, stop in zip(starts, np.append(starts, len(self))[1:], strict=True):
            yield Answer(int(self.labels[start]), float(values[start]), values[start + 1 : stop])


def choose_probes(
    assignment: Assignment, wanted_labels: Iterable[int], members: int, rng: np.random.Generator
) -> Probes:
    """Choose the nearest member and `members` uniform ones of each wanted cluster.

    The uniform members are drawn without replacement among all of the cluster, the nearest one included,
    so that they are a sample of it; a cluster with fewer gives them all, one without members nothing.

    Parameters
    ----------
    assignment : Assignment
        Labels and distances of a window of n rows.
    wanted_labels : iterable of int
        The clusters to probe; their order is kept.
    members : int
        Uniform members a cluster, `probes - 1`.
    rng : numpy.random.Generator
        A stream of its own: probes must not depend on the drawn sample, nor it on them.

    Returns
    -------
    Probes

    Examples
    --------
    >>> from stream_coreset.kmeans import Assignment
    >>> window = Assignment(np.array([0, 1, 1, 1]), np.array([0.5, 3.0, 1.0, 2.0]))
    >>> probes = choose_probes(window, [1], members=2, rng=np.random.default_rng(0))
    >>> probes.rows[0], probes.is_nearest.tolist(), probes.member_counts.tolist()
    (np.int64(2), [True, False, False], [3, 3, 3])
    """
    distances = np.asarray(assignment.distances, np.float64)
    order = np.argsort(assignment.labels, kind="stable")
    wanted = np.fromiter(wanted_labels, np.int64)
    starts, stops = (np.searchsorted(assignment.labels, wanted, side, order) for side in ("left", "right"))
    parts = [_probe(order[a:b], distances, members, rng) for a, b in zip(starts, stops, strict=True) if b > a]
    rows = np.concatenate([np.zeros(0, np.int64), *parts])
    lengths = [len(part) for part in parts]
    sizes = (stops - starts)[stops > starts]
    is_nearest = np.zeros(len(rows), np.bool_)
    is_nearest[np.cumsum([0, *lengths])[:-1]] = True
    labels = np.asarray(assignment.labels, np.int64)[rows]
    return Probes(rows, labels, is_nearest, distances[rows], np.repeat(sizes, lengths))


def choose_queries(
    assignment: Assignment, wanted_labels: Iterable[int], probes: int, rng: np.random.Generator
) -> Probes:
    """Choose what to ask of the wanted clusters in a window that is drawn by the answers.

    As `choose_probes`, but with three probes or more one of them is the farthest member: it may be an outlier
    that no other example tells of; once its loss is known it is drawn by that.

    Parameters
    ----------
    assignment, wanted_labels, rng
        As in `choose_probes`.
    probes : int
        Queries a cluster.
    """
    if probes <= 2:
        return choose_probes(assignment, wanted_labels, probes - 1, rng)
    chosen = choose_probes(assignment, wanted_labels, probes - 2, rng)
    order = np.lexsort((assignment.distances, assignment.labels))
    if len(order) == 0:
        return chosen
    farthest = order[np.append(np.flatnonzero(np.diff(assignment.labels[order])), len(order) - 1)]
    return replace(chosen, farthest=farthest[np.isin(assignment.labels[farthest], chosen.labels)])


def _probe(
    rows: NDArray[np.int64], distances: NDArray[np.float64], members: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    nearest = rows[np.argmin(distances[rows])]
    drawn = rng.choice(rows, size=min(members, len(rows)), replace=False)
    return np.concatenate([[nearest], drawn])


@dataclass(frozen=True)
class ProbeSet(Generic[Payload]):
    """What is known of one cluster's probes so far.

    Attributes
    ----------
    nearest : Payload or None
        The nearest member seen, at `distance` (infinite where there is none yet).
    members : tuple of Payload
        A uniform sample, without replacement, of the `member_count` members that it stands for.
    """

    nearest: Payload | None
    distance: float
    members: tuple[Payload, ...]
    member_count: int

    def __post_init__(self) -> None:
        if not self.distance >= 0:
            raise ValueError(f"distance is {self.distance}; a distance is a number >= 0.")
        if self.member_count < len(self.members):
            raise ValueError(
                f"member_count is {self.member_count}, less than the {len(self.members)} members."
            )


class ProbePool(Generic[Payload]):
    """Merges the probes that several windows send of the same centers.

    Keeps the nearest payload of each center and a uniform reservoir over all of its members, merged by the
    numbers of members that the samples stand for, so that a large window counts for more than a small one.

    Parameters
    ----------
    members : int
        Uniform members kept a center, `probes - 1`.
    rng : numpy.random.Generator
        Decides the merges.

    Examples
    --------
    >>> pool = ProbePool(members=1, rng=np.random.default_rng(0))
    >>> pool.add(7, nearest="near", distance=1.0, members=["a"], member_count=4)
    >>> pool.add(7, nearest="far", distance=2.0, members=["b"], member_count=400_000)
    >>> pool.take(7)
    ProbeSet(nearest='near', distance=1.0, members=('b',), member_count=400004)
    >>> pool.take(7) is None
    True
    """

    def __init__(self, members: int, rng: np.random.Generator) -> None:
        self.members = members
        self._rng = rng
        self._sets: dict[int, ProbeSet[Payload]] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def __contains__(self, center_id: object) -> bool:
        return center_id in self._sets

    def add(
        self,
        center_id: int,
        *,
        nearest: Payload | None = None,
        distance: float = float("inf"),
        members: Sequence[Payload] = (),
        member_count: int = 0,
    ) -> None:
        """Merge one window's probes of a center.

        Parameters
        ----------
        center_id : int
            The center.
        nearest, distance : Payload, float
            The member nearest to the center and its distance.
        members : sequence of Payload
            Members drawn uniformly without replacement.
        member_count : int
            Members that the cluster had in that window.
        """
        population = member_count if members else 0
        new = ProbeSet(nearest, distance, tuple(members), population)
        old = self._sets.get(center_id, ProbeSet[Payload](None, float("inf"), (), 0))
        self._sets[center_id] = self._merged(old, new)

    def take(self, center_id: int) -> ProbeSet[Payload] | None:
        """Return what is known of a center and forget it; None where nothing is."""
        return self._sets.pop(center_id, None)

    def forget(self, keep: Iterable[int]) -> None:
        """Drop every center whose id is not in `keep`."""
        kept = set(keep)
        self._sets = {center_id: found for center_id, found in self._sets.items() if center_id in kept}

    def _merged(self, old: ProbeSet[Payload], new: ProbeSet[Payload]) -> ProbeSet[Payload]:
        nearer = new if new.distance < old.distance or old.nearest is None else old
        members = self._reservoir(old, new)
        return ProbeSet(nearer.nearest, nearer.distance, members, old.member_count + new.member_count)

    def _reservoir(self, old: ProbeSet[Payload], new: ProbeSet[Payload]) -> tuple[Payload, ...]:
        """Draw a sample of the union: how many come from each side is hypergeometric, one draw at a time."""
        pools = [self._shuffled(old.members), self._shuffled(new.members)]
        left = [old.member_count, new.member_count]
        chosen: list[Payload] = []
        while len(chosen) < self.members and any(pools):
            side = int(self._rng.random() * sum(left) >= left[0])
            side = side if pools[side] else 1 - side
            chosen.append(pools[side].pop())
            left[side] -= 1
        return tuple(chosen)

    def _shuffled(self, members: Sequence[Payload]) -> list[Payload]:
        return [members[place] for place in self._rng.permutation(len(members))]
