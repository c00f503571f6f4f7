"""Users' examples: bytes to embeddings and rows, and back with the columns of the coreset."""

from __future__ import annotations

from consumers.codecs.arrow_codec import ArrowCodec
from consumers.codecs.examples import (
    HEADER_PREFIX,
    Codec,
    Decoded,
    Emission,
    EmittedExample,
    OutputBound,
    RowError,
    SampleColumns,
)
from consumers.codecs.json_codec import JsonCodec
from consumers.settings import Input

__all__ = [
    "HEADER_PREFIX",
    "Codec",
    "Decoded",
    "Emission",
    "EmittedExample",
    "OutputBound",
    "RowError",
    "SampleColumns",
    "codec_for",
]


def codec_for(settings: Input) -> Codec:
    """Return the codec of the format that the settings name.

    >>> codec_for(Input(dimension=2)).embedding(b'{"embedding": [1, 2.5]}')
    array([1. , 2.5], dtype=float32)
    """
    return ArrowCodec(settings) if settings.format == "arrow" else JsonCodec(settings)
