"""Recorded sessions, and the device that replays them."""

import json

import numpy as np
import openopu
import pytest
from loopback import FaultyTransport, loopback
from openopu import Opu, UrlError, UsageError, cli
from openopu.device import Transport, open_device
from openopu.recording import Recorder, RecordingError, RecordingFileError, RecordingTransport, load
from openopu.replay import NotRecorded
from openopu_rtl.protocol import Code, Packet, PacketType, packets

URL = "twin:?n=64&m=64"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A short session: its file, and what came of it."""
    path = tmp_path_factory.mktemp("recording") / "run.rec"
    with openopu.open(f"{URL}&seed=3&record={path}") as opu:
        found = session(opu)
    return path, found


def session(opu):
    opu.expose_to()
    opu.configure(components=10, outputs=[3, 60, 7])
    errors = np.random.default_rng(0).normal(size=(40, 10))
    before = opu.counters(timing=False)
    values = [opu.project(errors, (1,)), opu.capture(), opu.project(errors[:5], (2,))]
    return values, before, opu.counters(timing=False), opu.exposure_cycles, opu.status(), opu.exposure_next


def same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert a[1:] == b[1:]


def test_a_session_replays_to_the_same_integers(recorded):
    path, found = recorded
    with openopu.open(f"replay:{path}") as opu:
        assert opu.device.name == "replay of twin"
        assert (opu.geometry.modes, opu.geometry.outputs) == (64, 64)
        same(session(opu), found)
    with openopu.open(f"replay:{path}?n=64&m=64") as opu:  # and again
        same(session(opu), found)


def test_a_recorded_device_is_the_device(recorded):
    with openopu.open(f"{URL}&seed=3") as opu:
        same(session(opu), recorded[1])


def test_what_was_not_recorded_is_named(recorded):
    path, _ = recorded
    with openopu.open(f"replay:{path}") as opu:
        opu.exposure_next = 77
        with pytest.raises(NotRecorded, match=r"no write of exposure_base = 77\b.*record again"):
            opu.project(np.ones((1, 64)))
    with openopu.open(f"replay:{path}") as opu:
        opu.expose_to()
        opu.configure(components=10, outputs=[3, 60, 7])
        with pytest.raises(NotRecorded, match="no projection of these planes at exposure 0"):
            opu.project(np.ones((1, 10)))
        with pytest.raises(NotRecorded, match="no write of laser_power = 5"):
            opu.configure(laser_power=5)
        with pytest.raises(NotRecorded, match=r"no write of level_table\[0\] = 64 words"):
            opu.set_level_table(np.arange(256)[::-1])
    with openopu.open(f"replay:{path}") as opu:
        session(opu)
        opu.exposure_next = 0
        with pytest.raises(NotRecorded, match="holds no further projection"):
            opu.project(np.random.default_rng(0).normal(size=(40, 10)), (1,))
    with openopu.open(f"replay:{path}") as opu, pytest.raises(NotRecorded, match="no read of packets_damaged"):
        opu.on_link(lambda s: s.read("clock_hz", "packets_damaged"))


def test_polls_may_be_more_or_fewer_than_then(recorded):
    path, found = recorded
    with openopu.open(f"replay:{path}") as opu:
        first = [opu.registers(["status"]) for _ in range(50)]
        assert first[-1] == first[10]
        opu.on_link(lambda s: s.read("magic"))  # a keep-alive, which the twin never needed
        same(session(opu), found)


def test_a_noisy_line_leaves_no_trace(recorded, tmp_path):
    """What was repeated because of damage, in packets of another size, is asked for once in a replay."""
    device = open_device(f"{URL}&seed=3")
    line = FaultyTransport(device.transport, 2e-4, 5)
    path = tmp_path / "noisy.rec"
    about = load(recorded[0])[0]
    device.transport = RecordingTransport(line, Recorder(path, about))
    with Opu(device) as opu:
        opu.on_link(lambda s: setattr(s, "margin_s", 0.05))
        line.on = True
        values = session(opu)[0]
        assert opu.repeated
        assert line.faults > 10
        line.on = False
    with openopu.open(f"replay:{path}") as opu:
        found = session(opu)[0]
        assert not opu.repeated
    for a, b, c in zip(values, found, recorded[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


class Twice(Transport):
    """Says everything twice, as a device does whose first answer was only late."""

    def __init__(self, inner):
        self.inner = inner

    def write(self, data):
        self.inner.write(data)

    def read(self, timeout_s):
        return self.inner.read(timeout_s) * 2

    def close(self):
        self.inner.close()


def test_a_late_answer_is_recorded_once(recorded, tmp_path):
    device, _ = loopback()
    path = tmp_path / "twice.rec"
    line = RecordingTransport(Twice(device.transport), Recorder(path, load(recorded[0])[0]))
    request = Packet(PacketType.READ, 7, packets.READ_PAYLOAD.pack(0, 1))
    line.write(request.encode())
    assert len(list(packets.split(bytearray(line.read(1.0))))) == 2
    line.close()
    ((asked, answer),) = load(path)[1]
    assert asked == bytes([PacketType.READ]) + request.payload
    assert answer[0] == PacketType.READ_REPLY


def test_a_projection_that_failed_at_first_is_recorded_as_it_ended(recorded, tmp_path):
    device, end = loopback()
    path = tmp_path / "faults.rec"
    device.transport = RecordingTransport(device.transport, Recorder(path, load(recorded[0])[0]))
    planes = np.random.default_rng(3).random((9, 2, 256)) < 0.5
    with Opu(device) as opu:
        opu.exposure_next = 100
        end.fail = {116: [int(Code.FRAME_MISSING)]}
        values = opu.project_raw(planes).values
        assert opu.repeated == 1
    with openopu.open(f"replay:{path}") as opu:
        opu.exposure_next = 100
        np.testing.assert_array_equal(opu.project_raw(planes).values, values)
        assert not opu.repeated


def test_a_damaged_recording_is_refused(recorded, tmp_path):
    whole = recorded[0].read_bytes()
    path = tmp_path / "run.rec"
    rng = np.random.default_rng(7)
    for at in [30, len(whole) - 1, *rng.integers(30, len(whole), 40).tolist()]:
        content = bytearray(whole)
        content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        with pytest.raises(RecordingFileError, match="damaged"):
            openopu.open(f"replay:{path}")
    for content, what in (
        (whole[:-1], "cut short"),
        (whole[:100], "cut short"),
        (b"", "no recording"),
        (b"hello", "no recording"),
        (b"openopu-recording/9\n" + whole[20:], "version 9"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecordingFileError, match=what):
            openopu.open(f"replay:{path}")
    with pytest.raises(RecordingFileError, match="cannot be read"):
        openopu.open(f"replay:{tmp_path}/none")
    with pytest.raises(UrlError, match="no recording is given"):
        openopu.open("replay:")
    with pytest.raises(UrlError, match="knows no key `seed`"):
        openopu.open(f"replay:{recorded[0]}?seed=4")


def test_a_recording_that_cannot_be_written_is_said_at_once(tmp_path):
    with pytest.raises(RecordingError, match="cannot be written"):
        openopu.open(f"{URL}&record={tmp_path}/no/run.rec")
    with pytest.raises(UsageError, match="this is no file"):
        openopu.open(f"{URL}&record={tmp_path}")
    path = tmp_path / "run.rec"
    device = open_device(f"{URL}&record={path}")
    assert not path.exists()  # not before it is whole
    device.transport.close()
    assert path.exists()
    assert load(path)[1] == []


def test_a_training_replays_to_the_same_weights(capsys, tmp_path):
    path = tmp_path / "train.rec"
    words = ["--epochs", "1", "--hidden", "32", "--train-images", "200", "--json"]
    said = []
    for url in (f"{URL}&record={path}", f"replay:{path}"):
        assert cli.main(["train", "--device", url, *words]) == 0
        said.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert said[0]["weights_sha256"] == said[1]["weights_sha256"]
    assert said[0]["counters"] == said[1]["counters"]
    assert cli.main(["train", "--device", f"replay:{path}", *words, "--seed", "4"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["error"] == "NotRecorded"


def test_a_calibration_replays_to_the_same_file(capsys, tmp_path):
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for url, file in zip((f"{URL}&seed=3&record={tmp_path}/c.rec", f"replay:{tmp_path}/c.rec"), files, strict=True):
        assert cli.main(["calibrate", "--device", url, "--out", str(file), "--quick", "--undated"]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
