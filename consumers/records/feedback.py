"""What training reports: the loss of an example that was emitted. Written by others: nothing is trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from consumers.records.format import RecordError, first_mistake
from consumers.records.ledger import parse_source
from stream_coreset.losses import MAX_LOSS

__all__ = ["FeedbackError", "FeedbackRecord"]

MAX_BYTES = 10_000


class FeedbackError(RecordError):
    """A loss that is not believed; `reason` is one word or two, for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class FeedbackRecord:
    """The loss of one emitted example under one version of the model.

    Parameters
    ----------
    window, source : str
        As its headers ``coreset-window`` and ``coreset-source`` say.
    loss : float or None
        Null where it cannot be computed yet: its label has not arrived. That is not zero.
    model_version : str
        Which model; one that was not trained on this window's own sample.

    Examples
    --------
    >>> FeedbackRecord.decode(b'{"window": "e/0/5", "source": "e/0/7", "loss": null, "model_version": "m1"}')
    FeedbackRecord(window='e/0/5', source='e/0/7', loss=None, model_version='m1')
    """

    __pydantic_config__ = ConfigDict(extra="ignore")  # of the user's own: what they like to remember

    window: Annotated[str, Field(min_length=1, max_length=320)]
    source: Annotated[str, Field(max_length=340)]
    loss: float | None
    model_version: Annotated[str, Field(min_length=1, max_length=200)]

    @classmethod
    def decode(cls, value: bytes | None) -> FeedbackRecord:
        """Read a report; FeedbackError for one that is damaged or whose loss no model can have."""
        if value is None or len(value) > MAX_BYTES:
            raise FeedbackError("damaged", "a report that is empty or too large")
        try:
            record = _ADAPTER.validate_json(value, strict=True)
        except ValidationError as error:
            raise FeedbackError("damaged", f"a report: {first_mistake(error)}") from None
        _check_source(record.source)
        _check_loss(record.loss)
        return record


_ADAPTER: TypeAdapter[FeedbackRecord] = TypeAdapter(FeedbackRecord)


def _check_source(source: str) -> None:
    try:
        parse_source(source)
    except ValueError as error:
        raise FeedbackError("damaged", f"a report: {error}") from None


def _check_loss(loss: float | None) -> None:
    if loss is None:
        return
    if math.isnan(loss):
        raise FeedbackError("nan", "a loss that is not a number")
    if loss < 0:
        raise FeedbackError("negative", f"a negative loss: {loss}")
    if loss > MAX_LOSS:
        raise FeedbackError("huge", f"a loss above {MAX_LOSS:g}: {loss}")
