"""Model of a sensor behind I2C: its identity and a memory of registers. It takes no pictures and times nothing.

``hdl/i2c_sensor.v`` of the bench is the same model on wires.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from openopu.errors import UsageError
from openopu.sensors import SENSORS
from openopu_rtl.protocol.registers import I2C_STATES


@dataclass(frozen=True)
class SensorSettings:
    """Which sensor stands at the bus."""

    name: str
    present: bool = True
    stuck: bool = False
    """It holds SDA low for ever."""
    address: int = 0
    wide_register: bool = False
    wide_value: bool = False
    id_register: int = 0
    id_value: int = 0

    @classmethod
    def named(cls, name: str) -> SensorSettings:
        """A sensor of :mod:`openopu.sensors`, ``none``, ``stuck``, or ``mt9v032``: an older one at the MT9V034's
        address. Raises :class:`openopu.errors.UsageError`."""
        if name == "none":
            return cls(name, present=False)
        if name == "stuck":
            return cls(name, stuck=True)
        if name == "mt9v032":
            # Identity of its revision 3: Linux, drivers/media/i2c/mt9v032.c.
            return cls(name, address=0x48, wide_value=True, id_value=0x1313)
        if name not in SENSORS:
            known = ", ".join((*SENSORS, "mt9v032", "none", "stuck"))
            raise UsageError(f"there is no model of a sensor `{name}`", "sensor", f"Known: {known}")
        s = SENSORS[name]
        return cls(
            name,
            address=s.i2c_addresses[0],
            wide_register=s.wide_register,
            wide_value=s.wide_value,
            id_register=s.id_register,
            id_value=s.id_value,
        )


DEFAULT_SENSOR = SensorSettings.named("mt9v034")


@dataclass
class SensorModel:
    """The slave, byte by byte: a pointer, then values; the pointer goes on after each."""

    settings: SensorSettings
    memory: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pointer = 0
        self.memory[self.settings.id_register] = self.settings.id_value

    def transfer(
        self, target: int, register: int, value: int, *, read: bool, wide_register: bool, wide_value: bool
    ) -> tuple[int, int]:
        """What the device's I2C master makes of it: (``i2c_state``, ``i2c_result``)."""
        s = self.settings
        if s.stuck:
            return I2C_STATES["bus_stuck"], 0
        if not s.present or target != s.address:
            return I2C_STATES["nack_address"], 0
        sent = [register >> 8] * wide_register + [register & 0xFF]
        if not read:
            sent += [value >> 8] * wide_value + [value & 0xFF]
        self._write(sent)
        return I2C_STATES["ok"], self._read(1 + wide_value) if read else 0

    def _write(self, data: list[int]) -> None:
        s = self.settings
        head, size = 1 + s.wide_register, 1 + s.wide_value
        for low, byte in zip((8, 0)[-head:], data, strict=False):
            self._pointer = self._pointer & ~(0xFF << low) | byte << low
        body = data[head:]
        for start in range(0, len(body) - size + 1, size):
            if self._pointer != s.id_register:
                self.memory[self._pointer] = int.from_bytes(bytes(body[start : start + size]), "big")
            self._advance()

    def _read(self, count: int) -> int:
        size = 1 + self.settings.wide_value
        result = 0
        for i in range(count):
            word = self.memory.get(self._pointer, 0)
            result = result << 8 | (word >> 8 * (size - 1 - i % size) & 0xFF)
            if i % size == size - 1:
                self._advance()
        return result

    def _advance(self) -> None:
        self._pointer = (self._pointer + 1) & (0xFFFF if self.settings.wide_register else 0xFF)
