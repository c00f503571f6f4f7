"""Fetching the jars: over real HTTP, from a repository on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from consumers.broker import jars
from consumers.broker.jars import Jar, fetch_jars, locked_jars
from consumers.errors import BrokerError

CONTENT = {"one": b"the first jar", "two": b"the second jar"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "repository"
    for name, content in CONTENT.items():
        folder = root / "org" / "example" / name / "1.0"
        folder.mkdir(parents=True)
        (folder / f"{name}-1.0.jar").write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    locked = [Jar("org.example", name, "1.0", hashlib.sha256(c).hexdigest()) for name, c in CONTENT.items()]
    monkeypatch.setattr(jars, "locked_jars", lambda: locked)
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", f"http://127.0.0.1:{server.server_port}")
    yield root
    server.shutdown()
    server.server_close()


def test_jars_are_fetched_once_and_checked(repository, tmp_path):
    said: list[str] = []
    cache = tmp_path / "cache"
    paths = fetch_jars(said.append, cache)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert sorted(path.name for path in cache.iterdir()) == ["one-1.0.jar", "two-1.0.jar"]
    assert said[-1].endswith("2 of 2 files")
    assert fetch_jars(said.append, cache) == paths
    assert len(said) == 2, "they were fetched again"


def test_a_jar_that_was_damaged_is_fetched_again(repository, tmp_path):
    paths = fetch_jars(lambda text: None, tmp_path / "cache")
    paths[0].write_bytes(b"half a ja")
    assert fetch_jars(lambda text: None, tmp_path / "cache")[0].read_bytes() == CONTENT["one"]


def test_a_jar_that_is_not_the_locked_one_is_refused(repository, tmp_path):
    (repository / "org/example/two/1.0/two-1.0.jar").write_bytes(b"something else")
    with pytest.raises(BrokerError, match=r"two-1.0.jar as downloaded is not the file of the lock file"):
        fetch_jars(lambda text: None, tmp_path / "cache")
    assert not (tmp_path / "cache" / "two-1.0.jar").exists()


def test_one_sentence_where_the_jars_cannot_be_had(repository, tmp_path):
    (repository / "org/example/two/1.0/two-1.0.jar").unlink()
    with pytest.raises(BrokerError, match=r"cannot be fetched from Maven Central .* KAFKA_BOOTSTRAP_SERVERS"):
        fetch_jars(lambda text: None, tmp_path / "cache")


def test_the_lock_names_every_jar_by_its_digest():
    locked = locked_jars()
    assert len(locked) == len({jar.filename for jar in locked}) > 40
    assert all(len(jar.sha256) == 64 for jar in locked)
    assert any(jar.artifact == "kafka_2.13" and jar.version == jars.KAFKA_VERSION for jar in locked)
