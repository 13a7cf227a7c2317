"""Sensors: their data, and how they are configured on the twin, whose sensor is a model with a memory of registers."""

from __future__ import annotations

import json

import numpy as np
import openopu
import pytest
from openopu import cli
from openopu.errors import SensorBusStuck, SensorError, SensorMismatch, SensorRefused, SensorSilent, UsageError
from openopu.sensor_setup import SensorBus
from openopu.sensors import CAMERA_LINK_BASE, SENSORS, UNCONFIRMED, camera_link_pins
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.registers import I2C_STATES

SMALL = "n=64&m=64"


@pytest.fixture(params=SENSORS)
def sensor(request):
    return SENSORS[request.param]


def registers_of(sensor, opu):
    def run(session):
        bus = SensorBus(session, sensor.i2c_addresses[0], sensor.wide_register, sensor.wide_value)
        return {name: bus.read(r.address) for name, r in sensor.registers.items()}

    return opu.on_link(run)


def test_a_sensor_is_configured_for_the_geometry(sensor):
    with openopu.open(f"twin:?{SMALL}&sensor={sensor.name}&noise=off") as opu:
        report = opu.configure_sensor(sensor.name, exposure_us=500, gain=2.0)
        found = registers_of(sensor, opu)
        g, clock = opu.geometry, opu.identity.clock_hz
        assert report.identity == sensor.id_value
        row_s = sensor.row_clocks(g.camera_width) / report.pixel_clock_hz
        assert report.exposure_rows == int(500e-6 / row_s)
        assert report.exposure_us == pytest.approx(report.exposure_rows * row_s * 1e6)
        # The trigger stands as long as the sensor exposes, and less than a row longer.
        assert 0 <= report.exposure_cycles / clock - report.exposure_us * 1e-6 < row_s
        assert opu.exposure_cycles == report.exposure_cycles
        assert all(s.exposure_cycles == report.exposure_cycles for s in opu.settings.program)
        values = sensor.values(g, rows=report.exposure_rows, gain=2.0, test_pattern=False)
        for step in sensor.sequence:
            last = [s for s in sensor.sequence if s.register == step.register][-1]
            assert found[step.register] == values.get(last.value, last.value)
        assert report.registers == sum(s.verify for s in sensor.sequence)
        if sensor.name == "mt9v034":
            assert (found["window_width"], found["window_height"]) == (g.camera_width, g.camera_height)
            assert found["window_width"] + found["horizontal_blanking"] == 704
            assert found["analog_gain"] == 32
        else:
            assert found["x_addr_end"] - found["x_addr_start"] + 1 == g.camera_width
            assert found["y_addr_end"] - found["y_addr_start"] + 1 == g.camera_height
        assert opu.project_raw(np.ones((1, 2, 64))).ok.all()


def test_without_an_exposure_the_rows_that_fit_are_taken(sensor):
    with openopu.open(f"twin:?{SMALL}&sensor={sensor.name}") as opu:
        opu.configure(exposure_cycles=48_000)
        report = opu.configure_sensor(sensor.name)
        assert report.exposure_us <= 1000 < report.exposure_us + report.row_us * 1.1
        assert opu.exposure_cycles <= 48_000
        opu.configure(exposure_cycles=10)
        assert opu.configure_sensor(sensor.name).exposure_rows == 1


def test_other_settings_stay(sensor):
    with openopu.open(f"twin:?{SMALL}&sensor={sensor.name}") as opu:
        opu.configure(components=10, outputs=[5, 3])
        opu.configure_sensor(sensor.name, exposure_us=500)
        assert (opu.components, opu.outputs.tolist()) == (10, [5, 3])
        row_cycles = sensor.row_clocks(opu.geometry.camera_width) / (sensor.input_clock_hz * sensor.pixel_clock_ratio)
        assert opu.settings.registers["camera_jitter_cycles"] == -(-row_cycles * 48e6 // 1)


def test_test_pattern_and_clock(sensor):
    with openopu.open(f"twin:?{SMALL}&sensor={sensor.name}") as opu:
        slow = opu.configure_sensor(sensor.name, exposure_us=900, test_pattern=True, input_clock_hz=13e6)
        assert registers_of(sensor, opu)["test_pattern"] == sensor.test_pattern
        assert slow.pixel_clock_hz == 13e6 * sensor.pixel_clock_ratio
        quick = opu.configure_sensor(sensor.name, exposure_us=900)
        assert registers_of(sensor, opu)["test_pattern"] == 0
        assert slow.row_us > quick.row_us
        assert slow.readout_us > quick.readout_us


@pytest.mark.parametrize(
    ("there", "named", "kind", "text"),
    [
        ("ar0135", "mt9v034", SensorSilent, "0x48 does not answer"),
        ("mt9v034", "ar0135", SensorSilent, "0x10 does not answer"),
        ("mt9v032", "mt9v034", SensorMismatch, "says 0x1313, a mt9v034 0x1324"),
        ("none", "mt9v034", SensorSilent, "--address"),
        ("stuck", "mt9v034", SensorBusStuck, "SDA"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(there, named, kind, text):
    with openopu.open(f"twin:?{SMALL}&sensor={there}") as opu:
        before = opu.exposure_cycles
        with pytest.raises(kind, match=text) as caught:
            opu.configure_sensor(named, exposure_us=500)
        assert isinstance(caught.value, SensorError)
        assert caught.value.next_step
        assert opu.exposure_cycles == before
        assert opu.project_raw(np.ones((1, 2, 64))).ok.all()  # and the device goes on


def test_states_that_the_twin_never_shows_are_named_too():
    class Session:
        where = "here"

        def __init__(self, state):
            self.state = state

        def timeout_s(self, seconds):
            return 0.05

        def write(self, **values):
            pass

        def read(self, *names):
            return {"i2c_state": I2C_STATES[self.state], "i2c_result": 0}

    for state, kind, text in (
        ("nack_data", SensorRefused, "register 0x0007"),
        ("clock_stuck", SensorBusStuck, "SCL"),
        ("arbitration_lost", SensorBusStuck, "another I2C master"),
        ("busy", SensorBusStuck, "does not end"),
    ):
        with pytest.raises(kind, match=text):
            SensorBus(Session(state), 0x48, False, True).read(7)


def test_a_register_that_does_not_hold_is_named(monkeypatch):
    from openopu_sim.sensor import SensorModel

    write = SensorModel._write

    def forgetful(self, data):
        write(self, data)
        if data[0] == 0x04 and len(data) == 3:
            self.memory[4] ^= 1

    monkeypatch.setattr(SensorModel, "_write", forgetful)
    with openopu.open(f"twin:?{SMALL}") as opu, pytest.raises(SensorMismatch, match="window_width"):
        opu.configure_sensor("mt9v034", exposure_us=500)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"exposure_us": 1}, "0.04 rows"),
        ({"exposure_us": 1e9}, "rows"),
        ({"exposure_us": float("nan")}, "exposure_us"),
        ({"gain": 0.5}, "gain"),
        ({"gain": 5}, "Take 1 to 4"),
        ({"address": 0x80}, "address"),
        ({"input_clock_hz": 40e6}, "at most 27 MHz"),
        ({"input_clock_hz": -1.0}, "out of the"),
    ],
)
def test_bad_settings_are_refused(settings, text):
    with openopu.open(f"twin:?{SMALL}") as opu, pytest.raises(UsageError, match=text):
        opu.configure_sensor("mt9v034", **settings)


def test_unknown_sensors_are_refused():
    with openopu.open(f"twin:?{SMALL}") as opu, pytest.raises(UsageError, match="Known: mt9v034, ar0135"):
        opu.configure_sensor("ov7670")
    with pytest.raises(UsageError, match="no model of a sensor"):
        openopu.open(f"twin:?{SMALL}&sensor=ov7670")


def test_a_geometry_that_does_not_fit_is_refused():
    sensor = SENSORS["mt9v034"]
    with pytest.raises(UsageError, match="exceed the mt9v034's 752 x 480"):
        sensor.check(Geometry.fitting(256, 1024, camera_width=760))
    with pytest.raises(UsageError, match="the mt9v034 gives 10"):
        sensor.check(Geometry.fitting(256, 1024, pixel_bits=12))


def test_data_are_whole(sensor):
    """Every step names a register and a value that exists, within its width; every fact has a source."""
    width = 0xFFFF if sensor.wide_register else 0xFF
    for name, register in sensor.registers.items():
        assert 0 <= register.address <= width, name
        assert register.source
    assert len({r.address for r in sensor.registers.values()}) == len(sensor.registers)
    values = sensor.values(Geometry(), rows=10, gain=1.0, test_pattern=True)
    for step in sensor.sequence:
        assert step.register in sensor.registers
        value = values[step.value] if isinstance(step.value, str) else step.value
        assert 0 <= value <= 0xFFFF
        assert step.source
        assert step.confirmed is not step.source.startswith(UNCONFIRMED)
    assert sensor.registers[next(iter(sensor.registers))].address == sensor.id_register
    assert values["x_start"] >= sensor.column_first
    assert values["x_end"] < sensor.column_first + sensor.width
    assert values["y_end"] < sensor.row_first + sensor.height


def test_figures_of_the_data_sheets():
    """Frame times as the makers state them, with their blanking; ours is the shortest that is allowed."""
    mt9v034, ar0135 = SENSORS["mt9v034"], SENSORS["ar0135"]
    # DS-024 table 5: 444,154 clocks at 26.66 MHz with a horizontal blanking of 94.
    assert (480 + mt9v034.frame_blank_rows) * (752 + 94) + 4 == 444_154
    assert 60 < 1 / mt9v034.readout_s(752, 480, 26.66e6) < 60 * 846 / 813 + 0.1
    assert 1 / ar0135.readout_s(1280, 720, 74.25e6) > 60  # 720p60
    assert 1 / ar0135.readout_s(1280, 960, 74.25e6) == pytest.approx(54, abs=0.1)  # DS-135 table 1
    assert ar0135.pixel_clock_ratio * 27e6 == 37.125e6


def test_camera_link_pins_are_those_of_the_standard():
    assert sorted(CAMERA_LINK_BASE.values()) == list(range(28))
    assert camera_link_pins(8) == [0, 1, 2, 3, 4, 6, 27, 5]
    assert camera_link_pins(12)[8:] == [7, 8, 9, 12]
    assert [CAMERA_LINK_BASE[n] for n in ("LVAL", "FVAL", "DVAL")] == [24, 25, 26]
    with pytest.raises(UsageError, match="8, 10 or 12"):
        camera_link_pins(14)


def test_command(capsys):
    words = ["sensor", "--device", f"twin:?{SMALL}", "--name", "mt9v034", "--exposure-us", "1000", "--json"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["ok"], report["sensor"], report["address"], report["identity"]) == (True, "mt9v034", 0x48, 0x1324)
    assert report["unconfirmed"]
    words[2] += "&sensor=none"
    assert cli.main(words) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["ok"], report["error"]) == (False, "SensorSilent")
    assert "pull-ups" in report["next_step"]
