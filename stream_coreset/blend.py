"""Extra trees and kernel ridge regression added up, and their way into ONNX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_coreset.kernel_ridge import KernelRidge
from stream_coreset.onnx_export import OnnxPart, onnx_bytes, onnx_helper
from stream_coreset.trees import Trees

__all__ = ["Blend"]

Float = NDArray[np.float64]
Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Blend:
    """A model that predicts the sum of what its parts do: mean and mean square of the loss.

    Attributes
    ----------
    parts : tuple of Trees or KernelRidge
        One at least, each scaled by its share; at most one of a kind.
    inputs : int
        Columns of the features.
    """

    parts: tuple[Trees | KernelRidge, ...]
    inputs: int

    def predict(self, features: Features) -> Float:
        """Mean and mean square for the rows (n, inputs): (n, 2)."""
        found: Float = np.sum([part.predict(features) for part in self.parts], axis=0)
        return found

    def to_onnx(self, notes: dict[str, str]) -> bytes:
        """The blend as an ONNX model that carries these notes; equal parts give equal bytes.

        Raises
        ------
        RuntimeError
            The extra `surrogate` is not installed.
        """
        if len(self.parts) == 1:
            return onnx_bytes([self.parts[0].onnx_part("losses")], self.inputs, notes)
        names = [f"part_{number}" for number in range(len(self.parts))]
        each = [part.onnx_part(name) for part, name in zip(self.parts, names, strict=True)]
        added = OnnxPart([onnx_helper().make_node("Add", names, ["losses"])], {})
        return onnx_bytes([*each, added], self.inputs, notes)
