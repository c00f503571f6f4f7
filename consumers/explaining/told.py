"""What a coreset message tells of its examples: the texts of an emission, read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from consumers import ipc
from consumers.codecs.arrow_layout import read_columns, unified
from consumers.codecs.examples import HEADER_PREFIX
from consumers.codecs.wire import read_texts
from consumers.settings import Input
from consumers.transform import InputRecord

__all__ = ["Told", "read_told", "texts_of"]


@dataclass(frozen=True)
class Told:
    """What is told of one example that was taken; None = unknown when it was drawn.

    Attributes
    ----------
    source, window : str
    weight, probability : float
        The probability is the expected number of draws.
    rank : int
        Place in the draw order, from 0.
    cluster : str
        Id, or ``-`` for a center just placed.
    clusters : int
        Version of the clusters; 0 = none yet.
    distance, center_loss, spread, loss_age, score : float or None
        Why: of its center; the age in seconds; the score p.
    predicted : float or None
        Its loss, by the surrogate.
    """

    source: str
    window: str
    weight: float
    probability: float
    rank: int
    cluster: str
    clusters: int
    distance: float | None
    center_loss: float | None
    spread: float | None
    loss_age: float | None
    score: float | None
    predicted: float | None

    def json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return dict(vars(self))


def texts_of(record: InputRecord, settings: Input) -> list[dict[str, str]]:
    """Read the texts of each example in a coreset message, by name without prefix.

    Raises
    ------
    ValueError
        When the message is not as we write it.
    """
    if settings.format == "json":
        ours = ((name, value) for name, value in record.headers if name.startswith(HEADER_PREFIX))
        return [{name.removeprefix(HEADER_PREFIX): value.decode() for name, value in ours}]
    try:
        return read_columns(unified(ipc.read_stream(record.value or b"")))
    except pa.ArrowException as error:
        raise ValueError(f"not readable: {str(error)[:300]}") from None


def read_told(texts: Mapping[str, str]) -> Told:
    """Read what the texts of one example say.

    Raises
    ------
    ValueError
        When one lacks or cannot be read.

    Examples
    --------
    >>> told = read_told({
    ...     "source": "examples/0/7", "window": "examples/0/0", "weight": "4.0", "probability": "0.25",
    ...     "rank": "3", "cluster": "12", "clusters": "2",
    ...     "why": "distance=1.5 center_loss=0.2 spread=0.4 loss_age=- predicted=- score=0.01"})
    >>> told.cluster, told.distance, told.loss_age
    ('12', 1.5, None)
    """
    try:
        read = read_texts(dict(texts), b"")
        why = dict(part.split("=", 1) for part in texts["why"].split())
        numbers: dict[str, Any] = {
            name: _number(why[name])
            for name in ("distance", "center_loss", "spread", "loss_age", "predicted", "score")
        }
    except (KeyError, ValueError):
        raise ValueError("not an example of the coreset") from None
    said: dict[str, Any] = {
        name: getattr(read, name) for name in ("source", "window", "weight", "probability", "rank")
    }
    return Told(**said, cluster=read.cluster, clusters=read.clusters, **numbers)


def _number(text: str) -> float | None:
    value = math.nan if text == "-" else float(text)
    return value if math.isfinite(value) else None
