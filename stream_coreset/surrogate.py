"""A learned surrogate of the model: labelled examples in, predictions of the losses of all others out.

Needs the extra `surrogate` (scikit-learn, skl2onnx, onnxruntime); importing this module does not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_coreset.arrays import Array, check_losses, check_weights, to_host
from stream_coreset.blend import Blend
from stream_coreset.kernel_ridge import KernelRidge, fit_kernel_ridge
from stream_coreset.onnx_model import OnnxModel
from stream_coreset.prediction import EQUAL_TRUST, Prediction, check_shares
from stream_coreset.trees import Trees, cross_validated, grow
from stream_coreset.trust import Trust, trust

__all__ = ["LabelledExamples", "LossModel", "Surrogate", "digest", "features"]

Float = NDArray[np.float64]

FEWEST = 20  # labelled examples below which nothing is learned
_FOR_KERNEL = range(200, 10_001)  # with fewer, its best width is luck; more take too much memory
_OF_KERNEL = (0.25, 0.5, 0.75, 1.0)  # shares of kernel ridge regression that are tried
_TINY = 1e-30


def features(X: Array, spreads: ArrayLike, distances: ArrayLike) -> NDArray[np.float32]:
    """What a surrogate is told of n examples: embedding, log spread of the cluster, log distance.

    Parameters
    ----------
    X : (n, d) array
        Embeddings, NumPy or CuPy.
    spreads : (n,) array_like
        Root mean square loss of each one's cluster; without the example itself where its loss is in it.
    distances : (n,) array_like
        To the assigned center, not squared.

    Returns
    -------
    (n, d + 2) float32
    """
    told = np.empty((len(X), X.shape[1] + 2), np.float32)
    told[:, :-2] = to_host(X)
    told[:, -2:] = np.log(np.maximum(np.column_stack([spreads, distances]).astype(np.float64), _TINY))
    return told


@dataclass(frozen=True, eq=False)
class LabelledExamples:
    """Examples whose losses are known.

    Attributes
    ----------
    features : (m, d + 2) float32
        See `features`.
    losses : (m,) float64
    weights : (m,) float64
        How many examples each stands for, decayed with its age: members of the cluster / probes among them,
        or 1/pi of an emitted one; 0 where it stands for none, such as the nearest to a center. They decide
        how far each score is trusted; the models learn from all alike.
    scores : (2, m) float64
        Center loss + L v and spread + L v, the spread without the example itself.

    Raises
    ------
    ValueError
        When shapes disagree or a value is not allowed.
    """

    features: NDArray[np.float32]
    losses: Float
    weights: Float
    scores: Float

    def __post_init__(self) -> None:
        m = len(self.features)
        if not np.isfinite(self.features).all():
            raise ValueError("features: a value is not finite")
        object.__setattr__(self, "losses", check_losses(self.losses, m, "losses"))
        object.__setattr__(self, "weights", check_weights(self.weights, m, "weights"))
        if np.shape(self.scores) != (2, m):
            raise ValueError(f"scores: shape {np.shape(self.scores)}, expected (2, {m})")

    def __len__(self) -> int:
        return len(self.losses)


class LossModel(Protocol):
    """Anything that predicts losses."""

    def predict(self, features: NDArray[np.float32], /) -> Float:
        """Mean and mean square of the loss, in the surrogate's unit: (n, inputs) -> (n, 2)."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Predicts E[l | x] and E[l^2 | x], and knows how far to trust itself.

    Attributes
    ----------
    model : LossModel
        A blend as learned here, or any ONNX model of the same signature.
    unit : float
        What a predicted loss of 1 means; the square of it for the mean square.
    shares : (5,) float64
        How the scores mix, see `Prediction`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)).astype(np.float32)
    >>> told = features(X, np.ones(300), np.ones(300))
    >>> losses = np.exp(X[:, 0])
    >>> known = LabelledExamples(told, losses, np.ones(300), np.ones((2, 300)))
    >>> surrogate = Surrogate.fit(known, seed=1)
    >>> received = Surrogate.from_bytes(surrogate.to_bytes())
    >>> bool(np.corrcoef(received.predict(told).means, losses)[0, 1] > 0.99)
    True
    """

    model: LossModel
    unit: float = 1.0
    shares: Float = field(default_factory=lambda: np.array(EQUAL_TRUST))

    @classmethod
    def fit(cls, examples: LabelledExamples, *, floor: float = 0.2, seed: int = 0) -> Surrogate | None:
        """Learn from labelled examples, and mix the scores by what cross-validation says of the predictions.

        What is learned are extra trees; in part or all of it kernel ridge regression, where that promises a
        variance smaller by two standard errors (judged a little kindly: each example by the kernel of all
        others, but by half as many trees of four fifths of them). Trees see edges, and are exact where most
        losses are next to nothing; a kernel sees what is smooth, in many dimensions at once.

        Parameters
        ----------
        examples : LabelledExamples
            All there are.
        floor : float
            The sampler's.
        seed : int
            Of the trees, the landmarks and the folds.

        Returns
        -------
        Surrogate or None
            None with fewer than 20 examples, or when all losses are 0.
        """
        unit = float(
            np.sqrt(np.mean(np.square(examples.losses / max(examples.losses.max(initial=0), _TINY))))
        )
        unit *= float(examples.losses.max(initial=0))
        if len(examples) < FEWEST or unit == 0:
            return None
        losses = examples.losses / unit
        targets = np.column_stack([losses, np.square(losses)])
        by_trees = cross_validated(examples.features, targets, seed=seed)
        share, trusted = 0.0, _trust(examples, losses, by_trees, floor)
        parts: list[Trees | KernelRidge] = []
        if len(examples) in _FOR_KERNEL and (
            ridge := fit_kernel_ridge(examples.features, targets, seed=seed)
        ):
            kernel, by_kernel = ridge
            share, trusted = _blended(examples, losses, by_trees, by_kernel, alone=trusted, floor=floor)
            parts += [kernel.scaled(share)] if share > 0 else []
        if share < 1:
            parts.append(grow(examples.features, targets, seed=seed).scaled(1 - share))
        return cls(Blend(tuple(parts), examples.features.shape[1]), unit, trusted.shares)

    def predict(self, told: NDArray[np.float32]) -> Prediction:
        """Predict the losses of examples.

        Parameters
        ----------
        told : (n, d + 2) float32
            See `features`.

        Raises
        ------
        ValueError
            The model expects other features, or fails.
        """
        found = np.nan_to_num(self.model.predict(told), nan=0.0, posinf=np.inf, neginf=0.0)
        means, squares = np.maximum(found, 0).T
        return Prediction(self.unit * means, self.unit * np.sqrt(squares), self.shares)

    def to_bytes(self) -> bytes:
        """The surrogate as an ONNX model, its unit and shares among the metadata.

        Raises
        ------
        ValueError
            The model came as ONNX: keep the bytes it came as.
        RuntimeError
            The extra `surrogate` is not installed.
        """
        if not isinstance(self.model, Blend):
            raise ValueError("surrogate: this one was read from bytes; publish those")
        return self.model.to_onnx({"unit": repr(self.unit), "shares": json.dumps(self.shares.tolist())})

    @classmethod
    def from_bytes(cls, data: bytes) -> Surrogate:
        """Read a surrogate from an ONNX model, checked before anything runs it.

        Any model with one float32 input (n, d + 2) and one float32 output (n, 2) will do: mean and mean
        square of the loss. Metadata are optional: `unit` (1) and `shares`.

        Raises
        ------
        ValueError
            See `OnnxModel`; or the metadata are none.
        RuntimeError
            The extra `surrogate` is not installed.
        """
        model = OnnxModel(data)
        try:
            unit = float(model.notes.get("unit", "1"))
            shares = check_shares(json.loads(model.notes.get("shares", json.dumps(EQUAL_TRUST))))
        except (TypeError, ValueError, RecursionError) as error:
            said = str(error)[:200]
            raise ValueError(f"surrogate: its metadata cannot be used ({said})") from None
        if not 0 < unit < np.inf:
            raise ValueError(f"surrogate: unit is {unit}; expected a finite number above 0")
        return cls(model, unit, shares)


def digest(data: bytes) -> str:
    """SHA-256 of a surrogate's bytes, as 64 hexadecimal digits: what the ledger names it by."""
    return hashlib.sha256(data).hexdigest()


def _blended(
    examples: LabelledExamples,
    losses: Float,
    by_trees: Float,
    by_kernel: Float,
    *,
    alone: Trust,
    floor: float,
) -> tuple[float, Trust]:
    """The share of the kernel that promises the least variance, if surely less than the trees alone."""
    chosen, best = 0.0, alone
    for share in _OF_KERNEL:
        found = _trust(examples, losses, (1 - share) * by_trees + share * by_kernel, floor)
        if found.variances.sum() < best.variances.sum() and found.surely_below(alone):
            chosen, best = share, found
    return chosen, best


def _trust(examples: LabelledExamples, losses: Float, said: Float, floor: float) -> Trust:
    """How to mix the scores, judged by what was said (m, 2) of examples whose losses were left out."""
    means, squares = np.maximum(said, 0).T
    scores = np.vstack([examples.scores, means, np.sqrt(squares), np.ones(len(losses))])
    return trust(scores, examples.weights, losses - means, floor)
