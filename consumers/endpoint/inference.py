"""Losses over the Open Inference Protocol (v2, REST): requests to bytes, bytes to losses; no network here.

Inputs ``examples`` (BYTES, [n]) and ``embeddings`` (FP32, [n, d]); output ``loss`` (FP32 or FP64, [n] or
[n, 1]).
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from stream_coreset.losses import MAX_LOSS

__all__ = ["HEADER_LENGTH", "Answer", "RefusalError", "Request", "decode_answer", "encode_request"]

HEADER_LENGTH = "Inference-Header-Content-Length"
_VERSION_CHARACTERS = 200


@dataclass(frozen=True)
class Request:
    """One inference request, ready to be sent."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """The losses of one request.

    Attributes
    ----------
    values : (n,) float64
        NaN where the loss that came back was refused.
    model_version : str
        As the model stated it; empty when it did not.
    refused : mapping of str to int
        Refused losses by reason: nan, infinite, negative.
    """

    values: NDArray[np.float64]
    model_version: str
    refused: Mapping[str, int]


class RefusalError(ValueError):
    """An answer that cannot be used as a whole; `reason` is malformed, shape, nan, infinite or negative."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def encode_request(
    examples: Sequence[bytes], embeddings: NDArray[np.floating[Any]], *, binary: bool
) -> Request:
    """Encode one batch.

    JSON tensors can carry text only: examples that are not UTF-8 are sent as base64, which the request
    parameter ``examples_encoding`` then says.

    Parameters
    ----------
    examples : sequence of n bytes
        Each example as it came from its topic.
    embeddings : (n, d) float
        Sent as FP32.
    binary : bool
        Use the protocol's binary tensors (not every server speaks them).

    Returns
    -------
    Request

    Examples
    --------
    >>> request = encode_request([b"a", bytes([255])], np.zeros((2, 1)), binary=False)
    >>> b'"examples_encoding":"base64"' in request.body
    True
    """
    values, parameters = list(examples), None
    if not binary and not all(map(_is_text, values)):
        values, parameters = [base64.b64encode(value) for value in values], {"examples_encoding": "base64"}
    rows = np.empty(len(values), dtype=np.object_)
    rows[:] = values
    points = np.ascontiguousarray(embeddings, dtype=np.float32)
    body, header_length = InferenceServerClient.generate_request_body(
        inputs=[
            InferInput("examples", list(rows.shape), "BYTES").set_data_from_numpy(rows, binary_data=binary),
            InferInput("embeddings", list(points.shape), "FP32").set_data_from_numpy(
                points, binary_data=binary
            ),
        ],
        outputs=[InferRequestedOutput("loss", binary_data=binary)],
        parameters=parameters,
    )
    headers = {"Content-Type": "application/json"}
    if header_length is not None:
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(header_length)}
    return Request(body, headers)


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def decode_answer(body: bytes, header_length: str | None, n: int) -> Answer:
    """Decode and check the answer to a request of n examples; nothing in it is trusted.

    Parameters
    ----------
    body : bytes
        Not compressed.
    header_length : str, optional
        The answer's header of that name: the length of the JSON part where binary tensors follow it.
    n : int
        Losses that were asked for.

    Returns
    -------
    Answer

    Raises
    ------
    RefusalError
        Where the answer is not one of the protocol, has another shape, or no loss in it can be used.

    Examples
    --------
    >>> body = b'{"outputs": [{"name": "loss", "datatype": "FP32", "shape": [2, 1], "data": [0.5, -1.0]}]}'
    >>> decode_answer(body, None, 2).values
    array([0.5, nan])
    """
    try:
        parsed = InferenceServerClient.parse_response_body(body, header_length=_length(header_length, body))
        output, version = parsed.get_output("loss"), parsed.get_response().get("model_version")
        shape, kind = (output["shape"], output["datatype"]) if output else (None, None)
    except Exception as error:
        # The parser takes what it is given: hostile bytes raise nearly anything.
        raise RefusalError(
            "malformed", f"not an answer of the Open Inference Protocol ({error!r:.200})"
        ) from error
    if output is None or kind not in ("FP32", "FP64"):
        raise RefusalError("malformed", "the answer has no output `loss` of type FP32 or FP64")
    if shape not in ([n], [n, 1]):
        raise RefusalError("shape", f"`loss` has the shape {shape!r:.100}; it should be [{n}] or [{n}, 1]")
    return _checked(_values(parsed, n), "" if version is None else str(version)[:_VERSION_CHARACTERS])


def _length(header: str | None, body: bytes) -> int | None:
    if header is None:
        return None
    length = int(header)
    if not 0 < length <= len(body):
        raise ValueError(f"{HEADER_LENGTH} is {length}, of {len(body)} bytes")
    return length


def _values(parsed: Any, n: int) -> NDArray[np.float64]:
    try:
        with np.errstate(over="ignore"):  # beyond float32: infinite, and refused as that
            values = np.asarray(parsed.as_numpy("loss"), dtype=np.float64)
    except Exception as error:
        raise RefusalError("shape", f"`loss` does not hold {n} numbers ({error!r:.200})") from error
    return values.reshape(n)


def _checked(values: NDArray[np.float64], model_version: str) -> Answer:
    reasons = Counter(reason for reason in map(_fault, values.tolist()) if reason)
    if len(values) and reasons.total() == len(values):
        reason = reasons.most_common(1)[0][0]
        raise RefusalError(reason, f"none of the {len(values)} losses can be used ({dict(reasons)})")
    return Answer(
        np.where((values >= 0) & (values <= MAX_LOSS), values, np.nan), model_version, dict(reasons)
    )


def _fault(value: float) -> str | None:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinite"
    if value > MAX_LOSS:
        return "huge"
    return "negative" if value < 0 else None
