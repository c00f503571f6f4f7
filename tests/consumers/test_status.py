from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from consumers.errors import ServiceError
from consumers.metrics import SamplerMetrics
from consumers.sections import Monitoring
from consumers.status import StatusServer


@dataclass
class StandingLoop:
    last_seen: float = field(default_factory=time.monotonic)
    assigned: tuple[tuple[str, int], ...] = ()
    leaderless: tuple[tuple[str, int], ...] = ()


def test_a_loop_that_comes_round_is_healthy_and_one_that_stands_still_is_not() -> None:
    loop = StandingLoop()
    with StatusServer(Monitoring(max_loop_age_seconds=5), SamplerMetrics(), loop) as status:
        assert httpx.get(f"{status.url}/healthz").status_code == 200
        loop.last_seen -= 6
        answer = httpx.get(f"{status.url}/healthz")
    assert answer.status_code == 503
    assert answer.json()["ok"] is False
    assert answer.json()["loop_age_seconds"] >= 6


def test_ready_with_partitions() -> None:
    loop = StandingLoop()
    with StatusServer(Monitoring(), SamplerMetrics(), loop) as status:
        assert httpx.get(f"{status.url}/readyz").status_code == 503
        loop.assigned = (("examples", 1), ("examples", 2))
        loop.leaderless = (("examples", 2),)
        answer = httpx.get(f"{status.url}/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "partitions": ["examples-1", "examples-2"],
        "without_leader": ["examples-2"],
    }


def test_a_standby_is_ready_without() -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop(), standby=True) as status:
        assert httpx.get(f"{status.url}/readyz").json()["ok"]


def test_metrics_in_both_formats() -> None:
    metrics = SamplerMetrics()
    loop = StandingLoop(last_seen=time.monotonic() - 7)
    with StatusServer(Monitoring(), metrics, loop) as status:
        plain = httpx.get(f"{status.url}/metrics")
        modern = httpx.get(f"{status.url}/metrics", headers={"Accept": "application/openmetrics-text"})
    assert "stream_coreset_examples_consumed_total 0.0" in plain.text
    assert 'stream_coreset_loop_age_seconds{role="sampler"} 7.' in plain.text
    assert modern.text.endswith("# EOF\n")
    assert "_created" not in plain.text + modern.text


def test_other_paths_and_heads() -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status:
        assert httpx.get(f"{status.url}/secret").status_code == 404
        assert httpx.get(f"{status.url}/metrics?x=1").status_code == 200
        head = httpx.head(f"{status.url}/healthz")
        assert (head.status_code, head.content) == (200, b"")
        assert httpx.post(f"{status.url}/metrics").status_code == 501


def test_a_client_that_says_nothing_holds_nobody_up() -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status:
        host, port = status.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))):
            assert httpx.get(f"{status.url}/healthz").status_code == 200


def test_many_slow_clients_block_nobody_and_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.status._CLIENT_SECONDS", 1.0)
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status, ExitStack() as stack:
        host, port = status.url.removeprefix("http://").split(":")
        where, threads = (host, int(port)), threading.active_count()
        slow = [stack.enter_context(socket.create_connection(where)) for _ in range(100)]
        for client in slow[-20:]:
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert httpx.get(f"{status.url}/healthz", timeout=3).status_code == 200
        assert threading.active_count() - threads <= 40
        ended = _drip(slow[-1], seconds=6)
        assert ended < 4, "bytes that come one by one do not buy time"
        assert httpx.get(f"{status.url}/metrics", timeout=3).status_code == 200


def _drip(client: socket.socket, seconds: float) -> float:
    """Send a header byte by byte; after how many seconds the other side hung up."""
    began = time.monotonic()
    client.settimeout(0.1)
    while time.monotonic() - began < seconds:
        try:
            client.sendall(b"x")
            if client.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_it_only_answers_questions(method: str) -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status:
        assert httpx.request(method, f"{status.url}/metrics").status_code == 501


@pytest.mark.parametrize(
    "flood", [b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"]
)
def test_long_requests_are_refused(flood: bytes) -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status:
        host, port = status.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(flood)
            assert client.recv(100).split()[1] in (b"414", b"431")


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    with StatusServer(Monitoring(), SamplerMetrics(), StandingLoop()) as status:
        assert status.url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monitoring = Monitoring(port=taken.getsockname()[1])
        with (
            pytest.raises(ServiceError, match=r"choose another monitoring\.port"),
            StatusServer(monitoring, SamplerMetrics(), StandingLoop()),
        ):
            pass
