"""What a sampler reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from consumers.metrics.loop import LoopMetrics
from stream_coreset.limits import Limits, Shares

__all__ = ["SamplerMetrics", "WindowCounts"]

_DRAWS_A_GROUP = 10  # windows are merged until they expect this many draws, before their weights are judged


@dataclass(frozen=True)
class WindowCounts:
    """What one committed window adds to the counters; `dead` counts by reason.

    `weight` is the sum of the weights of its draw, before those of a chained input are multiplied in: its
    expectation is `valid`.
    """

    valid: int
    emitted: int
    weight: float
    weight_squared: float
    expected_size: float
    cost: float
    closed_by: str
    dead: Mapping[str, int] = field(default_factory=dict)
    largest: Shares = field(default_factory=Shares)


class SamplerMetrics(LoopMetrics):
    """What a sampler reports."""

    def __init__(self) -> None:
        super().__init__("sampler")

        # Usable examples of committed windows (the dead-lettered are not among them).
        self.consumed = self._counter("examples_consumed", "Usable examples of committed windows")

        # Examples written to the coreset (iid: a duplicate counts each time).
        self.emitted = self._counter("examples_emitted", "Examples written to the coreset")

        # Sum of their weights. Over examples_consumed it is 1 but for chance: the live check of unbiasedness.
        self.weight = self._counter("emitted_weight", "Sum of the weights of the emitted examples")

        # Sum of their squared weights: emitted_weight^2 over it is the effective sample size.
        self.weight_squared = self._counter("emitted_weight_squared", "Sum of the squared weights")

        # Sum of (weight - examples)^2 over groups of windows with at least ten expected draws: that chance.
        # (emitted_weight - examples_consumed) / sqrt(this) is a standard normal z.
        self.error_squared = self._counter("weight_error_squared", "Squared errors of the windows' weights")

        # Examples and messages that could not be used, by reason (the codec's name of the error).
        self.dead = self._counter("dead_letters", "Examples that could not be used, by reason", "reason")

        # Windows by what closed them: size, bytes or age.
        self.windows = self._counter("windows", "Windows by what closed them", "reason")

        # Sum of squared distances to the centers; over examples_consumed it is the cost per example.
        self.cost = self._counter("clustering_cost", "Sum of squared distances to the centers")

        # Largest shares of the probability that the last window would have without limits, and the limits:
        # of 5 % of the examples (few), of a cluster, of a source; of the latter where the limit can act.
        self.share = self._gauge("largest_share", "Largest share wanted of the probability", "of")
        self.limit = self._gauge("share_limit", "Limit to the share of the probability", "of")
        for of in asdict(Shares()):
            self.share.labels(of)

        # Part of the examples of the last window whose losses the surrogate predicted: 1 but where that takes
        # more than learning.time_share of the window's other time; what it costs is the stage `predict`.
        self.predicted_part = self._gauge("predicted_part", "Part of a window that the surrogate predicted")

        # Statistics sent to the clusterer, and the examples sent along as probes.
        self.statistics_bytes = self._counter("statistics_bytes", "Bytes of statistics sent")
        self.probes = self._counter("probes_sent", "Examples sent to the clusterer as probes")
        self._group = (0.0, 0.0)

    def set_limits(self, limits: Limits | None) -> None:
        """Say what the limits are; without any they are 1."""
        for of in asdict(Shares()):
            self.limit.labels(of).set(1.0 if limits is None else getattr(limits, of))

    def window_committed(self, window: WindowCounts) -> None:
        """Count a window, from the ``on_commit`` of its unit and nowhere else."""
        with self.lock:
            self.consumed.inc(window.valid)
            self.emitted.inc(window.emitted)
            self.weight.inc(window.weight)
            self.weight_squared.inc(window.weight_squared)
            self.cost.inc(window.cost)
            self.windows.labels(window.closed_by).inc()
            for reason, count in window.dead.items():
                self.dead.labels(reason).inc(count)
            for of, share in asdict(window.largest).items():
                self.share.labels(of).set(share)
            self._judge(window)

    def statistics_committed(self, nbytes: int, probes: int = 0) -> None:
        """Count a flush of statistics and the probes in it."""
        self.statistics_bytes.inc(nbytes)
        self.probes.inc(probes)

    def _judge(self, window: WindowCounts) -> None:
        draws, error = self._group
        draws, error = draws + window.expected_size, error + window.weight - window.valid
        if draws >= _DRAWS_A_GROUP:
            self.error_squared.inc(error * error)
            draws, error = 0.0, 0.0
        self._group = (draws, error)
