"""``stream-coreset run`` as a user runs it: a real Apache Kafka, real child processes, a kill, an end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest

from consumers.settings import Settings
from consumers.topics import ensure_topics

DEADLINE = 60.0


class Run:
    """The command, with what it printed so far."""

    def __init__(self, settings: Settings, *words: str) -> None:
        flags = [
            f"--name={settings.name}", f"--kafka.bootstrap_servers={settings.kafka.bootstrap_servers}",
            f"--input.topic={settings.input.topic}", "--input.dimension=2", "--input.start=earliest",
            "--window.size=100", "--window.age_seconds=0.5", "--sampling.rate=0.1", "--clustering.device=cpu",
            "--clustering.n_clusters=8",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "consumers.cli", "run", *words, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.said.extend(iter(lines.readline, ""))

    def end(self) -> int:
        """Stop it where it still runs; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self._listener.join(10)
        return code

    def wait(self, what: str, count: int = 1) -> list[re.Match[str]]:
        """Matches of `what` in the output, once there are so many."""
        deadline = time.monotonic() + DEADLINE
        while len(found := re.findall(what, "".join(self.said))) < count:
            assert time.monotonic() < deadline, f"waited for {what!r} in vain:\n{''.join(self.said)}"
            time.sleep(0.05)
        return list(re.finditer(what, "".join(self.said))) if found else []


@contextmanager
def running(settings: Settings, *words: str) -> Iterator[Run]:
    run = Run(settings, *words)
    try:
        yield run
    finally:
        run.end()


def child_of(process: int, role: str) -> int:
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        if f"\0{role}\0" in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    raise AssertionError(f"no {role} among the children")


def examples(count: int) -> list[bytes]:
    rng = np.random.default_rng(1)
    return [orjson.dumps({"embedding": row}) for row in rng.normal(size=(count, 2)).tolist()]


def total(urls: list[str], name: str) -> float:
    """A counter, summed over processes."""
    texts = [httpx.get(f"{url}/metrics").text for url in urls]
    return sum(float(value) for text in texts for value in re.findall(rf"^{name} (\S+)$", text, re.M))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")
def test_run_keeps_both_roles_running_and_ends_them(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str], fill: Callable[..., None]
) -> None:
    topic = make_topic(partitions=2)
    settings = make_settings(topic)
    ensure_topics(settings)
    with running(settings, "--samplers", "2") as run:
        urls = [match[1] for match in run.wait(r"monitoring .*url=(\S+)", 3)]
        run.wait(r"sampler-0 .*reading ")
        run.wait(r"sampler-0-1 .*reading ")
        fill(topic, examples(1_000))
        until(lambda: total(urls, "stream_coreset_examples_consumed_total") == 1_000)
        assert all(
            httpx.get(f"{url}/{path}").status_code == 200 for url in urls for path in ("healthz", "readyz")
        )
        emitted = total(urls, "stream_coreset_examples_emitted_total")
        assert 80 <= emitted <= 120
        os.kill(child_of(run.process.pid, "clusterer"), signal.SIGKILL)
        run.wait(r"clusterer +\| clusterer was ended by signal 9 and starts again in 1 s")
        run.wait(r"clusterer .*monitoring ", 2)
        assert run.end() == 0
    assert "Traceback" not in "".join(run.said)


def test_run_ends_when_a_person_must_mend_something(
    make_settings: Callable[..., Settings], make_topic: Callable[..., str]
) -> None:
    with running(make_settings(make_topic())) as run:  # our own topics were not created
        assert run.process.wait(60) == 1
        run.wait("stream-coreset topics")
    assert "Traceback" not in "".join(run.said)
