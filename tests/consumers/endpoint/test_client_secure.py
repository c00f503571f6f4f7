"""The client of the model endpoint against somebody it should not trust, with and without TLS."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
import zstandard

from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.errors import ServiceError
from consumers.settings import Endpoint, SettingsError, load_settings

Respond = Callable[[socket.socket], None]
LOSS = {"model_name": "model", "outputs": [{"name": "loss", "datatype": "FP64", "shape": [1], "data": [0.5]}]}
TOKEN = "sentinel-token"
ZEROS = b"\0" * 50_000_000


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


GOOD = http(json.dumps(LOSS).encode())


class Stranger:
    """Listens, reads a request, says what it was told to say, hangs up."""

    def __init__(self, says: bytes | Respond, certificate: ssl.SSLContext | None = None) -> None:
        self.says, self.heard = says, list[bytes]()
        self._certificate = certificate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            if self._certificate is not None:
                connection = self._certificate.wrap_socket(connection, server_side=True)
            self.heard.append(connection.recv(65_536))
            if callable(self.says):
                self.says(connection)
            else:
                connection.sendall(self.says)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
            connection.close()


@contextmanager
def stranger(says: bytes | Respond = GOOD, certificate: ssl.SSLContext | None = None) -> Iterator[Stranger]:
    it = Stranger(says, certificate)
    try:
        yield it
    finally:
        it.close()


def ask(port: int, scheme: str = "http", **settings: Any) -> float:
    given = {"attempts": 1, "timeout_seconds": 5.0, "deadline_seconds": 6.0, **settings}
    endpoint = ModelEndpoint(Endpoint(url=f"{scheme}://127.0.0.1:{port}", **given))  # type: ignore[arg-type]
    values, _ = endpoint.losses([b"example"], np.ones((1, 2), np.float32))
    return float(values[0])


def refusal(port: int, **settings: Any) -> str:
    with pytest.raises(EndpointError) as caught:
        ask(port, **settings)
    return str(caught.value)


# --- whom we trust


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_an_authority_of_our_own_is_trusted_where_it_is_named(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with stranger(certificate=certified(authority, "127.0.0.1")) as server:
        assert ask(server.port, "https", ca_file=tmp_path / "ca.pem") == 0.5
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(server.port, scheme="https")


def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with stranger(certificate=certified(authority, "elsewhere.example")) as server:
        said = refusal(server.port, scheme="https", ca_file=tmp_path / "ca.pem", token_file=_token(tmp_path))
        assert "not valid for '127.0.0.1'" in said
        assert server.heard == [], "neither examples nor the token went out"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_authorities_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ServiceError, match=r"endpoint\.ca_file .*ca\.pem cannot be used"):
        ask(1, "https", ca_file=tmp_path / "ca.pem")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with stranger() as server:
        assert ask(server.port) == 0.5


@pytest.mark.parametrize(
    "url",
    ["http://user:hush@model:8080", "http://hush@model", "http://model/?token=hush", "http://model/#hush"],
)
def test_a_secret_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="put a secret into token_file") as caught:
        load_settings(input={"dimension": 1}, endpoint={"url": url})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://model", "file:///etc/passwd", "unix:///socket"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"endpoint\.url"):
        load_settings(input={"dimension": 1}, endpoint={"url": url})


# --- what it answers


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(ZEROS)),
        ("deflate", zlib.compress(ZEROS)),
        ("zstd", zstandard.compress(ZEROS)),
        ("br", b"anything"),
        ("gzip, gzip", gzip.compress(gzip.compress(ZEROS))),
        ("identity, gzip", gzip.compress(ZEROS)),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Error"])
def test_a_compressed_answer_is_never_unpacked(encoding: str, bomb: bytes, status: str) -> None:
    with stranger(http(bomb, status, Content_Encoding=encoding)) as server:
        said = refusal(server.port)
    assert "compressed" in said if status.startswith("200") else "answered 500" in said
    assert len(said) < 1000


def test_a_flood_of_headers_is_refused() -> None:
    flood = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(10_000))
    with stranger(flood + b"\r\n") as server:
        assert "cannot be reached" in refusal(server.port)


def test_a_flood_of_interim_answers_ends_with_the_attempt() -> None:
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)

    began = time.monotonic()
    with stranger(flood) as server:
        assert "did not answer within 1 s" in refusal(server.port, timeout_seconds=1.0)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("length", ["99999999999999", "-1", "1e3", "0x10"])
def test_a_length_that_lies(length: str) -> None:
    with stranger(http(b"{}", Content_Length=length)) as server:
        assert "cannot be reached" in refusal(server.port)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_a_redirect_is_refused_with_a_sentence(status: str, tmp_path: Path) -> None:
    with stranger() as elsewhere:
        where = f"http://127.0.0.1:{elsewhere.port}/"
        with stranger(http(b"", status, Location=where)) as server:
            said = refusal(server.port, token_file=_token(tmp_path))
        assert elsewhere.heard == []
    assert f"redirects to '{where}': set endpoint.url to where it is" in said


# --- the token


def _token(directory: Path) -> Path:
    file = directory / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.mark.parametrize("status", ["401 Unauthorized", "500 Error", "302 Found"])
def test_a_server_that_repeats_the_token_does_not_bring_it_into_the_log(status: str, tmp_path: Path) -> None:
    echo = f"you sent: Bearer {TOKEN} ".encode()
    answer = http(b"x" * 190 + echo, f"{status} {TOKEN}", Location=f"http://elsewhere/?token={TOKEN}")
    with stranger(answer) as server:
        said = refusal(server.port, token_file=_token(tmp_path))
        assert TOKEN.encode() in server.heard[0]
    assert TOKEN not in said
    assert TOKEN[:12] not in said
