"""Secrets come from files and the environment, and are seen nowhere else: not in what is written or shown."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from kafka import KafkaAdminClient
from support.secured import ADMIN, PASSPHRASE, Secured

from consumers import cli
from consumers.broker.node import free_ports
from consumers.clients import admin_client, plain_consumer, transactional_producer
from consumers.logs import configure_logs
from consumers.reader import read_to_end
from consumers.sections import Monitoring
from consumers.serving import CRASHED, serve
from consumers.settings import ROLES, Settings, load_settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

SENTINEL = "sentinel-"  # every secret begins so
TOKEN, SEED, PASSWORD = f"{SENTINEL}token", f"{SENTINEL}seed", f"{SENTINEL}password-{ADMIN}"
ENVIRONMENT = {"STREAM_CORESET_KAFKA__SASL_PASSWORD": PASSWORD, "STREAM_CORESET_SAMPLING__SEED": SEED}


@pytest.fixture(scope="module")
def kafka(secured: Secured) -> str:
    return secured.broker.bootstrap_servers


@pytest.fixture(scope="module")
def admin(secured: Secured) -> Iterator[KafkaAdminClient]:
    with closing(admin_client(load_settings(input={"dimension": 1}, kafka=secured.login(ADMIN)))) as client:
        yield client


class Gossip(BaseHTTPRequestHandler):
    """A model that answers every question with an error that repeats what it was sent."""

    def do_POST(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])  # type: ignore[attr-defined]
        body = f"no: {self.headers}".encode()
        self.send_response(401, f"Unauthorized {self.headers['Authorization']}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def gossip() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gossip) as server:
        server.tokens = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def login(secured: Secured, tmp_path: Path) -> dict[str, Any]:
    """The section `kafka` with a password from the environment and a client's key that has a passphrase."""
    certificate = {
        key: one for key, one in secured.certified().items() if key in ("ssl_certfile", "ssl_keyfile")
    }
    given = {**secured.login(ADMIN), **certificate, "options": {"ssl_password": PASSPHRASE}}
    return {key: one for key, one in given.items() if key != "sasl_password_file"}


def run(config: Path, *words: str, **environment: str) -> str:
    """Run a command to its end; all that it says."""
    command = [sys.executable, "-m", "consumers.cli", *words, "--config", str(config)]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, **environment}, timeout=60, check=False
    )
    return (done.stdout + done.stderr).decode()


def test_a_running_service_shows_no_secret(
    secured: Secured,
    gossip: ThreadingHTTPServer,
    login: dict[str, Any],
    tmp_path: Path,
    make_service: Callable[..., Any],
    make_stream: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "token").write_text(TOKEN)
    port = free_ports(1)[0]
    endpoint = {
        "url": f"http://127.0.0.1:{gossip.server_address[1]}",
        "token_file": str(tmp_path / "token"),
        "attempts": 1,
    }
    service = make_service(
        kafka=login,
        endpoint=endpoint,
        sampling={"rate": 0.1, "seed": None},
        monitoring={"log_level": "debug", "port": port},
    )
    admitted = {
        key: one for key, one in secured.login(ADMIN).items() if key in ("security_protocol", "ssl_cafile")
    }
    how = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": ADMIN, "sasl_plain_password": PASSWORD}
    stream = make_stream(service, **admitted, **how)
    supervisor = service.start("run", '--kafka.options={"request_timeout_ms": 6000}')
    stream.send(1500)
    stream.send_bytes(b"not an example")
    service.wait_processed(stream.sent)
    service.wait("an answer of the model", lambda: gossip.tokens)  # type: ignore[attr-defined]
    seen = [" ".join(one.cmdline()) for one in _family(supervisor.pid)]
    for path in ("metrics", "healthz", "readyz", "other"):
        seen += [httpx.get(f"http://127.0.0.1:{port + child}/{path}").text for child in (0, 1)]
    seen += [
        run(service.config, *words) for words in (["check"], ["topics"], ["rights"], ["audit", "--json"])
    ]
    service.stop_all()
    for topic in (service.settings.topic(role) for role in ROLES):
        seen += [repr(record) for record in read_to_end(service.settings, topic)]

    assert gossip.tokens[0] == f"Bearer {TOKEN}"  # type: ignore[attr-defined]
    log = service.config.with_name("run-0.log").read_text()
    assert "answered 401 Unauthorized Bearer **********" in log, "the model was asked, and its answer logged"
    assert len(seen) > 20
    assert not [one[:500] for one in [log, repr(service.settings), *seen] if SENTINEL in one]


def _family(pid: int) -> list[psutil.Process]:
    supervisor = psutil.Process(pid)
    return [supervisor, *supervisor.children(recursive=True)]


MISTAKES = {
    "a value of a wrong type": {"kafka": {"sasl_password": [PASSWORD]}},
    "an unknown setting": {"kafka": {"sasl_pasword": PASSWORD}},
    "a secret in an address": {"endpoint": {"url": f"http://me:{TOKEN}@127.0.0.1"}},
    "a secret in the brokers": {"kafka": {"bootstrap_servers": f"me:{PASSWORD}@127.0.0.1:9092"}},
    "two passwords": {"kafka": {"sasl_password": PASSWORD, "sasl_password_file": "none"}},
    "an option that is none": {"kafka": {"options": {"ssl_pasword": PASSPHRASE}}},
    "an option of ours": {"kafka": {"options": {"group_id": PASSPHRASE}}},
    "options that are none": {"kafka": {"options": PASSPHRASE}},
    "a secret as a number": {"sampling": {"seed": {SEED: SEED}}},
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_do_not_repeat_a_secret(
    case: str, tmp_path: Path, secured: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"input": {"dimension": 2}, **MISTAKES[case]}
    given["kafka"] = {"bootstrap_servers": secured.broker.bootstrap_servers, **given.get("kafka", {})}
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(given))
    assert cli.main(["check", "--config", str(config)]) > 0
    said = "".join(capsys.readouterr())
    assert said.startswith("stream-coreset: ") or "wrong " in said
    assert SENTINEL not in said.replace("there is no setting sampling.seed", "")
    assert "Traceback" not in said


def test_debugging_the_client_shows_no_secret(secured: Secured, login: dict[str, Any]) -> None:
    out = io.StringIO()
    handler, logger = logging.StreamHandler(out), logging.getLogger("kafka")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        settings = load_settings(input={"dimension": 2}, kafka={**login, "sasl_password": PASSWORD})
        for make in (admin_client, plain_consumer, lambda given: transactional_producer(given, "x")):
            make(settings).close()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "Starting KafkaAdminClient with configuration" in out.getvalue()
    assert SENTINEL not in out.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_traceback_of_a_mistake_of_ours_shows_no_secret(log_format: Any) -> None:
    settings = load_settings(
        input={"dimension": 2}, sampling={"seed": SEED}, kafka={"sasl_password": PASSWORD}
    )
    out = io.StringIO()

    def role(settings: Settings, stop: threading.Event) -> None:
        secret = settings.sampling.secret_seed()
        raise ValueError(f"{settings.kafka} {settings} {settings.sampling!r} {len(secret or '')}")

    configure_logs(Monitoring(log_format=log_format, log_level="debug"), out, role="sampler")
    assert serve(role, settings, supervised=False) == CRASHED
    assert "Traceback" in out.getvalue()
    assert SENTINEL not in out.getvalue()


def test_a_secret_on_the_command_line_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("input: {dimension: 2}\n")
    said = run(config, "check", f'--kafka.options={{"ssl_password": "{PASSPHRASE}"}}')
    assert "everybody on this machine sees command lines" in said
    assert SENTINEL not in said
    assert SENTINEL not in run(config, "check", "--help", **ENVIRONMENT)
    assert "unrecognized arguments" in run(config, "check", "--kafka.sasl_password=x")
