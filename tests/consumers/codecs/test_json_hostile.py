"""JSON messages at the edges of the format and of float32: usable as what they say, or one dead row."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from consumers.codecs import codec_for
from consumers.settings import Input
from consumers.transform import InputRecord

CODEC = codec_for(Input(dimension=3))


def outcome(value: bytes) -> str:
    decoded = CODEC.decode(InputRecord("examples", 2, 120, b"k", value))
    assert decoded.rows == len(decoded.valid_rows) + len(decoded.errors) == 1
    return decoded.errors[0].exception if decoded.errors else "accepted"


def vector(value: bytes) -> list[float]:
    (found,) = CODEC.decode(InputRecord("examples", 2, 120, b"k", value)).embeddings.tolist()
    return found


EDGES = {
    "accepted": (b"9e14", b"1e-400", b"-0", b"0." + b"0" * 5000 + b"1"),
    "TooFar": (b"1e16", b"1e39", b"-3.5e38", b"1e308", b"18446744073709551615", b"9" * 300),
    "NotJson": (b"1e309", b"-1e999", b"9" * 400, b"NaN", b"Infinity", b"0x10", b"01", b"1_000"),
    "NotNumbers": (b'"1"', b"[1]", b"true", b"{}"),
}


@pytest.mark.parametrize(("kind", "number"), [(kind, one) for kind, some in EDGES.items() for one in some])
def test_numbers_at_the_edges(kind: str, number: bytes) -> None:
    assert outcome(b'{"embedding": [1, 2, ' + number + b"]}") == kind


def test_subnormal_numbers_are_numbers() -> None:
    assert vector(b'{"embedding": [1e-45, 1e-46, 5e-324]}') == [float(np.float32(1e-45)), 0.0, 0.0]


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    """As in every JSON parser of a language that has one; emitted are the bytes themselves."""
    assert vector(b'{"embedding": [9, 9, 9], "embedding": [1, 2, 3]}') == [1, 2, 3]
    assert outcome(b'{"embedding": [1, 2, 3], "embedding": null}') == "NoEmbedding"
    assert outcome(b'{"a": 1, "a": {"embedding": [1, 2, 3]}}') == "NoEmbedding"


@pytest.mark.parametrize(
    "value",
    [
        b'\xef\xbb\xbf{"embedding": [1, 2, 3]}',
        '{"embedding": [1, 2, 3]}'.encode("utf-16"),
        b'{"embedding": [1, 2, 3]}\0',
        b'{"embedding": [1, 2, 3]} {}',
        b'{"embedding": [1, 2, 3], "a": "\\ud800"}',
        b'{"embedding": [1, 2, 3], "a": "\xed\xa0\x80"}',
        b'{"embedding": [1, 2, 3], "a": "\0"}',
        b'{"embedding": [1, 2, 3],}',
        b"{'embedding': [1, 2, 3]}",
        b'{"embedding": [1, 2, 3] /* a */}',
    ],
)
def test_what_only_some_parsers_allow_is_refused(value: bytes) -> None:
    assert outcome(value) == "NotJson"


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'{"":0},', b"1,", b'"a",', b"[[1]],"])
def test_memory_is_bounded_by_a_multiple_of_the_message(piece: bytes) -> None:
    value = b'{"embedding": [1, 2, 3], "a": [' + piece * (900_000 // len(piece)) + b"0]}"
    tracemalloc.start()
    assert outcome(value) == "accepted"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * len(value)
