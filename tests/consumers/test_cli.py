from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers import cli
from consumers.settings import Settings

SERVICE = ["run", "sampler", "clusterer", "topics", "check", "audit", "clusters", "replay-dead-letters"]
COMMANDS = [*SERVICE, "explain", "select", "demo"]


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "consumers.cli", *words],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_help_lists_every_command_at_once() -> None:
    began = time.monotonic()
    ended = command("--help")
    assert time.monotonic() - began < 5
    assert ended.returncode == 0
    assert all(f"\n    {name} " in ended.stdout or f"\n    {name}\n" in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"stream-coreset {name}" in out
    assert name in ("demo", "select") or "--input.dimension N" in out


def test_help_does_not_show_what_is_for_the_supervisor_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sampler", "--help"])
    assert "--supervised" not in capsys.readouterr().out


def test_version() -> None:
    assert command("--version").stdout.startswith("stream-coreset ")


@pytest.mark.parametrize("words", [[], ["smapler"], ["sampler", "--input.dimensoin", "3"]])
def test_wrong_usage_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: stream-coreset")


@pytest.mark.parametrize("name", SERVICE)
def test_wrong_settings_are_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--input.topic", "a"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("stream-coreset: settings: input.dimension is required")
    assert len(err.splitlines()) == 1


def test_a_settings_file_that_is_not_there() -> None:
    ended = command("topics", "--config", "none.yaml")
    assert ended.returncode == 2
    assert ended.stderr.startswith("stream-coreset: the settings in none.yaml cannot be read")
    assert "Traceback" not in ended.stderr


def test_unknown_variables_are_refused() -> None:
    ended = command("check", STREAM_CORESET_INPUTT__TOPIC="a")
    assert ended.returncode == 2
    assert "STREAM_CORESET_INPUTT__TOPIC" in ended.stderr


def test_too_few_samplers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--input.dimension", "3", "--samplers", "0"]) == 1
    assert "at least one sampler" in capsys.readouterr().err


def flags(settings: Settings) -> list[str]:
    return [
        f"--name={settings.name}",
        f"--kafka.bootstrap_servers={settings.kafka.bootstrap_servers}",
        f"--input.topic={settings.input.topic}",
        "--input.dimension=2",
    ]


def test_topics_are_verified_created_and_verified(
    make_settings: Callable[..., Settings],
    make_topic: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = make_settings(make_topic())
    assert cli.main(["topics", "--verify", *flags(settings)]) == 1
    assert "create with: stream-coreset topics" in capsys.readouterr().err
    assert cli.main(["topics", *flags(settings)]) == 0
    assert capsys.readouterr().out.count(": created\n") == 5
    assert cli.main(["topics", "--verify", *flags(settings)]) == 0


def test_check_ends_with_what_it_found(
    make_settings: Callable[..., Settings],
    make_topic: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = make_settings(make_topic())
    assert cli.main(["check", *flags(settings)]) == 1
    assert cli.main(["topics", *flags(settings)]) == 0
    capsys.readouterr()
    assert cli.main(["check", *flags(settings)]) == 0
    assert "wrong" not in capsys.readouterr().out


def test_brokers_that_are_down_are_one_sentence() -> None:
    ended = command("topics", "--input.dimension=2", "--kafka.bootstrap_servers=127.0.0.1:1")
    assert ended.returncode == 1
    assert "127.0.0.1:1" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_audit_reports_to_people_and_programs(
    make_settings: Callable[..., Settings],
    make_topic: Callable[..., str],
    fill: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, report = make_settings(make_topic()), tmp_path / "report.json"
    assert cli.main(["topics", *flags(settings)]) == 0
    capsys.readouterr()
    assert cli.main(["audit", *flags(settings), "--json", str(report)]) == 0
    assert capsys.readouterr().out.endswith("The audit is clean.\n")
    assert json.loads(report.read_text())["clean"] is True
    fill(settings.topic("windows"), [b"not an entry of the ledger"])
    assert cli.main(["audit", *flags(settings), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["clean"] is False
    assert found["violations"]
