"""The demo as its user runs it: the command, a real Apache Kafka, the whole loop, faster than for people."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
from kafka import KafkaAdminClient

pytestmark = pytest.mark.timeout(240)

KEYS = {
    "examples", "emitted", "windows", "weight_z", "loss_error_ratio", "balanced_accuracy", "queries", "seed",
    "events_per_second", "audit",
}  # fmt: skip
COMMAND = (sys.executable, "-m", "consumers.cli", "demo")


def environment(kafka: str, scratch: Path) -> dict[str, str]:
    """Also with a setting of somebody's service in it, which must not disturb the demo."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "STREAM_CORESET_NAME": "somebody-elses",
        "TMPDIR": str(scratch),
    }


def processes_of(scratch: Path) -> list[str]:
    """Command lines that name the demo's folder."""
    return [line for line in command_lines() if str(scratch) in line]


def command_lines() -> Iterator[str]:
    proc = Path("/proc")
    if not (proc / "self" / "cmdline").exists():
        listed = subprocess.run(["ps", "-axww", "-o", "args"], capture_output=True, text=True, check=True)
        yield from listed.stdout.splitlines()
        return
    for file in proc.glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def started(pipe: IO[str], sign: str) -> str:
    """Read what the demo says until it says `sign`."""
    said = ""
    for line in pipe:
        said += line
        if sign in line:
            return said
    pytest.fail(f"it never said {sign!r}: {said}")


@pytest.fixture(scope="module")
def finished(
    kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """The demo with --kill, run to its end."""
    folder = tmp_path_factory.mktemp("demo")
    scratch = folder / "scratch"
    scratch.mkdir()
    report = folder / "report.json"
    command = [*COMMAND, "--kill", "--seed", "7", "--rate", "3000", "--json", str(report)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(kafka, scratch), timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == []
    return done, json.loads(report.read_text())


def test_report_holds_what_is_promised(finished: tuple[Any, dict[str, Any]]) -> None:
    _, report = finished
    assert set(report) == KEYS
    assert report["audit"] == {"clean": True, "violations": []}
    assert report["examples"] == 49_097
    assert 480 <= report["emitted"] <= 502
    assert report["windows"] >= 40
    assert abs(report["weight_z"]) <= 4
    assert report["seed"] == 7
    assert report["queries"] > 1_000
    assert 0 < report["loss_error_ratio"] < 3
    assert set(report["balanced_accuracy"]) == {"coreset", "uniform", "full"}
    assert all(0.6 < value < 1 for value in report["balanced_accuracy"].values())


def test_people_are_told_what_happens(finished: tuple[Any, dict[str, Any]]) -> None:
    done, report = finished
    assert "Killed sampler 1 with SIGKILL" in done.stdout
    assert re.search(r"events in \d+ windows, \d+ examples emitted, model \d+", done.stdout)
    assert f"{report['balanced_accuracy']['coreset']:.3f}" in done.stdout
    assert "times as large" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_is_left_on_a_broker_of_ones_own(
    finished: tuple[Any, dict[str, Any]], admin: KafkaAdminClient
) -> None:
    deadline = time.monotonic() + 10
    while left := [topic for topic in admin.list_topics() if topic.startswith("demo-")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert not [group for group in admin.list_groups() if "demo-" in str(group)]


@pytest.fixture
def running(kafka: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--rate", "300"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(kafka, tmp_path),
        start_new_session=True,
    ) as process:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_everything_when_interrupted(
    running: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    assert running.stdout is not None
    started(running.stdout, "Replaying")
    assert len(processes_of(tmp_path)) == 3
    os.killpg(running.pid, number)  # as a terminal does, to the whole group
    said = running.stdout.read()
    assert running.wait(30) == 130
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_its_processes_end_when_it_is_killed(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert running.stdout is not None
    started(running.stdout, "Replaying")
    assert len(processes_of(tmp_path)) == 3
    os.kill(running.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while processes_of(tmp_path):
        assert time.monotonic() < deadline, processes_of(tmp_path)
        time.sleep(0.2)


def test_help_names_its_options() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert {"--seed", "--kill", "--json", "--rate"} <= set(re.findall(r"--\w+", done.stdout))


@pytest.mark.parametrize("words", [["--rate", "0"], ["--rate", "nan"], ["--seed", "x"], ["--other"]])
def test_wrong_options_are_explained(words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: stream-coreset demo" in done.stderr
    assert "Traceback" not in done.stderr
