"""The learned surrogate: what it predicts, what it trusts, its bytes, and what it refuses to run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from stream_coreset import select
from stream_coreset.blend import Blend
from stream_coreset.onnx_model import LARGEST_MODEL, OnnxModel
from stream_coreset.sampling import inclusion_probabilities
from stream_coreset.surrogate import LabelledExamples, Surrogate, digest, features
from stream_coreset.trees import grow

Floats = NDArray[np.float64]
Nodes = list[onnx.NodeProto]

M, D = 400, 3


def labelled(losses: Floats, X: Floats, seed: int = 0) -> LabelledExamples:
    """Examples whose cluster scores know nothing."""
    ones = np.ones(len(X))
    noise = np.random.default_rng(seed).exponential(size=(2, len(X)))
    return LabelledExamples(features(X, ones, ones), losses, ones, noise)


@pytest.fixture(scope="module", name="X")
def points() -> Floats:
    return np.random.default_rng(1).normal(size=(M, D))


@pytest.fixture(scope="module")
def learned(X: Floats) -> Surrogate:
    surrogate = Surrogate.fit(labelled(1e6 * np.exp(2 * X[:, 0]), X), seed=2)
    assert surrogate is not None
    return surrogate


@pytest.fixture(scope="module")
def data(learned: Surrogate) -> bytes:
    return learned.to_bytes()


def model_of(
    nodes: Nodes, constants: dict[str, Floats] | None = None, columns: int = D + 2, **notes: str
) -> onnx.ModelProto:
    """A model from "features" (n, columns) to "losses" (n, 2)."""
    graph = helper.make_graph(
        nodes,
        "losses",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("losses", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, value.shape, value.ravel().tolist())
            for name, value in (constants or {}).items()
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, notes)
    return model


def linear(**notes: str) -> onnx.ModelProto:
    """Both outputs are the first feature."""
    weights = np.zeros((D + 2, 2))
    weights[0] = 1
    return model_of([helper.make_node("MatMul", ["features", "w"], ["losses"])], {"w": weights}, **notes)


def test_it_learns_the_mean_and_the_root_mean_square(learned: Surrogate) -> None:
    fresh = np.random.default_rng(3).normal(size=(500, D))
    predicted = learned.predict(features(fresh, np.ones(500), np.ones(500)))
    truth = 1e6 * np.exp(2 * fresh[:, 0])
    assert np.corrcoef(np.log(predicted.means), np.log(truth))[0, 1] > 0.9
    assert np.corrcoef(np.log(predicted.roots), np.log(truth))[0, 1] > 0.8
    assert 0.8 < predicted.means.sum() / truth.sum() < 1.2
    assert (
        predicted.roots >= predicted.means * 0.999
    ).mean() > 0.99  # a mean square is above a mean's square


def test_it_trusts_itself_when_it_can_foresee(learned: Surrogate) -> None:
    assert learned.shares[2:4].sum() > 0.6
    assert learned.shares.sum() == pytest.approx(1)


def test_it_falls_back_on_uniform_when_nothing_can_be_foreseen(X: Floats) -> None:
    """Losses that nothing foretells: following the trees' noise would only add variance."""
    losses = 1 + np.random.default_rng(4).exponential(size=M)
    surrogate = Surrogate.fit(labelled(losses, X), seed=5)
    assert surrogate is not None
    assert surrogate.shares[-1] > 0.8


def test_it_trusts_the_clusters_when_they_know_more(X: Floats) -> None:
    rng = np.random.default_rng(6)
    losses = rng.lognormal(0, 1.5, M)
    errors = losses * np.abs(rng.normal(size=M)) * 2
    known = LabelledExamples(
        features(X, np.ones(M), np.ones(M)), errors, np.ones(M), np.stack([losses, losses])
    )
    surrogate = Surrogate.fit(known, seed=7)
    assert surrogate is not None
    assert surrogate.shares[:2].sum() > 0.6


@pytest.mark.parametrize("losses", [np.zeros(M), np.ones(19)])
def test_with_nothing_to_learn_there_is_no_surrogate(losses: Floats) -> None:
    assert Surrogate.fit(labelled(losses, np.ones((len(losses), D)))) is None


def test_huge_losses_stay_numbers(X: Floats) -> None:
    surrogate = Surrogate.fit(labelled(1e100 * np.exp(-np.abs(X[:, 0])), X))
    assert surrogate is not None
    predicted = surrogate.predict(features(X, np.ones(M), np.ones(M)))
    assert np.isfinite(predicted.means).all()
    assert predicted.roots.max() > 1e98


def test_the_same_seed_gives_the_same_bytes(X: Floats, learned: Surrogate, data: bytes) -> None:
    again = Surrogate.fit(labelled(1e6 * np.exp(2 * X[:, 0]), X), seed=2)
    assert again is not None
    assert digest(again.to_bytes()) == digest(data)
    assert len(digest(data)) == 64


def test_bytes_keep_the_predictions_the_unit_and_the_shares(
    X: Floats, learned: Surrogate, data: bytes
) -> None:
    received = Surrogate.from_bytes(data)
    told = features(X, np.linspace(0.1, 2, M), np.linspace(0, 5, M))
    ours, theirs = learned.predict(told), received.predict(told)
    assert np.allclose(ours.means, theirs.means, rtol=1e-4)
    assert np.allclose(ours.roots, theirs.roots, rtol=1e-4)
    assert np.array_equal(ours.shares, theirs.shares)
    assert received.unit == learned.unit


def test_many_labels_give_larger_leaves_not_more_bytes() -> None:
    rng = np.random.default_rng(8)
    told = rng.normal(size=(20_000, 10)).astype(np.float32)
    trees = grow(told, rng.exponential(size=(20_000, 2)), seed=0, n_trees=20)
    assert trees.forest.min_samples_leaf > 1
    assert LARGEST_MODEL / 16 < len(Blend((trees,), 10).to_onnx({})) <= LARGEST_MODEL * 3 / 4


def test_any_model_of_the_same_signature_takes_its_place() -> None:
    surrogate = Surrogate.from_bytes(linear(unit="3.0").SerializeToString())
    told = np.zeros((4, D + 2), np.float32)
    told[:, 0] = [4.0, -1.0, np.nan, np.inf]
    predicted = surrogate.predict(told)
    assert predicted.means.tolist() == [12.0, 0.0, 0.0, 1e100]
    assert predicted.roots[0] == 6.0
    with pytest.raises(ValueError, match="publish those"):
        surrogate.to_bytes()


def tree(**changes: Any) -> onnx.NodeProto:
    """One split and two leaves, or what `changes` make of it."""
    values: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.0, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 1],
        "target_weights": [1.0, 2.0],
        "n_targets": 2,
        **changes,
    }
    return helper.make_node("TreeEnsembleRegressor", ["features"], ["losses"], domain="ai.onnx.ml", **values)


def outside() -> onnx.ModelProto:
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secrets.bin")
    return model


def fixed_rows() -> onnx.ModelProto:
    model = linear()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    return model


REFUSED: dict[str, tuple[Any, str]] = {
    "too large": (lambda: b"\0" * (LARGEST_MODEL + 1), "at most 8388608"),
    "no model": (lambda: b"not a model", "not an ONNX model"),
    "empty": (lambda: b"", "not an ONNX model"),
    "an operator that is not allowed": (
        lambda: model_of([helper.make_node("NonZero", ["features"], ["losses"])]).SerializeToString(),
        "NonZero",
    ),
    "a domain of its own": (
        lambda: model_of([helper.make_node("Add", ["features"] * 2, ["losses"], domain="evil")]),
        "not an ONNX model|Add",
    ),
    "data in a file": (outside, "not an ONNX model|outside of itself"),
    "a tree that does not end": (lambda: model_of([tree(nodes_truenodeids=[0, 0, 0])]), "does not end"),
    "a child that is the root in 32 bits": (
        lambda: model_of([tree(nodes_truenodeids=[2**40, 0, 0])]),
        "does not end",
    ),
    "nodes out of order": (lambda: model_of([tree(nodes_nodeids=[0, 2, 1])]), "not numbered through"),
    "a tree in two pieces": (
        lambda: model_of([tree(nodes_treeids=[0, 1, 0], nodes_nodeids=[0, 0, 0])]),
        "not numbered through",
    ),
    "a fixed number of rows": (fixed_rows, "n left open"),
    "shares beyond all numbers": (
        lambda: linear(shares="[1e308, 1e308, 0, 0, 0]"),
        "metadata cannot be used",
    ),
    "a column there is not": (lambda: model_of([tree(nodes_featureids=[99, 0, 0])]), "columns it has not"),
    "half a tree": (lambda: model_of([tree(nodes_truenodeids=[1])]), "incomplete"),
    "shares that are none": (lambda: linear(shares="[1, 2]"), "metadata cannot be used"),
    "a unit that is none": (lambda: linear(unit="nan"), "unit is nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_should_not_run_is_refused(name: str) -> None:
    make, says = REFUSED[name]
    made = make()
    with pytest.raises(ValueError, match=says):
        Surrogate.from_bytes(made if isinstance(made, bytes) else made.SerializeToString())


def test_a_whole_tree_is_not_refused() -> None:
    model = OnnxModel(model_of([tree()]).SerializeToString())
    assert model.predict(np.array([[-1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0]], np.float32)).tolist() == [
        [1.0, 0.0],
        [0.0, 2.0],
    ]


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_bytes_cut_short_are_refused(data: bytes, position: float) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        Surrogate.from_bytes(data[: int(position * len(data))])


def test_other_features_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it expects"):
        Surrogate.from_bytes(data).predict(np.zeros((2, D), np.float32))


@pytest.fixture(scope="module")
def foreseen() -> tuple[Floats, Floats]:
    """Losses that depend on a direction which no cluster follows."""
    X = np.random.default_rng(9).normal(size=(3000, 4))
    return X, np.exp(2 * np.sin(3 * X[:, 0]))


def test_select_learns_from_its_probes(foreseen: tuple[Floats, Floats]) -> None:
    """The anticipated error, sum l^2 / pi, falls; the floor and the queries stay what they were."""
    X, losses = foreseen
    variance, queries = {}, {}
    for surrogate in (None, "trees"):
        chosen = select(X, lambda rows: losses[rows], n_clusters=32, size=100, seed=1, surrogate=surrogate)
        p = chosen.scores
        assert p.min() >= 0.2 / len(X) * (1 - 1e-12)
        assert np.array_equal(chosen.probabilities, inclusion_probabilities(p, 100))
        variance[surrogate] = (losses**2 / chosen.probabilities).sum() - losses.sum() ** 2 / 100
        queries[surrogate] = chosen.n_queries
    assert variance["trees"] < variance[None] / 1.5
    assert queries["trees"] == queries[None]


def test_select_with_the_surrogate_repeats_itself(foreseen: tuple[Floats, Floats]) -> None:
    X, losses = foreseen
    first, again = (
        select(X, lambda rows: losses[rows], n_clusters=8, size=20, seed=3).indices.tolist() for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("wrong", [{"probes": 1}, {"size": None, "epsilon": 0.5}])
def test_trees_that_cannot_help_are_refused(foreseen: tuple[Floats, Floats], wrong: dict[str, Any]) -> None:
    X, losses = foreseen
    how: dict[str, Any] = {"n_clusters": 8, "size": 20, "surrogate": "trees", **wrong}
    with pytest.raises(ValueError, match="surrogate is 'trees'"):
        select(X, lambda rows: losses[rows], **how)
