"""What both formats share: which messages are refused, the texts of an emission, and sizes on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.codecs.examples import HEADER_PREFIX, Decoded, EmittedExample, Headers, RowError, SampleColumns
from consumers.records.ledger import source_id
from consumers.settings import Input
from consumers.transform import InputRecord, UnreadableName

__all__ = [
    "HEADERS_ROOM",
    "MAX_HEADERS",
    "MAX_SQUARED_NORM",
    "ExampleError",
    "chained_weight",
    "check_message",
    "check_output",
    "dead",
    "framed_size",
    "kept_headers",
    "largest_texts",
    "message_digest",
    "ours_size",
    "read_texts",
    "refuse_ours",
    "sample_texts",
    "usable_weights",
    "why_unusable",
]

# What the largest message of the coreset topic may have more than the largest of the input.
HEADERS_ROOM = 65_536
# Every header costs a pass through Python, in each of several places.
MAX_HEADERS = 1_000
# An embedding longer than 1e15 would overflow float32 in squared distances and their sums.
MAX_SQUARED_NORM = 1e30
_MAX_CHAINED_WEIGHT = 1e100
# A batch of one record (magic 2): 61 bytes for the batch, then lengths and deltas as varints.
_FRAME, _HEADER_FRAME = 61 + 40, 10
_NUMBER, _WHY = 25, 160


class ExampleError(ValueError):
    """Why an example cannot be used: a short kind and a sentence, in one printable line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message if message.isprintable() else repr(message)[1:-1])
        self.kind = kind


def dead(record: InputRecord, dimension: int, error: ExampleError) -> Decoded:
    """Return a message that cannot be decoded: one dead row."""
    empty = np.zeros((0, dimension), dtype=np.float32)
    errors = (RowError(None, error.kind, str(error)),)
    return Decoded(record, 1, empty, np.zeros(0, dtype=np.int64), np.zeros(0), errors)


def check_message(record: InputRecord, settings: Input) -> bytes:
    """Return the value of a message that may be decoded; ExampleError for any other."""
    if record.value is None:
        raise ExampleError("Empty", "the message has no value")
    if record.nbytes > settings.max_message_bytes:
        limit = settings.max_message_bytes
        raise ExampleError("TooLarge", f"{record.nbytes} bytes, more than input.max_message_bytes = {limit}")
    if len(record.headers) > MAX_HEADERS:
        raise ExampleError("TooManyHeaders", f"{len(record.headers)} headers, more than {MAX_HEADERS}")
    if any(isinstance(name, UnreadableName) for name, _ in record.headers):
        raise ExampleError("BadHeader", "the name of a header is no UTF-8: it could not be emitted unchanged")
    if not settings.chain:
        refuse_ours((name for name, _ in record.headers), "header")
    return record.value


def check_output(nbytes: int, settings: Input) -> None:
    """ExampleError where a message could become one that the coreset topic refuses.

    It has to be known before the draw: a refusal after it would make the retry condition on the draw.
    """
    limit = settings.max_message_bytes + HEADERS_ROOM
    if nbytes > limit:
        raise ExampleError(
            "TooLarge", f"a coreset message of it could take {nbytes} bytes, the limit is {limit}"
        )


def refuse_ours(names: Iterable[str], what: str) -> None:
    """ExampleError where a header or column looks like one of ours."""
    for name in names:
        if name.startswith(HEADER_PREFIX):
            message = f"has a {what} {name[:100]!r}: a coreset is sampled again only with input.chain: true"
            raise ExampleError("AlreadyCoreset", message)


def chained_weight(headers: Headers) -> float:
    """Return the weight that the headers of a chained input state; 1 without one.

    >>> chained_weight((("coreset-weight", b"2.5"),))
    2.5
    """
    found = [value for name, value in headers if name == HEADER_PREFIX + "weight"]
    if not found:
        return 1.0
    try:
        weight = float(found[-1].decode("ascii"))
    except (ValueError, AttributeError):
        weight = math.nan
    if not usable_weights(np.array([weight]))[0]:
        raise ExampleError("BadWeight", "the header coreset-weight is not a positive number")
    return weight


def usable_weights(weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask of the weights that can be multiplied on."""
    return (weights >= 1 / _MAX_CHAINED_WEIGHT) & (weights <= _MAX_CHAINED_WEIGHT)


def why_unusable(values: NDArray[Any]) -> ExampleError:
    """Say why a vector whose squared norm is too large, or NaN, cannot be used."""
    strange = np.flatnonzero(~np.isfinite(values))
    if len(strange):
        return ExampleError("NotFinite", f"value {strange[0]} of the embedding is null, NaN or infinite")
    return ExampleError("TooFar", "the embedding is longer than 1e15: squared distances would overflow")


def sample_texts(
    record: InputRecord, row: int | None, columns: SampleColumns, place: int, weight: float
) -> dict[str, str]:
    """Return what is said of one selected example, by name without prefix, numbers so that they round trip.

    `weight` is what it weighed in its input.
    """
    cluster = int(columns.cluster_ids[place])
    return {
        "weight": repr(float(columns.weights[place]) * weight),
        "probability": repr(float(columns.probabilities[place]) / weight),
        "cluster": "-" if cluster < 0 or columns.clusters == 0 else str(cluster),
        "clusters": str(columns.clusters),
        "window": columns.window,
        "source": source_id(record.topic, record.partition, record.offset, row),
        "rank": str(int(columns.ranks[place])),
        "why": _why(columns, place),
    }


def _why(columns: SampleColumns, place: int) -> str:
    said = {
        "distance": columns.distances,
        "center_loss": columns.center_losses,
        "spread": columns.spreads,
        "loss_age": columns.loss_ages,
        "predicted": columns.predictions,
        "score": columns.scores,
    }
    return " ".join(f"{name}={_short(float(values[place]))}" for name, values in said.items())


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.6g}"


def read_texts(texts: dict[str, str], fingerprint: bytes) -> EmittedExample:
    """Read what `sample_texts` said; KeyError or ValueError where something lacks."""
    return EmittedExample(
        source=texts["source"],
        window=texts["window"],
        weight=float(texts["weight"]),
        probability=float(texts["probability"]),
        rank=int(texts["rank"]),
        cluster=texts["cluster"],
        clusters=int(texts["clusters"]),
        fingerprint=fingerprint,
    )


def largest_texts(topic: str) -> dict[str, int]:
    """Return the most bytes that each text of `sample_texts` can have."""
    numbers = dict.fromkeys(("weight", "probability", "cluster", "clusters"), _NUMBER)
    places = {"window": len(topic) + 32, "source": len(topic) + 54}
    return {**numbers, **places, "rank": _NUMBER, "why": _WHY}


@lru_cache(maxsize=64)
def ours_size(topic: str) -> int:
    """Return the most bytes that the headers of `sample_texts` add to a message."""
    texts = largest_texts(topic).items()
    return sum(_HEADER_FRAME + len(HEADER_PREFIX) + len(name) + nbytes for name, nbytes in texts)


def kept_headers(headers: Headers) -> Headers:
    """Return the headers that are the user's own."""
    return tuple(pair for pair in headers if not pair[0].startswith(HEADER_PREFIX))


def framed_size(record: InputRecord, value_bytes: int, headers: Headers) -> int:
    """Bound the bytes of a message on the wire, with the key of `record` and its frame."""
    sizes = (
        _HEADER_FRAME + len(name.encode(errors="replace")) + len(value or b"") for name, value in headers
    )
    return _FRAME + len(record.key or b"") + value_bytes + sum(sizes)


def message_digest(record: InputRecord, *parts: bytes) -> bytes:
    """Return a digest of key, own headers and timestamp of a message, and of `parts`."""
    found = blake2b(digest_size=16)
    kept = kept_headers(record.headers)
    pairs = (part for name, value in kept for part in (name.encode(errors="replace"), value))
    for part in (b"%d" % record.timestamp_ms, record.key, b"%d" % len(kept), *pairs, *parts):
        found.update(b"-" if part is None else b"%d:" % len(part) + part)
    return found.digest()
