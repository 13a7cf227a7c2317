"""The bench's ports, without a simulator."""

from __future__ import annotations

import socket
import time

import pytest
from openopu_sim.bench.endpoints import Ports


@pytest.fixture
def ports():
    made = Ports(12_000_000, watch_stdin=False)
    yield made
    made.close()


def connect(ports: Ports) -> socket.socket:
    host, port = ports.url.removeprefix("socket://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def closed(link: socket.socket) -> bool:
    link.settimeout(0.2)
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_a_host_that_reconnects_at_once_is_let_in(ports):
    first = connect(ports)
    assert ports.poll(1)
    first.sendall(bytes(100_000))
    first.close()
    second = connect(ports)
    time.sleep(0.05)
    for _ in range(10):
        ports.poll(0.01)
    with second:
        assert not closed(second)
        ports.send(b"hello")
        ports.poll(0.1)
        assert second.recv(5) == b"hello"


def test_a_second_host_is_sent_away(ports):
    with connect(ports) as first:
        ports.poll(1)
        with connect(ports) as second:
            for _ in range(10):
                ports.poll(0.01)
            assert closed(second)
        assert not closed(first)
