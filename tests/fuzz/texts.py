"""Texts by grammar: JSON that is valid, nearly valid, or valid and hostile; and words of other formats."""

from __future__ import annotations

from random import Random

from fuzz.mutation import MAX_BYTES

__all__ = ["JSON_TOKENS", "json_example", "json_number", "json_value"]

NUMBERS = (
    b"0", b"-0", b"1", b"0.5", b"-3e2", b"1e15", b"1.1e15", b"1e16", b"1e38", b"1e39", b"-1e39",
    b"3.4028236e38", b"1e308", b"1e309", b"-1e999", b"1e-45", b"1e-46", b"5e-324", b"1e-400",
    b"1e99999999999999999999", b"9007199254740993", b"18446744073709551615", b"18446744073709551616",
    b"-9223372036854775809", b"9" * 400, b"-" + b"9" * 5000, b"0." + b"0" * 5000 + b"1",
    b"1" + b"0" * 5000 + b"e-5000",
)  # fmt: skip
_NOT_NUMBERS = (
    b"NaN",
    b"-Infinity",
    b"Infinity",
    b"nan",
    b"+1",
    b"01",
    b"1.",
    b".5",
    b"0x10",
    b"1_000",
    b"--1",
    b"1e",
)
_STRINGS = (
    b'""', b'"a"', b'"embedding"', b'"\\u0000"', '"ü\u2028\U0001f600"'.encode(), b'"' + b"a" * 5000 + b'"',
)  # fmt: skip
_NOT_STRINGS = (
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\0"', b'"\xff"', b'"\xed\xa0\x80"', b'"\\x"', b'"\n"', b"'a'",
)  # fmt: skip
_MARKS = (
    b"null",
    b"true",
    b"false",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"",
    b"[]",
    b"{}",
    b"/**/",
    b"#",
    b"\xef\xbb\xbf",
)
_DEPTHS = (2, 30, 200, 1000, 1025, 5000, 100_000)
_DEEP = tuple(b"[" * n + b"]" * n for n in _DEPTHS) + tuple(b'{"a":' * n + b"1" + b"}" * n for n in _DEPTHS)
JSON_TOKENS = (
    *NUMBERS * 3, *_NOT_NUMBERS, *_STRINGS * 3, *_NOT_STRINGS, *_MARKS * 2, *_DEEP, b"[" * 100_000,
)  # fmt: skip


def json_number(rng: Random) -> bytes:
    """Return a number, seldom none at all."""
    chance = rng.random()
    if chance < 0.95:
        return repr(rng.choice((rng.uniform(-10, 10), rng.gauss(0, 1e6), rng.randrange(-99, 99)))).encode()
    return rng.choice(NUMBERS if chance < 0.995 else _NOT_NUMBERS)


def _text(rng: Random) -> bytes:
    return rng.choice(_STRINGS if rng.random() < 0.98 else _NOT_STRINGS)


def json_value(rng: Random, depth: int = 0) -> bytes:
    """Return a value; not always one that JSON allows."""
    chance = rng.random()
    if depth > 3 or chance < 0.6:
        return rng.choice((json_number(rng), _text(rng), rng.choice(_MARKS[:3])))
    if chance < 0.61:
        return rng.choice(JSON_TOKENS)
    inner = [json_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 5)))]
    if chance < 0.75:
        return b"[" + b",".join(inner) + b"]"
    return b"{" + b",".join(_text(rng) + b":" + one for one in inner) + b"}"


def json_example(rng: Random, dimension: int, name: bytes = b'"embedding"') -> bytes:
    """Return an object with an embedding, often the right one; keys may come twice."""
    fields = [_text(rng) + b":" + json_value(rng) for _ in range(rng.choice((0, 1, 1, 3)))]
    fields += [name + b":" + _embedding(rng, dimension) for _ in range(rng.choice((1, 1, 1, 1, 0, 2)))]
    rng.shuffle(fields)
    if rng.random() < 0.02:
        fields *= min(rng.choice((10, 1000, 100_000)), MAX_BYTES // (1 + sum(map(len, fields))) + 1)
    if rng.random() < 0.005:
        fields.append(b'"a":' + _bulk(rng))
    value = b"{" + rng.choice((b",", b", ", b" ,\n")).join(fields) + b"}"
    return _dressed(rng, value) if rng.random() < 0.1 else value


def _bulk(rng: Random) -> bytes:
    """Return a list of as many small things as a message has room for: objects are larger than their text."""
    piece = rng.choice((b"[]", b"{}", b'{"":0}', b"1", b"-0.5", b'"a"', b"[[1]]", b"null"))
    return b"[" + (piece + b",") * (900_000 // (len(piece) + 1)) + piece + b"]"


def _embedding(rng: Random, dimension: int) -> bytes:
    if rng.random() < 0.1:
        return json_value(rng)
    long = 50_000 if rng.random() < 0.05 else 100
    n = rng.choice((dimension,) * 9 + (0, dimension - 1, dimension + 1, long))
    if n > dimension + 1:
        return b"[" + b",".join([json_number(rng)] * n) + b"]"
    return b"[" + b",".join(json_number(rng) for _ in range(n)) + b"]"


def _dressed(rng: Random, value: bytes) -> bytes:
    """Put something around a value that some parsers allow and others do not."""
    kind = rng.randrange(5)
    if kind == 0:
        return b"\xef\xbb\xbf" + value
    if kind == 1:
        return value.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32-le", "utf-7")))
    if kind == 2:
        return value + rng.choice((b"\0", b" \n", b"{}", b",", b"\x1a"))
    if kind == 3:
        return b" " * rng.choice((1, 1000, 500_000)) + value
    return b'{"a":' * 900 + value + b"}" * 900
