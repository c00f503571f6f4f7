"""The whole service where nobody is trusted: TLS, logins, and for each part the least rights that suffice."""

from __future__ import annotations

import re
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from structlog.testing import capture_logs
from support.secured import ADMIN, Secured, acl, revoked

from consumers.audit import audit
from consumers.check import check
from consumers.clients import admin_client
from consumers.connecting import attempt
from consumers.errors import BrokerError, ServiceError
from consumers.explaining import centers
from consumers.explaining.example import explain
from consumers.reader import latest_publication, read_to_end
from consumers.rights import Part, missing_rights, rights_of
from consumers.roles.clusterer import run_clusterer
from consumers.roles.sampler import run_sampler
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

PARTS: tuple[Part, ...] = (
    "sampler", "clusterer", "topics", "audit", "explain", "check", "shadow", "trainer",
)  # fmt: skip
ROLES = {"sampler": run_sampler, "clusterer": run_clusterer}
DIMENSION = 4


@pytest.fixture(scope="module")
def kafka(secured: Secured) -> str:
    return secured.broker.bootstrap_servers


@pytest.fixture(scope="module")
def admin(secured: Secured) -> Iterator[KafkaAdminClient]:
    with closing(admin_client(load_settings(input={"dimension": 1}, kafka=secured.login(ADMIN)))) as client:
        yield client


def settings_of(kafka: dict[str, Any], name: str = "secured", **sections: Any) -> Settings:
    given = {"topic": f"{name}-examples", "dimension": DIMENSION, "start": "earliest"}
    quick = {
        "window": {"size": 10, "age_seconds": 0.2},
        "clustering": {"flush_seconds": 0.1, "n_clusters": 2},
        "sampling": {"rate": 0.5},  # of every window something is taken
    }
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
    for part, roles in (("sampler", ["sampler"]), ("clusterer", ["clusterer"]), ("check", list(ROLES))):
        found: list[str] = []
        assert check(load_settings(service.config, kafka=secured.login(part)), found.append, roles), found
    service.stop_all()

    report = service.audit()
    assert report.clean, report.violations
    trainer = load_settings(service.config, kafka=secured.login("trainer"))
    emitted = list(read_to_end(trainer, trainer.topic("coreset")))
    assert len(emitted) == pytest.approx(200, abs=20)
    with pytest.raises(Exception, match=r"not exist|Authorization"):
        list(read_to_end(trainer, trainer.input.topic))
    asking = load_settings(service.config, kafka=secured.login("explain"))
    taken = (asking.topic("coreset"), emitted[-1].partition, emitted[-1].offset)
    assert explain(asking, *taken).outcome == "taken"
    dead = next(one for one in read_to_end(asking, asking.input.topic) if one.value == b"not an example")
    assert explain(asking, dead.topic, dead.partition, dead.offset).outcome == "dead letter"
    assert centers.report(asking, Namespace(top=1)).version >= 1


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


# --- each right is needed: without it, somebody says which one is missing


@pytest.fixture(scope="module")
def deployment(secured: Secured, admin: KafkaAdminClient) -> Settings:
    """A deployment that has run: with windows, clusters and group offsets; as the super user."""
    settings = settings_of(secured.login(ADMIN))
    admin.create_topics([NewTopic(settings.input.topic, 1, 1)], wait_for_metadata=True)
    ensure_topics(settings)
    grant(admin, settings)
    send(secured, settings)
    with running(settings_of(secured.login("sampler"))), running(settings_of(secured.login("clusterer"))):
        until(lambda: latest_publication(settings) is not None)
    return settings


def send(secured: Secured, settings: Settings) -> None:
    with closing(
        KafkaProducer(bootstrap_servers=secured.broker.bootstrap_servers, **_producer(secured))
    ) as to:
        for number in range(30):
            to.send(settings.input.topic, orjson.dumps({"embedding": [number, 1, 2, 3]}))


@contextmanager
def running(settings: Settings) -> Iterator[list[ServiceError]]:
    """Run the role that the user is named after; what ended it is in the list."""
    role = ROLES[str(settings.kafka.sasl_username)]
    stop, said = threading.Event(), list[ServiceError]()

    def run() -> None:
        try:
            role(settings, stop)
        except ServiceError as error:
            said.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("part", PARTS)
def test_each_right_that_is_missing_is_named(
    secured: Secured, admin: KafkaAdminClient, deployment: Settings, part: Part
) -> None:
    settings = settings_of(secured.login(part))
    with closing(admin_client(settings)) as asking:
        assert missing_rights(settings, asking, part) == []
        for right in rights_of(settings, part):
            with revoked(admin, right, part):
                missing = missing_rights(settings, asking, part)
            assert right in missing
            assert {one.name for one in missing} == {right.name}  # all on a topic that may not even be seen


@pytest.mark.parametrize(
    ("role", "right", "says"),
    [
        ("sampler", "READ on topic secured-examples", "we lack the right to see it"),
        ("sampler", "WRITE on topic secured-coreset", "we lack the right to see it"),
        ("sampler", "WRITE on topic secured-windows", "WRITE on those we write.*rights prints how"),
        ("sampler", "READ on group secured-sampler", "grant READ on it.*rights prints how"),
        ("sampler", "WRITE on transactional id secured-sampler-*", "grant WRITE on it.*rights prints how"),
        ("clusterer", "READ on topic secured-clusters", "grant READ on the topics we read"),
        ("clusterer", "WRITE on topic secured-clusters", "WRITE on those we write.*rights prints how"),
        ("clusterer", "WRITE on transactional id secured-clusterer", "grant WRITE on it.*rights prints how"),
    ],
)
def test_a_role_without_a_right_ends_with_a_sentence(
    secured: Secured, admin: KafkaAdminClient, deployment: Settings, role: Part, right: str, says: str
) -> None:
    settings = settings_of(secured.login(role))
    taken = next(one for one in rights_of(settings, role) if str(one) == right)
    send(secured, deployment)
    with ExitStack() as stack:
        if role == "clusterer":  # has something to do only where a sampler runs
            stack.enter_context(running(settings_of(secured.login("sampler"))))
        stack.enter_context(revoked(admin, taken, role))
        said = stack.enter_context(running(settings))
        until(lambda: said)
    assert re.search(says, str(said[0]))
    assert taken.name in str(said[0])


@pytest.mark.parametrize("kind", ["transactional id", "group", "topic"])
def test_an_audit_that_may_not_see_everything_does_not_call_it_clean(
    secured: Secured, admin: KafkaAdminClient, deployment: Settings, kind: str
) -> None:
    settings = settings_of(secured.login("audit"))
    taken = next(one for one in rights_of(settings, "audit") if one.kind == kind)
    with (
        revoked(admin, taken, "audit"),
        pytest.raises(BrokerError, match=f"grant us {taken}".replace("*", ".")),
    ):
        audit(settings)


def test_a_sampler_goes_on_without_the_right_to_read_clusters_and_says_so(
    secured: Secured, admin: KafkaAdminClient, deployment: Settings
) -> None:
    settings = settings_of(secured.login("sampler"))
    taken = next(one for one in rights_of(settings, "sampler") if one.name == settings.topic("clusters"))
    before = len(list(read_to_end(deployment, deployment.topic("windows"))))
    send(secured, deployment)
    with capture_logs() as log, revoked(admin, taken, "sampler"), running(settings) as said:
        until(lambda: len(list(read_to_end(deployment, deployment.topic("windows")))) > before)
    assert not said
    assert any("secured-clusters does not exist, or we lack the right" in str(one) for one in log)


# --- who the brokers are, and who we are


REFUSALS = {
    "another host": ({"listener": "STRANGER"}, {}, "their certificate is for another host"),
    "expired": ({"listener": "EXPIRED"}, {}, "their certificate has expired"),
    "untrusted": ({}, {"ssl_cafile": "other-ca.pem"}, "not from an authority in kafka.ssl_cafile"),
    "wrong password": ({"password": "wrong"}, {}, "kafka.sasl_username or the password is wrong"),
    "wrong mechanism": ({}, {"sasl_mechanism": "PLAIN"}, "they do not speak kafka.sasl_mechanism"),
    "no such file": ({}, {"ssl_cafile": "none.pem"}, "none.pem cannot be read: No such file"),
    "no certificate": ({}, {"ssl_cafile": "sampler.password"}, "sampler.password holds no certificate"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_connection_that_cannot_be_trusted_is_refused_with_a_sentence(secured: Secured, case: str) -> None:
    how, mistakes, says = REFUSALS[case]
    kafka = {**secured.login("sampler", **how), "options": {"bootstrap_timeout_ms": 2_000}}
    kafka |= {
        key: given if key == "sasl_mechanism" else str(secured.directory / given)
        for key, given in mistakes.items()
    }
    with running(settings_of(kafka)) as said:
        until(lambda: said)
    assert says in str(said[0])


def test_mutual_tls(secured: Secured, admin: KafkaAdminClient, deployment: Settings) -> None:
    settings = settings_of(secured.certified())
    with closing(admin_client(settings)) as client:
        assert missing_rights(settings, client, "trainer") == rights_of(settings, "trainer")
    admin.create_acls([acl(right, "certified") for right in rights_of(settings, "trainer")])
    assert list(read_to_end(settings, settings.topic("coreset")))


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"options": {"ssl_password": "wrong"}}, "passphrase of the key .* is missing or wrong"),
        ({"options": {}}, "passphrase of the key .* is missing or wrong"),
        (
            {"ssl_certfile": None, "ssl_keyfile": None},
            "they want a certificate from us; set kafka.ssl_certfile",
        ),
    ],
)
def test_mutual_tls_that_fails_says_why(secured: Secured, mistake: dict[str, Any], says: str) -> None:
    options = {"bootstrap_timeout_ms": 2_000, **mistake.get("options", {})}
    settings = settings_of({**secured.certified(), **mistake, "options": options})
    with pytest.raises(ServiceError, match=says):
        attempt(lambda: admin_client(settings), settings)
