"""Target: a surrogate, as it comes from the topic of clusters; and ONNX models that lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from fuzz.contract import ACCEPTED, kind_of, require
from fuzz.mutation import mutate
from numpy.typing import NDArray

from stream_coreset.blend import Blend
from stream_coreset.kernel_ridge import fit_kernel_ridge
from stream_coreset.surrogate import LabelledExamples, Surrogate

__all__ = ["change_onnx", "surrogate", "valid_surrogates"]

COLUMNS = 4
_ROWS = np.linspace(-3, 3, 7 * COLUMNS, dtype=np.float32).reshape(7, COLUMNS)
_ROWS[0] = [3.4e38, -3.4e38, 0, 1e-45]

_NUMBERS = (0, 1, -1, 2, 3, 4, 7, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan"))
_TREES = "ai.onnx.ml"
_OPERATORS = (
    "Loop", "If", "Gemm", "Relu", "Concat", "Cast", "Squeeze", "Unsqueeze", "Constant", "Clip", "Expand", "",
    "TreeEnsembleRegressor", "Scaler", "LinearRegressor", "ArrayFeatureExtractor", "Pad", "ConstantOfShape",
)  # fmt: skip


def surrogate(value: bytes) -> str:
    """A model that anybody may have published."""
    try:
        found = Surrogate.from_bytes(value)
        columns = getattr(found.model, "inputs", COLUMNS)
        if columns > 1000:
            return "many columns"
        predicted = found.predict(np.resize(_ROWS, (len(_ROWS), columns)))
    except ValueError as error:
        return kind_of(error)
    require(len(predicted) == len(_ROWS), f"{len(predicted)} predictions of {len(_ROWS)} rows")
    for column in (predicted.means, predicted.roots):
        require(np.isfinite(column).all() and (column >= 0).all(), "a predicted loss that cannot be one")
    require(abs(predicted.shares.sum() - 1) < 1e-6, "shares that do not sum to 1")
    return ACCEPTED


@cache
def valid_surrogates() -> tuple[bytes, ...]:
    """Trees and a kernel as they are published, and a small network of somebody else's."""
    rng = np.random.default_rng(0)
    told = rng.normal(size=(24, COLUMNS)).astype(np.float32)
    known = LabelledExamples(told, np.exp(told[:, 0]), np.ones(24), np.ones((2, 24)))
    trees = Surrogate.fit(known)
    assert trees is not None
    return _few_trees(trees.to_bytes()), _kernel(told), _network(rng)


def _kernel(told: NDArray[np.float32]) -> bytes:
    found = fit_kernel_ridge(told, np.exp(told[:, :2]).astype(np.float64), seed=0)
    assert found is not None
    return Blend((found[0],), COLUMNS).to_onnx({"unit": "2.5"})


def _few_trees(data: bytes) -> bytes:
    """The same with three trees only: a mutation hits what matters more often."""
    model = onnx.load_model_from_string(data)
    columns = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
    for prefix in ("nodes", "target"):
        kept = np.array(columns[f"{prefix}_treeids"].ints) < 3
        for name, attribute in columns.items():
            if name.startswith(prefix):
                field = next(f for f in ("ints", "floats", "strings") if getattr(attribute, f))
                values = [v for v, keep in zip(getattr(attribute, field), kept, strict=True) if keep]
                del getattr(attribute, field)[:]
                getattr(attribute, field).extend(values)
    small: bytes = model.SerializeToString()
    return small


def _network(rng: np.random.Generator) -> bytes:
    made, helper = [], onnx.helper
    for name, shape in (("w", (COLUMNS, 3)), ("b", (3,)), ("v", (3, 2))):
        made.append(
            helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, rng.normal(size=shape).ravel().tolist())
        )
    nodes = [
        helper.make_node("Gemm", ["features", "w", "b"], ["h"], alpha=1.0),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["m"]),
        helper.make_node("Softplus", ["m"], ["losses"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [None, COLUMNS])],
        [helper.make_tensor_value_info("losses", onnx.TensorProto.FLOAT, [None, 2])],
        made,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_TREES, 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"unit": "2.5", "shares": "[0.2, 0.2, 0.2, 0.2, 0.2]"})
    data: bytes = model.SerializeToString()
    return data


def change_onnx(rng: Random, value: bytes) -> bytes:
    """Change a model in what it says: sizes, children, features, operators, names."""
    if rng.random() < 0.15:
        return mutate(rng, value)
    try:
        model = onnx.load_model_from_string(value)
    except Exception:  # protobuf's own types
        return mutate(rng, value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(rng, model)
    data: bytes = model.SerializeToString()
    return data


def _attribute(rng: Random, model: Any) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if not found:
        return
    one = rng.choice(found)
    if one.ints:
        _swap(rng, one.ints, [*_NUMBERS, *one.ints[:20]])
    elif one.floats:
        _swap(rng, one.floats, _FLOATS)
    elif one.strings:
        _swap(rng, one.strings, [b"LEAF", b"BRANCH_LEQ", b"BRANCH_EQ", b"", b"SUM", b"x" * 1000])
    elif one.HasField("i"):
        one.i = rng.choice(_NUMBERS)
    elif one.HasField("f"):
        one.f = rng.choice(_FLOATS)
    elif one.HasField("s"):
        one.s = rng.choice((b"SUM", b"AVERAGE", b"MAX", b"MIN", b"PROBIT", b"SOFTMAX", b""))


def _swap(rng: Random, values: Any, others: Any) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        values[rng.randrange(len(values))] = rng.choice(others)
    if rng.random() < 0.2:
        del values[rng.randrange(len(values)) :]
    elif rng.random() < 0.1:
        values.extend([rng.choice(others)] * rng.choice((1, 100)))


def _tensor(rng: Random, model: Any) -> None:
    if not model.graph.initializer:
        return
    one = rng.choice(model.graph.initializer)
    chance = rng.random()
    if chance < 0.4 and one.dims:
        _swap(rng, one.dims, _NUMBERS)
    elif chance < 0.6:
        one.data_type = rng.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 99))
    elif chance < 0.8:
        one.raw_data = rng.randbytes(rng.choice((0, 3, 48, 4096)))
    else:
        one.data_location = 1
        one.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../x", "model.bin")))


def _shape(rng: Random, model: Any) -> None:
    one = rng.choice([*model.graph.input, *model.graph.output])
    dims = one.type.tensor_type.shape.dim
    if dims and rng.random() < 0.8:
        rng.choice(dims).dim_value = rng.choice(_NUMBERS)
    else:
        one.type.tensor_type.elem_type = rng.choice((0, 1, 7, 8, 11, 16, 99))


def _node(rng: Random, model: Any) -> None:
    one = rng.choice(model.graph.node)
    chance = rng.random()
    if chance < 0.5:
        one.op_type = rng.choice(_OPERATORS)
        one.domain = rng.choice(("", "", _TREES, "com.microsoft"))
    elif chance < 0.7:
        names = [name for node in model.graph.node for name in (*node.input, *node.output)]
        if one.input:
            one.input[rng.randrange(len(one.input))] = rng.choice([*names, "", "w", "none"])
    elif chance < 0.85:
        model.graph.node.add().CopyFrom(one)
    else:
        one.attribute.add().CopyFrom(onnx.helper.make_attribute(rng.choice(("to", "axis", "perm", "x")), 1))


def _notes(rng: Random, model: Any) -> None:
    onnx.helper.set_model_props(
        model,
        {
            rng.choice(("unit", "shares", "other")): rng.choice(
                (
                    "0",
                    "-1",
                    "nan",
                    "1e400",
                    "[1,0,0,0,0]",
                    "[1e308,1e308,0,0,0]",
                    "[" * 100_000,
                    "null",
                    "1" * 5000,
                )
            )
        },
    )


def _head(rng: Random, model: Any) -> None:
    chance = rng.random()
    if chance < 0.4:
        model.ir_version = rng.choice(_NUMBERS)
    elif chance < 0.8 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice((*_NUMBERS, 1, 5, 13, 17, 18, 21, 25))
    else:
        model.functions.add(name="f", domain="x")


_CHANGES: tuple[Callable[[Random, Any], None], ...] = (
    _attribute, _attribute, _attribute, _tensor, _shape, _node, _notes, _head,
)  # fmt: skip
