from __future__ import annotations

import argparse
import shlex

import pytest

from consumers import cli
from consumers.rights import PARTS, Right, acl_commands, rights_of
from consumers.settings import Settings, load_settings


def settings(**sections: object) -> Settings:
    return load_settings(name="clicks", input={"topic": "raw", "dimension": 2}, **sections)


RETURNED = {"topic": "losses"}


def granted(command: str) -> tuple[str, set[Right]]:
    """Who is granted what by a command of kafka-acls."""
    parser = argparse.ArgumentParser()
    for flag in ("bootstrap-server", "command-config", "allow-principal", "operation"):
        parser.add_argument(f"--{flag}", required=True)
    for flag in ("topic", "group", "transactional-id"):
        parser.add_argument(f"--{flag}", action="append", default=[])
    parser.add_argument("--resource-pattern-type", default="literal")
    parser.add_argument("--add", action="store_true", required=True)
    program, *words = shlex.split(command)
    assert program == "kafka-acls"
    given = parser.parse_args(words)
    operation = {"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(given.operation, given.operation.upper())
    prefixed = given.resource_pattern_type == "prefixed"
    resources = {"topic": given.topic, "group": given.group, "transactional id": given.transactional_id}
    rights = {
        Right(operation, kind, name, prefixed)  # type: ignore[arg-type]
        for kind, names in resources.items()
        for name in names
    }
    return given.allow_principal, rights


@pytest.mark.parametrize("feedback", [{}, RETURNED])
@pytest.mark.parametrize("part", PARTS)
def test_the_commands_grant_exactly_what_is_needed(part, feedback) -> None:
    found: set[Right] = set()
    given = settings(feedback=feedback)
    for command in acl_commands(given, part, "User:it's me"):
        principal, rights = granted(command)
        assert principal == "User:it's me"
        assert not found & rights
        found |= rights
    assert found == set(rights_of(given, part))


def test_a_trainer_reads_the_coreset_and_nothing_else() -> None:
    assert rights_of(settings(), "trainer") == [Right("READ", "topic", "clicks-coreset")]


def test_where_losses_come_back_the_clusterer_reads_them_and_writes_estimates() -> None:
    more = set(rights_of(settings(feedback=RETURNED), "clusterer")) - set(rights_of(settings(), "clusterer"))
    assert {str(one) for one in more} == {
        "READ on topic losses",
        "READ on topic clicks-coreset",
        "READ on topic clicks-windows",
        "WRITE on topic clicks-estimates",
    }
    trainer = rights_of(settings(feedback=RETURNED), "trainer")
    assert Right("WRITE", "topic", "losses") in trainer
    assert rights_of(settings(feedback=RETURNED), "sampler") == rights_of(settings(), "sampler")


def test_nobody_may_write_the_input_or_alter_anything() -> None:
    for part in set(PARTS) - {"replay"}:
        rights = rights_of(settings(), part)
        assert not [one for one in rights if one.name == "raw" and one.operation not in ("READ", "DESCRIBE")]
        assert {one.operation for one in rights} <= {
            "READ",
            "WRITE",
            "CREATE",
            "DESCRIBE",
            "DESCRIBE_CONFIGS",
        }


def test_names_of_topics_and_instances_are_those_of_the_settings() -> None:
    named = settings(topics={"coreset": "train"}, instance="7")
    assert Right("WRITE", "topic", "train") in rights_of(named, "sampler")
    assert Right("WRITE", "transactional id", "clicks-sampler-", prefixed=True) in rights_of(named, "sampler")


@pytest.mark.parametrize(
    ("flags", "principal"),
    [
        ((), "User:coreset-trainer"),
        (("--kafka.sasl_username=me",), "User:me"),
        (("--kafka.sasl_username=me", "--principal=User:CN=them"), "User:CN=them"),
    ],
)
def test_the_command_says_who(flags, principal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rights", "--part", "trainer", "--input.dimension=2", *flags]) == 0
    heading, command = capsys.readouterr().out.splitlines()
    assert heading == "# trainer"
    assert granted(command)[0] == principal


def test_the_command_prints_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rights", "--input.dimension=2"]) == 0
    headings = [line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("# ")]
    assert headings == list(PARTS)
