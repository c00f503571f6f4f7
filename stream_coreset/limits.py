"""Limits to how much of the probability a few examples, one cluster or one source can take.

Whoever writes to a stream can send examples that look important: far from all others, alone in clusters of
their own, or with huge losses. Limits bound what that earns. They depend on the window alone, so that all is
fixed before the draw and the estimate stays unbiased.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_coreset.kernels import totals

__all__ = ["Limits", "Shares", "cut_to_share", "normalised"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_FEW = 20  # one example in so many
_ROUNDS = 4  # of all limits; what they still leave is mixed with uniform
_SLACK = 1 + 1e-12
_TINY = 1e-12  # of uniform: where all others have nothing, they share what is taken away evenly


@dataclass(frozen=True)
class Shares:
    """The largest shares of a probability p.

    Attributes
    ----------
    few : float
        Of the floor(n / 20) examples that have most, 0 in a window of less than 20.
    cluster, source : float
        Of the cluster and the source that have most, among those whose share of the examples is below the
        limit: 0 where there is none, such as with a single source.
    """

    few: float = 0.0
    cluster: float = 0.0
    source: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest shares of the probability p of a window; 1 is no limit.

    What nobody has measured, distances and the guessed losses of clusters that were not asked yet, is cut
    first: any floor(n / 20) of n examples have at most the share `unmeasured` of it. Then p keeps exactly to
    these:

    - any floor(n / 20) examples have at most `few` together,
    - a cluster has at most `cluster`, a source at most `source`, or its share of the examples where that is
      more: nobody is held below uniform sampling.

    So with few = .2, whatever 5 % of the examples do, the others keep 80 % of the sample or more. By default
    that holds as long as their losses do not speak for them.

    Each score is limited by itself, before the scores are mixed: the highest scores are cut down to one
    threshold, a group is scaled down and the others up in proportion. So all others keep what the score says
    of them among themselves, and the floor stays what it is.

    Parameters
    ----------
    unmeasured, few : float
        At least 1/20. Where the loss is spread out, 5 % of the examples have .1 to .25 of a score; where it
        is rare they have most of it, and a `few` below that share costs most of what there is to gain.
    cluster, source : float
        A source is where an example comes from, such as a partition of the input.

    Raises
    ------
    ValueError
        A share is out of its range.

    Examples
    --------
    >>> far = np.array([1.0] * 95 + [1e30] * 5)
    >>> q = Limits(few=0.2).hold(far, np.zeros(100, np.int64), None, floor=0.0)
    >>> round(float(q[95:].sum()), 12), round(float(q.sum()), 12)
    (0.2, 1.0)
    """

    unmeasured: float = 0.2
    few: float = 1.0
    cluster: float = 0.5
    source: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("unmeasured", 1 / _FEW), ("few", 1 / _FEW), ("cluster", 0.0), ("source", 0.0)):
            share = getattr(self, name)
            if not (least <= share <= 1 and share > 0):
                raise ValueError(f"{name}: expected a share of at least {least} and at most 1, got {share}")

    def cut(self, unmeasured: Float) -> Float:
        """That part of a score which nobody has measured, within its limit.

        Parameters
        ----------
        unmeasured : (n,) float64
            0 or more.

        Returns
        -------
        (n,) float64
            The same, the highest cut down to one threshold.
        """
        few = len(unmeasured) // _FEW
        if not few or self.unmeasured == 1 or not unmeasured.any():
            return unmeasured
        q = normalised(unmeasured)
        held: Float = _Few(few, self.unmeasured).cut(q) * (unmeasured.max() / q.max())
        return held

    def hold(self, score: Float, clusters: Int, sources: Int | None, *, floor: float) -> Float:
        """The score within the limits, so that its mixture with the floor keeps to them too.

        Parameters
        ----------
        score : (n,) float64
            0 or more.
        clusters, sources : (n,) int64
            Of each example, counted from 0; without sources they have no limit.
        floor : float
            eta: p is ``(1 - eta)`` times a mean of such scores, plus ``eta / n``.

        Returns
        -------
        (n,) float64
            Sums to 1.
        """
        q = normalised(score)
        bounds = list(self._bounds(len(q), clusters, sources, floor)) if floor < 1 else []
        for _ in range(_ROUNDS):
            before = q
            for bound in bounds:
                q = bound.hold(q)
            if q is before:
                return q
        mixed = min(1.0, max((bound.excess(q) for bound in bounds), default=0.0))
        held: Float = (1.0 - mixed) * q + mixed / len(q)
        return held

    def largest(self, p: Float, clusters: Int, sources: Int | None) -> Shares:
        """Who has most of `p`; arguments as in `hold`."""
        few = len(p) // _FEW
        top = float(np.partition(p, len(p) - few)[len(p) - few :].sum()) if few else 0.0
        return Shares(top, _largest(p, clusters, self.cluster), _largest(p, sources, self.source))

    def _bounds(self, n: int, clusters: Int, sources: Int | None, floor: float) -> Iterator[_Bound]:
        if n >= _FEW and self.few < 1:
            yield _Few(n // _FEW, float(_of_a_score(self.few, n // _FEW / n, floor)))
        for labels, limit in ((clusters, self.cluster), (sources, self.source)):
            if labels is not None and limit < 1:
                sizes = np.bincount(labels) / n
                yield _Groups(labels, sizes, _of_a_score(limit, sizes, floor))


def normalised(score: Float) -> Float:
    """The score divided by its sum; 1/n each where that is zero."""
    highest = score.max(initial=0.0)
    if highest == 0:
        return np.full(len(score), 1.0 / max(len(score), 1))
    scaled = score / highest  # so that the sum is a number
    share: Float = scaled / scaled.sum()
    return share


def cut_to_share(score: Float, share: float) -> Float:
    """The score, its highest values cut down to one threshold: none is more than this share of the sum.

    Nothing is cut where not more than 1/share values are above 0.
    """
    q = normalised(score)
    if np.count_nonzero(q) * share <= 1:
        return score
    cut = _Few(1, share).cut(q)
    held: Float = score if cut is q else np.minimum(score, score.max() * (cut.max() / q.max()))
    return held


def _of_a_score(limit: float, sizes: Float | float, floor: float) -> Float:
    """The share of a score at which (1 - floor) times it, plus the floor's part, is the limit of p."""
    return np.asarray((np.maximum(limit, sizes) - floor * np.asarray(sizes)) / (1.0 - floor), np.float64)


def _largest(p: Float, labels: Int | None, limit: float) -> float:
    if labels is None:
        return 0.0
    below = np.bincount(labels) < limit * len(p)
    return float(np.bincount(labels, weights=p)[below].max(initial=0.0))


class _Bound(Protocol):
    def hold(self, q: Float) -> Float:
        """Return q within this bound: q itself where it is."""

    def excess(self, q: Float) -> float:
        """Return the share of uniform in a mixture with q that is just within."""


@dataclass(frozen=True)
class _Few:
    """`count` examples have at most `share`."""

    count: int
    share: float

    def hold(self, q: Float) -> Float:
        held = self.cut(q)
        return q if held is q else normalised(held)

    def cut(self, q: Float) -> Float:
        """Return q with its highest values cut down to one threshold: then the share holds, of their sum."""
        if self._top(q) <= self.share * _SLACK:
            return q
        return np.minimum(q, self._threshold(np.sort(q)))

    def excess(self, q: Float) -> float:
        top = self._top(q)
        if top <= self.share * _SLACK:
            return 0.0
        return (top - self.share) / (top - self.count / len(q))

    def _top(self, q: Float) -> float:
        first = len(q) - self.count
        return float(np.partition(q, first)[first:].sum())

    def _threshold(self, rising: Float) -> float:
        """The t at which the top of min(q, t) has the share: linear between values of q, so it is exact."""
        n, first = len(rising), len(rising) - self.count
        below = np.concatenate([[0.0], np.cumsum(rising)])  # sum of the i smallest
        above = n - np.arange(n)  # how many are at least rising[i]
        whole = below[:-1] + above * rising
        top = np.maximum(below[:-1] - below[first], 0) + np.minimum(above, self.count) * rising
        i = int(np.flatnonzero(top <= self.share * whole * _SLACK)[-1]) + 1  # the i smallest lie below t
        kept, cut = max(below[i] - below[first], 0.0), n - i
        return float((self.share * below[i] - kept) / (min(cut, self.count) - self.share * cut))


@dataclass(frozen=True)
class _Groups:
    """Groups of `sizes` (shares of the examples) have at most `shares`, which are not below the sizes."""

    labels: Int
    sizes: Float
    shares: Float

    def hold(self, q: Float) -> Float:
        if (self._mass(q) <= self.shares * _SLACK).all():
            return q
        q = (1 - _TINY) * q + _TINY / len(q)
        mass = wanted = self._mass(q)
        full = np.zeros(len(mass), np.bool_)
        while (over := wanted > np.where(full, np.inf, self.shares * _SLACK)).any():
            full |= over
            left = (1.0 - self.shares[full].sum()) / mass[~full].sum()
            wanted = np.where(full, self.shares, mass * left)
        held: Float = q * np.divide(wanted, mass, out=np.zeros_like(mass), where=mass > 0)[self.labels]
        return held

    def excess(self, q: Float) -> float:
        mass = self._mass(q)
        over = mass > self.shares * _SLACK  # so the share of the examples, by rounding
        return float(((mass - self.shares) / (mass - self.sizes + ~over))[over].max(initial=0.0))

    def _mass(self, q: Float) -> Float:
        return totals(self.labels, q, len(self.sizes))
