"""Clusters: the immutable, versioned model of the stream that the clusterer publishes and samplers use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_coreset.arrays import Array, to_host
from stream_coreset.kernels import nearest

__all__ = ["ESTABLISHED", "Centers", "Clusters", "adapted", "estimated_losses", "nearest_established"]

Float = NDArray[np.float64]

ESTABLISHED = 3  # examples that a center stands on before distances to it say how far out an example lies

_PER_CENTER: dict[str, Any] = {
    "ids": np.int64,
    "generations": np.int64,
    "counts": np.float64,
    "losses": np.float64,
    "spreads": np.float64,
    "loss_ages": np.float64,
}
_MAY_BE_UNKNOWN = ("losses", "spreads", "loss_ages")


class Centers(Protocol):
    """What `adapted` reads of a fitted `MiniBatchKMeans`."""

    cluster_centers_: Any
    counts_: Any

    @property
    def ids_(self) -> NDArray[np.int64]:
        """(k,) identities."""

    @property
    def generations_(self) -> NDArray[np.int64]:
        """(k,) generations."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """One version of the centers and of what the model said about them.

    Arrays are copied and read-only, so that a version once published stays what its digest says.
    Two objects are equal when their digests are.

    Parameters
    ----------
    version : int
        0 means that there are no clusters yet.
    model_version : str
        The version of the model that gave the losses; empty when none was asked.
    ids : (k,) int64
        Identity of each center, never reused.
    generations : (k,) int64
        Rises when a center has moved so far that losses asked before no longer describe it.
    centers : (k, d) float32
    counts : (k,) float64
        Mass of each center (examples, decayed).
    losses : (k,) float64
        Loss of the example nearest to the center; NaN = unknown.
    spreads : (k,) float64
        Shrunk root mean square of the members' losses; NaN = unknown.
    loss_ages : (k,) float64
        Seconds since the loss was asked; NaN = never (the loss is an estimate or unknown).
    mean_square : float
        Mass-weighted mean square loss over all clusters; NaN when no loss is known.
    holders : (2,) float64
        The Hölder constants L of the center-loss score and of the spread score.

    Raises
    ------
    ValueError
        When shapes disagree or a value is not allowed.

    Examples
    --------
    >>> clusters = Clusters.empty(3)
    >>> clusters.k, clusters.centers.shape, clusters.version
    (0, (0, 3), 0)
    >>> clusters == Clusters.empty(3)
    True
    """

    version: int
    model_version: str
    ids: NDArray[np.int64]
    generations: NDArray[np.int64]
    centers: NDArray[np.float32]
    counts: Float
    losses: Float
    spreads: Float
    loss_ages: Float
    mean_square: float
    holders: Float

    def __post_init__(self) -> None:
        centers = _frozen(self.centers, np.float32)
        if centers.ndim != 2:
            raise ValueError(f"centers: expected shape (k, d), got {centers.shape}")
        object.__setattr__(self, "centers", centers)
        for name, dtype in _PER_CENTER.items():
            object.__setattr__(self, name, _column(name, getattr(self, name), dtype, len(centers)))
        object.__setattr__(self, "holders", _column("holders", self.holders, np.float64, 2))
        object.__setattr__(self, "mean_square", float(self.mean_square))
        _check_values(self)

    @classmethod
    def empty(cls, dimension: int) -> Clusters:
        """Return version 0: no centers, in `dimension` dimensions."""
        none: Float = np.zeros(0)
        no_ids = np.zeros(0, dtype=np.int64)
        centers = np.zeros((0, dimension), dtype=np.float32)
        holders: Float = np.zeros(2)
        return cls(0, "", no_ids, no_ids, centers, none, none, none, none, float("nan"), holders)

    @property
    def k(self) -> int:
        """Number of centers."""
        return len(self.centers)

    @property
    def dimension(self) -> int:
        """Number of features of a center."""
        return int(self.centers.shape[1])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(k,) mask of the centers whose loss was asked of a model; an estimated loss is not known."""
        return np.isfinite(self.losses) & np.isfinite(self.loss_ages)

    def digest(self) -> str:
        """SHA-256 of every field in a fixed byte order, as 64 hexadecimal digits."""
        found = hashlib.sha256()
        for field in fields(self):
            data = _bytes(getattr(self, field.name))
            found.update(f"{field.name}:{len(data)}:".encode())
            found.update(data)
        return found.hexdigest()

    @property
    def established(self) -> NDArray[np.bool_]:
        """(k,) which centers stand on `ESTABLISHED` examples; all, unless these hold most of the mass."""
        several = self.counts >= ESTABLISHED
        most = self.counts[several].sum() > self.counts.sum() / 2
        return several if most else np.ones(self.k, np.bool_)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clusters) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())


def adapted(clusters: Clusters, kmeans: Centers, z: float = 2.0) -> Clusters:
    """Return the local copy of `clusters` for centers that were adapted to a window.

    A center keeps the loss, spread and age of its published ancestor (same id). Where no model was
    asked, the loss is one of `estimated_losses` and the spread is the root of the mean square over all
    clusters; the age stays NaN: probes are due. With no known loss all stays unknown.

    Parameters
    ----------
    clusters : Clusters
        The version as published.
    kmeans : MiniBatchKMeans
        The adapted centers (`cluster_centers_`, `counts_`, `ids_`, `generations_`), k of their own.
    z : float
        The exponent of the distance: 2 is k-means.
    """
    ids = to_host(kmeans.ids_)
    centers = to_host(kmeans.cluster_centers_)
    losses, spreads, ages = (_of_ancestors(clusters, ids, name) for name in _MAY_BE_UNKNOWN)
    unknown = ~(np.isfinite(losses) & np.isfinite(ages))
    if clusters.known.any() and unknown.any():
        losses[unknown] = estimated_losses(clusters, centers[unknown], z)
        ages[unknown] = np.nan
    spreads[np.isnan(spreads)] = np.sqrt(clusters.mean_square)
    return Clusters(
        version=clusters.version,
        model_version=clusters.model_version,
        ids=ids,
        generations=to_host(kmeans.generations_),
        centers=centers,
        counts=to_host(kmeans.counts_),
        losses=losses,
        spreads=spreads,
        loss_ages=ages,
        mean_square=clusters.mean_square,
        holders=clusters.holders,
    )


def _of_ancestors(clusters: Clusters, ids: NDArray[np.int64], name: str) -> Float:
    """Values of the field `name` by id; NaN for an id that was never published."""
    position = {int(published): row for row, published in enumerate(clusters.ids)}
    rows = np.array([position.get(int(wanted), -1) for wanted in ids], dtype=np.int64)
    values = np.append(getattr(clusters, name), np.nan)
    return np.array(values[rows], dtype=np.float64)


def estimated_losses(clusters: Clusters, centers: NDArray[Any], z: float = 2.0) -> Float:
    """Losses of centers that no model was asked for: ``l(c') + L ||c - c'||**z``, capped.

    c' is the nearest of `clusters` that has a loss, the cap the largest loss there is. An estimate, no
    bound; it is fixed before the draw and so costs variance at most.

    Parameters
    ----------
    clusters : Clusters
        At least one loss must be known.
    centers : (m, d) array
    z : float
        The exponent of the distance.

    Returns
    -------
    (m,) float64

    Raises
    ------
    ValueError
        When no loss is known.

    References
    ----------
    Axiotis et al. 2024, section 2 (the Hölder condition that this extrapolates).
    """
    known = np.isfinite(clusters.losses)
    if not known.any():
        raise ValueError("clusters: no loss is known, so none can be estimated")
    losses = clusters.losses[known]
    labels, squares = nearest(np.asarray(centers, dtype=np.float32), clusters.centers[known])
    estimate = losses[labels] + clusters.holders[0] * squares.astype(np.float64) ** (z / 2)
    capped: Float = np.minimum(estimate, losses.max())
    return capped


def nearest_established(X: Array, clusters: Clusters) -> tuple[NDArray[np.int64], Float]:
    """Labels (n,) and distances (n,) to the nearest of the established centers.

    An outlier often becomes a center itself, or with one other: how far it lies from that says nothing of how
    far out it is, and what was learned of far examples would not be seen to apply.
    """
    rows = np.flatnonzero(clusters.established)
    labels, squares = (to_host(found) for found in nearest(X, clusters.centers[rows]))
    return rows[labels], np.sqrt(squares.astype(np.float64))


def _frozen(array: Any, dtype: Any) -> NDArray[Any]:
    copy = np.array(array, dtype=dtype, order="C")
    if copy.dtype.kind == "f":
        copy[np.isnan(copy)] = np.nan  # one bit pattern, so that the digest depends on values alone
    copy.flags.writeable = False
    return copy


def _column(name: str, values: Any, dtype: Any, length: int) -> NDArray[Any]:
    column = _frozen(values, dtype)
    if column.shape != (length,):
        raise ValueError(f"{name}: expected shape ({length},), got {column.shape}")
    return column


def _check_values(clusters: Clusters) -> None:
    if clusters.version < 0:
        raise ValueError(f"version: expected 0 or more, got {clusters.version}")
    finite = np.isfinite(clusters.centers).all(axis=1)
    if not finite.all():
        raise ValueError(f"centers: row {np.argmin(finite)} has a NaN or infinite value")
    ids, times = np.unique(clusters.ids, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"ids: {ids[np.argmax(times)]} comes twice; every center has an id of its own")
    for name in ("counts", "holders"):
        values = getattr(clusters, name)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name}: expected finite values of 0 or more")
    for name in ("losses", "spreads", "loss_ages", "mean_square"):
        values = np.asarray(getattr(clusters, name))
        if np.isinf(values).any() or (values < 0).any():
            raise ValueError(f"{name}: expected finite values of 0 or more, or NaN for unknown")


def _bytes(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        shape = ",".join(map(str, value.shape)).encode()
        return shape + b";" + value.astype(value.dtype.newbyteorder("<")).tobytes()
    return repr(value).encode()
