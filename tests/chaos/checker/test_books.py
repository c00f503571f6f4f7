"""The books on records made by hand, as the protocol has them; for the real service see test_defects.py."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from chaos.checker import Stream, Topics
from chaos.checker.books import Books
from chaos.checker.findings import Findings
from chaos.checker.messages import Batch, Message

TOPICS = Topics.of("name", "examples")
INPUT = [b'{"embedding": [%d, 1]}' % n for n in range(4)]


def batch(topic: str, *messages: Message, committed: bool = True, read_to: int = 100) -> Batch:
    return Batch(committed, (topic, 0), messages, read_to)


def message(topic: str, offset: int, value: bytes | None, key: bytes | None = None, **said: str) -> Message:
    headers = tuple((f"coreset-{name}", text.encode()) for name, text in said.items())
    return Message(topic, 0, offset, key, value, headers, 1_000)


def entry(start: int = 0, end: int = 4, **changes: Any) -> Message:
    """A window of the ledger that emits its first two examples at a rate of a half."""
    sources = "".join(f"examples/0/{offset}\n" for offset in (start, start + 1))
    window = f"examples/0/{start}"
    said: dict[str, Any] = {
        "window": window,
        "ranges": [{"topic": "examples", "partition": 0, "start": start, "end": end}],
        "valid": end - start,
        "dead": 0,
        "emitted": 2,
        "emitted_digest": hashlib.sha256(sources.encode()).hexdigest(),
        "s": (end - start) / 2,
        "design": "pivotal",
        "rate": 0.5,
        "eta": 0.2,
        "clusters_version": 0,
        "clusters_digest": "0" * 64,
        "weight_sum": 4.0,
        "cost": 0.0,
        "closed_ms": 1,
        **changes,
    }
    return message(TOPICS.windows, start, orjson.dumps(said), window.encode())


def example(offset: int, rank: int, window: str = "examples/0/0") -> Message:
    said = {"weight": "2.0", "probability": "0.5", "cluster": "-", "clusters": "0", "window": window}
    said |= {"source": f"examples/0/{offset}", "rank": str(rank), "why": "score=0.25"}
    return message(TOPICS.coreset, offset, INPUT[offset], **said)


@pytest.fixture
def found() -> Findings:
    return Findings()


@pytest.fixture
def books(found: Findings) -> Books:
    books = Books(Stream("", TOPICS, ("name-sampler",), dimension=2), found)
    books.take(
        batch("examples", *(message("examples", n, value) for n, value in enumerate(INPUT)), read_to=4)
    )
    return books


def kinds(books: Books, found: Findings) -> set[str]:
    books.close()
    return {one.kind for one in found.all()}


def test_a_window_that_is_right_is_green_in_whatever_order_it_is_read(books: Books, found: Findings) -> None:
    books.take(batch(TOPICS.coreset, example(0, 0)))
    books.take(batch(TOPICS.windows, entry()))
    assert books.open_windows == 1
    books.take(batch(TOPICS.coreset, example(1, 1)))
    assert books.open_windows == 0
    assert kinds(books, found) == set()
    assert books.counts == {"examples": 4, "windows": 1, "emitted": 2, "dead": 0}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"valid": 5}, "count"),
        ({"dead": 1, "valid": 3}, "dead letter"),
        ({"emitted": 3}, "size"),
        ({"emitted_digest": "0" * 64}, "digest"),
        ({"weight_sum": 4.1}, "weight"),
        ({"eta": 1.0, "s": 2.5}, "weight"),
        ({"clusters_version": 7}, "clusters"),
        ({"design": "magic"}, "malformed"),
        ({"window": "examples/0/1"}, "malformed"),
        ({"ranges": []}, "malformed"),
    ],
)
def test_an_entry_that_is_wrong_is_found(
    changes: dict[str, Any], kind: str, books: Books, found: Findings
) -> None:
    books.take(batch(TOPICS.coreset, example(0, 0), example(1, 1)))
    books.take(batch(TOPICS.windows, entry(**changes)))
    assert kind in kinds(books, found)


def test_an_example_that_comes_after_its_window_is_complete_is_found(books: Books, found: Findings) -> None:
    books.take(batch(TOPICS.windows, entry()))
    books.take(batch(TOPICS.coreset, example(0, 0), example(1, 1)))
    books.take(batch(TOPICS.coreset, example(2, 2)))
    assert kinds(books, found) == {"examples"}


def test_records_that_only_one_reader_sees_are_the_aborted_ones(books: Books) -> None:
    records = [message(TOPICS.windows, offset, b"") for offset in range(5)]
    books.take(batch(TOPICS.statistics, *records, committed=False))
    assert books.aborted == 5
    books.take(batch(TOPICS.statistics, *records[2:]))
    assert books.aborted == 2
    books.take(batch(TOPICS.dead_letters, committed=True))
    books.take(batch(TOPICS.clusters, message(TOPICS.clusters, 7, None, b"other")))
    books.take(batch(TOPICS.clusters, message(TOPICS.clusters, 7, None, b"other"), committed=False))
    assert books.aborted == 2


def test_what_no_window_covers_is_left_over(books: Books, found: Findings) -> None:
    books.take(batch(TOPICS.coreset, example(0, 0), example(1, 1)))
    books.take(batch(TOPICS.windows, entry(0, 3, s=1.5, weight_sum=4.0)))
    assert [one.offset for one in books.left()] == [3]
    assert books.ends() == {("examples", 0): 3}
    assert kinds(books, found) == set()
