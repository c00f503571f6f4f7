"""The samplers that are compared, each giving the exact variance of its estimated total loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.sets import DataSet
from stream_coreset import Coreset, select
from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance
from stream_coreset.kernels import nearest

__all__ = [
    "COLUMNS",
    "EQUAL",
    "OURS",
    "PAPER",
    "PAPERS_SCHEME",
    "PROBES",
    "RATES",
    "STRATIFIED",
    "WITHOUT",
    "Figure",
    "measure",
]

RATES = (0.02, 0.1)
PROBES = 9
OURS, WITHOUT, PAPER = "ours", "ours without surrogate", "the paper"
STRATIFIED, EQUAL, MORE = (
    "uniform stratified by cluster",
    "the paper at our queries",
    "uniform at s + queries",
)
COLUMNS = ("uniform", STRATIFIED, PAPER, EQUAL, WITHOUT, OURS, MORE)

PAPERS_SCHEME = {"probes": 1, "floor": 0.0, "design": "iid", "surrogate": None}


@dataclass(frozen=True)
class Figure:
    """Of one sampler on one clustering: losses asked, and variance / that of uniform, for each rate."""

    queries: int
    variances: tuple[float, ...]


def measure(data: DataSet, seed: int, columns: tuple[str, ...] = COLUMNS) -> dict[str, Figure]:
    """All samplers on one data set, with one clustering."""
    found: dict[str, Figure] = {"uniform": Figure(0, tuple(1.0 for _ in RATES))}
    without = _selected(data, seed, surrogate=None, probes=PROBES)
    found[WITHOUT] = _figure(data, without)
    queries = without.n_queries
    rest: dict[str, Callable[[], Figure]] = {
        OURS: lambda: _figure(data, _selected(data, seed, surrogate="trees", probes=PROBES)),
        PAPER: lambda: _figure(data, _selected(data, seed, **PAPERS_SCHEME), "iid"),
        EQUAL: lambda: _figure(data, _selected(data, seed, n_clusters=queries, **PAPERS_SCHEME), "iid"),
        STRATIFIED: lambda: _stratified(data, without, seed),
        MORE: lambda: _larger(data, queries),
    }
    found |= {name: rest[name]() for name in columns if name in rest}
    return {name: found[name] for name in columns}


def _selected(data: DataSet, seed: int, **how: object) -> Coreset:
    arguments = {"n_clusters": data.n_clusters, "rate": RATES[0], "seed": seed, **how}
    return select(data.X, lambda rows: data.losses[rows], **arguments)


def _figure(data: DataSet, chosen: Coreset, design: str = "pivotal") -> Figure:
    """Scores do not depend on the rate: one clustering serves all rates."""
    return Figure(chosen.n_queries, tuple(_ratios(data, _variances(data, chosen, design))))


def _variances(data: DataSet, chosen: Coreset, design: str) -> Iterator[float]:
    for rate in RATES:
        s = rate * len(data.X)
        order = None if design == "iid" else chosen.order(s)
        yield design_variance(data.losses, chosen.scores, s, design, order)


def _stratified(data: DataSet, clustered: Coreset, seed: int) -> Figure:
    """Equal probabilities; the same share of every cluster, rounded at random."""
    n = len(data.X)
    labels, _ = nearest(data.X, clustered.clusters.centers)
    order = np.lexsort((np.random.default_rng(seed).random(n), labels))
    variances = (design_variance(data.losses, np.full(n, 1 / n), rate * n, order=order) for rate in RATES)
    return Figure(0, tuple(_ratios(data, variances)))


def _larger(data: DataSet, queries: int) -> Figure:
    """Uniform, where every query is spent on one more example of the sample instead."""
    n = len(data.X)
    sizes = (min(rate * n + queries, n) for rate in RATES)
    return Figure(queries, tuple(_ratios(data, (uniform_variance(data.losses, size) for size in sizes))))


def _ratios(data: DataSet, variances: Iterator[float]) -> Iterator[float]:
    for rate, variance in zip(RATES, variances, strict=True):
        yield variance / uniform_variance(data.losses, rate * len(data.X))
