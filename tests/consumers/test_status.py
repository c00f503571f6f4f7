from __future__ import annotations

import socket
import time
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
