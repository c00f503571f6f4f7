"""How many examples are kept: what the settings say, and what the clusterer says is in force."""

from __future__ import annotations

from dataclasses import replace

from consumers.records.publication import Publication
from consumers.sections import DEFAULT_RATE, Sampling
from consumers.settings import Settings
from stream_coreset.limits import Limits
from stream_coreset.sensitivity import SensitivitySampler

__all__ = ["DEFAULT_RATE", "HourlyBudget", "in_force", "sensitivity_sampler"]

_HOUR = 3600.0
_MEMORY_SECONDS = 300.0  # for the speed of the stream, and for what was kept too much
_LONGEST_GAP = 60.0  # seconds; in a longer one the stream has stopped, which says nothing of its speed
_LEAST_RATE, _MOST_CHANGE = 1e-6, 4.0


class HourlyBudget:
    """Turns examples an hour into a rate, from what the samplers say they have seen.

    The rate is the budget over the stream's speed, corrected by what was kept too much or too little so far:
    hours come out as they should though samplers learn of a rate late. Time is passed in.

    Parameters
    ----------
    per_hour : float
        Expected number of examples kept in an hour, by all samplers.
    rate : float
        To begin with, while the speed of the stream is not known.

    Examples
    --------
    >>> budget = HourlyBudget(3600.0, rate=0.01)
    >>> for second in range(600):
    ...     budget.seen(50, rate=budget.rate, now=float(second))
    >>> round(budget.rate, 3)
    0.02
    """

    def __init__(self, per_hour: float, rate: float) -> None:
        self._per_second = per_hour / _HOUR
        self.rate = rate
        self._last: float | None = None
        self._seen = self._time = 0.0  # decayed examples, and seconds in which they came
        self._kept_too_much = 0.0

    def seen(self, n: int, rate: float, now: float) -> None:
        """Note that n examples were sampled at this rate; `now` in seconds."""
        last, self._last = self._last, now
        if last is None:
            return  # how long these took to come is not known
        passed = min(max(0.0, now - last), _LONGEST_GAP)
        decay = 2.0 ** (-passed / _MEMORY_SECONDS)
        self._seen = self._seen * decay + n
        self._time = self._time * decay + passed
        self._kept_too_much = self._kept_too_much * decay + n * rate - passed * self._per_second
        if self._seen > 0 and self._time > 0:
            self.rate = self._corrected(self._seen / self._time)

    def _corrected(self, speed: float) -> float:
        wanted = self._per_second - self._kept_too_much / _MEMORY_SECONDS
        slowest, fastest = self._per_second / _MOST_CHANGE, self._per_second * _MOST_CHANGE
        return min(1.0, max(_LEAST_RATE, min(max(wanted, slowest), fastest) / speed))


def sensitivity_sampler(settings: Settings) -> SensitivitySampler:
    """The sampler that the settings describe."""
    given = settings.sampling
    unset = given.rate is None and given.size is None and given.epsilon is None
    return SensitivitySampler(
        rate=DEFAULT_RATE if unset else given.rate,
        size=given.size,
        epsilon=given.epsilon,
        delta=given.delta,
        z=given.z,
        floor=given.floor,
        design=given.design,
        probes=given.probes,
        min_group_rate=given.min_group_rate,
        limits=None if given.epsilon is not None else _limits(given),
    )


def in_force(sampler: SensitivitySampler, publication: Publication, settings: Settings) -> SensitivitySampler:
    """The sampler with the floor in force, and the rate where that is the clusterer's to set."""
    if sampler.epsilon is not None:  # its size rests on the floor
        return sampler
    rate = publication.rate if settings.sampling.per_hour is not None else None
    return replace(sampler, floor=publication.eta, rate=sampler.rate if rate is None else rate)


def _limits(given: Sampling) -> Limits:
    return Limits(
        unmeasured=given.max_unmeasured_share,
        few=given.max_few_share,
        cluster=given.max_cluster_share,
        source=given.max_source_share,
    )
