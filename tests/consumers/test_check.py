from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from support.secured import acl

from consumers.broker import Broker
from consumers.check import check
from consumers.rights import rights_of
from consumers.settings import Settings, load_settings
from consumers.topics import ensure_topics


def look(settings: Settings) -> dict[str, tuple[str, str]]:
    """What check says: state and sentence by subject."""
    lines: list[str] = []
    well = check(settings, lines.append)
    found = {about: (state, says) for state, about, says in (line.split(maxsplit=2) for line in lines)}
    assert well == all(state != "wrong" for state, _ in found.values())
    assert list(found) == ["device", "brokers", "topics", "rights", "messages", "endpoint"]
    return found


class Model(BaseHTTPRequestHandler):
    """A model that is ready and whose every loss is 0.25."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        loss = {"name": "loss", "datatype": "FP64", "shape": [1], "data": [0.25]}
        self._answer({"model_name": "model", "model_version": "7", "outputs": [loss]})

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_all_is_well(
    make_settings: Callable[..., Settings],
    make_topic: Callable[..., str],
    fill: Callable[..., None],
    model: str,
) -> None:
    topic = make_topic(partitions=2)
    settings = make_settings(topic, endpoint={"url": model}, clustering={"device": "cpu"})
    ensure_topics(settings)
    fill(topic, [b'{"embedding": [1, 2]}'] * 3)
    found = look(settings)
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["messages"][1] == f"the last 3 examples of {topic} have vectors of 2"
    assert "loss 0.25, model version 7" in found["endpoint"][1]


def test_our_topics_that_are_missing(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str]
) -> None:
    state, sentence = look(make_settings(make_topic()))["topics"]
    assert state == "wrong"
    assert "create with: stream-coreset topics" in sentence


def test_an_empty_input_and_no_endpoint_are_well(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str]
) -> None:
    settings = make_settings(make_topic())
    ensure_topics(settings)
    found = look(settings)
    assert found["messages"] == ("ok", f"{settings.input.topic} is empty: nothing to look at yet")
    assert found["endpoint"][0] == "ok"


def test_topics_that_are_missing(make_settings: Callable[..., Settings], name: str) -> None:
    found = look(make_settings(f"{name}-input"))
    assert found["topics"][0] == "wrong"
    assert f"There is no topic {name}-input" in found["topics"][1]
    assert found["messages"][0] == "wrong"


@pytest.mark.parametrize(
    ("value", "says"),
    [(b'{"embedding": [1, 2, 3]}', "3"), (b"not json", "JSON"), (b'{"embedding": [1, null]}', "embedding")],
)
def test_messages_that_cannot_be_used(
    value: bytes,
    says: str,
    make_settings: Callable[..., Settings],
    make_topic: Callable[..., str],
    fill: Callable[..., None],
) -> None:
    topic = make_topic()
    settings = make_settings(topic)
    ensure_topics(settings)
    fill(topic, [b'{"embedding": [1, 2]}', value])
    state, sentence = look(settings)["messages"]
    assert state == "wrong"
    assert sentence.startswith(f"1 of the last 2 examples of {topic} cannot be used: ")
    assert says in sentence


def test_a_few_bad_messages_are_no_reason_to_stop(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str], fill: Callable[..., None]
) -> None:
    topic = make_topic()
    settings = make_settings(topic)
    fill(topic, [b'{"embedding": [1, 2]}'] * 3 + [b"{}"])
    state, sentence = look(settings)["messages"]
    assert state == "ok"
    assert sentence.startswith(f"1 of the last 4 examples of {topic} cannot be used: ")


def unreachable(**sections: Any) -> Settings:
    return load_settings(input={"dimension": 2}, **sections)


def test_brokers_that_are_down_and_an_endpoint_that_is_down() -> None:
    found = look(
        unreachable(kafka={"bootstrap_servers": "127.0.0.1:1"}, endpoint={"url": "http://127.0.0.1:1"})
    )
    state, sentence = found["brokers"]
    assert state == "wrong"
    assert "127.0.0.1:1" in sentence
    assert "start the brokers or correct kafka.bootstrap_servers" in sentence
    assert {found[about][0] for about in ("topics", "rights", "messages")} == {"skipped"}
    assert found["endpoint"][0] == "wrong"


def test_an_address_that_is_none() -> None:
    state, sentence = look(unreachable(kafka={"bootstrap_servers": "kafka"}))["brokers"]
    assert (state, sentence) == ("wrong", "kafka.bootstrap_servers: 'kafka' is not host:port")


def test_somebody_who_is_no_broker() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        stop = threading.Thread(target=_hang_up, args=(server,), daemon=True)
        stop.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        state, sentence = look(unreachable(kafka={"bootstrap_servers": where}))["brokers"]
    assert state == "wrong"
    assert f"{where} listens but hangs up on us; check kafka.security_protocol (now PLAINTEXT)" in sentence


def _hang_up(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def test_a_gpu_that_is_not_there(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str]
) -> None:
    pytest.importorskip("kafka")
    if _has_gpu():
        pytest.skip("there is a GPU")
    settings = unreachable(kafka={"bootstrap_servers": "127.0.0.1:1"}, clustering={"device": "cuda"})
    state, sentence = look(settings)["device"]
    assert state == "wrong"
    assert "clustering.device is cuda" in sentence


def _has_gpu() -> bool:
    from stream_coreset.arrays import resolve_device

    return resolve_device("auto").name == "cuda"


# --- a broker that asks for a password and grants rights one by one

ADMIN, USER = ("admin", "secret-a"), ("sampler", "secret-b")
LOGIN_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
JAAS = f'{LOGIN_MODULE} required username="{ADMIN[0]}" password="{ADMIN[1]}";'
SECURED = {
    "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.plaintext.scram-sha-512.sasl.jaas.config": JAAS,
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:{ADMIN[0]};User:ANONYMOUS",
}


@pytest.fixture(scope="module")
def secured() -> Iterator[str]:
    users = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in (ADMIN, USER)]
    arguments = [word for user in users for word in ("--add-scram", user)]
    with Broker(options=SECURED, format_arguments=arguments) as broker:
        yield broker.bootstrap_servers


def login(servers: str, user: tuple[str, str], **sections: Any) -> Settings:
    kafka = {
        "bootstrap_servers": servers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": user[0],
        "sasl_password": user[1],
    }
    return load_settings(name="secured", input={"dimension": 2}, kafka=kafka, **sections)


@pytest.fixture(scope="module")
def superuser(secured: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(
        bootstrap_servers=secured, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username=ADMIN[0], sasl_plain_password=ADMIN[1],
    )  # fmt: skip
    with closing(client):
        client.create_topics([NewTopic("examples", 1, 1)])
        ensure_topics(login(secured, ADMIN))
        yield client


@pytest.mark.kafka
@pytest.mark.usefixtures("superuser")
def test_a_wrong_password_is_told_from_a_broker_that_is_down(secured: str) -> None:
    state, sentence = look(login(secured, (USER[0], "wrong")))["brokers"]
    assert state == "wrong"
    assert "password" in sentence


@pytest.mark.kafka
def test_rights_that_are_missing_are_named(secured: str, superuser: KafkaAdminClient) -> None:
    settings = login(secured, USER)
    state, sentence = look(settings)["rights"]
    assert state == "wrong"
    for right in (
        "READ on topic examples", "WRITE on topic secured-coreset", "READ on topic secured-windows",
        "READ on group secured-sampler", "WRITE on transactional id secured-sampler-*",
    ):  # fmt: skip
        assert right in sentence
    assert "READ on topic secured-coreset" not in sentence
    superuser.create_acls([acl(right, USER[0]) for right in rights_of(settings, "sampler", "clusterer")])
    found = look(settings)
    assert found["rights"] == ("ok", "all granted that sampler and clusterer need")
    assert found["topics"][0] == "skipped", found["topics"]
    assert "grant DESCRIBE_CONFIGS" in found["topics"][1]
    assert {found[about][0] for about in ("device", "brokers", "messages", "endpoint")} == {"ok"}


@pytest.mark.kafka
@pytest.mark.usefixtures("superuser")
def test_secrets_are_not_said(secured: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = str(look(login(secured, USER))) + str(look(login(secured, (USER[0], "secret-wrong"))))
    said += "".join(capsys.readouterr())
    assert "secret-" not in said
