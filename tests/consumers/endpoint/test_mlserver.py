"""The client against a real inference server: mlserver, in an environment of its own, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from consumers.endpoint import EndpointError, ModelEndpoint
from consumers.settings import Endpoint

PROJECT = Path(__file__).parents[3]
LOCK = PROJECT / "requirements" / "mlserver.lock"
RUNTIME = Path(__file__).parent / "mlserver_model" / "runtime.py"

pytestmark = [
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="mlserver supports Python 3.9 to 3.12 only"),
    pytest.mark.timeout(900),  # the environment is downloaded first, once
]


@pytest.fixture(scope="session")
def mlserver_python() -> Path:
    """The interpreter of an environment with the packages of the lock file, and no others."""
    folder = PROJECT / ".venv-mlserver"
    folder.mkdir(exist_ok=True)
    made_from = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    stamp, python = folder / "made-from", folder / "bin" / "python"
    with (PROJECT / ".venv-mlserver.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != made_from:
            run(sys.executable, "-m", "venv", "--clear", str(folder))
            run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check",
                "--require-hashes", "-r", str(LOCK))  # fmt: skip
            stamp.write_text(made_from)
    return python


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed: {done.stderr[-1000:]}", pytrace=False)


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


@pytest.fixture(scope="session")
def url(mlserver_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlserver")
    shutil.copy(RUNTIME, folder)
    http, grpc, metrics = free_ports(3)
    server = {"parallel_workers": 0, "host": "127.0.0.1", "debug": False}
    server |= {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    model = {"name": "length", "implementation": "runtime.LengthLoss", "parameters": {"version": "v3"}}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [mlserver_python.with_name("mlserver"), "start", str(folder)]
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{http}", process, log)
            yield f"http://127.0.0.1:{http}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    endpoint, until = client(url), time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            endpoint.check()
        except EndpointError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"mlserver did not become ready: {log.read_text()[-2000:]}", pytrace=False)


def client(url: str, **settings: object) -> ModelEndpoint:
    return ModelEndpoint(Endpoint(url=url, **{"model": "length", **settings}))


def test_losses_and_the_version_come_back(url: str) -> None:
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    values, version = client(url).losses([b'{"text": "a"}', "zwölf".encode()], points)
    assert values.tolist() == [13 + 3.0, 6 + 12.0]
    assert version == "v3"


def test_bytes_that_are_not_text(url: str) -> None:
    values, _ = client(url).losses([b"\xff\xfe\x00", b"ab"], np.zeros((2, 1)))
    assert values.tolist() == [3.0, 2.0]


def test_many_batches(url: str) -> None:
    examples = [b"x" * (i % 50) for i in range(1000)]
    values, _ = client(url, batch=128).losses(examples, np.zeros((1000, 8)))
    assert values.tolist() == [i % 50 for i in range(1000)]


def test_a_model_that_is_not_there(url: str) -> None:
    with pytest.raises(EndpointError, match="404"):
        client(url, model="other").losses([b"a"], np.zeros((1, 1)))


def test_mlserver_speaks_no_binary_tensors_and_we_say_so(url: str) -> None:
    with pytest.raises(EndpointError, match=r"answered (422|500)"):
        client(url, binary=True, attempts=1).losses([b"a"], np.zeros((1, 1)))
