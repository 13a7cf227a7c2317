"""Configure the camera's sensor over the device's I2C: identify, write, read back."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openopu_rtl.protocol.registers import I2C_STATES

from .errors import SensorBusStuck, SensorMismatch, SensorRefused, SensorSilent, UsageError, whole
from .sensors import Sensor, sensor_named

if TYPE_CHECKING:
    from .opu import Opu
    from .session import Session

TRANSFER_S = 0.1
"""Device seconds that a transfer may take: a 0.025 s wait for a stretched clock, and the transfer, with room."""
CLOCK_SHARE_MAX = 0.98
"""Of the pixel clock to the system clock: above, the crossing between them would overflow."""
TRIGGER_START_CLOCKS = 8
"""Pixel clocks between the trigger's edge and the start of an exposure. unconfirmed: a few; AR0135: 3 to be seen."""

_STATES = {value: name for name, value in I2C_STATES.items()}


class SensorBus:
    """Registers of an I2C slave, through the device's I2C master. Call it from the link's own thread.

    Parameters
    ----------
    target
        7-bit address.
    wide_register, wide_value
        16 bits instead of 8.
    """

    def __init__(self, session: Session, target: int, wide_register: bool, wide_value: bool) -> None:
        self._session = session
        self.target = whole(target, "i2c address", 0, 0x7F)
        self._register_max = 0xFFFF if wide_register else 0xFF
        self._value_max = 0xFFFF if wide_value else 0xFF
        self._word = target | wide_register << 7 | wide_value << 8

    def read(self, register: int) -> int:
        """Value of a register. Raises :class:`openopu.errors.SensorError`."""
        return self._transfer(register, read=True)

    def write(self, register: int, value: int) -> None:
        """Write a register. Raises :class:`openopu.errors.SensorError`."""
        self._transfer(register, value, read=False)

    def _transfer(self, register: int, value: int = 0, *, read: bool) -> int:
        session = self._session
        whole(register, "register", 0, self._register_max)
        whole(value, "value", 0, self._value_max)
        session.write(i2c_target=self._word, i2c_register=register, i2c_value=value, i2c_start=int(read))
        deadline = time.monotonic() + session.timeout_s(TRANSFER_S)
        while (answer := session.read("i2c_state", "i2c_result"))["i2c_state"] == I2C_STATES["busy"]:
            if time.monotonic() > deadline:
                raise SensorBusStuck(
                    f"a transfer with the sensor at {self.target:#04x} does not end", session.where, "Reset the board"
                )
        self._check(_STATES[answer["i2c_state"]], register)
        return answer["i2c_result"]

    def _check(self, state: str, register: int) -> None:
        where = self._session.where
        at = f"the sensor at I2C address {self.target:#04x}"
        if state == "nack_address":
            raise SensorSilent(
                f"{at} does not answer",
                where,
                "Check its power, clock and reset pin, the pull-ups, and its address pins (--address)",
            )
        if state == "nack_data":
            raise SensorRefused(
                f"{at} did not acknowledge register {register:#06x}", where, "Is it this kind of sensor (--name)?"
            )
        if state in ("clock_stuck", "bus_stuck"):
            line = "SCL" if state == "clock_stuck" else "SDA"
            raise SensorBusStuck(
                f"{line} of the sensor's I2C stays low",
                where,
                "Check the pull-ups and that nothing shorts the line; power the sensor off and on",
            )
        if state == "arbitration_lost":
            raise SensorBusStuck(
                "another I2C master uses the sensor's bus", where, "Leave this device alone on the bus"
            )


@dataclass(frozen=True)
class SensorReport:
    """What :meth:`openopu.Opu.configure_sensor` did."""

    sensor: str
    address: int
    identity: int
    width: int
    height: int
    pixel_bits: int
    pixel_clock_hz: float
    row_us: float
    readout_us: float
    exposure_rows: int
    exposure_us: float
    """By the sensor's register; the trigger only starts it."""
    exposure_cycles: int
    """Of every shot: how long the trigger is high and the pattern stands."""
    gain: float
    registers: int
    """Registers written and read back."""
    unconfirmed: tuple[str, ...]
    """Settings whose source is not a public document."""
    notes: tuple[str, ...]


def configure(
    opu: Opu,
    name: str,
    *,
    exposure_us: float | None = None,
    gain: float = 1.0,
    test_pattern: bool = False,
    address: int | None = None,
    input_clock_hz: float | None = None,
) -> SensorReport:
    """Configure the camera's sensor, one of :data:`openopu.sensors.SENSORS`, and the exposure of the shots.

    Its identity is checked before anything is written, and every register is read back.

    Parameters
    ----------
    exposure_us : whole rows of it are exposed; None: what ``opu.exposure_cycles`` has room for.
    address : 7-bit I2C address; None: that with its address pins low.
    input_clock_hz : clock that the sensor is given; None: its usual one.

    Raises
    ------
    UsageError
        An unknown sensor, or a value that it cannot take.
    SensorError
        No sensor answers, it is another one, or the bus is stuck.
    """
    sensor = sensor_named(name)
    geometry, clock_hz = opu.geometry, opu.identity.clock_hz
    sensor.check(geometry)
    target = sensor.i2c_addresses[0] if address is None else whole(address, "address", 0, 0x7F)
    pixel_clock_hz = _pixel_clock(sensor, input_clock_hz, clock_hz)
    width, height = geometry.camera_width, geometry.camera_height
    row_s = sensor.row_s(width, pixel_clock_hz)
    start_s = TRIGGER_START_CLOCKS / pixel_clock_hz
    if exposure_us is None:
        wanted_s = max(opu.exposure_cycles / clock_hz - start_s, row_s)  # a row is the shortest that the sensor has
    elif not (isinstance(exposure_us, int | float) and math.isfinite(exposure_us) and exposure_us > 0):
        raise UsageError(f"{exposure_us!r} is out of range", "exposure_us", "Take a time in microseconds")
    else:
        wanted_s = exposure_us * 1e-6
    rows = sensor.exposure_rows(wanted_s, width, pixel_clock_hz)
    values = sensor.values(geometry, rows=rows, gain=gain, test_pattern=test_pattern)

    def run(session: Session) -> tuple[int, int]:
        bus = SensorBus(session, target, sensor.wide_register, sensor.wide_value)
        found = bus.read(sensor.id_register)
        if found != sensor.id_value:
            raise SensorMismatch(
                f"the sensor at I2C address {target:#04x} says {found:#06x}, a {sensor.name} {sensor.id_value:#06x}",
                session.where,
                "Name the sensor that is there (--name), or choose its address (--address)",
            )
        written = 0
        for step in sensor.sequence:
            register = sensor.registers[step.register].address
            value = values[step.value] if isinstance(step.value, str) else step.value
            bus.write(register, value)
            if step.wait_s and session.realtime:
                time.sleep(step.wait_s)
            if step.verify:
                written += 1
                if (back := bus.read(register)) != value:
                    raise SensorMismatch(
                        f"the {sensor.name}'s register {step.register} ({register:#06x}) was written {value:#06x} "
                        f"and reads {back:#06x}",
                        session.where,
                        "Check the sensor's supply and the length of the I2C wires",
                    )
        return found, written

    identity, written = opu.on_link(run)
    cycles = math.ceil((rows * row_s + start_s) * clock_hz)
    # A sensor may begin a readout with its next row.
    opu.set_exposure(cycles, camera_jitter_cycles=math.ceil(row_s * clock_hz))
    return SensorReport(
        sensor=sensor.name,
        address=target,
        identity=identity,
        width=width,
        height=height,
        pixel_bits=sensor.pixel_bits,
        pixel_clock_hz=pixel_clock_hz,
        row_us=row_s * 1e6,
        readout_us=sensor.readout_s(width, height, pixel_clock_hz) * 1e6,
        exposure_rows=rows,
        exposure_us=rows * row_s * 1e6,
        exposure_cycles=cycles,
        gain=values["gain"] / sensor.gain_unit,
        registers=written,
        unconfirmed=tuple(f"{w.register}: {w.source}" for w in sensor.sequence if not w.confirmed),
        notes=_notes(sensor, geometry.pixel_bits),
    )


def _pixel_clock(sensor: Sensor, input_clock_hz: float | None, clock_hz: int) -> float:
    given = sensor.input_clock_hz if input_clock_hz is None else input_clock_hz
    pixel_clock_hz = given * sensor.pixel_clock_ratio
    if not 0 < pixel_clock_hz <= sensor.pixel_clock_hz_max:
        raise UsageError(
            f"an input clock of {given / 1e6:g} MHz is out of the {sensor.name}'s range",
            "input_clock_hz",
            f"Take at most {sensor.pixel_clock_hz_max / sensor.pixel_clock_ratio / 1e6:g} MHz",
        )
    if pixel_clock_hz > CLOCK_SHARE_MAX * clock_hz:
        raise UsageError(
            f"a pixel clock of {pixel_clock_hz / 1e6:g} MHz is too quick for a system clock of {clock_hz / 1e6:g} MHz",
            "input_clock_hz",
            f"Take at most {CLOCK_SHARE_MAX * clock_hz / sensor.pixel_clock_ratio / 1e6:g} MHz",
        )
    return pixel_clock_hz


def _notes(sensor: Sensor, pixel_bits: int) -> tuple[str, ...]:
    notes = [
        "the sensor times its exposure by a register, in rows, from the trigger's rising edge; every shot must have "
        "these exposure_cycles"
    ]
    if pixel_bits < sensor.pixel_bits:
        notes.append(f"connect the sensor's upper {pixel_bits} of {sensor.pixel_bits} data pins")
    return tuple(notes)
