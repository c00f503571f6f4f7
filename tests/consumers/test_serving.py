from __future__ import annotations

import platform
import signal
import subprocess
import sys
import textwrap
import time

import pytest


def serving(body: str, *, supervised: bool = False) -> subprocess.Popen[str]:
    code = """
        import time
        from consumers.errors import ServiceError
        from consumers.logs import configure_logs
        from consumers.sections import Monitoring
        from consumers.serving import serve
        from consumers.settings import load_settings
        configure_logs(Monitoring())
        def role(settings, stop):
            print("up", flush=True)
            {body}
        settings = load_settings(input={{"dimension": 1}}, grace_seconds=0.5)
        raise SystemExit(serve(role, settings, supervised={supervised}))
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code).format(body=body, supervised=supervised)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_role_to_stop(number: signal.Signals) -> None:
    with serving("assert stop.wait(30); print('done')") as process:
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "done\n")


def test_the_second_signal_ends_it_at_once() -> None:
    with serving("time.sleep(60)") as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_what_does_not_end_by_itself_is_ended_after_the_grace() -> None:
    with serving("time.sleep(60)") as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert 3 < time.monotonic() - began < 8
    assert "ended without taking leave" in err


def test_the_end_of_stdin_stops_a_supervised_role() -> None:
    with serving("assert stop.wait(30); print('done')", supervised=True) as process:
        out, _ = process.communicate(timeout=20)  # closes stdin
    assert (process.returncode, out) == (0, "done\n")


def test_a_mistake_of_ours_is_logged_with_its_traceback() -> None:
    with serving("1 / 0") as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 70
    assert "ZeroDivisionError" in err
    assert "ended by a mistake of ours" in err


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_memory_that_was_needed_once_is_given_back() -> None:
    """200 MB in ten threads, of which every 200th piece stays: without help all of it would stay resident."""
    code = """
        import threading, time, psutil
        from consumers import serving
        serving._TRIM_SECONDS = 0.1
        threading.Thread(target=serving._keep_memory_low, daemon=True).start()
        resident = lambda: psutil.Process().memory_info().rss
        before, kept = resident(), []
        def work():
            held = [bytes(1000) for _ in range(20_000)]
            kept.extend(held[::200])
        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        until = time.monotonic() + 10
        while resident() - before > 20_000_000 and time.monotonic() < until: time.sleep(0.1)
        print(resident() - before)
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True)
    assert int(done.stdout) < 20_000_000
