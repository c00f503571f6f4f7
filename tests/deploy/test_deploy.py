"""What docker-compose.yml, the images and the examples of deploy/ promise, without a Docker engine."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.deployed import COMPOSE, DEPLOY, ROOT, SERVICES, loaded
from yamllint import linter
from yamllint.config import YamlLintConfig

from consumers import cli
from consumers.settings import load_settings

YAML_FILES = sorted([ROOT / "docker-compose.yml", *DEPLOY.rglob("*.yml"), *DEPLOY.rglob("*.yaml")])
LINT = """
extends: default
rules: {line-length: {max: 130}, document-start: disable, comments: {min-spaces-from-content: 1}}
"""


# --- YAML


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_clean(path: Path) -> None:
    problems = linter.run(path.read_text(encoding="utf-8"), YamlLintConfig(LINT))
    assert not [f"{path.name}:{problem.line} {problem.message}" for problem in problems]


# --- docker-compose.yml


@pytest.mark.parametrize("name", SERVICES)
def test_services_refer_to_what_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        assert target.startswith("/")
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback_and_images_have_a_version(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_condition_can_come_true(name: str) -> None:
    depends = SERVICES[name].get("depends_on", {})
    for other, how in depends.items() if isinstance(depends, dict) else []:
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "on-failure"


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if "build" in service}


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == {
        "kafka", "input", "topics", "sampler", "clusterer", "trainer", "replay", "prometheus", "grafana"
    }  # fmt: skip
    assert set(ours()) == {"topics", "sampler", "clusterer", "trainer", "replay"}


@pytest.mark.parametrize("name", ours())
def test_our_images_are_built_from_the_dockerfile(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).exists()
    assert f" AS {build['target']}\n" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ours())
def test_the_environment_holds_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        assert isinstance(value, str)
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    broker = settings.kafka.bootstrap_servers
    assert f"INTERNAL://{broker}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"--topic={settings.input.topic}" in SERVICES["input"]["command"]
    assert settings.endpoint.url is not None
    assert settings.endpoint.url.host in SERVICES
    assert f"--port={settings.endpoint.url.port}" in SERVICES["trainer"]["command"]


def test_the_demo_stream_is_the_one_that_is_configured() -> None:
    from consumers.demo.data import DIMENSION
    from consumers.demo.replay import PARTITIONS

    environment = SERVICES["replay"]["environment"]
    assert environment["STREAM_CORESET_INPUT__DIMENSION"] == str(DIMENSION)
    assert f"--partitions={PARTITIONS}" in SERVICES["input"]["command"]


@pytest.mark.parametrize("name", ["topics", "sampler", "clusterer"])
def test_commands_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*SERVICES[name]["command"], "--help"])
    assert ended.value.code == 0
    assert f"stream-coreset {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["trainer", "replay"])
def test_flags_of_the_demo_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    python, option, module = SERVICES[name]["entrypoint"]
    assert (python, option) == ("python", "-m")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main([*SERVICES[name]["command"], "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(flag.split("=")[0] + " " in said for flag in SERVICES[name]["command"])


def test_replicas_of_the_sampler_are_instances_of_their_own() -> None:
    shell, option, script, _ = SERVICES["sampler"]["entrypoint"]
    assert (shell, option) == ("sh", "-c")
    words = shlex.split(script.replace("$$", "$"))
    assert words == ["STREAM_CORESET_INSTANCE=$(hostname)", "exec", "stream-coreset", "$@"]


# --- Dockerfile


def stages() -> dict[str, list[str]]:
    """Instructions of the Dockerfile by stage, with continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = current = []
        elif found:
            current.append(line)
    return found


def instruction(stage: str, name: str) -> str:
    return [line for line in stages()[stage] if line.startswith(f"{name} ")][-1].removeprefix(f"{name} ")


@pytest.mark.parametrize("stage", ["service", "demo"])
def test_images_run_the_command_without_privileges(stage: str) -> None:
    user = int(instruction(stage, "USER").split(":")[0])
    assert user > 0
    assert f"--uid {user} " in instruction("base", "RUN")
    assert json.loads(instruction(stage, "ENTRYPOINT")) == ["stream-coreset"]


def test_everything_installed_is_pinned_by_hash() -> None:
    installs = [line for lines in stages().values() for line in lines if "pip install" in line]
    for line in installs:
        assert "--no-cache-dir" in line
        assert "--require-hashes -r" in line or line.endswith("--no-deps /tmp/wheels/*.whl")
    locks = {Path(word).name for line in installs for word in line.split() if word.endswith(".lock")}
    assert locks == {"build.lock", "service.lock", "demo.lock"}
    for lock in locks:
        text = (ROOT / "requirements" / lock).read_text()
        pinned = re.split(r"\n(?=\S)", text.strip())
        assert all("==" in one and "--hash=sha256:" in one for one in pinned)


def test_what_is_copied_reaches_the_build() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copies = [line for lines in stages().values() for line in lines if line.startswith("COPY ")]
    for line in copies:
        sources = [] if "--from=" in line else line.split()[1:-1]
        for source in sources:
            assert (ROOT / source).exists()
            assert any(Path(source).match(pattern) for pattern in let_through), source


def test_the_image_listens_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in instruction("base", "ENV").split():
        name, _, value = word.partition("=")
        if name.startswith("STREAM_CORESET_"):
            monkeypatch.setenv(name, value)
    monitoring = load_settings(input={"dimension": 1}).monitoring
    assert monitoring.host == "0.0.0.0"
    assert instruction("service", "EXPOSE") == str(monitoring.port)
    assert f"127.0.0.1:{monitoring.port}/healthz" in instruction("service", "HEALTHCHECK")
    for job in loaded(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]:
        (found,) = job["dns_sd_configs"]
        assert found["port"] == monitoring.port
        assert found["names"] == [job["job_name"]]
        assert job["job_name"] in SERVICES


# --- the secured example


def test_the_secured_example_trusts_nobody() -> None:
    config = DEPLOY / "stream-coreset.secured.yaml"
    settings = load_settings(config)
    assert settings.kafka.security_protocol == "SASL_SSL"
    assert str(settings.endpoint.url).startswith("https://")
    assert settings.endpoint.token_file
    assert settings.sampling.seed_file
    assert settings.monitoring.host == "127.0.0.1"
    assert settings.kafka.sasl_username is None, "each role has its own, given where it is started"


def test_its_commands_and_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (DEPLOY / "stream-coreset.secured.yaml").read_text()
    commands = set(re.findall(r"stream-coreset (\w+) ", text))
    flags = set(re.findall(r"(--[a-z]+[._a-z]*) ", text))
    assert commands >= {"topics", "sampler", "clusterer", "check"}
    for command in commands:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        said = capsys.readouterr().out
        assert all(flag in said for flag in flags - {"--role"})
