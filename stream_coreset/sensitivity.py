"""Sensitivity sampling: clusters and an assignment give probabilities, a budget and a weighted sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.clusters import Clusters
from stream_coreset.estimates import error_bound, size_for
from stream_coreset.fair_shares import with_fair_shares
from stream_coreset.known_losses import KnownLosses
from stream_coreset.limits import Limits, Shares, normalised
from stream_coreset.prediction import Prediction
from stream_coreset.sample import Sample
from stream_coreset.sampling import DESIGNS, draw
from stream_coreset.scores import Cut, cluster_scores, draw_order, expected_losses, joined, promised
from stream_coreset.weighted import Assignment

__all__ = ["SensitivitySampler"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SensitivitySampler:
    """Draws examples in proportion to how much their loss may matter, with weights that undo the preference.

    Each window is a batch of its own. Its weighted total is an unbiased estimate of the total for any
    clusters and any losses, as long as the window, the clusters and the order are fixed before the draw:
    stale or wrong losses cost variance only.

    The scores: *center loss* + L v, and *spread* (root mean square loss of the cluster) + L v, where
    v = distance**z to the assigned center and each score has its own L; each normalised in the window and
    mixed in equal parts, ``p = (1 - floor) * mean of the scores + floor / n``. With probes = 1 the center
    loss is the only score. As long as no loss is known they are 1/n and v; without clusters p = 1/n.
    A `Prediction` adds the predicted mean and root mean square as scores, and mixes all by its shares.

    Parameters
    ----------
    rate : float, optional
        Share of the examples to draw, 0 < rate <= 1. Exactly one of rate, size and epsilon is given.
    size : float, optional
        Expected sample size of a window, above 0.
    epsilon : float, optional
        The size at which the error exceeds epsilon U with probability at most `delta`, see `size_for`; it
        grows by 1/a, where a is the share of the center-loss score in p, (1 - floor) or half of that.
    delta : float
        Used with epsilon only.
    z : float
        Exponent of the distance; 2 is k-means, 1 k-medians.
    floor : float
        Share eta of uniform sampling in p, 0 <= floor <= 1. It bounds every weight by n/(s floor), and the
        damage of a loss that nobody could foresee. 1 is uniform sampling.
    design : {"pivotal", "systematic", "iid"}
        See `draw`.
    probes : int
        Queries a cluster that stand behind its losses; 1 is the nearest example alone.
    limits : Limits, optional
        Most that few examples, one cluster or one source can take of the scores, for examples that nobody
        vouches for. Not with epsilon, whose bound holds for every example.
    min_group_rate : float, optional
        Expected share of the examples of every group that is drawn at least, 0 < min_group_rate <= 1, as far
        as the size allows, see `with_fair_shares`. Up to ``floor * rate`` the floor gives it already. Not
        with epsilon.

    Raises
    ------
    ValueError
        When an argument is out of its range, there is not one budget, or epsilon has limits or groups.

    References
    ----------
    Axiotis et al. 2024, sections 2 and 3: design="iid", floor=0, probes=1 with distances to the nearest
    example of each center is their scheme.

    Examples
    --------
    >>> sampler = SensitivitySampler(rate=0.01)
    >>> sampler.expected_size(250)
    2.5
    """

    rate: float | None = None
    size: float | None = None
    epsilon: float | None = None
    delta: float = 0.1
    z: float = 2.0
    floor: float = 0.2
    design: str = "pivotal"
    probes: int = 9
    limits: Limits | None = None
    min_group_rate: float | None = None

    def __post_init__(self) -> None:
        _check_settings(self)

    def expected_size(self, n: int) -> float:
        """Return s for a window of n examples: a real number, not rounded; at most n without replacement."""
        if self.rate is not None:
            return n * self.rate
        s = self.size if self.size is not None else self._guaranteed_size()
        return s if self.design == "iid" and n else min(s, float(n))

    def probabilities(
        self,
        assignment: Assignment,
        clusters: Clusters,
        sources: Int | None = None,
        predicted: Prediction | None = None,
        *,
        known: KnownLosses | None = None,
        groups: Int | None = None,
    ) -> Float:
        """The sampling probability p of every example of the window; sums to 1.

        Parameters
        ----------
        assignment : Assignment
            Labels and distances (not squared) of the n examples.
        clusters : Clusters
            The centers that the labels point to.
        sources : (n,) int64, optional
            Where each example comes from, counted from 0, for the limit of a source.
        predicted : Prediction, optional
            What a surrogate predicts of their losses: two more scores, mixed by its shares. Wrong in any way,
            it costs no more than the floor allows.
        known : KnownLosses, optional
            Losses of examples of this window, in place of their scores; not with epsilon.
        groups : (n,) int64, optional
            Which group each example belongs to, counted from 0, for `min_group_rate`.

        Returns
        -------
        (n,) float64

        Raises
        ------
        ValueError
            When a label points to no center, a distance is negative or not finite, a source or group is
            negative, the prediction is of other examples, or the budget is epsilon, whose bound is about the
            other scores.
        """
        return self._fair(self._limited(assignment, clusters, sources, predicted, known)[0], groups)

    def sample(
        self,
        assignment: Assignment,
        clusters: Clusters,
        rng: np.random.Generator,
        sources: Int | None = None,
        predicted: Prediction | None = None,
        *,
        known: KnownLosses | None = None,
        groups: Int | None = None,
    ) -> Sample:
        """Draw the weighted sample of one window.

        Parameters
        ----------
        assignment, clusters, sources, predicted, known, groups
            As in `probabilities`.
        rng : numpy.random.Generator
            A stream of the draw alone. Shared with the adaptation of the centers, the draw is biased.

        Raises
        ------
        ValueError
            As `probabilities`.
        """
        p, largest = self._limited(assignment, clusters, sources, predicted, known)
        p = self._fair(p, groups)
        s = self.expected_size(len(p))
        order = None
        if self.design != "iid":
            expected = expected_losses(assignment.labels, clusters, predicted, known, z=self.z)
            order = draw_order(assignment.labels, clusters, promised(expected, p), s)
        indices, weights, probabilities = draw(p, s, self.design, order, rng)
        return Sample(indices, weights, probabilities, s, p, largest, order)

    def error_bound(self, assignment: Assignment, clusters: Clusters, p: Float) -> float | None:
        """The paper's bound on the absolute error of the estimated total, known before the draw.

        It fails with probability at most `delta`, whatever p: it rests on what limits, predictions and fair
        shares leave of the paper's own probabilities. It holds for losses that vary no more inside a cluster
        than its center loss and Hölder constant say; those are estimated, so it is no guarantee.

        Parameters
        ----------
        assignment, clusters
            As in `probabilities`.
        p : (n,) float64
            Of the draw (`Sample.scores`).

        Returns
        -------
        float or None
            None where no loss is known, and for design="systematic", which has no such bound.

        References
        ----------
        Axiotis et al. 2024, section 3, theorem 1; Brändén, Jonasson 2012: what ordered pivotal sampling draws
        is negatively associated, so that sums concentrate as well as those of independent draws.
        """
        n = len(assignment.labels)
        s = self.expected_size(n)
        if self.design == "systematic" or not (np.isfinite(clusters.losses).any() and n and s > 0):
            return None
        proxies = self._cluster_scores(assignment, clusters)[0]
        total, scored = float(proxies.sum()), proxies > 0
        share = float((p[scored] * total / proxies[scored]).min(initial=1.0))
        return error_bound(total, s, self.delta, share) if share > 0 and total < math.inf else None

    def _limited(
        self,
        assignment: Assignment,
        clusters: Clusters,
        sources: Int | None,
        predicted: Prediction | None,
        known: KnownLosses | None,
    ) -> tuple[Float, Shares]:
        """p, and the largest shares that it would have without the limits."""
        labels, n = assignment.labels, len(assignment.labels)
        if clusters.k:
            assignment.check(clusters.k)
        if n == 0 or clusters.version == 0 or clusters.k == 0:
            return np.full(n, 1.0 / max(n, 1)), Shares()
        if predicted is not None:
            self._check_prediction(predicted, n)
        if self.epsilon is not None or not np.isfinite(clusters.losses).any():
            known = None  # the bound is about the other scores; or these are in no unit of losses
        draws = 0.0 if self.design == "iid" else (1.0 - self.floor) * self.expected_size(n)
        scores, shares = joined(self._cluster_scores(assignment, clusters), predicted, known, draws)
        free = self._mixed([normalised(score) for score in scores], shares)
        if self.limits is None:
            return free, Shares()
        if sources is not None:
            _check_numbers(sources, n, "sources")
        scores = self._cluster_scores(assignment, clusters, self.limits.cut)
        scores, _ = joined(scores, predicted, known, draws)
        held = [self.limits.hold(score, labels, sources, floor=self.floor) for score in scores]
        return self._mixed(held, shares), self.limits.largest(free, labels, sources)

    def _fair(self, p: Float, groups: Int | None) -> Float:
        if self.min_group_rate is None or groups is None:
            return p
        _check_numbers(groups, len(p), "groups")
        s, repeats = self.expected_size(len(p)), self.design == "iid"
        return with_fair_shares(p, s, groups, self.min_group_rate, floor=self.floor, repeats=repeats)

    def _cluster_scores(self, assignment: Assignment, clusters: Clusters, *cut: Cut) -> list[Float]:
        return cluster_scores(assignment, clusters, *cut, z=self.z, probes=self.probes)

    def _mixed(self, scores: list[Float], shares: Float) -> Float:
        return np.asarray((1.0 - self.floor) * (shares @ scores) + self.floor / len(scores[0]))

    def _check_prediction(self, predicted: Prediction, n: int) -> None:
        if len(predicted) != n:
            raise ValueError(f"predicted: {len(predicted)} predictions for {n} examples; pass one for each")
        if self.epsilon is not None:
            raise ValueError("predicted: the bound by epsilon is about the scores of clusters; give a rate")

    def _guaranteed_size(self) -> float:
        scores = 1 if self.probes == 1 else 2
        return size_for(self.epsilon or 0.0, self.delta, share=(1.0 - self.floor) / scores)


def _check_numbers(numbers: Int, n: int, name: str) -> None:
    if numbers.shape != (n,) or (numbers < 0).any():
        raise ValueError(f"{name}: expected {n} numbers of 0 or more, one for each example")


def _check_settings(sampler: SensitivitySampler) -> None:
    budgets = [sampler.rate, sampler.size, sampler.epsilon]
    if sum(budget is not None for budget in budgets) != 1:
        raise ValueError("rate, size, epsilon: give exactly one of them")
    for name, share in (("rate", sampler.rate), ("min_group_rate", sampler.min_group_rate)):
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"{name}: expected a share above 0 and at most 1, got {share}")
    if sampler.size is not None and not 0 < sampler.size < math.inf:
        raise ValueError(f"size: expected a number above 0, got {sampler.size}")
    if not 0 <= sampler.floor <= 1:
        raise ValueError(f"floor: expected a share from 0 to 1, got {sampler.floor}")
    if not 0 < sampler.z < math.inf:
        raise ValueError(f"z: expected an exponent above 0, got {sampler.z}")
    if sampler.probes < 1:
        raise ValueError(f"probes: expected at least 1 query a cluster, got {sampler.probes}")
    if sampler.design not in DESIGNS:
        raise ValueError(f"design: expected one of {', '.join(DESIGNS)}, got {sampler.design!r}")
    if sampler.epsilon is not None:
        if sampler.min_group_rate is not None:
            raise ValueError("min_group_rate: the bound by epsilon holds for all examples alike; give a rate")
        if sampler.limits is not None:
            raise ValueError("limits: the bound by epsilon holds for every example; give a rate or a size")
        if sampler.floor == 1:
            raise ValueError("floor: uniform sampling has no bound by epsilon; choose a floor below 1")
        sampler._guaranteed_size()
