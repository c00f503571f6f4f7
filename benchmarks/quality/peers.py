"""What else a user would reach for: libraries that choose a weighted few, and schemes that are a formula.

None asks for a loss. The libraries and the k-center greedy choose without chance, so what is measured of them
is the squared error of their one choice, averaged over random halves of the set: on the same examples they
would make the same choice again, and be lucky or not again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.methods import RATES, Figure
from benchmarks.quality.sets import DataSet
from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance
from stream_coreset.kernels import nearest

__all__ = [
    "FORMULAS",
    "LIBRARIES",
    "halved",
    "k_center",
    "leverage",
    "lightweight",
    "low_rank_residual",
    "measure_peers",
]

Floats = NDArray[np.float64]
Int = NDArray[np.int64]
Points = NDArray[np.floating]
Choice = Callable[[Points, int], tuple[Int, Floats]]

_RANK = 5  # of the subspace whose residual is scored; at most half of the dimensions
_NEIGHBOURS = 64  # of each example, among which similarity is not zero
_KERNEL_ROWS = 1000  # from which the width of the kernel is taken; also computed at a time


def lightweight(X: Points) -> Floats:
    """Lightweight coresets: half uniform, half by the squared distance to the mean.

    Bachem, Lucic, Krause 2018, "Scalable k-means clustering via lightweight coresets", algorithm 1.
    """
    return _half_uniform(np.square(X - X.mean(axis=0, dtype=np.float64)).sum(axis=1))


def leverage(X: Points) -> Floats:
    """Leverage scores of a linear regression with an intercept; Drineas, Mahoney, Muthukrishnan 2006."""
    basis, singular, _ = np.linalg.svd(np.column_stack([np.ones(len(X)), X]), full_matrices=False)
    scores = np.square(basis[:, singular > 1e-10 * singular[0]]).sum(axis=1)
    return np.asarray(scores / scores.sum())


def low_rank_residual(X: Points) -> Floats:
    """Half uniform, half by the squared residual from the best subspace of rank 5.

    After the abstract of Cohen-Addad et al. 2026, "Active Learning with Low-Rank Structure for Data
    Selection", arXiv 2606.16045: no code is public, and the loss does not enter here.
    """
    _, _, axes = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    kept = axes[: min(_RANK, X.shape[1] // 2)]
    return _half_uniform(np.square(X - (X @ kept.T) @ kept).sum(axis=1))


def k_center(X: Points, s: int) -> tuple[Int, Floats]:
    """Farthest first, from the example nearest to the mean; Sener and Savarese 2018, algorithm 1.

    Each weighs as many examples as it is the nearest to.
    """
    squares = np.square(X).sum(axis=1)
    chosen = [int(np.argmin(np.square(X - X.mean(axis=0)).sum(axis=1)))]
    distances = np.full(len(X), np.inf)
    for _ in range(s - 1):
        last = chosen[-1]
        np.minimum(distances, squares - 2 * (X @ X[last]) + squares[last], out=distances)
        distances[last] = -np.inf
        chosen.append(int(np.argmax(distances)))
    return _standing_for_neighbours(X, np.array(chosen))


def facility_location(X: Points, s: int) -> tuple[Int, Floats]:
    """apricot's FacilityLocationSelection on a graph of nearest neighbours; weights as in `k_center`."""
    apricot = importlib.import_module("apricot")
    graph = importlib.import_module("sklearn.neighbors").kneighbors_graph(
        X, _NEIGHBOURS, mode="distance", include_self=True
    )
    graph.data = 1 / (1 + graph.data)
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    selector = apricot.FacilityLocationSelection(s, metric="precomputed", optimizer="lazy")
    return _standing_for_neighbours(X, np.asarray(selector.fit(graph).ranking, np.int64))


def herding(X: Points, s: int) -> tuple[Int, Floats]:
    """coreax's KernelHerding with a Gaussian kernel of median width; all weigh the same."""
    coreax, kernels, solvers = (
        importlib.import_module(name) for name in ("coreax", "coreax.kernels", "coreax.solvers")
    )
    width = float(kernels.median_heuristic(X[:: max(1, len(X) // _KERNEL_ROWS)]))
    kernel = kernels.SquaredExponentialKernel(length_scale=width)
    solver = solvers.KernelHerding(coreset_size=s, kernel=kernel, block_size=_KERNEL_ROWS)
    coreset, _ = solver.reduce(coreax.Data(X))
    return np.asarray(coreset.unweighted_indices, np.int64), np.full(s, len(X) / s)


FORMULAS: dict[str, Callable[[Points], Floats]] = {
    "lightweight coresets": lightweight,
    "leverage scores": leverage,
    "low-rank residual": low_rank_residual,
}
LIBRARIES: dict[str, Choice] = {
    "k-center": k_center,
    "apricot, facility location": facility_location,
    "coreax, kernel herding": herding,
}


def measure_peers(data: DataSet, libraries: bool = True) -> dict[str, Figure]:
    """All peers on one data set; those that are not installed are named and left out."""
    found = {
        name: Figure(0, tuple(_ratio(data, rate, _iid(data, p(data.X), rate)) for rate in RATES))
        for name, p in FORMULAS.items()
    }
    for name, choose in LIBRARIES.items() if libraries else ():
        try:
            errors = tuple(_squared_errors(data, choose))
        except ModuleNotFoundError as missing:
            print(f"{name}: left out, {missing.name} is not installed (extra `peers`)", flush=True)
            continue
        found[name] = Figure(0, errors)
    return found


def halved(data: DataSet, seed: int) -> DataSet:
    """A random half of a set."""
    n = len(data.X)
    rows = np.sort(np.random.default_rng([seed, 2]).permutation(n)[: n // 2])
    return replace(data, X=data.X[rows], losses=data.losses[rows])


def _iid(data: DataSet, p: Floats, rate: float) -> float:
    return design_variance(data.losses, p, rate * len(data.X), "iid")


def _squared_errors(data: DataSet, choose: Choice) -> Iterator[float]:
    for rate in RATES:
        rows, weights = choose(data.X, round(rate * len(data.X)))
        yield _ratio(data, rate, float((weights @ data.losses[rows] - data.losses.sum()) ** 2))


def _ratio(data: DataSet, rate: float, variance: float) -> float:
    return variance / uniform_variance(data.losses, rate * len(data.X))


def _half_uniform(scores: Floats) -> Floats:
    return np.asarray(0.5 / len(scores) + 0.5 * scores / scores.sum())


def _standing_for_neighbours(X: Points, rows: Int) -> tuple[Int, Floats]:
    labels, _ = nearest(X, X[rows])
    return rows, np.bincount(labels, minlength=len(rows)).astype(np.float64)
