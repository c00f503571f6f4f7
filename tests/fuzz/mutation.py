"""Changes to bytes that know nothing of their format: flips, cuts, repeats, splices, numbers that lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

__all__ = ["MAX_BYTES", "mutate", "number", "swap_token"]

# As large as a message may be, so that what a parser makes of an input can be bounded by a multiple of it.
MAX_BYTES = 1_000_000
_TEXT = 20_000

_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32_767, 65_535, 2**24, 2**31 - 1, -(2**31), 2**32 - 1, 2**40)
_LARGE = (*_NUMBERS, 2**62, 2**63 - 1, -(2**63))
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[A-Za-z_]+|[^\s\w]')


def number(rng: Random, size: int) -> bytes:
    """Return a number of `size` bytes, little-endian, that a length or an offset should not be."""
    value = rng.choice(_NUMBERS if size < 8 else _LARGE) + rng.choice((0, 0, 0, 1, -1, 8))
    return (value % 256**size).to_bytes(size, "little")


def mutate(rng: Random, value: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change a value a few times; `others` are what pieces may be taken from."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        value = rng.choice(_CHANGES)(rng, value or b"\0", others)
    return value[:MAX_BYTES]


def swap_token(rng: Random, value: bytes, tokens: tuple[bytes, ...]) -> bytes:
    """Replace a word, number, string or mark of a text by one of `tokens`, mostly by one of its kind."""
    found = list(_TOKEN.finditer(value[:_TEXT]))
    values = [one for one in found if _kind(one[0]) != "mark" and not _is_name(value, one.end())]
    said = values if rng.random() < 0.8 else found
    if not said:
        return value + rng.choice(tokens)
    at = rng.choice(said)
    alike = _alike(tokens, _kind(at[0])) if rng.random() < 0.7 else tokens
    return value[: at.start()] + rng.choice(alike) + value[at.end() :]


def _is_name(value: bytes, end: int) -> bool:
    return value[end : end + 1] in (b":", b"=", b".")


def _kind(token: bytes) -> str:
    first = token[:1]
    if first.isdigit() or token[:2].strip(b"-+").isdigit():
        return "number"
    return "string" if first == b'"' else "word" if first.isalpha() else "mark"


@cache
def _alike(tokens: tuple[bytes, ...], kind: str) -> tuple[bytes, ...]:
    return tuple(one for one in tokens if _kind(one) == kind) or tokens


def _flip(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(value)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(value)
    changed[rng.randrange(len(changed))] = rng.choice((0, 255, 127, 10, rng.randrange(256)))
    return bytes(changed)


def _lie(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    size = rng.choice((2, 4, 8))
    at = rng.randrange(len(value)) // size * size
    return value[:at] + number(rng, size) + value[at + size :]


def _cut(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    return value[: rng.randrange(len(value))]


def _remove(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _piece(rng, value)
    return value[:start] + value[end:]


def _insert(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(value) + 1)
    return value[:at] + rng.randbytes(rng.choice((1, 2, 4, 16))) + value[at:]


def _repeat(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _piece(rng, value)
    times = min(rng.choice((2, 2, 3, 10, 100, 1000, 100_000)), MAX_BYTES // max(1, end - start))
    return value[:start] + value[start:end] * times + value[end:]


def _splice(rng: Random, value: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else value
    start, end = _piece(rng, other or b"\0")
    at, until = _piece(rng, value)
    return value[:at] + other[start:end] + value[rng.choice((at, until)) :]


def _piece(rng: Random, value: bytes) -> tuple[int, int]:
    start = rng.randrange(len(value))
    return start, start + 1 + rng.randrange(min(len(value) - start, rng.choice((4, 32, 4096))))


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _byte, _byte, _lie, _lie, _cut, _remove, _insert, _repeat, _splice,
)  # fmt: skip
