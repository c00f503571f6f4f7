"""Messages of the coreset, read back: which examples a window emitted, with their embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consumers.codecs import Codec, Decoded, EmittedExample, codec_for
from consumers.codecs.arrow_layout import read_columns
from consumers.codecs.wire import HEADERS_ROOM, read_texts
from consumers.records.ledger import parse_source
from consumers.settings import Input
from consumers.transform import InputRecord

__all__ = ["CoresetReader", "Draw"]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One draw of a window.

    Attributes
    ----------
    window, source : str
    rank : int
        Place in the draw order.
    probability : float
        Expected count; weight = 1 / probability.
    embedding : (d,) float32
    """

    window: str
    source: str
    rank: int
    probability: float
    embedding: NDArray[np.float32]


class CoresetReader:
    """Reads messages of the coreset in the format of the input.

    A coreset is what a chained input is, so the codec that accepts those reads it; what is stated of each
    example is not its weight in an input here, but its draw.

    Parameters
    ----------
    settings : Input
        Of the examples.
    """

    def __init__(self, settings: Input) -> None:
        largest = settings.max_message_bytes + HEADERS_ROOM
        own = {"chain": True, "max_message_bytes": largest}
        self._codec: Codec = codec_for(settings.model_copy(update=own))

    def draws(self, record: InputRecord) -> list[Draw]:
        """The draws in a message; ValueError where it is not one of ours."""
        decoded = self._codec.decode(record)
        if decoded.errors:
            raise ValueError(decoded.errors[0].message)
        said = self._said(decoded)
        return [_draw(*pair) for pair in zip(said, decoded.embeddings, strict=True)]

    def _said(self, decoded: Decoded) -> list[EmittedExample]:
        """What is said of each row; without the fingerprints, which take time in messages of many rows."""
        if decoded.content is None:
            return self._codec.emitted(decoded.record)
        try:
            return [read_texts(row, b"") for row in read_columns(decoded.content.table)]
        except KeyError as error:
            raise ValueError(f"a message without {error}") from None


def _draw(said: EmittedExample, embedding: NDArray[np.float32]) -> Draw:
    if not 0 < said.probability < math.inf or said.rank < 0:
        raise ValueError(f"a draw with probability {said.probability} and rank {said.rank}")
    parse_source(said.source)
    return Draw(said.window, said.source, said.rank, said.probability, embedding.copy())
