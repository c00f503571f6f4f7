"""The whole service where nobody is trusted: TLS, logins, and for each part the least rights that suffice."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from support.secured import ADMIN, Secured, acl, revoked, secured_broker

from consumers import cli
from consumers.clients import admin_client
from consumers.connecting import connect
from consumers.errors import BrokerError, ServiceError
from consumers.reader import read_to_end
from consumers.rights import Right, missing_rights, rights_of
from consumers.roles import run_clusterer, run_sampler
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

PARTS = ("sampler", "clusterer", "topics", "audit", "check", "trainer")
DIMENSION = 4
IMPATIENT = {"bootstrap_timeout_ms": 2_000}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("secured"), (*PARTS, "nobody")) as it:
        yield it


@pytest.fixture(scope="module")
def kafka(secured: Secured) -> str:
    return secured.broker.bootstrap_servers


@pytest.fixture(scope="module")
def admin(secured: Secured) -> Iterator[KafkaAdminClient]:
    with closing(admin_client(load_settings(input={"dimension": 1}, kafka=secured.login(ADMIN)))) as client:
        yield client


def settings_of(kafka: dict[str, Any], name: str = "secured", **sections: Any) -> Settings:
    given = {"topic": f"{name}-examples", "dimension": DIMENSION, "start": "earliest"}
    quick = {"window": {"size": 10, "age_seconds": 0.2}, "clustering": {"flush_seconds": 0.1, "n_clusters": 2}}
    return load_settings(name=name, input=given, kafka=kafka, **quick, **sections)


def grant(admin: KafkaAdminClient, settings: Settings) -> None:
    """Each part's user gets the rights of the part and no others."""
    for part in PARTS:
        admin.create_acls([acl(right, part) for right in rights_of(settings, part)])


def test_the_whole_service_runs_on_the_rights_that_are_listed(
    secured: Secured,
    admin: KafkaAdminClient,
    name: str,
    make_service: Callable[..., Any],
    make_stream: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    grant(admin, settings_of({}, name))
    service = make_service(kafka=secured.login("topics"))  # which creates the topics
    service.settings = load_settings(service.config, kafka=secured.login("audit"))
    stream = make_stream(service, **_producer(secured))
    for role in ("sampler", "clusterer"):
        service.start(role, *as_user(secured, role))
    stream.send(1000)
    service.wait("clusters", lambda: service.version() >= 1)
    stream.send_bytes(b"not an example")
    stream.send(1000)
    service.wait_processed(stream.sent)
    checks = [("--role", role, *as_user(secured, role)) for role in ("sampler", "clusterer")]
    for how in (*checks, as_user(secured, "check")):
        assert cli.main(["check", "--config", str(service.config), *how]) == 0, capsys.readouterr().out
    service.stop_all()

    assert cli.main(["audit", "--config", str(service.config), *as_user(secured, "audit")]) == 0
    trainer = load_settings(service.config, kafka=secured.login("trainer"))
    assert len(list(read_to_end(trainer, trainer.topic("coreset")))) == pytest.approx(200, abs=20)
    with pytest.raises(Exception, match="not exist|Authorization"):
        list(read_to_end(trainer, trainer.input.topic))


def _producer(secured: Secured) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": ADMIN,
        "sasl_plain_password": (secured.directory / f"{ADMIN}.password").read_text().strip(),
        "ssl_cafile": str(secured.directory / "ca.pem"),
    }


def as_user(secured: Secured, user: str) -> list[str]:
    """Flags with which a command logs in as a user; the password stays in its file."""
    login = secured.login(user)
    return [f"--kafka.{key}={login[key]}" for key in ("sasl_username", "sasl_password_file")]
