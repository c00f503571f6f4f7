from __future__ import annotations

import argparse

import pytest

from consumers.flags import add_settings, flags_of, read_settings
from consumers.settings import SettingsError, load_settings


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="x", allow_abbrev=False)
    add_settings(parser)
    return parser.parse_args(words)


def test_flags_become_settings() -> None:
    words = ["--input.dimension", "3", "--input.chain", "--kafka.options", '{"linger_ms": 5}', "--name=n"]
    expected = load_settings(
        name="n", input={"dimension": 3, "chain": True}, kafka={"options": {"linger_ms": 5}}
    )
    assert read_settings(parsed(*words)) == expected


def test_null_takes_back_what_the_file_says(tmp_path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("input: {dimension: 3}\nsampling: {rate: .1}\n")
    settings = read_settings(
        parsed("--config", str(config), "--sampling.rate", "null", "--sampling.size", "5")
    )
    assert (settings.sampling.rate, settings.sampling.size) == (None, 5)


def test_flags_travel_to_another_process(tmp_path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("input: {dimension: 3}\n")
    arguments = parsed("--config", str(config), "--input.topic=-a", "--instance", "b", "--input.chain")
    again = parsed(*flags_of(arguments))
    assert read_settings(again) == read_settings(arguments)
    assert flags_of(parsed()) == []


def test_help_describes_every_setting_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "--input.dimension N the length of the vector (required)" in said
    assert "--sampling.design pivotal|systematic|iid" in said
    assert "How many examples are kept and how they are drawn." in said
    assert "STREAM_CORESET_KAFKA__SASL_PASSWORD, STREAM_CORESET_SAMPLING__SEED" in said
    assert "--sampling.seed " not in said


def test_secrets_are_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--kafka.sasl_password", "hush")
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "5", "[1]", "null ", '"a"', "[" * 100_000, "9" * 5000])
def test_options_must_be_json(text: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka.options: give a JSON object"):
        read_settings(parsed("--input.dimension", "3", "--kafka.options", text))


@pytest.mark.parametrize("option", ["ssl_password", "sasl_plain_password", "proxy_url", "socks5_proxy"])
def test_options_that_may_be_secrets_are_refused_on_the_command_line(option: str) -> None:
    with pytest.raises(SettingsError, match="everybody on this machine sees command lines") as caught:
        read_settings(parsed("--input.dimension=2", f'--kafka.options={{"{option}": "hush"}}'))
    assert "hush" not in str(caught.value)
