"""One input of a target from one random generator: by mutation, by grammar, or at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random

import pyarrow as pa
from fuzz.arrow_lies import change_arrow
from fuzz.arrow_tables import arrow_example
from fuzz.framing import join, split
from fuzz.mutation import MAX_BYTES, mutate, swap_token
from fuzz.seeds import answer_body, seeds
from fuzz.surrogates import change_onnx
from fuzz.texts import JSON_TOKENS, json_example, json_value

from consumers import ipc

__all__ = ["change", "generate"]

Change = Callable[[Random, bytes], bytes]

_YAML_TOKENS = (
    b"&a", b"*a", b"<<: *a", b"!!int ''", b"!!bool x", b"!!timestamp x", b"!!binary x", b"!!float ''",
    b"!!set", b"!!python/object:os.system", b"2026-02-30", b"2026-13-45T99:99:99Z", b"1:99:99", b".inf",
    b".nan", b"-.inf", b"1e400", b"9" * 5000, b"0x" + b"f" * 5000, b"0o8", b"? [a]", b"- ", b"---", b"...",
    b"|", b">", b"%YAML 9", b"%TAG ! x", b"@", b"\t", b"`", b"null", b"~", b"_env_file", b"_cli_parse_args",
    b"__pydantic_self__", b"input", b"{", b"}", b"[", b"]", b"[" * 5000, b"{a: " * 3000, b"\xef\xbb\xbf",
    b"\xff\xfe", b"\0", b'"\\ud800"', b'"\\0"', b"\xc2\x85", b"-1", b"0", b"1" + b"0" * 400, b"/dev/null",
    b"http://\xff/", b"http://[::1", b"file:///etc", b'"a\\nb"', b"yes", b"dimension",
)  # fmt: skip
_HTTP_TOKENS = (
    b"\r\n", b"\n", b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Retry-After: " + b"9" * 400,
    b"Retry-After: -1", b"Retry-After: Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
    b"Retry-After: \xb2\xb3", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked, chunked", b"ffffffffffffffffffff\r\n", b"Location: http://\xff\xfe/",
    b"Location: //[", b"Location: javascript:1", b"Location: http://a:99999/",
    b"Set-Cookie: a=b; expires=" + b"1-" * 2000, b"Set-Cookie: " + b"a" * 5000 + b"=",
    b"Content-Encoding: br", b"Inference-Header-Content-Length: 9" + b"9" * 5000, b"Content-Encoding: gzip",
    b"X: \0", b": x", b" folded: a", b"503", b"429", b"301", b"204", b"304", b"999", b"0",
    b"X: y\r\n" * 5000, b"HTTP/9.9", b"HTTP/0.9",
)  # fmt: skip
_DATE_TOKENS = (
    b"9" * 30,
    b"+" + b"9" * 12,
    b"-9999",
    b"Feb",
    b"",
    b"\xb2",
    b"Z",
    b"1e9",
    b":",
    b",",
    b"\xd9\xa3",
    b"()",
)
_MILD = (
    *(b"%d" % n for n in range(20)), b"0.5", b"1e-3", b'"a"', b'""', b"true", b"false", b"null", b"iid",
)  # fmt: skip
_WEIGHTS = (
    b"1e308",
    b"-0",
    b"1_0",
    b"nan",
    b"0x1p3",
    b"\xff",
    b"",
    b" 2 ",
    b"1e-400",
    b"9" * 5000,
    b"\xd9\xa3",
)


def generate(target: str, rng: Random) -> bytes:
    """Return one input.

    >>> generate("json", Random(1)) == generate("json", Random(1))
    True
    """
    known = seeds(target)
    chance = rng.random()
    if chance < 0.03:
        return rng.randbytes(rng.choice((0, 1, 8, 100, 5000)))
    if chance < 0.3:
        return mutate(rng, rng.choice(known), known)
    return change(target, rng, rng.choice(known))


def change(target: str, rng: Random, value: bytes) -> bytes:
    """Return a value as the target's grammar changes it, or another one."""
    return _GRAMMARS[target](rng, value)[:MAX_BYTES]


def _json(rng: Random, seed: bytes) -> bytes:
    return json_example(rng, 3) if rng.random() < 0.7 else _tokens(rng, seed)


def _tokens(rng: Random, seed: bytes, tokens: tuple[bytes, ...] = JSON_TOKENS) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3))):
        seed = swap_token(rng, seed, _MILD if rng.random() < 0.4 else tokens)
    return seed


def _arrow(rng: Random, seed: bytes) -> bytes:
    if rng.random() < 0.6:
        seed = arrow_example(rng, 3)
    return seed if rng.random() < 0.3 else change_arrow(rng, seed, seeds("arrow"))


def _statistics(rng: Random, seed: bytes) -> bytes:
    if rng.random() < 0.3:
        with suppress(pa.ArrowException, ValueError, OSError):
            seed = _other_head(rng, seed)
    return change_arrow(rng, seed, seeds("statistics")) if rng.random() < 0.8 else seed


def _other_head(rng: Random, seed: bytes) -> bytes:
    """Change the JSON or the numbers in the metadata of one of our own records, and some of its values."""
    table = ipc.read_stream(seed)
    name = rng.choice((b"coreset", b"offset", b"scale"))
    said = dict(table.schema.metadata or {})
    now = said.get(name, b"")
    said[name] = _tokens(rng, now) if name == b"coreset" else mutate(rng, now)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(said)) as writer:
        for _ in range(rng.choice((0, 1, 1, 1, 2, 300))):
            writer.write_table(table.slice(rng.choice((0, 0, 0, 1))))
    value: bytes = sink.getvalue().to_pybytes()
    return value


_KEYS = (b"head", b"chunk-00000", b"chunk-99999", b"chunk-", b"surrogate-00000", b"surrogate-99999")


def _clusters(rng: Random, seed: bytes) -> bytes:
    fields = split(seed) or [b"", b""]
    at = rng.randrange(len(fields))
    if at % 2 == 0:
        fields[at] = rng.choice((*_KEYS, mutate(rng, fields[at])))
    elif fields[at - 1] == b"head":
        fields[at] = _tokens(rng, fields[at])
    else:
        fields[at] = _statistics(rng, fields[at])
    if rng.random() < 0.2:
        fields += split(rng.choice(seeds("clusters")))[: rng.randrange(9)]
    if rng.random() < 0.1:
        fields += [b"chunk-%05d" % rng.randrange(100_000), b"x" * 100] * rng.choice((10, 1000))
    return join(fields)


def _framed(rng: Random, seed: bytes) -> bytes:
    fields = split(seed) or [b""]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(fields))
        fields[at] = rng.choice((mutate(rng, fields[at]), rng.choice(_WEIGHTS), json_value(rng)))
    if rng.random() < 0.1:
        (many,) = rng.choices((2, 100, 10_000, 90_000), (60, 36, 3, 1))
        fields += [rng.choice((b"", b"a", b"coreset-weight", b"\xff")), b"1"] * many
    return join(fields)


def _answer(rng: Random, seed: bytes) -> bytes:
    chance = rng.random()
    if chance < 0.5:
        return _tokens(rng, seed)
    head = rng.choice((b"",) * 8 + (b"1", b"-1", b"9" * 5000, b"\xb2", b"1_0", b" 7 "))
    if chance < 0.6:
        return head + b"\n" + json_value(rng)
    more = {rng.choice(("data", "shape", "datatype", "parameters", "name")): rng.choice(_ODD)}
    return head + b"\n" + answer_body(**more)


_ODD: tuple[object, ...] = (
    None, "", "FP32", "BYTES", "INT64", [], [3], [1, 3], [3, 1, 1], [-3], [[3]], [True] * 3, {},
    {"binary_data_size": 2**40}, {"binary_data_size": -4}, {"binary_data_size": "4"},
    {"binary_data_size": 12}, [1e300] * 3, [1e308, 0, 1], ["1", "2", "3"], [None, 1.0, 2.0], [-1, -2, -3],
    [2**63, 1, 1], [[1.0], [2.0], [3.0]], [[1.0], [2.0, 3.0]], [{}, {}, {}], 2**63, 1e39,
)  # fmt: skip


def _http(rng: Random, seed: bytes) -> bytes:
    if rng.random() < 0.3:
        head, _, _ = seed.partition(b"\r\n\r\n")
        _, _, body = _answer(rng, rng.choice(seeds("answer"))).partition(b"\n")
        return head + b"\r\n\r\n" + body
    head, blank, body = seed.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(_HTTP_TOKENS))
    return b"\r\n".join(lines) + blank + body if rng.random() < 0.5 else _tokens(rng, seed, _HTTP_TOKENS)


def _settings(rng: Random, seed: bytes) -> bytes:
    return _tokens(rng, seed, _YAML_TOKENS if rng.random() < 0.8 else JSON_TOKENS)


_GRAMMARS: Mapping[str, Change] = {
    "json": _json,
    "arrow": _arrow,
    "headers": _framed,
    "statistics": _statistics,
    "clusters": _clusters,
    "ledger": _tokens,
    "dead-letters": _framed,
    "feedback": _tokens,
    "estimates": _tokens,
    "surrogate": change_onnx,
    "answer": _answer,
    "wait": lambda rng, seed: _tokens(rng, seed, _DATE_TOKENS),
    "http": _http,
    "yaml": _settings,
    "environment": _settings,
    "flags": _settings,
}
