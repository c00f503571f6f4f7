"""Dead letters keep the record they are of, whatever it is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.records import (
    RecordError,
    dead_letter,
    read_dead_letter,
)
from consumers.transform import InputRecord

LETTER = {"stage": "decode", "exception": "NotJson", "message": "not JSON"}


def test_a_dead_letter_keeps_the_record_and_says_why() -> None:
    record = InputRecord("examples", 2, 7, b"k", b"\xffraw", (("own", b"1"),), 99)
    letter = dead_letter("dead", record, **LETTER)
    assert (letter.topic, letter.key, letter.value, letter.timestamp_ms) == (
        "dead",
        b"examples/2/7",
        b"\xffraw",
        99,
    )
    found = dict(letter.headers)
    assert found["own"] == b"1"
    assert found["__coreset.errors.key"] == b"k"
    assert found["__coreset.errors.offset"] == b"7"
    assert found["__coreset.errors.topic"] == b"examples"
    back = read_dead_letter(letter.key, letter.headers)
    assert (back.source, back.stage, back.exception, back.message) == ("examples/2/7", *LETTER.values())


def test_a_row_and_a_large_value() -> None:
    big = b"x" * 70_000
    letter = dead_letter("dead", InputRecord("examples", 2, 7, None, big, (), -1), **LETTER)
    assert letter.value == big[:65_536]
    assert dict(letter.headers)["__coreset.errors.sha256"].decode() == hashlib.sha256(big).hexdigest()
    assert dict(letter.headers)["__coreset.errors.size"] == b"70000"
    row = dead_letter("dead", InputRecord("examples", 2, 7, None, big, (), -1), **LETTER, row=4, value=b"one")
    assert (row.key, row.value) == (b"examples/2/7/4", b"one")
    assert "__coreset.errors.key" not in dict(row.headers)


def test_hostile_headers_neither_pose_as_ours_nor_grow() -> None:
    headers = (("__coreset.errors.stage", b"lie"), ("big", b"x" * 70_000), ("own", b"1"))
    letter = dead_letter("dead", InputRecord("examples", 2, 7, b"k" * 99, b"v", headers, 1), **LETTER)
    assert [value for name, value in letter.headers if name.endswith("stage")] == [b"decode"]
    assert sum(len(value) for _, value in letter.headers) < 70_000


def test_of_headers_without_content_few_are_kept() -> None:
    headers = (("", b""),) * 90_000
    letter = dead_letter("dead", InputRecord("examples", 2, 7, None, b"v", headers, 1), **LETTER)
    assert len(letter.headers) < 7_000
    assert dict(letter.headers)["__coreset.errors.cut"] == b"headers"


def test_a_tombstone_of_the_input_is_a_dead_letter_without_value() -> None:
    assert dead_letter("dead", InputRecord("examples", 2, 7, b"k", None), **LETTER).value is None


@given(st.binary(max_size=40), st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=9)), max_size=3))
def test_what_is_no_dead_letter_is_refused(key: bytes, headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(RecordError):
        read_dead_letter(key, tuple(headers))
