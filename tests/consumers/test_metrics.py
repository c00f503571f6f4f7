from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from consumers.metrics import ClustererMetrics, LoopMetrics, SamplerMetrics, WindowCounts, metric_names
from stream_coreset.limits import Limits, Shares


def value(metrics: LoopMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"stream_coreset_{name}", labels)


def window(valid: int = 100, weight: float = 100.0, expected_size: float = 10.0) -> WindowCounts:
    return WindowCounts(
        valid=valid, emitted=10, weight=weight, weight_squared=1000.0, expected_size=expected_size,
        cost=50.0, closed_by="size", dead={"dimension": 2},
    )  # fmt: skip


def test_a_committed_window_advances_the_counters() -> None:
    metrics = SamplerMetrics()
    metrics.window_committed(window(weight=103.0))
    metrics.window_committed(window(weight=99.0))
    assert value(metrics, "examples_consumed_total") == 200
    assert value(metrics, "examples_emitted_total") == 20
    assert value(metrics, "emitted_weight_total") == 202
    assert value(metrics, "emitted_weight_squared_total") == 2000
    assert value(metrics, "clustering_cost_total") == 100
    assert value(metrics, "weight_error_squared_total") == 9 + 1
    assert value(metrics, "dead_letters_total", reason="dimension") == 4
    assert value(metrics, "windows_total", reason="size") == 2


def test_the_largest_shares_of_the_last_window_beside_their_limits() -> None:
    metrics = SamplerMetrics()
    metrics.set_limits(Limits(few=0.3, cluster=0.4, source=0.6))
    metrics.window_committed(replace(window(), largest=Shares(few=0.9, cluster=0.2)))
    metrics.window_committed(replace(window(), largest=Shares(few=0.7, cluster=0.5, source=0.1)))
    for of, share, limit in (("few", 0.7, 0.3), ("cluster", 0.5, 0.4), ("source", 0.1, 0.6)):
        assert value(metrics, "largest_share", of=of) == share
        assert value(metrics, "share_limit", of=of) == limit
    metrics.set_limits(None)
    assert value(metrics, "share_limit", of="few") == 1.0


def test_small_windows_are_judged_together() -> None:
    metrics = SamplerMetrics()
    for weight in (103.0, 99.0, 98.0):
        metrics.window_committed(window(weight=weight, expected_size=4.0))
    assert value(metrics, "weight_error_squared_total") == 0
    metrics.window_committed(window(weight=95.0, expected_size=1.0))  # 13 draws were enough: a new group
    assert value(metrics, "weight_error_squared_total") == 0


def test_the_weights_are_a_check_of_unbiasedness() -> None:
    """z of an honest sampler is standard normal; one with 5 % too much weight is not. False alarm: 6e-5."""
    rng = np.random.default_rng(5)
    honest, biased = SamplerMetrics(), SamplerMetrics()
    for _ in range(400):
        weight = float(rng.poisson(100)) * 10
        honest.window_committed(window(valid=1000, weight=weight, expected_size=100))
        biased.window_committed(window(valid=1000, weight=1.05 * weight, expected_size=100))
    assert abs(z(honest)) < 4
    assert z(biased) > 4


def z(metrics: SamplerMetrics) -> float:
    weight, examples = value(metrics, "emitted_weight_total"), value(metrics, "examples_consumed_total")
    squares = value(metrics, "weight_error_squared_total")
    assert weight is not None
    assert examples is not None
    assert squares is not None
    return (weight - examples) / math.sqrt(squares)


def test_stages_are_timed_also_when_they_fail() -> None:
    metrics = SamplerMetrics()
    with pytest.raises(RuntimeError), metrics.stage("draw"):
        raise RuntimeError
    assert value(metrics, "stage_seconds_count", role="sampler", stage="draw") == 1


def test_lag_forgets_partitions_that_went_away() -> None:
    metrics = ClustererMetrics()
    metrics.set_lag({("a", 0): 5, ("a", 1): 6})
    metrics.set_lag({("a", 1): 7})
    assert value(metrics, "lag_messages", role="clusterer", topic="a", partition="0") is None
    assert value(metrics, "lag_messages", role="clusterer", topic="a", partition="1") == 7


def test_what_the_clusterer_and_its_endpoint_count() -> None:
    metrics = ClustererMetrics()
    assert math.isnan(value(metrics, "oldest_loss_age_seconds") or 0)
    metrics.published(3, 1000, centers=8, known=5, oldest=12.0)
    metrics.merged(64, 9)
    metrics.endpoint.request("ok", 0.2)
    metrics.endpoint.queried(9)
    metrics.endpoint.refuse("nan", 2)
    metrics.endpoint.circuit(True)
    assert value(metrics, "clusters_version", role="clusterer") == 3
    assert value(metrics, "clusters_published_bytes_total") == 1000
    assert value(metrics, "centers") == 8
    assert value(metrics, "centers_with_loss") == 5
    assert value(metrics, "oldest_loss_age_seconds") == 12
    assert value(metrics, "weighted_points_merged_total") == 64
    assert value(metrics, "probes_received_total") == 9
    assert value(metrics, "endpoint_requests_total", outcome="ok") == 1
    assert value(metrics, "endpoint_request_seconds_sum") == 0.2
    assert value(metrics, "loss_queries_total") == 9
    assert value(metrics, "losses_refused_total", reason="nan") == 2
    assert value(metrics, "endpoint_circuit_open") == 1


def test_what_every_loop_counts() -> None:
    metrics = SamplerMetrics()
    metrics.transaction("aborted")
    metrics.set_load(3, 4096)
    metrics.set_version(7)
    metrics.statistics_committed(2048, 5)
    assert value(metrics, "transactions_total", role="sampler", outcome="aborted") == 1
    assert value(metrics, "transactions_total", role="sampler", outcome="committed") == 0
    assert value(metrics, "partitions_assigned", role="sampler") == 3
    assert value(metrics, "pending_bytes", role="sampler") == 4096
    assert value(metrics, "clusters_version", role="sampler") == 7
    assert value(metrics, "statistics_bytes_total") == 2048
    assert value(metrics, "probes_sent_total") == 5


def test_names_are_ours() -> None:
    names = metric_names()
    assert {"stream_coreset_emitted_weight_total", "stream_coreset_stage_seconds_bucket"} <= names
    assert all(name.startswith("stream_coreset_") for name in names)
