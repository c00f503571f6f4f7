"""Keep a child process only as long as its parent lives: ``python keeper.py FOLDER command ...``.

The parent holds the other end of this process's standard input. When it closes, whether the parent is done
or was killed, the child is killed and FOLDER (unless it is ``-``) is removed. A byte is an order: ``k`` kills
the child and keeps FOLDER, ``f`` freezes it, ``t`` thaws it. SIGTERM is handed on to the child. Uses the
standard library alone, so that it starts at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading


def _watch(child: subprocess.Popen[bytes], folder: str, ending: threading.Event) -> None:
    orders = {b"f": signal.SIGSTOP, b"t": signal.SIGCONT}
    while (last := os.read(0, 1)) in orders:
        child.send_signal(orders[last])
    ending.set()
    child.kill()
    child.wait()
    if last != b"k" and folder != "-":
        shutil.rmtree(folder, ignore_errors=True)


def main(folder: str, command: list[str]) -> int:
    """Run the command until it ends, or until the parent goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    ending = threading.Event()
    watcher = threading.Thread(target=_watch, args=(child, folder, ending), daemon=True)
    watcher.start()
    code = child.wait()
    if ending.is_set():
        watcher.join()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
