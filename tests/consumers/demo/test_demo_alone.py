"""Trainer and replay as programs of their own, as a container runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.reader import read_to_end
from consumers.settings import Endpoint, Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings], name: str) -> Settings:
    return make_settings(f"{name}-examples", input={"dimension": 9})


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a part of the demo, with its settings in the environment."""
    given = {
        "NAME": settings.name,
        "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "INPUT__TOPIC": settings.input.topic,
        "INPUT__DIMENSION": "9",
        "ENDPOINT__MODEL": "shuttle",
    }
    environment = os.environ | {f"STREAM_CORESET_{name}": value for name, value in given.items()}
    started: list[subprocess.Popen[str]] = []

    def run(part: str, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"consumers.demo.{part}", *flags]
        started.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_replay_sends_all_events_once(
    settings: Settings, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("replay", "--once", "--events-per-second=1e6")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "replaying" in said
    assert sum(1 for _ in read_to_end(settings, settings.input.topic)) == 49_097


def test_replay_goes_on_until_it_is_told_to_stop(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("replay", "--events-per-second=100")
    assert process.stdout is not None
    assert "replaying" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_trainer_serves_on_the_port_it_is_given(
    settings: Settings,
    start: Callable[..., subprocess.Popen[str]],
    make_topic: Callable[..., str],
    wait: Callable[..., None],
) -> None:
    for role in ("coreset", "windows"):
        make_topic(1, settings.topic(role))  # type: ignore[arg-type]
    process = start("trainer", "--port=0")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "waiting for the coreset" in line
    url = next(word for word in line.split() if word.startswith("url=")).removeprefix("url=")
    with pytest.raises(EndpointError, match="nothing has been learned"):
        ModelEndpoint(Endpoint(url=url, model="shuttle")).check()
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_what_a_person_must_mend_is_one_sentence(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("trainer", "--sampling.rate=7")
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "rate" in said
    assert "Traceback" not in said
