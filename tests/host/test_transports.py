"""Real ports: pseudo-terminals and sockets through pyserial."""

import fcntl
import os
import socket
import threading
import tty

import numpy as np
import openopu
import pytest
import serial
from loopback import LoopbackDevice, loopback
from openopu import (
    DeviceError,
    DeviceSilent,
    LinkGarbled,
    LinkLost,
    PortBusy,
    PortDenied,
    PortNotFound,
    UrlError,
    session,
)
from openopu.device import open_device
from openopu.transports import explain
from openopu.url import DeviceUrl
from openopu_rtl.protocol import MAGIC, Code, ErrorReply, Geometry, Packet, PacketType

SMALL = Geometry.fitting(modes=64, outputs=64)


class Line:
    """A loop-back device behind a pseudo-terminal."""

    def __init__(self, answer=None):
        self.end = LoopbackDevice(SMALL)
        self.answer = answer or self.end.receive
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self.slave = slave  # kept open, so that the line survives until it is cut
        self.received = 0
        self.cut_after = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            while data := os.read(self.master, 4096):
                self.received += len(data)
                if self.cut_after is not None and self.received > self.cut_after:
                    break
                out = memoryview(self.answer(data))
                while out:
                    out = out[os.write(self.master, out) :]
        except OSError:
            pass
        finally:
            os.close(self.slave)
            os.close(self.master)

    @property
    def url(self):
        return f"serial:{self.port}?reconnect_s=0"

    def cut(self):
        """End the thread."""
        if self.thread.is_alive():
            self.cut_after = 0
            fd = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
            os.write(fd, b"\0")
            os.close(fd)
            self.thread.join(5)
            assert not self.thread.is_alive()


@pytest.fixture
def line():
    made = Line()
    yield made
    made.cut()


def test_projects_over_a_pseudo_terminal(line):
    with openopu.open(line.url, arm=True) as opu:
        opu.configure(components=5)
        y = opu.project(np.random.default_rng(0).normal(size=(200, 5)))
        assert y.shape == (200, 64)
        assert y.any(axis=1).all()
        assert opu.repeated == 0


def test_port_is_held_exclusively(line):
    with openopu.open(line.url), pytest.raises(PortBusy, match="fuser"):
        openopu.open(line.url)
    openopu.open(line.url).close()


def test_lock_of_another_program_is_busy(line):
    fd = os.open(line.port, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(PortBusy):
        openopu.open(line.url)
    os.close(fd)


def test_unplugged_in_mid_run(line):
    with pytest.raises(LinkLost, match="reopen"), openopu.open(line.url, arm=True) as opu:  # noqa: PT012
        line.cut_after = line.received + 3000
        opu.project_raw(np.ones((500, 2, 64)))
    with pytest.raises(PortNotFound):
        openopu.open(line.url)


def test_every_later_call_says_that_the_link_is_lost(line):
    opu = openopu.open(line.url, arm=True)
    line.cut_after = line.received
    for _ in range(2):
        with pytest.raises(LinkLost):
            opu.project_raw(np.ones((5, 2, 64)))
        with pytest.raises(LinkLost):
            opu.status()
    opu.close()


def test_silence_and_garbage(monkeypatch):
    monkeypatch.setattr(session, "MARGIN_S", 0.1)
    silent = Line(lambda _: b"")
    with pytest.raises(DeviceSilent, match="doctor"):
        openopu.open(silent.url)
    garbage = np.random.default_rng(0)
    noisy = Line(lambda data: garbage.bytes(len(data)))
    with pytest.raises(LinkGarbled, match="baud"):
        openopu.open(noisy.url)
    for made in (silent, noisy):
        made.cut()


def test_keep_alive_feeds_the_heartbeat(line):
    with openopu.open(line.url) as opu:
        opu.configure(heartbeat_cycles=48_000_000 // 5)  # 0.2 s
        before = line.end.get("packets_accepted")
        threading.Event().wait(0.4)
        assert line.end.get("packets_accepted") - before >= 4


def test_socket():
    end = LoopbackDevice(SMALL)
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        link, _ = server.accept()
        with link:
            while data := link.recv(4096):
                link.sendall(end.receive(data))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = server.getsockname()[1]
    with openopu.open(f"socket://127.0.0.1:{port}", arm=True) as opu:
        assert opu.project(np.eye(64)).any(axis=1).all()
    thread.join(5)
    server.close()
    with pytest.raises(PortNotFound, match="cosim"):
        openopu.open(f"socket://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("serial:/dev/no-such-port", PortNotFound, "no such port"),
        ("serial:", UrlError, "no port"),
        ("serial:/dev/null?baud=fast", UrlError, "baud=fast"),
        ("serial:/dev/null?speed=9", UrlError, "knows no key `speed`"),
        ("serial:/dev/null?baud=1", UrlError, "300"),
        ("serial:/dev/null", DeviceError, "cannot be opened"),
        ("socket://nowhere", UrlError, "socket://HOST:PORT"),
    ],
)
def test_ports_that_do_not_open(url, error, text):
    with pytest.raises(error, match=text) as caught:
        open_device(url)
    assert caught.value.next_step


def test_no_permission_names_the_group():
    error = explain(
        serial.SerialException(13, "could not open port: [Errno 13] Permission denied"), DeviceUrl("serial"), "/dev/x"
    )
    assert isinstance(error, PortDenied)
    assert "dialout" in error.next_step


def test_many_stale_reports_of_damage_do_not_use_up_the_tries(monkeypatch):
    """What an earlier host left is reported damaged, one report after the other, while ours begins to ask."""
    device, _ = loopback(SMALL)
    asked = session.Session(device)
    stale = [Packet(PacketType.ERROR, 0, ErrorReply(Code.CRC, 0).payload()).encode()] * (4 * session.DAMAGED_TRIES)
    read = device.transport.read
    monkeypatch.setattr(device.transport, "read", lambda timeout_s: stale.pop() if stale else read(timeout_s))
    assert asked.read("magic")["magic"] == MAGIC
    assert not stale
