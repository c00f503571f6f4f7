"""Extra trees that predict the mean and the mean square of a loss, and their way into ONNX."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_coreset.onnx_export import OPSETS, OnnxPart

__all__ = ["Trees", "cross_validated", "grow"]

Float = NDArray[np.float64]
Features = NDArray[np.float32]

N_TREES = 45
FOLDS = 5
_EQUAL = 1e-6  # of the largest: targets that differ by less are one
_BYTES_PER_NODE = 42  # as ONNX; 38 were measured
_LARGEST = 6 << 20  # bytes as ONNX; the rest of a model of 8 MB is for what stands beside the trees


@dataclass(frozen=True, eq=False)
class Trees:
    """A fitted forest with two targets.

    Attributes
    ----------
    forest : sklearn.ensemble.ExtraTreesRegressor
    scales : (2,) float64
        What its two outputs are multiplied with.
    """

    forest: Any
    scales: Float

    def predict(self, features: Features) -> Float:
        """Mean and mean square for the rows (n, inputs): (n, 2)."""
        found: Float = self.forest.predict(features) * self.scales
        return found

    def scaled(self, factor: float) -> Trees:
        """The same, with predictions multiplied by a factor."""
        return replace(self, scales=factor * self.scales)

    def onnx_part(self, output: str) -> OnnxPart:
        """The node from "features" (n, inputs) to `output` (n, 2).

        Raises
        ------
        RuntimeError
            The extra `surrogate` is not installed.
        """
        types = importlib.import_module("skl2onnx.common.data_types")
        shape = [None, self.forest.n_features_in_]
        model = importlib.import_module("skl2onnx").convert_sklearn(
            self.forest, initial_types=[("features", types.FloatTensorType(shape))], target_opset=OPSETS
        )
        (node,) = model.graph.node
        _tidy(node, self.scales)
        node.output[0] = output
        return OnnxPart([node], {})


def grow(features: Features, targets: Float, *, seed: int, n_trees: int = N_TREES) -> Trees:
    """Fit extra trees: half of the features a split, leaves as small as 6 MB of them allow.

    Parameters
    ----------
    features : (m, inputs) float32
    targets : (m, 2) float64
        Loss and its square; each is scaled, so that both count equally in a split.
    seed : int
        Of the trees.
    n_trees : int
        Size of the forest.
    """
    scales = np.maximum(targets.std(axis=0), _EQUAL * np.abs(targets).max(axis=0))
    scales[scales == 0] = 1.0
    leaf = 1 + len(features) * n_trees * 2 * _BYTES_PER_NODE // _LARGEST // 2
    while True:
        forest = _forest(n_trees, leaf, seed).fit(features, targets / scales)
        nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
        if nodes * _BYTES_PER_NODE <= _LARGEST:
            return Trees(forest, scales)
        leaf += 1 + leaf // 2


def cross_validated(features: Features, targets: Float, *, seed: int) -> Float:
    """What trees grown on the other four fifths say of each example: (m, 2)."""
    folds = np.random.default_rng(seed).permutation(len(features)) % FOLDS
    said = np.zeros((len(features), 2))
    for fold in range(FOLDS):
        out = folds == fold
        if out.any():
            trees = grow(features[~out], targets[~out], seed=seed, n_trees=N_TREES // 2)
            said[out] = trees.predict(features[out])
    return said


def _forest(n_trees: int, leaf: int, seed: int) -> Any:
    return importlib.import_module("sklearn.ensemble").ExtraTreesRegressor(
        n_trees, min_samples_leaf=leaf, max_features=0.5, random_state=seed
    )


def _tidy(node: Any, scales: Float) -> None:
    """Scales in the leaves, and no attributes that only repeat the default."""
    kept = [a for a in node.attribute if a.name not in ("nodes_hitrates", "nodes_missing_value_tracks_true")]
    values = {attribute.name: attribute for attribute in kept}
    of_leaves = np.array(values["target_weights"].floats) * scales[np.array(values["target_ids"].ints)]
    values["target_weights"].floats[:] = of_leaves.tolist()
    del node.attribute[:]
    node.attribute.extend(kept)
