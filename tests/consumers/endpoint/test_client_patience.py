"""The client of the model endpoint: retries, redirects, deadlines, and when it gives up."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.inference_server import (
    Handler,
    Observer,
    Server,
    ask,
    client,
    losses,
    no_waits,
    reply,
)

from consumers.endpoint import EndpointError
from consumers.endpoint.exchange import retry_after


@pytest.mark.parametrize("status", [500, 503, 429])
def test_retries_until_it_works(server: Server, status: int) -> None:
    observer = Observer()
    server.script = [reply(b"no", status), reply(b"no", status), losses()]
    with no_waits():
        assert ask(client(server, observer))[0].tolist() == [1.0, 2.0, 3.0]
    assert observer.outcomes == [str(status), str(status), "ok"]


def test_gives_up_after_the_attempts(server: Server) -> None:
    server.script = [reply(b"out of memory", 500)]
    with no_waits(3), pytest.raises(EndpointError, match=r"500.*out of memory"):
        ask(client(server, attempts=3))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_does_not_repeat_what_cannot_help(server: Server, status: int) -> None:
    server.script = [reply(b"no such model", status)]
    with pytest.raises(EndpointError, match="no such model") as error:
        ask(client(server))
    assert error.value.reason == str(status)
    assert len(server.requests) == 1


def test_follows_no_redirect(server: Server) -> None:
    server.script = [reply(b"", 307, Location="http://elsewhere.example/"), losses()]
    with pytest.raises(EndpointError, match=r"redirects to 'http://elsewhere.example/'"):
        ask(client(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["Retry-After: 9", "http://[", "//:x", "http://a:99999/", "x" * 10_000])
def test_a_redirect_to_nowhere_is_one_short_sentence(server: Server, location: str) -> None:
    server.script = [reply(b"", 307, Location=location)]
    with no_waits(1), pytest.raises(EndpointError) as error:
        ask(client(server, attempts=1))
    assert error.value.reason in ("307", "connect")
    assert len(str(error.value)) <= 600


@pytest.mark.parametrize(
    "when",
    [
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Fri, 31 Dec 1999 23:59:59 +99999999999999999999",
        "Fri, 31 Dec 1999 23:59:99999999999999999999 GMT",
    ],
)
def test_a_retry_after_beyond_time_is_none(server: Server, when: str) -> None:
    server.script = [reply(b"", 503, Retry_After=when), losses()]
    with no_waits():
        assert ask(client(server))[0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("header", "seconds"), [("0\x1c\x0c", 0.0), (" 5 ", 5.0), ("5 s", None), ("", None), (None, None)]
)
def test_odd_waits_are_read_or_left(header: str | None, seconds: float | None) -> None:
    """The first was found by fuzzing: spaces to one function of Python are none to another."""
    assert retry_after(header) == seconds


def test_honours_retry_after(server: Server) -> None:
    server.script = [reply(b"", 429, Retry_After="1"), losses()]
    began = time.monotonic()
    ask(client(server))
    assert 1.0 <= time.monotonic() - began < 3.0


def test_does_not_wait_for_a_retry_after_beyond_the_deadline(server: Server) -> None:
    server.script = [reply(b"", 503, Retry_After="60"), losses()]
    began = time.monotonic()
    with pytest.raises(EndpointError, match="503"):
        ask(client(server, deadline_seconds=5))
    assert time.monotonic() - began < 2.0


def test_a_slow_attempt_is_repeated(server: Server) -> None:
    server.script = [lambda handler, asked: time.sleep(0.6), losses()]
    observer = Observer()
    with no_waits():
        ask(client(server, observer, timeout_seconds=0.2))
    assert observer.outcomes == ["timeout", "ok"]


def drip(handler: Handler, asked: dict[str, Any]) -> None:
    """A header line every 50 ms: no single read is slow."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for i in range(40):
        handler.wfile.write(b"X-%d: y\r\n" % i)
        time.sleep(0.05)


def test_the_deadline_holds_for_an_answer_that_drips(server: Server) -> None:
    server.script = [drip]
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"within 0\.4 s") as error:
        ask(client(server, deadline_seconds=0.4))
    assert error.value.reason == "timeout"
    assert time.monotonic() - began < 1.0
