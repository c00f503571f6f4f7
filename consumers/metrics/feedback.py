"""What the clusterer reports of losses that came back, and of what they say."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry

from consumers.metrics.loop import Registered

__all__ = ["FeedbackMetrics"]


class FeedbackMetrics(Registered):
    """What is read of the feedback topic and written to the estimates; part of the clusterer's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        # Losses that came back, and those of them not used, by reason (damaged, nan, negative, huge, unknown
        # window, never emitted, repeated ...); read again after a takeover, they count again.
        self.returned = self._counter("losses_returned", "Losses read from the feedback topic")
        self.refused = self._counter(
            "returned_losses_refused", "Returned losses not used, by reason", "reason"
        )

        # Reports whose loss is null: their labels have not arrived. Not losses.
        self.waiting = self._counter("losses_not_yet_known", "Reports of a loss that is not known yet")

        # Windows by what the estimates say of them, after the commit.
        self.estimated = self._counter("windows_estimated", "Windows whose total loss was estimated")
        self.given_up = self._counter("windows_given_up", "Windows whose losses did not come back in time")

        # Of the window estimated last, an example: mean loss, its standard error, the paper's bound on its
        # error; NaN until there is one.
        self.mean_loss = self._gauge("estimated_mean_loss", "Estimated mean loss of the last window")
        self.standard_error = self._gauge("estimated_mean_loss_standard_error", "Its standard error")
        self.bound = self._gauge("estimated_mean_loss_error_bound", "The paper's bound on its error")

        # Variance relative to uniform sampling of the same size, over up to 20 windows; above 1 it is worse.
        self.uniform_ratio = self._gauge("variance_to_uniform_ratio", "Our variance to that of uniform")

        # The floor eta in force: raised while uniform sampling is measured to be better.
        self.floor = self._gauge("floor_in_force", "Share of the probability that is spread evenly")
        for gauge in (self.mean_loss, self.standard_error, self.bound, self.uniform_ratio):
            gauge.set(math.nan)

    def came_back(self, known: bool) -> None:
        """Count a report whose loss is known, or not known yet."""
        (self.returned if known else self.waiting).inc()

    def refuse(self, reason: str, losses: int = 1) -> None:
        """Count losses that are not used."""
        self.refused.labels(reason).inc(losses)

    def estimate(self, mean: float, standard_error: float, bound: float, uniform_ratio: float) -> None:
        """Take note of the newest estimate, an example; NaN is not known."""
        self.mean_loss.set(mean)
        self.standard_error.set(standard_error)
        self.bound.set(bound)
        self.uniform_ratio.set(uniform_ratio)

    def committed(self, estimated: int, given_up: int) -> None:
        """Count windows of which something was written, after its commit."""
        self.estimated.inc(estimated)
        self.given_up.inc(given_up)
