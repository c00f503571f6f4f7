"""The proxy does to connections what it says."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time

import pytest
from chaos.proxy import Proxy

from consumers.broker.node import free_ports


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1000):
            self.request.sendall(data)


@pytest.fixture
def through():
    """A proxy, and a way to connect through it."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    (port,) = free_ports(1)
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        opened[-1].sendall(b"hello")
        return opened[-1]

    with Proxy({port: server.server_address[1]}, random.Random(1)) as proxy:
        yield proxy, connect
        for connection in opened:
            connection.close()
    server.shutdown()
    server.server_close()


def silent(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    try:
        connection.recv(1000)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_a_cut_ends_connections_that_are_there_and_no_others(through):
    proxy, connect = through
    connection = connect()
    assert connection.recv(1000) == b"hello"
    assert proxy.strike("cut", 1.0) == 1
    assert ended(connection)
    assert connect().recv(1000) == b"hello"


def test_a_stall_holds_everything_back_and_loses_nothing(through):
    proxy, connect = through
    connection = connect()
    assert connection.recv(1000) == b"hello"
    proxy.strike("stall", 1.0)
    connection.sendall(b"more")
    newcomer = connect()
    assert silent(connection)
    assert silent(newcomer)
    proxy.heal()
    assert connection.recv(1000) == b"more"
    assert newcomer.recv(1000) == b"hello"


def test_a_half_open_connection_swallows_answers_and_cannot_go_on(through):
    proxy, connect = through
    connection, idle = connect(), connect()
    assert connection.recv(1000) == idle.recv(1000) == b"hello"
    proxy.strike("half-open", 1.0)
    connection.sendall(b"lost")
    assert silent(connection)
    proxy.heal()
    assert ended(connection)
    idle.sendall(b"nothing was lost here")
    assert idle.recv(1000) == b"nothing was lost here"


def test_a_slow_connection_takes_its_time(through):
    proxy, connect = through
    connection = connect()
    assert connection.recv(1000) == b"hello"
    proxy.strike("slow", 1.0)
    began = time.monotonic()
    connection.sendall(b"more")
    assert connection.recv(1000) == b"more"
    assert time.monotonic() - began > 0.4


def test_a_share_of_nothing_troubles_nobody(through):
    proxy, connect = through
    connection = connect()
    assert proxy.strike("stall", 0.0) == 0
    assert connection.recv(1000) == b"hello"
