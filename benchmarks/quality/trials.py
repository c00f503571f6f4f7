"""Ideas for the surrogate that are tried before they are built: `python -m benchmarks.quality.trials`.

Kernel ridge regression beside the trees. Its width and strength are those with the least leave-one-out error
on the probes; as much of it is mixed in as makes the variance least that cross-validation promises. That is
what counts: where most losses are next to nothing, the trees are exact and a smooth function is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.methods import PROBES, RATES
from benchmarks.quality.sets import SEVEN, DataSet
from benchmarks.report import arguments, publish
from stream_coreset import SensitivitySampler, selection
from stream_coreset.clusters import Clusters
from stream_coreset.design_variance import design_variance
from stream_coreset.estimates import uniform_variance
from stream_coreset.kmeans import Assignment
from stream_coreset.learning import labelled_probes
from stream_coreset.losses import LossBook
from stream_coreset.prediction import Prediction
from stream_coreset.scores import draw_order, known_spreads
from stream_coreset.surrogate import LabelledExamples, _shares, features
from stream_coreset.trees import cross_validated, grow

Floats = NDArray[np.float64]

FLOOR = 0.2
WIDTHS, STRENGTHS = (0.3, 1.0, 3.0, 10.0), 10.0 ** np.arange(-4, 1.01, 0.5)
LANDMARKS = 500
OF_THE_CLUSTER = 0.3  # weight of log spread and log distance beside the embedding
MIXTURES = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the kernel


@dataclass(frozen=True, eq=False)
class Asked:
    """A data set after its probes were asked."""

    data: DataSet
    X: Any
    assignment: Assignment
    clusters: Clusters
    rows: NDArray[np.int64]
    losses: Floats
    examples: LabelledExamples


def asked(data: DataSet, seed: int) -> Asked:
    """What `select` knows before it learns."""
    X = selection.check_points(data.X)
    kmeans, assignment = selection._clustered(X, data.n_clusters, seed, "cpu")
    probes = selection._probes_of_largest(assignment, kmeans.ids_, PROBES, None, seed)
    rows = probes.queries()
    losses, book = data.losses[rows], LossBook(PROBES)
    for answer in probes.answers(losses):
        book.record(answer.label, 0, answer.nearest_loss, answer.member_losses, model_version="", now=0.0)
    clusters = selection._described(kmeans, book, 2.0, None)
    examples = labelled_probes(X, assignment, clusters, probes, losses, z=2.0)
    return Asked(data, X, assignment, clusters, rows, losses, examples)


class Kernel:
    """Ridge regression with a Gaussian kernel on at most 500 landmarks.

    `left_out` is what it says of each example that it learns from when that is left out.
    """

    def __init__(self, told: NDArray[np.float32], targets: Floats, seed: int) -> None:
        d = told.shape[1] - 2
        X, more = told[:, :d].astype(np.float64), told[:, d:].astype(np.float64)
        self._shift = np.concatenate([X.mean(axis=0), more.mean(axis=0)])
        self._scale = np.concatenate(
            [np.full(d, 1 / np.sqrt(X.var(axis=0).sum())), OF_THE_CLUSTER / (more.std(axis=0) + 1e-9)]
        )
        Z = self._placed(told)
        self._landmarks = Z[np.random.default_rng(seed).permutation(len(Z))[:LANDMARKS]]
        squares = _squares(Z, self._landmarks)
        self._median = np.median(squares[squares > 0])
        self._offset = targets.mean(axis=0)
        best = min(
            (self._fitted(squares, targets - self._offset, width) for width in WIDTHS), key=lambda b: b[0]
        )
        _, self._width, self._coefficients, left_out = best
        self.left_out = left_out + self._offset

    def predict(self, told: NDArray[np.float32]) -> Floats:
        parts = np.array_split(self._placed(told), -(-len(told) // 2_000))
        found = [self._kernel(_squares(part, self._landmarks), self._width) for part in parts]
        return np.asarray(np.vstack([part @ self._coefficients for part in found]) + self._offset)

    def _placed(self, told: NDArray[np.float32]) -> Floats:
        return np.asarray((told - self._shift) * self._scale)

    def _kernel(self, squares: Floats, width: float) -> Floats:
        return np.asarray(np.exp(-width * squares / self._median))

    def _fitted(self, squares: Floats, targets: Floats, width: float) -> tuple[float, float, Floats, Floats]:
        """Leave-one-out error of the first target, width, coefficients, and the predictions left out."""
        among = self._kernel(_squares(self._landmarks, self._landmarks), width)
        values, vectors = np.linalg.eigh(among + 1e-6 * np.eye(len(among)))
        root = vectors / np.sqrt(np.maximum(values, 1e-6))
        U, s, V = np.linalg.svd(self._kernel(squares, width) @ root, full_matrices=False)
        projected, found = U.T @ targets, []
        for strength in STRENGTHS:
            shrink = s**2 / (s**2 + strength)
            hat = np.minimum((U**2) @ shrink, 0.999)[:, None]
            left_out = (U @ (shrink[:, None] * projected) - hat * targets) / (1 - hat)
            error = float(np.mean((targets[:, 0] - left_out[:, 0]) ** 2))
            found.append((error, width, root @ (V.T @ ((shrink / s)[:, None] * projected)), left_out))
        return min(found, key=lambda one: one[0])


def _squares(A: Floats, B: Floats) -> Floats:
    return np.maximum((A**2).sum(axis=1)[:, None] - 2 * A @ B.T + (B**2).sum(axis=1)[None], 0.0)


def compare(data: DataSet, seed: int) -> dict[str, Any]:
    """RMSE / that of uniform at both rates: with the trees alone, and with the best mixture."""
    known = asked(data, seed)
    unit = float(np.sqrt(np.mean(known.losses**2)))
    losses = known.losses / unit
    targets = np.column_stack([losses, losses**2])
    told = features(
        known.X, known_spreads(known.clusters, 2.0)[known.assignment.labels], known.assignment.distances
    )
    kernel = Kernel(known.examples.features, targets, seed)
    out = cross_validated(known.examples.features, targets, seed=seed), kernel.left_out
    everywhere = grow(known.examples.features, targets, seed=seed).predict(told), kernel.predict(told)
    mixed = {share: (_mixed(out, share), _mixed(everywhere, share)) for share in MIXTURES}
    promised = {share: _promised(known.examples, losses, of) for share, (of, _) in mixed.items()}
    share = min(promised, key=promised.__getitem__)
    return {
        "trees": _ratios(known, losses, unit, *mixed[0.0]),
        "mixture": _ratios(known, losses, unit, *mixed[share]),
        "share": share,
        "promised": promised[share] / promised[0.0],
    }


def _mixed(pair: tuple[Floats, Floats], share: float) -> Floats:
    trees, kernel = pair
    return np.maximum((1 - share) * trees + share * kernel, 0.0)


def _promised(examples: LabelledExamples, losses: Floats, out: Floats) -> float:
    """Variance of the estimated total that predictions of examples left out promise."""
    means, squares = out.T
    scores = np.vstack([examples.scores, means, np.sqrt(squares), np.ones(len(losses))])
    average = (scores * examples.weights).sum(axis=1, keepdims=True) / examples.weights.sum()
    scores = scores / np.where(average > 0, average, 1.0)
    p = (1 - FLOOR) * (_shares(examples, losses, out, FLOOR) @ scores) + FLOOR
    return float((examples.weights * (losses - means) ** 2 / p).sum())


def _ratios(known: Asked, losses: Floats, unit: float, out: Floats, everywhere: Floats) -> list[float]:
    shares = _shares(known.examples, losses, out, FLOOR)
    means, squares = everywhere.T
    predicted = Prediction(unit * means, unit * np.sqrt(squares), shares)
    predicted = predicted.with_known(known.rows, known.losses)
    p = SensitivitySampler(rate=RATES[0]).probabilities(known.assignment, known.clusters, None, predicted)
    order = draw_order(known.assignment, known.clusters, z=2.0, promises=predicted.means / p)
    sizes = [rate * len(known.X) for rate in RATES]
    return [
        float(
            np.sqrt(
                design_variance(known.data.losses, p, s, order=order) / uniform_variance(known.data.losses, s)
            )
        )
        for s in sizes
    ]


def main() -> None:
    options = arguments((__doc__ or "").splitlines()[0])
    options.add_argument("--clusterings", type=int, default=6)
    options.add_argument("--sets", nargs="*", default=list(SEVEN), choices=list(SEVEN), metavar="SET")
    given = options.parse_args()
    result: dict[str, list[dict[str, Any]]] = {}
    for name in given.sets:
        rows = result[name] = [
            compare(SEVEN[name](), seed) for seed in range(2 if given.quick else given.clusterings)
        ]
        means = {
            way: np.sqrt(np.mean(np.square([row[way] for row in rows]), axis=0))
            for way in ("trees", "mixture")
        }
        shares = " ".join(f"{row['share']:g}" for row in rows)
        shown = "   ".join(f"{way} {a:.3f} / {b:.3f}" for way, (a, b) in means.items())
        print(f"{name:24}{shown}   shares {shares}", flush=True)
    publish({"trials": result}, [], given.json)


if __name__ == "__main__":
    main()
