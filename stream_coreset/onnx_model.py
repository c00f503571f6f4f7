"""ONNX models that predict losses: data, never code, and checked before anything runs them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_MODEL", "OPERATORS", "OnnxModel", "installed"]

LARGEST_MODEL = 8 << 20
"""Bytes; a larger one is refused unread."""

OPERATORS = frozenset(
    (domain, operator)
    for domain, operators in {
        "": "Abs Add Cast Clip Concat Constant Div Exp Gemm Identity LeakyRelu Log MatMul Max Min Mul Neg "
        "Relu Sigmoid Softplus Sqrt Squeeze Sub Tanh Unsqueeze",
        "ai.onnx.ml": "ArrayFeatureExtractor LinearRegressor Scaler TreeEnsembleRegressor",
    }.items()
    for operator in operators.split()
)
"""What a model may consist of: arithmetic and trees. No loops, nothing that makes large arrays."""

_NEEDED = ("onnx", "onnxruntime")
_ROWS = 8192  # of one run
_TREES = "TreeEnsembleRegressor"


def installed() -> bool:
    """Whether the extra `surrogate` is installed."""
    return all(_found(name) for name in (*_NEEDED, "skl2onnx", "sklearn"))


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class OnnxModel:
    """A checked model with one float32 input (n, inputs) and one float32 output (n, 2).

    Parameters
    ----------
    data : bytes
        The model in ONNX's own format, from anywhere.

    Attributes
    ----------
    inputs : int
        Columns that it expects.
    notes : dict of str to str
        The metadata it carries.

    Raises
    ------
    ValueError
        Too large, not ONNX, of another signature, with operators other than `OPERATORS`, with data in other
        files, or with trees that do not end.
    RuntimeError
        The extra `surrogate` is not installed.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > LARGEST_MODEL:
            raise ValueError(f"surrogate: {len(data)} bytes; a model may have at most {LARGEST_MODEL}")
        graph = _parsed(data)
        self.inputs = _checked(graph)
        self.notes = {note.key: note.value for note in graph.metadata_props}
        self._session = _session(data)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the model says of the rows (n, inputs): (n, 2) float64, unchecked values.

        Raises
        ------
        ValueError
            Another number of columns, or the model fails on them.
        """
        if features.ndim != 2 or features.shape[1] != self.inputs:
            raise ValueError(f"surrogate: features of shape {features.shape}; it expects (n, {self.inputs})")
        parts = [self._run(features[start : start + _ROWS]) for start in range(0, len(features), _ROWS)]
        return np.concatenate([np.zeros((0, 2)), *parts])

    def _run(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        name = self._session.get_inputs()[0].name
        try:
            (found,) = self._session.run(None, {name: np.ascontiguousarray(features, np.float32)})
        except Exception as error:  # onnxruntime raises types of its own
            raise ValueError(f"surrogate: the model fails on its input ({_line(error)})") from None
        if found.shape != (len(features), 2):
            raise ValueError(f"surrogate: the model answers with shape {found.shape}, not (n, 2)")
        return np.asarray(found, np.float64)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RuntimeError(f"{name} is not installed; install the extra: stream-coreset[surrogate]") from None


def _parsed(data: bytes) -> Any:
    onnx = _import("onnx")
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's own types
        raise ValueError(f"surrogate: not an ONNX model ({_line(error)})") from None
    return model


def _checked(model: Any) -> int:
    """Refuse what is not a small, plain regression; return its number of columns."""
    graph = model.graph
    strange = {(node.domain, node.op_type) for node in graph.node} - OPERATORS
    if strange or model.functions:
        names = ", ".join(sorted(operator for _, operator in strange)) or "functions"
        raise ValueError(f"surrogate: the model uses {names}, which is not among the operators allowed")
    if any(tensor.external_data for tensor in _tensors(graph)):
        raise ValueError("surrogate: the model keeps data outside of itself; embed them")
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ValueError("surrogate: the model should have one input (n, features) and one output (n, 2)")
    shape = graph.input[0].type.tensor_type.shape.dim
    columns = shape[1].dim_value if len(shape) == 2 and not shape[0].HasField("dim_value") else 0
    if columns < 1:
        raise ValueError("surrogate: the model's input should have the shape (n, features), n left open")
    for node in graph.node:
        if node.op_type == _TREES:
            _check_trees(node, columns)
    return int(columns)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _check_trees(node: Any, columns: int) -> None:
    """Nodes are numbered through, children are further down in their own tree: every path ends.

    onnxruntime makes numbers of 32 bits of all, so that one too large could be the root again.
    """
    held = {attribute.name: attribute.ints for attribute in node.attribute}
    names = ("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids")
    columns_of_nodes = (np.asarray(held.get(f"nodes_{name}", ()), np.int64) for name in names)
    trees, nodes, *children, features = columns_of_nodes
    modes = next((attribute.strings for attribute in node.attribute if attribute.name == "nodes_modes"), ())
    branches = np.array([mode != b"LEAF" for mode in modes], np.bool_)
    if any(len(column) != len(nodes) or not len(nodes) for column in (trees, *children, features, branches)):
        raise ValueError("surrogate: a tree of the model is incomplete")
    first = np.flatnonzero(np.append(True, trees[1:] != trees[:-1]))
    sizes = np.diff(np.append(first, len(trees)))
    numbered = np.arange(len(nodes)) - np.repeat(first, sizes)
    if len(np.unique(trees)) != len(first) or not np.array_equal(nodes, numbered):
        raise ValueError("surrogate: the nodes of a tree of the model are not numbered through")
    last = np.repeat(sizes, sizes)
    forward = all(((child > nodes) & (child < last))[branches].all() for child in children)
    if not forward or not ((features >= 0) & (features < columns)).all():
        raise ValueError("surrogate: a tree of the model does not end, or asks for columns it has not")


def _session(data: bytes) -> Any:
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; printed, it would be a stranger's text in our log
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own
        raise ValueError(f"surrogate: the model cannot be loaded ({_line(error)})") from None


def _line(error: Exception) -> str:
    """The first line of what a library says, not all of what a stranger made it say."""
    return str(error).strip().partition("\n")[0][:200]
