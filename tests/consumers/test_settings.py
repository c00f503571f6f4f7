from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from consumers.settings import Settings, SettingsError, load_settings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "stream-coreset.example.yaml"
INPUT = {"dimension": 3}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(config: Path | None = None, **overrides: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(config, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_example_file_says_the_defaults() -> None:
    assert load_settings(EXAMPLE) == load_settings(input={"dimension": 384})


def test_example_file_names_every_setting_but_the_secrets() -> None:
    written = yaml.safe_load(EXAMPLE.read_text())
    for name, field in Settings.model_fields.items():
        assert name in written
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            secrets = {"kafka": {"sasl_password"}, "sampling": {"seed"}}.get(name, set())
            assert set(written[name]) == set(field.annotation.model_fields) - secrets


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            assert section.__doc__
            missing = [inner for inner, one in section.model_fields.items() if not one.description]
            assert not missing, f"{name}: {missing}"
        else:
            assert field.description, name


def test_flags_win_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, "input: {dimension: 3, topic: a, embedding: e}\nwindow: {size: 7}\n")
    monkeypatch.setenv("STREAM_CORESET_INPUT__TOPIC", "b")
    monkeypatch.setenv("STREAM_CORESET_WINDOW__SIZE", "8")
    settings = load_settings(config, window={"size": "9"})
    assert (settings.input.topic, settings.window.size) == ("b", 9)
    assert (settings.input.embedding, settings.input.dimension) == ("e", 3)


def test_a_section_of_comments_keeps_its_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "input: {dimension: 3}\nwindow:\n")) == load_settings(input=INPUT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input: {dimension: 3, topc: a}", "there is no setting input.topc"),
        ("input: {dimension: 3}\nwindows: {}", "there is no setting windows"),
        ("input: {topic: a}", "input.dimension is required"),
        ("input: {dimension: 0}", "input.dimension: Input should be greater"),
        ("- 1", "must hold sections"),
        ("1: 2", "must hold sections"),
        ("input: [", "is not YAML"),
        ("input: {dimension: 3}\nsampling: {rate: .1, size: 2}", "one of rate, size, epsilon and per_hour"),
        ("input: {dimension: 3}\nsampling: {seed: a, seed_file: b}", "seed or seed_file, not both"),
        ("input: {dimension: 3}\nkafka: {sasl_password: a, sasl_password_file: b}", "not both"),
        ("input: {dimension: 3}\nkafka: {security_protocol: SASL_SSL}", "needs a sasl_mechanism"),
        ("input: {dimension: 3}\ntopics: {coreset: examples}", "two topics have the same name"),
        (
            "input: {dimension: 3, max_message_bytes: 2000000}\nwindow: {max_bytes: 1500000}",
            "window.max_bytes",
        ),
        ("input: {dimension: 3, start: 2026-01-31}", "input.start"),
        ("input: {dimension: 3, topic: 'a b'}", "input.topic"),
        ("input: {dimension: 3}\nwindow: {age_seconds: .inf}", "window.age_seconds"),
        ("input: {dimension: 3}\nsampling: {size: .inf}", "sampling.size"),
        ("input: {dimension: 3}\nsampling: {epsilon: .inf}", "sampling.epsilon"),
        ("input: {dimension: 3}\nwindow: {size: 0x" + "f" * 5000 + "}", "window.size"),
        ("input: {dimension: 3}\nwindow: {size: " + "9" * 5000 + "}", "a number of thousands of digits"),
        ("input: {dimension: 3, start: 2026-02-30}", "a date that does not exist"),
        ("input: {dimension: 3, start: !!timestamp x}", "a tag that does not fit its value"),
        ("input: {dimension: 3, chain: !!bool x}", "a tag that does not fit its value"),
        ("input: {dimension: !!int ''}", "a tag that does not fit its value"),
        ("input: " + "[" * 1000, "nested too deeply"),
        ("input: {dimension: 3}\n#" + "x" * 100_000, "more than 100,000 characters"),
        ("input: {dimension: 3}\nwindow: {size: 1}\nwindow: {size: 2}", "a key comes twice in line 3"),
        ("input: {dimension: 3, dimension: 4}", "a key comes twice in line 1, column 23"),
        ("input: {dimension: 3}\n_env_file: /etc/passwd", "there is no setting _env_file"),
        ("input: {dimension: 3}\n_cli_parse_args: true", "there is no setting _cli_parse_args"),
        ("__pydantic_self__: 1", "there is no setting __pydantic_self__"),
        ("a b: 1", "there is no setting 'a b'"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["STREAM_CORESET_INPT__TOPIC", "STREAM_CORESET_INPUT__TOPC"])
def test_unknown_names_in_the_environment_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a")
    assert "there is no setting" in refusal(input=INPUT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INPUT", '{"dimension": ' + "[" * 3000 + "]" * 3000 + "}"),
        ("KAFKA__OPTIONS" + "__A" * 3000, "1"),
        ("KAFKA__OPTIONS", "{"),
    ],
)
def test_mistakes_in_the_environment_are_one_sentence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_CORESET_" + name, value)
    assert len(refusal(input=INPUT)) < 200


def test_a_refusal_is_short_whatever_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = "\n".join(f"  {'x' * 1000}{i}: 1" for i in range(50))
    said = refusal(written(tmp_path, f"input:\n  dimension: 3\n{many}"))
    assert said.endswith("and 40 more")
    assert len(said) < 1500
    monkeypatch.setenv("STREAM_CORESET_" + "X" * 10_000, "1")
    assert len(refusal(input=INPUT)) < 300


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    kafka = {"sasl_password": "hush", "options": {"ssl_password": "hush"}}
    settings = load_settings(input=INPUT, kafka=kafka, sampling={"seed": "hush"})
    assert "hush" not in repr(settings) + str(settings)
    assert "hush" not in refusal(input=INPUT, kafka={"sasl_pasword": "hush"})
    assert "hush" not in refusal(input=INPUT, kafka={"sasl_password": ["hush"]})


@pytest.mark.parametrize(
    "text", ['"hush', "hush: hush", "*hush", "!hush hush", "{hush", "[hush", "\x07hush", "%hush"]
)
def test_a_file_that_is_not_yaml_shows_no_secret(tmp_path: Path, text: str) -> None:
    said = refusal(written(tmp_path, f"kafka:\n  sasl_password: {text}\n"))
    assert "hush" not in said


@pytest.mark.parametrize("name", ["KAFKA", "KAFKA__OPTIONS", "SAMPLING"])
def test_an_environment_that_is_not_json_shows_no_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STREAM_CORESET_{name}", '{"seed": "hush')
    said = refusal(input=INPUT)
    assert "give JSON" in said
    assert "hush" not in said


def test_the_address_of_the_brokers_is_no_place_for_secrets() -> None:
    said = refusal(input=INPUT, kafka={"bootstrap_servers": "me:hush@broker:9092"})
    assert said == "settings: kafka: bootstrap_servers takes no user name or password; see sasl_username"


def test_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    kafka, sampling = {"sasl_password_file": secret}, {"seed_file": secret}
    settings = load_settings(input=INPUT, kafka=kafka, sampling=sampling)
    assert (settings.kafka.password(), settings.sampling.secret_seed()) == ("hush", "hush")
    secret.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.kafka.password()


def test_without_secrets() -> None:
    settings = load_settings(input=INPUT)
    assert (settings.kafka.password(), settings.sampling.secret_seed()) == (None, None)


def test_start_may_be_a_time() -> None:
    settings = load_settings(input={"dimension": 3, "start": "2026-01-31T12:00:00Z"})
    assert settings.input.start == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_topics_are_named_after_the_deployment_unless_named() -> None:
    settings = load_settings(name="fraud", input=INPUT, topics={"coreset": "small"})
    assert settings.topic("dead_letters") == "fraud-dead-letters"
    assert settings.topic("coreset") == "small"


def test_the_stream_digest_tells_streams_apart_and_nothing_else() -> None:
    one = load_settings(input=INPUT)
    assert one.stream_digest() == load_settings(input=INPUT, window={"size": 3}).stream_digest()
    assert one.stream_digest() != load_settings(input={"dimension": 4}).stream_digest()
    assert one.stream_digest() != load_settings(input={"dimension": 3, "topic": "other"}).stream_digest()
