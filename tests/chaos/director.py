"""The harness's end of the points (:mod:`chaos.points`): arms one, hears when it is reached, decides."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["Director"]


class Director:
    """Listens for processes of the service; a context manager."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lines: dict[int, socket.socket] = {}
        self._armed: dict[int, str] = {}
        self._reached: SimpleQueue[tuple[int, str]] = SimpleQueue()

    @property
    def address(self) -> str:
        """What processes are given as ``--points``."""
        return "{}:{}".format(*self._server.getsockname())

    def __enter__(self) -> Director:
        threading.Thread(target=self._accept, name="director", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.close()

    def arm(self, pids: Iterable[int], point: str) -> None:
        """Let each of these processes stop at the point when it comes there; an empty point disarms."""
        for pid in pids:
            self._armed[pid] = point  # for a process that has not connected yet
            self._say(pid, f"arm {point}")

    def reached(self, point: str) -> int | None:
        """The process that has come to the point; None as long as none has."""
        while True:
            try:
                pid, at = self._reached.get_nowait()
            except Empty:
                return None
            if at == point:
                return pid
            self.tell(pid, "go")  # late, from an earlier arming

    def tell(self, pid: int, order: str) -> None:
        """Say what the process at its point does: go, sleep SECONDS, raise, kill, stop."""
        self._say(pid, f"do {order}")

    def _say(self, pid: int, line: str) -> None:
        connection = self._lines.get(pid)
        if connection is not None:
            with suppress(OSError):
                connection.sendall(line.encode() + b"\n")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        pid = 0
        with suppress(OSError), connection, connection.makefile("r") as lines:
            for line in lines:
                word, _, value = line.rstrip("\n").partition(" ")
                if word == "pid":
                    pid = int(value)
                    self._lines[pid] = connection
                    self._say(pid, f"arm {self._armed.get(pid, '')}")
                else:
                    self._reached.put((pid, value))
        self._lines.pop(pid, None)
