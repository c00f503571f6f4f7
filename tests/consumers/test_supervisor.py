from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.errors import ServiceError
from consumers.settings import load_settings
from consumers.supervisor import Child, Supervisor, children

WAITS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


def python(name: str, code: str) -> Child:
    return Child(name, (sys.executable, "-c", textwrap.dedent(code)))


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Running:
    """A supervisor on a thread, with what it printed."""

    def __init__(self, *kept: Child, **options: float) -> None:
        self.out = io.StringIO()
        self.stop = threading.Event()
        self.supervisor = Supervisor(kept, out=self.out, **options)  # type: ignore[arg-type]
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run(self.stop)

    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def end(self) -> int | None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.code


def test_lines_are_interleaved_with_a_prefix() -> None:
    running = Running(python("a", WAITS), python("longer", WAITS))
    until(lambda: len(running.lines()) == 2)
    assert running.end() == 0
    assert sorted(running.lines()) == ["a      | up", "longer | up"]


def test_json_lines_are_left_as_they_are() -> None:
    running = Running(python("a", WAITS), prefix=False)
    until(lambda: running.lines() == ["up"])
    assert running.end() == 0


def test_a_child_that_ends_starts_again_later_and_later() -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    running = Running(python("a", code), first_backoff=0.1, longest_backoff=0.4)
    until(lambda: len(running.lines()) == 4)
    assert running.end() == 0
    said = [
        f"a | a was ended by signal 9 and starts again in {wait} s" for wait in ("0.1", "0.2", "0.4", "0.4")
    ]
    assert running.lines()[:4] == said


def test_a_child_that_needs_a_person_ends_all() -> None:
    running = Running(python("a", WAITS), python("b", "print('the topic is missing'); raise SystemExit(1)"))
    running.thread.join(20)
    assert running.code == 1
    assert "b | the topic is missing" in running.lines()
    assert "b | b ended with code 1" in running.lines()


def test_a_child_that_does_not_stop_is_killed_after_the_grace() -> None:
    running = Running(python("a", IGNORES), grace=0.3)
    until(lambda: bool(running.lines()))
    began = time.monotonic()
    assert running.end() == 0
    assert time.monotonic() - began < 10
    assert running.lines()[-1] == "a | a did not stop in time and is killed"


def test_a_line_without_end_is_cut() -> None:
    running = Running(python("a", f"print('x' * 200_000, flush=True); {WAITS}"))
    until(lambda: "up" in running.out.getvalue())
    assert running.end() == 0
    assert max(map(len, running.lines())) <= 65_536 + len("a | ")


def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    """SIGKILL leaves no time to forward anything: the end of their stdin tells the children."""
    role = f"""
        import pathlib
        from consumers.serving import serve
        from consumers.settings import load_settings
        def role(settings, stop):
            print("up", flush=True)
            assert stop.wait(30)
            pathlib.Path({str(tmp_path / "stopped")!r}).touch()
        raise SystemExit(serve(role, load_settings(input={{"dimension": 1}}), supervised=True))
        """
    code = f"""
        import sys, textwrap, threading
        from consumers.supervisor import Child, Supervisor
        child = Child("a", (sys.executable, "-c", textwrap.dedent({role!r})))
        Supervisor([child], out=sys.stdout).run(threading.Event())
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"a | up\n"
        supervisor.kill()
    until((tmp_path / "stopped").exists)


def test_the_second_signal_ends_supervisor_and_children_at_once() -> None:
    code = f"""
        import sys
        from consumers.serving import stop_on_signals
        from consumers.supervisor import Child, Supervisor
        ignores = "import os; print(os.getpid(), flush=True)\\n" + {IGNORES!r}
        supervisor = Supervisor([Child("a", (sys.executable, "-c", ignores))], out=sys.stdout, grace=60)
        raise SystemExit(supervisor.run(stop_on_signals(supervisor.kill)))
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline().removeprefix(b"a | "))
        supervisor.stdout.readline()
        supervisor.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert supervisor.poll() is None
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(10) == 128 + signal.SIGTERM
    until(lambda: not _alive(child))


def _alive(process: int) -> bool:
    """Whether the process still runs; one that only waits to be reaped by the system does not."""
    try:
        os.kill(process, 0)
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except (OSError, ProcessLookupError):
        return False


def test_samplers_and_clusterer_have_instances_and_ports_of_their_own() -> None:
    settings = load_settings(instance="a", input={"dimension": 3}, monitoring={"port": 8000})
    kept = children(settings, 2, ["--config=c.yaml"])
    assert [child.name for child in kept] == ["sampler-a", "sampler-a-1", "clusterer"]
    assert kept[1].command[3:] == (
        "sampler", "--supervised", "--config=c.yaml", "--instance=a-1", "--monitoring.port=8001",
    )  # fmt: skip
    assert kept[2].command[3] == "clusterer"
    assert kept[2].command[-1] == "--monitoring.port=8002"


def test_any_free_port_stays_any_free_port() -> None:
    kept = children(load_settings(input={"dimension": 3}), 1, [])
    assert {child.command[-1] for child in kept} == {"--monitoring.port=0"}


@pytest.mark.parametrize(("samplers", "port"), [(0, 0), (3, 65_534)])
def test_too_few_samplers_or_ports(samplers: int, port: int) -> None:
    settings = load_settings(input={"dimension": 3}, monitoring={"port": port})
    with pytest.raises(ServiceError, match="at least one sampler"):
        children(settings, samplers, [])
