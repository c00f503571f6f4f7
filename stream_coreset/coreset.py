"""The whole method in one object: sensitivity sampling of an endless stream, in any program."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.arrays import Array, check_points, random_stream
from stream_coreset.asking import LossFunction, ask, check_loss, check_max_queries
from stream_coreset.clusters import Clusters
from stream_coreset.fair_shares import check_groups
from stream_coreset.kernels import totals
from stream_coreset.known_losses import KnownLosses
from stream_coreset.limits import Limits
from stream_coreset.probes import choose_queries
from stream_coreset.sample import Sample
from stream_coreset.sensitivity import SensitivitySampler
from stream_coreset.stream import AdaptedWindow, ClusterModel, WindowSampler

__all__ = ["StreamingCoreset"]

Int = NDArray[np.int64]


class StreamingCoreset:
    """Sensitivity sampling of an endless stream, window by window.

    Parameters
    ----------
    n_clusters : int
        Centers that are kept up to date.
    rate, size, epsilon, delta, z, floor, design, probes, min_group_rate
        As in `select`; `rate` and `size` are per window.
    half_life : float, optional
        Examples after which older ones count half in the centers; None never forgets.
    max_queries : int, optional
        Most losses asked in a step; by default as many as all clusters take. The most urgent are asked
        first: never asked, moved, oldest.
    max_age : float
        Steps after which a loss is asked again.
    limits : Limits, optional
        As in `select`.
    lloyd_steps, split_fraction, device
        See `MiniBatchKMeans`.
    seed : int, optional
        Of everything random; made up when missing.

    Attributes
    ----------
    clusters : Clusters
        As of the last step; version 0 before the first.
    n_queries : int
        Losses asked so far.
    model_version : str
        Set it when the model behind `loss` is another one: its losses are then due, and older ones are scaled
        to them, never mixed raw.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stream = StreamingCoreset(n_clusters=8, rate=0.1, seed=1)
    >>> for _ in range(3):
    ...     window = rng.normal(size=(100, 2))
    ...     sample = stream.step(window, lambda rows: np.abs(window[rows, 0]))
    >>> len(sample), sample.weights.shape, stream.clusters.version
    (10, (10,), 3)
    """

    def __init__(
        self,
        n_clusters: int,
        *,
        rate: float | None = None,
        size: float | None = None,
        epsilon: float | None = None,
        delta: float = 0.1,
        z: float = 2,
        floor: float = 0.2,
        design: str = "pivotal",
        probes: int = 9,
        half_life: float | None = 1_000_000,
        max_queries: int | None = None,
        max_age: float = 10,
        limits: Limits | None = None,
        min_group_rate: float | None = None,
        lloyd_steps: int = 1,
        split_fraction: float = 0.25,
        device: str = "cpu",
        seed: int | None = None,
    ) -> None:
        self._sampler = SensitivitySampler(
            rate=rate,
            size=size,
            epsilon=epsilon,
            delta=delta,
            z=z,
            floor=floor,
            design=design,
            probes=probes,
            limits=limits,
            min_group_rate=min_group_rate,
        )
        self._clustering: dict[str, Any] = {
            "n_clusters": n_clusters,
            "lloyd_steps": lloyd_steps,
            "split_fraction": split_fraction,
        }
        check_max_queries(max_queries)
        self._half_life, self._device = half_life, device
        self._budget = probes * n_clusters if max_queries is None else max_queries
        self._max_age = max_age
        self._secret: int | str = secrets.token_hex(16) if seed is None else seed
        self._halves: tuple[WindowSampler, ClusterModel] | None = None
        self._steps = 0
        self.n_queries = 0
        self.model_version = ""

    @property
    def clusters(self) -> Clusters:
        """The clusters as of the last step."""
        return Clusters.empty(1) if self._halves is None else self._halves[0].published

    def step(self, X: Array, loss: LossFunction | None = None, groups: ArrayLike | None = None) -> Sample:
        """One window: adapt the centers to it, ask the losses that are due, draw, and learn for the next.

        Parameters
        ----------
        X : (n, d) array_like
            The window's embeddings.
        loss : callable, optional
            Called at most once with the rows of this window whose losses are due; answers with losses >= 0.
            What is asked before the draw costs or saves variance only, never bias.
        groups : (n,) array_like, optional
            Of each example, what it has a fair share by, such as its class: see `min_group_rate`.

        Returns
        -------
        Sample
            Its weighted total is an unbiased estimate of the window's total, for any losses.

        Raises
        ------
        ValueError
            Where `X` or an answer of `loss` cannot be used; names the argument, the row, and what to do. The
            centers have then learned the window, but nothing is drawn.
        """
        check_loss(loss)
        X = check_points(X)
        numbered = check_groups(groups, len(X), self._sampler.min_group_rate)
        windows, model = self._halves or self._begin(X.shape[1])
        self._steps += 1
        window = windows.adapt(X, random_stream(self._secret, "adapt", self._steps))
        model.merge(window.statistics)
        owners = model.locate(window.clusters.centers)
        known = self._ask(loss, window, owners, model) if loss is not None else None
        windows.update(model.publish(self._steps))
        local = _losses_of_owners(window.clusters, owners, windows.published)
        return self._sampler.sample(
            window.assignment,
            local,
            random_stream(self._secret, "draw", self._steps),
            known=known,
            groups=numbered,
        )

    def _begin(self, dimension: int) -> tuple[WindowSampler, ClusterModel]:
        windows = WindowSampler(self._sampler, dimension=dimension, device=self._device, **self._clustering)
        model = ClusterModel(
            dimension=dimension,
            half_life=self._half_life,
            probes=self._sampler.probes,
            z=self._sampler.z,
            seed=self._secret,
            **self._clustering,
        )
        self._halves = windows, model
        return self._halves

    def _ask(
        self, loss: LossFunction, window: AdaptedWindow, owners: Int, model: ClusterModel
    ) -> KnownLosses:
        """Ask the losses that are due, of rows of this window."""
        labels = window.assignment.labels
        sizes = totals(labels, np.ones(len(labels)), len(owners))
        largest = {int(owners[label]): int(label) for label in np.argsort(sizes) if sizes[label]}
        due = model.due(
            self._budget, self._steps, self._max_age, among=largest, model_version=self.model_version
        )
        rng = random_stream(self._secret, "probes", self._steps)
        wanted = [largest[center] for center in due]
        probes = choose_queries(window.assignment, wanted, self._sampler.probes, rng)
        losses = ask(loss, probes.queries())
        self.n_queries += len(losses)
        generations = model.generations
        for answer in probes.answers(losses):
            center, values = int(owners[answer.label]), [answer.nearest_loss, *answer.member_losses]
            model.record(
                center, generations[center], values, model_version=self.model_version, now=self._steps
            )
        return KnownLosses(probes.queries(), losses)


def _losses_of_owners(local: Clusters, owners: Iterable[int], published: Clusters) -> Clusters:
    """The local centers with the losses of the published centers that own them."""
    row = {int(center): place for place, center in enumerate(published.ids)}
    places = np.array([row[int(owner)] for owner in owners])
    return replace(
        local,
        version=published.version,
        losses=published.losses[places],
        spreads=published.spreads[places],
        loss_ages=published.loss_ages[places],
        mean_square=published.mean_square,
        holders=published.holders,
    )
