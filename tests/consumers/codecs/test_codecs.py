from __future__ import annotations

import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.codecs import Decoded, SampleColumns, codec_for
from consumers.codecs.wire import framed_size
from consumers.settings import Input
from consumers.transform import InputRecord

SETTINGS = Input(dimension=3)
CODEC = codec_for(SETTINGS)
CHAINED = codec_for(Input(dimension=3, chain=True))
LIMIT = SETTINGS.max_message_bytes + 65_536


def record(
    value: bytes | None, headers: tuple[tuple[str, bytes], ...] = (), key: bytes | None = b"k"
) -> InputRecord:
    return InputRecord("examples", 2, 120, key, value, headers, 1_700_000_000_123)


def columns(m: int, window: str = "examples/2/100", **given: object) -> SampleColumns:
    numbers = np.linspace(0.1, 0.9, m)
    base: dict[str, object] = {
        "weights": 1 / numbers, "probabilities": numbers, "ranks": np.arange(m),
        "cluster_ids": np.arange(m) - 1, "distances": numbers, "center_losses": np.full(m, np.nan),
        "spreads": numbers, "loss_ages": numbers, "predictions": numbers, "scores": numbers / 100,
    }  # fmt: skip
    return SampleColumns(window, 7, **{**base, **given})  # type: ignore[arg-type]


def said(decoded: Decoded) -> tuple[int | None, str, str]:
    assert len(decoded.valid_rows) == len(decoded.embeddings) == len(decoded.weights) == 0
    assert decoded.rows == len(decoded.errors) == 1
    error = decoded.errors[0]
    return error.row, error.exception, error.message


def test_decodes_a_json_example() -> None:
    decoded = CODEC.decode(record(b'{"id": 1, "embedding": [1, 2.5, -3e2]}'))
    assert decoded.rows == 1
    assert decoded.errors == ()
    assert decoded.embeddings.dtype == np.float32
    np.testing.assert_array_equal(decoded.embeddings, [[1, 2.5, -300]])
    assert decoded.valid_rows.tolist() == [0]
    assert decoded.weights.tolist() == [1.0]


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        (None, "Empty", "no value"),
        (b"", "NotJson", "not JSON"),
        (b"\xff\xfe", "NotJson", "not JSON"),
        (b'{"embedding": [1, 2, 3]', "NotJson", "not JSON"),
        (b'{"embedding": [1, 2, NaN]}', "NotJson", "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "NotJson", "not JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "NotJson", "not JSON"),
        (b"[1, 2, 3]", "NotAnObject", "not an object"),
        (b"17", "NotAnObject", "not an object"),
        (b"{}", "NoEmbedding", "no field 'embedding'"),
        (b'{"embedding": null}', "NoEmbedding", "no field"),
        (b'{"embedding": "1,2,3"}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": {"0": 1}}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": [1, 2, "3"]}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": [1, 2, true]}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": [1, 2, null]}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": [[1], [2], [3]]}', "NotNumbers", "not a list of numbers"),
        (b'{"embedding": [1, 2]}', "WrongDimension", "has 2 numbers, not 3"),
        (b'{"embedding": []}', "WrongDimension", "has 0 numbers, not 3"),
        (b'{"embedding": [1, 2, 1e300]}', "TooFar", "longer than 1e15"),
        (b'{"embedding": [1, 2, ' + b"9" * 400 + b"]}", None, ""),
        (b'{"embedding": [1, 2, 1e999]}', None, ""),
        (
            b'{"embedding": [1, 2, 3], "x": "' + b"a" * 1_000_000 + b'"}',
            "TooLarge",
            "input.max_message_bytes",
        ),
    ],
)
def test_a_bad_json_message_is_one_dead_row(value: bytes | None, kind: str | None, sentence: str) -> None:
    row, exception, message = said(CODEC.decode(record(value)))
    assert row is None
    assert exception == kind or (kind is None and exception in ("NotJson", "NotFinite", "TooFar"))
    assert sentence in message


def test_large_integers_are_numbers() -> None:
    decoded = CODEC.decode(record(b'{"embedding": [18446744073709551615, -9223372036854775808, 0]}'))
    assert said(CODEC.decode(record(b'{"embedding": [1, 2, 1e16]}')))[1] == "TooFar"
    assert decoded.errors[0].exception == "TooFar"


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(value: bytes) -> None:
    for codec in (CODEC, CHAINED):
        decoded = codec.decode(record(value))
        assert decoded.rows == len(decoded.valid_rows) + len(decoded.errors) == 1


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**70), 2**70)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values, st.sampled_from(["embedding", "other"]))
def test_whatever_json_it_is_usable_or_dead(value: object, name: str) -> None:
    try:
        text = orjson.dumps({name: value})
    except TypeError:
        return
    decoded = CODEC.decode(record(text))
    if len(decoded.valid_rows):
        assert isinstance(value, list)
        assert all(type(x) in (int, float) for x in value)
        np.testing.assert_array_equal(decoded.embeddings[0], np.array(value, np.float64).astype(np.float32))


def test_emission_keeps_every_byte_and_says_what_was_drawn() -> None:
    value = b' {"embedding" : [1,2,3] , "z": 1.0e0}\n'
    own = (("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b""))
    decoded = CODEC.decode(record(value, own))
    (emission,) = CODEC.emit(decoded, [0], columns(1, cluster_ids=np.array([42])), LIMIT)
    assert emission.value == value
    assert emission.headers[:3] == own
    found = {name: text.decode() for name, text in emission.headers[3:]}
    assert found == {
        "coreset-weight": "10.0",
        "coreset-probability": "0.1",
        "coreset-cluster": "42",
        "coreset-clusters": "7",
        "coreset-window": "examples/2/100",
        "coreset-source": "examples/2/120",
        "coreset-rank": "0",
        "coreset-why": "distance=0.1 center_loss=- spread=0.1 loss_age=0.1 predicted=0.1 score=0.001",
    }


def test_a_center_just_placed_and_no_clusters_are_a_dash() -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}'))
    placed = columns(1, cluster_ids=np.array([-1]))
    none = columns(1, cluster_ids=np.array([5]))
    none = SampleColumns(**{**vars(none), "clusters": 0})
    for drawn in (placed, none):
        (emission,) = CODEC.emit(decoded, [0], drawn, LIMIT)
        assert dict(emission.headers)["coreset-cluster"] == b"-"


@given(st.floats(1e-12, 1.0), st.floats(1.0, 1e12))
def test_numbers_round_trip_exactly(probability: float, weight: float) -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}'))
    drawn = columns(1, weights=np.array([weight]), probabilities=np.array([probability]))
    (emission,) = CODEC.emit(decoded, [0], drawn, LIMIT)
    (back,) = CODEC.emitted(record(emission.value, emission.headers))
    assert (back.weight, back.probability) == (weight, probability)
    assert back.source == "examples/2/120"
    assert back.fingerprint == CODEC.fingerprint(decoded, 0)


def test_duplicates_of_an_iid_draw_are_emitted_as_such() -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}'))
    emissions = CODEC.emit(decoded, [0, 0, 0], columns(3), LIMIT)
    assert [dict(e.headers)["coreset-rank"] for e in emissions] == [b"0", b"1", b"2"]
    assert {e.value for e in emissions} == {b'{"embedding": [1, 2, 3]}'}


@pytest.mark.parametrize("change", ["key", "value", "header", "timestamp"])
def test_the_fingerprint_sees_every_change(change: str) -> None:
    value = b'{"embedding": [1, 2, 3]}'
    changed = {
        "key": InputRecord("examples", 2, 120, b"K", value, (("a", b"b"),), 5),
        "value": InputRecord("examples", 2, 120, b"k", value + b" ", (("a", b"b"),), 5),
        "header": InputRecord("examples", 2, 120, b"k", value, (("ab", b""),), 5),
        "timestamp": InputRecord("examples", 2, 120, b"k", value, (("a", b"b"),), 6),
    }[change]
    decoded = CODEC.decode(InputRecord("examples", 2, 120, b"k", value, (("a", b"b"),), 5))
    assert CODEC.fingerprint(decoded, 0) != CODEC.fingerprint(CODEC.decode(changed), 0)


@given(st.binary(max_size=50), st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=9)), max_size=4))
def test_no_emission_is_larger_than_its_bound(key: bytes, headers: list[tuple[str, bytes]]) -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}', tuple(headers), key))
    bound = CODEC.largest_output(decoded, LIMIT)
    extreme = np.array([1.2345678901234567e-300])
    drawn = columns(
        1, window="examples/2147483647/9223372036854775807", weights=extreme, probabilities=extreme,
        ranks=np.array([2**63 - 1]), cluster_ids=np.array([2**63 - 1]), distances=-extreme,
        center_losses=-extreme, spreads=-extreme, loss_ages=-extreme, scores=-extreme,
    )  # fmt: skip
    (emission,) = CODEC.emit(decoded, [0], drawn, LIMIT)
    size = framed_size(decoded.record, len(emission.value), emission.headers)
    assert size <= bound.single == bound.total <= size + 200


def test_a_dead_message_takes_no_room() -> None:
    bound = CODEC.largest_output(CODEC.decode(record(b"")), LIMIT)
    assert (bound.total, bound.single) == (0, 0)


def test_a_coreset_is_refused_unless_chained() -> None:
    headers = (("coreset-weight", b"2.5"), ("own", b"1"))
    value = b'{"embedding": [1, 2, 3]}'
    _, exception, message = said(CODEC.decode(record(value, headers)))
    assert exception == "AlreadyCoreset"
    assert "input.chain: true" in message
    decoded = CHAINED.decode(record(value, headers))
    assert decoded.weights.tolist() == [2.5]
    (emission,) = CHAINED.emit(decoded, [0], columns(1), LIMIT)
    found = dict(emission.headers)
    assert found["coreset-weight"] == b"25.0"
    assert float(found["coreset-probability"]) == pytest.approx(1 / 25)
    assert [name for name, _ in emission.headers].count("coreset-weight") == 1
    assert emission.headers[0] == ("own", b"1")


@pytest.mark.parametrize("weight", [b"", b"x", b"nan", b"inf", b"0", b"-1", b"1e200", b"\xff", None])
def test_a_chained_weight_must_be_a_positive_number(weight: bytes) -> None:
    decoded = CHAINED.decode(record(b'{"embedding": [1, 2, 3]}', (("coreset-weight", weight),)))
    assert said(decoded)[1] == "BadWeight"


def test_an_example_alone_can_be_decoded_again() -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}'))
    example = CODEC.example(decoded, 0)
    assert example == b'{"embedding": [1, 2, 3]}'
    np.testing.assert_array_equal(CODEC.embedding(example), [1, 2, 3])
    assert CODEC.embedding(b"[]") is None
    assert CODEC.example(CODEC.decode(record(None)), None) == b""


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=5))
def test_reading_back_raises_value_error_only(headers: list[tuple[str, bytes]]) -> None:
    names = ["coreset-" + name if i % 2 else name for i, (name, _) in enumerate(headers)]
    strange = record(b"{}", tuple(zip(names, (value for _, value in headers), strict=True)))
    with pytest.raises(ValueError):  # noqa: PT011  any sentence will do
        CODEC.emitted(strange)


def test_why_has_no_more_than_its_numbers() -> None:
    decoded = CODEC.decode(record(b'{"embedding": [1, 2, 3]}'))
    (emission,) = CODEC.emit(decoded, [0], columns(1, distances=np.array([math.pi])), LIMIT)
    assert dict(emission.headers)["coreset-why"].startswith(b"distance=3.14159 ")


def test_headers_that_would_not_fit_the_coreset_are_dead_before_the_draw() -> None:
    wide = tuple(("\N{GRINNING FACE}" * 300, b"") for _ in range(1_000))  # of 1,200 bytes each
    assert said(CODEC.decode(record(b'{"embedding": [1, 2, 3]}', wide)))[1] == "TooLarge"


def test_more_headers_than_anybody_means_are_a_dead_letter() -> None:
    value, many = b'{"embedding": [1, 2, 3]}', tuple(("own", b"1") for _ in range(1_001))
    assert said(CODEC.decode(record(value, many)))[1:] == ("TooManyHeaders", "1001 headers, more than 1000")
    assert CODEC.decode(record(value, many[1:])).errors == ()
