"""The head of a published version: what it consists of, what is in force, and a digest over all of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter

from consumers.records.format import RecordError, decode_json

__all__ = ["HEAD_KEY", "MAX_WANTED", "Head", "chunk_key", "chunk_number"]

HEAD_KEY = b"head"
MAX_CHUNKS = 100_000
MAX_WANTED = 40_000
MAX_SURROGATE_CHUNKS = 64
MAX_BYTES = 1_000_000

Whole = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Head:
    """See `consumers.records.publication.Publication`.

    `digest` covers the chunks and every other field; `surrogate_digest` the surrogate, all chunks together.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    version: Whole
    k: Whole
    dimension: Annotated[int, Field(ge=1, le=65_536)]
    chunks: Annotated[int, Field(ge=0, le=MAX_CHUNKS)]
    model_version: Annotated[str, Field(max_length=10_000)]
    mean_square: Finite | None
    holders: tuple[Finite, Finite]
    settings_digest: Digest
    wanted: Annotated[tuple[Id, ...], Field(max_length=MAX_WANTED)]
    eta: Annotated[float, Field(ge=0, le=1)]
    rate: Annotated[float, Field(gt=0, le=1)] | None
    published_ms: Whole
    drifts: Whole
    surrogate_digest: Digest | None
    surrogate_chunks: Annotated[int, Field(ge=0, le=MAX_SURROGATE_CHUNKS)]
    digest: str
    format: Literal[1] = 1

    def signed(self, chunks: Sequence[bytes]) -> Head:
        """Return this head with the digest of itself and `chunks`."""
        found = hashlib.sha256(orjson.dumps(replace(self, digest="")))
        for chunk in chunks:
            found.update(hashlib.sha256(chunk).digest())
        return replace(self, digest=found.hexdigest())

    def encode(self) -> bytes:
        """Return the head as JSON; RecordError where it could not be read back."""
        value = orjson.dumps(self)
        Head.decode(value)
        return value

    @classmethod
    def decode(cls, value: bytes | None) -> Head:
        """Read a head; RecordError where anything is odd."""
        return decode_json(_ADAPTER, value, "head of clusters", MAX_BYTES)


_ADAPTER: TypeAdapter[Head] = TypeAdapter(Head)


def chunk_key(number: int, of: str = "chunk") -> bytes:
    """Return the key of a chunk, of the clusters or of the `surrogate`.

    >>> chunk_key(7)
    b'chunk-00007'
    """
    return f"{of}-{number:05d}".encode()


def chunk_number(key: bytes | None) -> tuple[str, int]:
    """Read a chunk's key back: of what, and its number; RecordError for any other key.

    >>> chunk_number(b"chunk-00007")
    ('chunk', 7)
    """
    match = re.fullmatch(rb"(chunk|surrogate)-(\d{5})", key or b"")
    if match is None:
        raise RecordError("a record with a strange key")
    return match[1].decode(), int(match[2])
