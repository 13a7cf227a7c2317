"""The sensor's registers through the gateware's I2C master, on wires, as through the twin."""

from __future__ import annotations

import numpy as np
import openopu
import pytest
from openopu.errors import SensorError
from openopu.sensor_setup import SensorBus
from openopu.sensors import SENSORS
from openopu.session import Session

GEOMETRY = "n=64&m=64"


def outcome(url: str, named: str) -> tuple[object, ...]:
    """What configuring says and leaves, and the projections after it."""
    with openopu.open(url) as opu:
        try:
            said: object = opu.configure_sensor(named, exposure_us=200)
        except SensorError as error:
            said = (type(error).__name__, error.what, error.next_step)
        registers = opu.registers(["i2c_state", "i2c_result", "i2c_target"])
        record = opu.project_raw(np.ones((2, 2, 64)))
        return said, registers, record.values.tolist(), record.head["status"].tolist()


@pytest.mark.parametrize(
    ("there", "named"), [("mt9v034", "mt9v034"), ("ar0135", "ar0135"), ("mt9v032", "mt9v034"), ("none", "mt9v034"),
                         ("stuck", "ar0135")]
)  # fmt: skip
def test_rtl_and_twin_say_the_same(there: str, named: str) -> None:
    keys = f"{GEOMETRY}&sensor={there}"
    assert outcome(f"rtl:verilator?{keys}&link=bytes", named) == outcome(f"twin:?{keys}", named)


@pytest.mark.parametrize("device", ["rtl:icarus?link=bytes&", "twin:?"])
def test_the_identity_cannot_be_written(device: str) -> None:
    sensor = SENSORS["ar0135"]
    with openopu.open(f"{device}{GEOMETRY}&sensor=ar0135") as opu:

        def identify(session: Session) -> int:
            bus = SensorBus(session, sensor.i2c_addresses[0], True, True)
            bus.write(sensor.id_register, 0)
            return bus.read(sensor.id_register)

        assert opu.on_link(identify) == sensor.id_value
