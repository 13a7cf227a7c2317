"""A device that is unplugged and plugged in again, at any byte of either direction."""

import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from loopback import LoopbackDevice, LoopbackTransport
from openopu import DeviceError, IdentityMismatch, LaserDark, LinkLost, Opu, PortNotFound
from openopu.device import Device
from openopu.transports import open_serial
from openopu.url import DeviceUrl
from openopu.usb import Port, latency_advice, path_of, ports, serial_number_of
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.shots import complement

SMALL = Geometry.fitting(modes=64, outputs=64)
ROWS = 30
PLANES = np.random.default_rng(5).integers(0, 2, (ROWS, 2, 64))


class Cable(LoopbackTransport):
    """Goes away after ``after`` more bytes, and comes back with what ``board`` gives, if it does."""

    def __init__(self, device: LoopbackDevice) -> None:
        super().__init__(device)
        self.after: int | None = None
        self.board = lambda: self.device
        self.returns = True
        self.plugged = True

    def _count(self, data: bytes) -> bytes:
        """What of ``data`` still crosses."""
        if not self.plugged:
            raise LinkLost("the link was lost", "cable", "Open it again")
        if self.after is None:
            return data
        crossing = data[: self.after]
        self.after -= len(crossing)
        if self.after == 0:
            self.plugged, self.after = False, None
        return crossing

    def write(self, data: bytes) -> None:
        super().write(self._count(data))

    def read(self, timeout_s: float) -> bytes:
        return self._count(super().read(timeout_s))

    def reopen(self, timeout_s: float) -> None:
        if not self.returns:
            time.sleep(min(timeout_s, 0.01))
            raise LinkLost("still away", "cable", "Plug it in")
        self.device = self.board()
        self.inbox.clear()
        self.outstanding = 0
        self.plugged = True


def powered_anew(**changes: int) -> LoopbackDevice:
    """The same board after a loss of its power: every setting is lost."""
    board = LoopbackDevice(SMALL)
    for name, value in changes.items():
        board.set(name, value)
    return board


def opened(**options) -> tuple[Opu, Cable]:
    cable = Cable(LoopbackDevice(SMALL))
    device = Device(DeviceUrl("cable"), "cable", cable, realtime=False, reconnect_s=0.2, **options)
    opu = Opu(device, allow_dark=True, exposure_base=100)
    opu.configure(complement(2), outputs=48, bits=12)
    return opu, cable


@pytest.fixture(scope="module")
def unbroken():
    opu, _ = opened()
    with opu:
        return opu.project_raw(PLANES)


@pytest.mark.parametrize("power", ["kept", "lost"])
def test_rows_are_right_wherever_it_is_unplugged(unbroken, power):
    rng = np.random.default_rng(7)
    total = ROWS * (2 * 8 + 48 * 12 // 8 + 14)
    for _ in range(25):
        opu, cable = opened()
        with opu:
            if power == "lost":
                cable.board = powered_anew
            cable.after = int(rng.integers(1, total))
            record = opu.project_raw(PLANES)
            assert opu.reconnected == (cable.after is None)
            np.testing.assert_array_equal(record.values, unbroken.values)
            np.testing.assert_array_equal(record.head["exposure"], unbroken.head["exposure"])
            assert opu.exposure_next == 100 + ROWS * 4


def test_it_may_go_away_many_times(unbroken):
    opu, cable = opened()
    with opu:
        times = 0

        def again():
            nonlocal times
            times += 1
            cable.after = 4000
            return cable.device

        cable.board = again
        cable.after = 1000
        np.testing.assert_array_equal(opu.project_raw(PLANES).values, unbroken.values)
        assert times == opu.reconnected > 1


def test_a_device_that_always_goes_away_ends_in_an_error():
    opu, cable = opened()
    with opu:

        def again():
            cable.after = 1500  # enough for the settings, not for a result
            return cable.device

        cable.board = again
        cable.after = 10
        with pytest.raises(DeviceError):
            opu.project_raw(np.tile(PLANES, (4, 1, 1)))
        cable.board, cable.after = (lambda: cable.device), None


def test_it_never_arms_the_laser():
    opu, cable = opened()
    with opu:
        opu.arm()
        assert opu.status()["laser_on"]
        opu.allow_dark = False
        assert opu.project_raw(PLANES).ok.all()
        cable.after = 800
        with pytest.raises(LaserDark, match="unplugged and came back") as caught:
            opu.project_raw(PLANES)
        assert "call `arm()`" in caught.value.next_step
        assert not opu.status()["laser_on"]
        opu.arm()
        assert opu.project_raw(PLANES).ok.all()


def test_a_call_is_not_repeated_but_works_again():
    """Arming is a call: were it repeated, a reconnection would arm the laser."""
    opu, cable = opened()
    with opu:
        cable.after = 5
        with pytest.raises(LinkLost, match="the device came back") as caught:
            opu.arm()
        assert caught.value.next_step == "Do it again"
        assert not opu.status()["laser_on"]
        cable.after = 20
        with pytest.raises(LinkLost, match="came back"):
            opu.configure(complement(2), outputs=10)
        assert len(opu.outputs) == 48
        assert opu.project_raw(PLANES[:2]).values.shape == (2, 48)


def test_a_device_that_stays_away_is_an_error_in_time():
    opu, cable = opened()
    with opu:
        cable.returns = False
        cable.after = 300
        start = time.monotonic()
        with pytest.raises(LinkLost):
            opu.project_raw(PLANES)
        with pytest.raises(LinkLost):
            opu.project_raw(PLANES)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("change", [{"build": 99}, {"board": 17}, {"geometry_shot_depth": 32}])
def test_another_device_is_refused(change):
    opu, cable = opened()
    with opu:
        cable.board = lambda: powered_anew(**change)
        cable.after = 300
        with pytest.raises(IdentityMismatch, match="another device came back"):
            opu.project_raw(PLANES)
        with pytest.raises(IdentityMismatch):
            opu.status()


def test_a_port_is_found_by_its_serial_number(tmp_path):
    """A pty stands in for the port; it comes back under another name."""
    masters = []

    def plug(name):
        master, slave = os.openpty()
        masters.append((master, slave))
        (tmp_path / name).symlink_to(os.ttyname(slave))
        present.append(Port(str(tmp_path / name), "OPU7"))

    present = [Port("/dev/elsewhere", "OTHER"), Port("/dev/plain")]

    def lister():
        return present

    with pytest.raises(PortNotFound, match="OPU7") as caught:
        open_serial(DeviceUrl.parse("serial:usb=OPU7"), lister)
    assert "usb=OTHER" in caught.value.next_step
    plug("ttyUSB0")
    assert path_of("OPU7", lister) == str(tmp_path / "ttyUSB0")
    assert serial_number_of(os.ttyname(masters[0][1]), lister) == "OPU7"
    for url in ("serial:usb=OPU7", f"serial:{tmp_path}/ttyUSB0"):
        device = open_serial(DeviceUrl.parse(url), lister)
        transport = device.transport
        transport.write(b"hello")
        assert os.read(masters[-1][0], 10) == b"hello"
        present.pop()
        (tmp_path / os.listdir(tmp_path)[0]).unlink()
        os.close(masters[-1][0])
        with pytest.raises(LinkLost):
            transport.read(0.2)
        with pytest.raises(LinkLost, match="did not come back"):
            transport.reopen(0.2)
        timer = threading.Timer(0.3, plug, ["ttyUSB1" if "usb=" in url else "ttyUSB5"])
        timer.start()
        transport.reopen(5)
        timer.join()
        os.write(masters[-1][0], b"back")
        assert transport.read(1) == b"back"
        transport.close()
        if "usb=" in url:  # for the second round it is back where it was
            present.pop()
            (tmp_path / "ttyUSB1").unlink()
            plug("ttyUSB0")
    for _, slave in masters:
        os.close(slave)
    os.close(masters[-1][0])


def test_a_number_that_two_ports_share_names_neither(monkeypatch):
    """A chip with two channels has one serial number: looked up by it, the wrong channel might be opened."""
    found = [("/dev/ttyUSB1", "ARTY"), ("/dev/ttyUSB0", "ARTY"), ("/dev/ttyUSB2", "OPU7"), ("/dev/ttyS0", None)]
    monkeypatch.setattr(
        "serial.tools.list_ports.comports", lambda: [SimpleNamespace(device=d, serial_number=n) for d, n in found]
    )
    assert [str(p) for p in ports()] == [
        "/dev/ttyS0",
        "/dev/ttyUSB0",
        "/dev/ttyUSB1",
        "/dev/ttyUSB2 (serial:usb=OPU7)",
    ]
    assert serial_number_of("/dev/ttyUSB1", ports) is None
    with pytest.raises(PortNotFound, match="several ports"):
        open_serial(DeviceUrl.parse("serial:usb=ARTY"))


def test_the_latency_timer_is_looked_at(tmp_path):
    folder = tmp_path / "bus/usb-serial/devices/ttyUSB3"
    folder.mkdir(parents=True)
    assert latency_advice("/dev/ttyUSB3", tmp_path) is None
    (folder / "latency_timer").write_text("16\n")
    assert "16 ms" in (latency_advice("/dev/ttyUSB3", tmp_path) or "")
    (folder / "latency_timer").write_text("1\n")
    assert latency_advice("/dev/ttyUSB3", tmp_path) is None
