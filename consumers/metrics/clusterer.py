"""What a clusterer and its client of the model endpoint report."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from consumers.metrics.feedback import FeedbackMetrics
from consumers.metrics.loop import LoopMetrics, Registered

__all__ = ["ClustererMetrics", "EndpointMetrics"]


class EndpointMetrics(Registered):
    """What the client of the model endpoint reports; part of the clusterer's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        # Requests by outcome: ok, refused (the answer), the HTTP status, timeout, connect, open (breaker).
        self.requests = self._counter("endpoint_requests", "Requests to the model endpoint", "outcome")
        # Seconds from a request to its whole answer or its failure.
        self.seconds = self._histogram("endpoint_request_seconds", "Time of a request to the endpoint")
        # 1 while the circuit breaker holds requests back.
        self.circuit_open = self._gauge("endpoint_circuit_open", "1 while requests are held back")
        # Losses asked for, each one an inference of the model.
        self.queries = self._counter("loss_queries", "Losses asked for")
        # Losses not believed, by reason (shape, nan, infinite, negative ...); the old ones stay in use.
        self.refused = self._counter("losses_refused", "Losses not believed, by reason", "reason")
        self.requests.labels("ok")

    def request(self, outcome: str, seconds: float) -> None:
        """Count a request and the time it took."""
        self.requests.labels(outcome).inc()
        self.seconds.observe(seconds)

    def circuit(self, is_open: bool) -> None:
        """Say whether the circuit breaker is open."""
        self.circuit_open.set(is_open)

    def queried(self, losses: int) -> None:
        """Count losses asked for."""
        self.queries.inc(losses)

    def refuse(self, reason: str, losses: int = 1) -> None:
        """Count losses that were not believed."""
        self.refused.labels(reason).inc(losses)


class ClustererMetrics(LoopMetrics):
    """What a clusterer reports, its client of the model endpoint and returned losses included."""

    def __init__(self) -> None:
        super().__init__("clusterer")
        self.endpoint = EndpointMetrics(self.registry)
        self.feedback = FeedbackMetrics(self.registry)

        # 1 for the clusterer that owns the model, 0 for a standby.
        self.active = self._gauge("clusterer_active", "1 on the active clusterer, 0 on a standby")

        # Versions published, after the commit, and their bytes.
        self.publications = self._counter("clusters_published", "Versions of the clusters published")
        self.published_bytes = self._counter("clusters_published_bytes", "Bytes of published clusters")

        # Centers there are, and those whose loss is known.
        self.centers = self._gauge("centers", "Centers of the clusters")
        self.known = self._gauge("centers_with_loss", "Centers whose loss is known")

        # Age of the oldest loss in use; NaN without any.
        self.oldest_loss = self._gauge("oldest_loss_age_seconds", "Age of the oldest loss in use")
        self.oldest_loss.set(float("nan"))

        # Abrupt changes of the stream, by what showed them: places (of examples), losses.
        self.drifts = self._counter("drifts", "Abrupt changes of the stream", "signal")
        for signal in ("places", "losses"):
            self.drifts.labels(signal)

        # Labelled examples in use, and what is learned from them: seconds of a fit, bytes of the surrogate.
        self.labels = self._gauge("labelled_examples", "Examples with known losses in use")
        self.fit_seconds = self._histogram("surrogate_fit_seconds", "Time to learn the surrogate")
        self.surrogate_bytes = self._gauge("surrogate_bytes", "Size of the surrogate learned last")
        self.fit_failures = self._counter("surrogate_fit_failures", "Surrogates that could not be learned")

        # Weighted points and probes that arrived and were merged.
        self.points = self._counter("weighted_points_merged", "Weighted points that were merged")
        self.probes = self._counter("probes_received", "Examples received as probes")

    def published(self, version: int, nbytes: int, *, centers: int, known: int, oldest: float) -> None:
        """Count a publication, after its commit; `oldest` in seconds, NaN without any loss."""
        self.publications.inc()
        self.published_bytes.inc(nbytes)
        self.set_version(version)
        self.centers.set(centers)
        self.known.set(known)
        self.oldest_loss.set(oldest)

    def fitted(self, seconds: float, nbytes: int) -> None:
        """Note a surrogate that was learned."""
        self.fit_seconds.observe(seconds)
        self.surrogate_bytes.set(nbytes)

    def merged(self, points: int, probes: int) -> None:
        """Count weighted points and probes that arrived, after the commit of their offsets."""
        self.points.inc(points)
        self.probes.inc(probes)
