"""Kernel ridge regression that predicts the mean and the mean square of a loss, and its way into ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_coreset.onnx_export import OnnxPart, onnx_helper

__all__ = ["KernelRidge", "fit_kernel_ridge"]

Float = NDArray[np.float64]
Features = NDArray[np.float32]

_LANDMARKS = 500
_LARGEST = 2 << 20  # bytes of landmarks
_OF_THE_CLUSTER = 0.3  # weight of log spread and log distance beside the embedding
_WIDTHS = np.array([0.3, 1.0, 3.0, 10.0])  # of the kernel: factors of 1 / median squared distance
_STRENGTHS = 10.0 ** np.arange(-3, 1.01, 0.5)  # a weaker one asks for more digits than float32 has
_JITTER = 1e-5
_FOLDS = 5
_ROUNDING = 1e-10
_ORDINARY = 0.9  # of the rows: the nearest to their medians, so that a few far ones do not set the scale
_RESOLUTION = 1e-6  # of float32: columns that vary less say nothing
_SMALLEST = 1e-30  # whose inverse float32 can hold
_EQUAL = 1e-9  # squared distance of rows that are the same but for rounding
_EXACT = 0.01  # of the deviation of what is predicted
_ROWS = 2_048  # of one pass


@dataclass(frozen=True, eq=False)
class KernelRidge:
    """A fitted regression with a Gaussian kernel and two targets.

    Attributes
    ----------
    shift, scale : (inputs,) float32
        Features x are placed at (x - shift) scale.
    landmarks : (r, inputs) float32
        Placed already.
    coefficients : (r, 2) float32
        Of exp(-squared distance to each landmark).
    offset : (2,) float32
    """

    shift: Features
    scale: Features
    landmarks: Features
    coefficients: Features
    offset: Features

    def predict(self, features: Features) -> Float:
        """Mean and mean square for the rows (n, inputs): (n, 2)."""
        parts = np.array_split(features, max(1, -(-len(features) // _ROWS)))
        with np.errstate(over="ignore", invalid="ignore"):  # a distance beyond float32 is an infinite one
            kernels = (np.exp(-_squares((part - self.shift) * self.scale, self.landmarks)) for part in parts)
            found = np.vstack([kernel @ self.coefficients for kernel in kernels]) + self.offset
        return np.asarray(found, np.float64)

    def scaled(self, factor: float) -> KernelRidge:
        """The same, with predictions multiplied by a factor."""
        of = np.float32(factor)
        return replace(self, coefficients=of * self.coefficients, offset=of * self.offset)

    def onnx_part(self, output: str) -> OnnxPart:
        """Its nodes from "features" (n, inputs) to `output` (n, 2), and the constants they need."""
        make = onnx_helper().make_node
        squares = np.square(self.landmarks).sum(axis=1)
        constants = {
            "shift": self.shift,
            "scale": self.scale,
            "minus_two_landmarks": np.ascontiguousarray(-2 * self.landmarks.T),
            "landmark_squares": squares,
            "ones": np.ones((len(self.scale), 1), np.float32),
            "zero": np.zeros(1, np.float32),
            "coefficients": self.coefficients,
            "offset": self.offset,
        }
        nodes = [
            make("Sub", ["features", "shift"], ["shifted"]),
            make("Mul", ["shifted", "scale"], ["placed"]),
            make("Mul", ["placed", "placed"], ["placed_squared"]),
            make("MatMul", ["placed_squared", "ones"], ["squares"]),
            make("MatMul", ["placed", "minus_two_landmarks"], ["products"]),
            make("Add", ["products", "landmark_squares"], ["products_and_squares"]),
            make("Add", ["products_and_squares", "squares"], ["distances"]),
            make("Max", ["distances", "zero"], ["squared_distances"]),
            make("Neg", ["squared_distances"], ["exponents"]),
            make("Exp", ["exponents"], ["kernel"]),
            make("MatMul", ["kernel", "coefficients"], ["weighted"]),
            make("Add", ["weighted", "offset"], [output]),
        ]
        return OnnxPart(nodes, constants)


def fit_kernel_ridge(features: Features, targets: Float, *, seed: int) -> tuple[KernelRidge, Float] | None:
    """Fit with the width and the strength that have the least leave-one-out error of the mean.

    Parameters
    ----------
    features : (m, inputs) float32
        Embedding, log spread of the cluster and log distance: see `stream_coreset.surrogate.features`.
    targets : (m, 2) float64
        Loss and its square.
    seed : int
        Of the choice of landmarks among the examples: 500, or fewer where these would take more than 2 MB.

    Returns
    -------
    (KernelRidge, (m, 2) float64) or None
        With what it says of each example when that one is left out, by a width and a strength that were
        chosen without it; None where all features are equal, or float32 cannot tell them apart.

    References
    ----------
    Rasmussen, Williams 2006, Gaussian Processes for Machine Learning, section 8.3.1 (subset of regressors).
    """
    shift, scale = _placing(features.astype(np.float64))
    placed = (features - shift) * scale
    most = min(_LANDMARKS, max(1, _LARGEST // (4 * features.shape[1])))
    landmarks = placed[np.random.default_rng(seed).permutation(len(placed))[:most]]
    squares = _squares(placed, landmarks)
    apart = squares[squares > _EQUAL]
    if not len(apart):
        return None
    offset = targets.mean(axis=0)
    found = [
        fitted
        for width in _WIDTHS / np.median(apart)
        for fitted in _fitted(landmarks, squares, targets - offset, width)
    ]
    best = _best(found, targets - offset)
    reach = np.sqrt(best.width)
    parts = (shift, scale * reach, landmarks * reach, best.coefficients, offset)
    model = KernelRidge(*(part.astype(np.float32) for part in parts))
    exact = np.exp(-best.width * squares) @ best.coefficients + offset
    if not (np.abs(model.predict(features) - exact).std(axis=0) <= _EXACT * exact.std(axis=0)).all():
        return None
    return model, _said_by_those_chosen_without(found, targets - offset, seed) + offset


@dataclass(frozen=True, eq=False)
class _Fitted:
    width: float
    coefficients: Float
    left_out: Float


def _best(found: Iterable[_Fitted], targets: Float, rows: Any = slice(None)) -> _Fitted:
    """The one that foretells the mean of these rows best."""
    return min(found, key=lambda one: float(np.square(targets[rows, 0] - one.left_out[rows, 0]).sum()))


def _said_by_those_chosen_without(found: Sequence[_Fitted], targets: Float, seed: int) -> Float:
    """Of each example, what is said without it by the fit that is best on other folds than its own.

    The best of many on the same examples would look better than it is: one large loss may have chosen it.
    """
    folds = np.random.default_rng(seed).permutation(len(targets)) % _FOLDS
    said = np.zeros_like(targets)
    for fold in range(_FOLDS):
        out = folds == fold
        said[out] = _best(found, targets, ~out).left_out[out]
    return said


def _placing(told: Float) -> tuple[Float, Float]:
    """Shift and scale: embeddings of total variance 1, what is told of the cluster beside them.

    A few far rows, hostile or not, must not set them: all others would be at the same place then.
    """
    d = told.shape[1] - 2
    away = np.square(told[:, :d] - np.median(told[:, :d], axis=0)).sum(axis=1)
    ordinary = told[away <= np.quantile(away, _ORDINARY)]
    deviations, largest = ordinary.std(axis=0), np.abs(ordinary).max(axis=0)
    lengths = np.append(np.full(d, np.linalg.norm(deviations[:d])), deviations[d:] / _OF_THE_CLUSTER)
    least = _RESOLUTION * np.append(np.full(d, largest[:d].max(initial=0)), largest[d:])
    resolved = lengths > np.maximum(least, _SMALLEST)
    return ordinary.mean(axis=0), np.where(resolved, 1 / np.where(resolved, lengths, 1), 0.0)


def _fitted(landmarks: Float, squares: Float, targets: Float, width: float) -> Iterator[_Fitted]:
    """Fits of all strengths, for one width.

    In the space that the landmarks span the kernel is a linear map: ridge regression along its axes gives all
    strengths, and the hat matrix each example left out, without fitting again.
    """
    values, vectors = np.linalg.eigh(np.exp(-width * _squares(landmarks, landmarks)))
    root = vectors / np.sqrt(np.maximum(values, _JITTER))
    mapped = np.exp(-width * squares) @ root
    moments, axes = np.linalg.eigh(mapped.T @ mapped)
    moments, along = np.maximum(moments, 0), mapped @ axes
    answers, leverages = along.T @ targets, np.square(along)
    for strength in _STRENGTHS:
        shrunk = answers / (moments + strength)[:, None]
        unmoved = np.maximum(1 - leverages @ (1 / (moments + strength)), _ROUNDING)[:, None]
        yield _Fitted(width, root @ (axes @ shrunk), targets - (targets - along @ shrunk) / unmoved)


def _squares(A: Any, B: Any) -> Any:
    """Squared distances (n, r) between rows."""
    return np.maximum(np.square(A).sum(axis=1)[:, None] - 2 * (A @ B.T) + np.square(B).sum(axis=1), 0)
