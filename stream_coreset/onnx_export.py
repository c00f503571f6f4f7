"""From the parts of a fitted model to ONNX."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPSETS", "OnnxPart", "onnx_bytes", "onnx_helper"]

OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8  # that these opsets came with


@dataclass(frozen=True, eq=False)
class OnnxPart:
    """Nodes of a graph and the float32 constants that they name."""

    nodes: Sequence[Any]
    constants: Mapping[str, NDArray[np.float32]]


def onnx_helper() -> Any:
    """The module that makes nodes.

    Raises
    ------
    RuntimeError
        The extra `surrogate` is not installed.
    """
    try:
        return importlib.import_module("onnx.helper")
    except ImportError:
        raise RuntimeError("onnx is not installed; install the extra: stream-coreset[surrogate]") from None


def onnx_bytes(parts: Sequence[OnnxPart], inputs: int, notes: Mapping[str, str]) -> bytes:
    """A model from "features" (n, inputs) to "losses" (n, 2); equal parts give equal bytes.

    Parameters
    ----------
    parts : sequence of OnnxPart
        In the order in which they run.
    inputs : int
        Columns of the features.
    notes : dict of str to str
        Metadata that it carries.
    """
    helper, from_array = onnx_helper(), importlib.import_module("onnx.numpy_helper").from_array
    numbers = importlib.import_module("onnx").TensorProto.FLOAT
    graph = helper.make_graph(
        [node for part in parts for node in part.nodes],
        "surrogate",
        [helper.make_tensor_value_info("features", numbers, [None, inputs])],
        [helper.make_tensor_value_info("losses", numbers, [None, 2])],
        [from_array(value, name) for part in parts for name, value in part.constants.items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    helper.set_model_props(model, dict(sorted(notes.items())))
    data: bytes = model.SerializeToString(deterministic=True)
    return data
