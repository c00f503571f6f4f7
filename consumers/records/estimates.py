"""Estimates: what the losses that came back say about all examples of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter

from consumers.records.format import decode_json
from consumers.records.ledger import Count, Finite

__all__ = ["EstimateRecord"]

MAX_BYTES = 10_000
Signed = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class EstimateRecord:
    """The estimated total loss of a window; of several records of one window the last one counts.

    Parameters
    ----------
    window : str
        Window id, the key.
    model_version : str or None
        Under which the losses are; None where none came back.
    valid, emitted : int
        As in the ledger: examples that could be used, and draws of them.
    s : float
        As in the ledger: expected number of draws.
    missing : int
        Emitted examples (each once) whose loss has not come back; while there are any, nothing is estimated.
    total : float or None
        Estimated total loss over the valid examples (Horvitz-Thompson); 0 for an empty sample.
    standard_error, low, high : float or None
        By second differences, pooled over up to 20 windows; ends of the 95 % interval. None while the
        windows hold fewer than 20 draws.
    uniform_ratio, uniform_ratio_se : float or None
        Our variance relative to that of uniform sampling without replacement, over up to 20 windows; and the
        standard error of its logarithm.
    anticipated_se : float or None
        What was expected before the draw.
    bound : float or None
        The paper's bound on the absolute error, as in the ledger.
    estimated_ms : int
        When, in milliseconds since 1970.

    Examples
    --------
    >>> record = EstimateRecord(
    ...     window="examples/0/5", model_version="m1", valid=300, emitted=3, s=3.0, missing=0, total=42.0,
    ...     standard_error=2.0, low=38.1, high=45.9, uniform_ratio=0.3, uniform_ratio_se=0.1,
    ...     anticipated_se=None, bound=None, estimated_ms=1)
    >>> EstimateRecord.decode(record.encode()) == record
    True
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    window: Annotated[str, Field(min_length=1, max_length=320)]
    model_version: Annotated[str, Field(min_length=1, max_length=200)] | None
    valid: Count
    emitted: Count
    s: Finite
    missing: Count
    total: Finite | None
    standard_error: Finite | None
    low: Signed | None
    high: Signed | None
    uniform_ratio: Finite | None
    uniform_ratio_se: Finite | None
    anticipated_se: Finite | None
    bound: Finite | None
    estimated_ms: Count
    format: Literal[1] = 1

    @property
    def key(self) -> bytes:
        """Key of the record in the topic."""
        return self.window.encode()

    def encode(self) -> bytes:
        """Return the record as JSON; RecordError for one that could not be read back."""
        value = orjson.dumps(self)
        EstimateRecord.decode(value)
        return value

    @classmethod
    def decode(cls, value: bytes | None) -> EstimateRecord:
        """Read an estimate; RecordError where anything is odd."""
        return decode_json(_ADAPTER, value, "estimate", MAX_BYTES)


_ADAPTER: TypeAdapter[EstimateRecord] = TypeAdapter(EstimateRecord)
