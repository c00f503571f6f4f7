"""From a window's losses to its estimate, with what the windows before it say about the error."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from consumers.feedback.results import Complete, Missing
from consumers.records.estimates import EstimateRecord
from consumers.records.ledger import LedgerEntry
from stream_coreset.estimates import horvitz_thompson
from stream_coreset.intervals import Drawn, EstimatePool, FloorRule

__all__ = ["Estimator"]

_POOLS = 8  # of the newest model versions
_LARGEST_LOG = 700.0
_LEAST_SCALE = 0.001  # of the mean loss, where more than half of the losses are next to nothing


class Estimator:
    """Estimates of windows in the order in which they complete, and the floor that they advise.

    Losses of two model versions are never pooled for an error. The comparison with uniform sampling goes on
    across versions: it is a ratio, for which losses are brought to the scale of their version.

    Parameters
    ----------
    floor : float
        As set.
    compares : bool
        Whether uniform sampling can be compared with: not where the input is a weighted sample itself.

    Attributes
    ----------
    rule : FloorRule
        Its `current` is the floor in force.
    """

    def __init__(self, floor: float, *, compares: bool = True) -> None:
        self.rule = FloorRule(floor)
        self._compares = compares
        self._versions: OrderedDict[_Key, _Version] = OrderedDict()
        self._all, self._design = EstimatePool(), ""

    def estimate(self, window: Complete, now_ms: int) -> EstimateRecord:
        """The estimate of a window all of whose losses are back."""
        entry, drawn = window.entry, window.drawn
        version = self._version((entry.design, window.model_version))
        version.pool.add(drawn)
        total = horvitz_thompson(drawn.losses, 1 / drawn.probabilities)
        if window.first and self._compares:
            self._compare(entry, version.scaled(drawn, total))
        record = _record(entry, window.model_version, missing=0, now_ms=now_ms)
        return _with_ratio(_with_error(replace(record, total=total), total, version.pool), self._all)

    def gave_up(self, window: Missing, now_ms: int) -> EstimateRecord:
        """What is said of a window whose losses did not all come back in time: how many lack, no total."""
        return _record(window.entry, window.model_version, missing=window.missing, now_ms=now_ms)

    def _version(self, key: _Key) -> _Version:
        """The pool of a version; an empty sample, which has none, goes to the newest of its design."""
        if key[1] is None:
            alike = [one for one in self._versions if one[0] == key[0]]
            key = alike[-1] if alike else key
        version = self._versions.setdefault(key, _Version(EstimatePool(key[0])))
        self._versions.move_to_end(key)
        if len(self._versions) > _POOLS:
            self._versions.popitem(last=False)
        return version

    def _compare(self, entry: LedgerEntry, drawn: Drawn) -> None:
        if entry.design != self._design:
            self._all, self._design = EstimatePool(entry.design), entry.design
        self._all.add(drawn)
        self.rule.update(*self._all.log_ratio())


_Key = tuple[str, str | None]  # design, model version


@dataclass
class _Version:
    """The windows under one model version, and how large losses were in the first one."""

    pool: EstimatePool
    scale: float = 0.0

    def scaled(self, drawn: Drawn, total: float) -> Drawn:
        """The losses relative to the scale of the version, so that versions can be compared."""
        mean = total / max(1, drawn.n)
        self.scale = self.scale or max(_median(drawn), _LEAST_SCALE * mean)
        return replace(drawn, losses=drawn.losses / (self.scale or 1.0))


def _median(drawn: Drawn) -> float:
    """Median loss of the window, as its sample says; a mean would follow the error of the total."""
    if not len(drawn):
        return 0.0
    order = np.argsort(drawn.losses)
    below = np.cumsum(1 / drawn.probabilities[order])
    return float(drawn.losses[order][np.searchsorted(below, below[-1] / 2)])


def _with_error(record: EstimateRecord, total: float, pool: EstimatePool) -> EstimateRecord:
    if record.valid == 0:
        return replace(record, standard_error=0.0, low=0.0, high=0.0)
    low, high = map(_known, pool.interval(total, record.valid, record.s))
    error = math.sqrt(pool.variance(record.valid, record.s))
    return replace(record, standard_error=_known(error), low=low, high=high)


def _with_ratio(record: EstimateRecord, pool: EstimatePool) -> EstimateRecord:
    ratio, error = pool.log_ratio()
    known = _known(math.exp(min(ratio, _LARGEST_LOG)))
    return replace(record, uniform_ratio=known, uniform_ratio_se=_known(error))


def _record(entry: LedgerEntry, version: str | None, *, missing: int, now_ms: int) -> EstimateRecord:
    """What the ledger says of the window, and no estimate."""
    return EstimateRecord(
        window=entry.window,
        model_version=version,
        valid=entry.valid,
        emitted=entry.emitted,
        s=entry.s,
        missing=missing,
        total=None,
        standard_error=None,
        low=None,
        high=None,
        uniform_ratio=None,
        uniform_ratio_se=None,
        anticipated_se=entry.anticipated_se,
        bound=entry.bound,
        estimated_ms=now_ms,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
