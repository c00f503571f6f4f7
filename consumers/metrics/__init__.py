"""Every metric of the service, by name; nothing else in the project names one.

Counters that say what the service did (consumed, emitted, dead-lettered ...) advance after the commit: they
count what a read_committed reader sees since this process started. Each process has a registry of its own.
"""

from __future__ import annotations

from consumers.metrics.clusterer import ClustererMetrics, EndpointMetrics
from consumers.metrics.feedback import FeedbackMetrics
from consumers.metrics.loop import STAGES, LoopMetrics, Outcome, Stage
from consumers.metrics.sampler import SamplerMetrics, WindowCounts

__all__ = [
    "STAGES",
    "ClustererMetrics",
    "EndpointMetrics",
    "FeedbackMetrics",
    "LoopMetrics",
    "Outcome",
    "SamplerMetrics",
    "Stage",
    "WindowCounts",
    "metric_names",
]


def metric_names() -> frozenset[str]:
    """Names of all series that the two roles can export, with the suffixes of counters and histograms."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    families = [
        family for metrics in (SamplerMetrics(), ClustererMetrics()) for family in metrics.registry.collect()
    ]
    return frozenset(family.name + end for family in families for end in suffixes.get(family.type, ("",)))
