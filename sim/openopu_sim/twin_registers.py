"""The twin's register file and windows: the model of the gateware's, from the declaration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.interlock import SYNCHRONISER_CLOCKS, InterlockModel
from openopu_rtl.protocol import (
    MAGIC,
    PROTOCOL_HASH,
    REGISTERS,
    WINDOWS,
    Access,
    Code,
    Geometry,
    Kind,
    Link,
    Register,
    Window,
)
from openopu_rtl.protocol.registers import FEATURE_BITS, PLANT_SOURCES, STATUS_BITS

from .sensor import SensorModel

TWIN_BOARD = 1
"""Value of the register ``board``."""
WORD = 0xFFFFFFFF


class Refusal(Exception):
    """A request that is answered by an error."""

    def __init__(self, code: Code, detail: int = 0) -> None:
        super().__init__(code.name)
        self.code = code
        self.detail = detail


class Registers:
    """Words of the device, and the laser's interlock.

    The twin has no clock: timing registers stay 0, the heartbeat is always fresh, because every look at it is
    a packet, and the window between the two steps of arming is open until something closes it.

    Attributes
    ----------
    windows : contents by name, (words,) uint32.
    interlock_closed : the loop; see :meth:`set_interlock`.
    sensor : the model behind the I2C.

    ``plants`` names the values of ``plant_source`` that can be used; without a camera it resets to another. Frames
    from the host are no use to the twin: its optics is on the host already.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        clock_hz: int,
        build: int,
        sensor: SensorModel,
        monitor_cycles: int,
        temperature: int,
        interlock_closed: bool = True,
        plants: Sequence[str] = ("camera", "chip"),
    ) -> None:
        self.geometry = geometry
        self.sensor = sensor
        identity = {
            "magic": MAGIC,
            "protocol_hash": PROTOCOL_HASH,
            "build": build,
            "board": TWIN_BOARD,
            "link": Link.BYTES,
            "clock_hz": clock_hz,
            "monitor_cycles": monitor_cycles,
            "features": sum(1 << FEATURE_BITS[f"plant_{name}"] for name in plants),
        } | {f"geometry_{name}": int(getattr(geometry, name)) for name in geometry.__dataclass_fields__}
        self._plant_sources = [PLANT_SOURCES[name] for name in plants]
        self._values = {r.name: identity.get(r.name, r.reset) for r in REGISTERS.values()}
        self["temperature"] = temperature
        self["plant_source"] = min(self._plant_sources)
        self._by_address = {r.address: r for r in REGISTERS.values()}
        self.windows: dict[str, NDArray[np.uint32]] = {
            "shot_table": np.zeros(WINDOWS["shot_table"].words(geometry), dtype=np.uint32),
            "level_table": np.arange(WINDOWS["level_table"].words(geometry), dtype=np.uint32),
            "selection": np.arange(WINDOWS["selection"].words(geometry), dtype=np.uint32),
        }
        self._spans: list[tuple[Window, int]] = [(w, w.words(geometry)) for w in WINDOWS.values()]
        self.interlock_closed = interlock_closed
        self.interlock = InterlockModel()
        self._clock()

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __setitem__(self, name: str, value: int) -> None:
        self._values[name] = value & WORD

    def count(self, name: str, more: int = 1) -> None:
        """Add to an event counter."""
        self._values[name] = (self._values[name] + more) & WORD

    @property
    def laser_on(self) -> bool:
        return self.interlock.laser_on

    @property
    def simulated(self) -> bool:
        """There is no light, but the medium in the gateware."""
        return self["plant_source"] != PLANT_SOURCES["camera"]

    @property
    def laser_code(self) -> int:
        """What the laser's DAC is sent."""
        return self["laser_power"] if self.laser_on else 0

    def set_interlock(self, closed: bool) -> None:
        """Open or close the loop. Opening it while armed trips the laser."""
        self.interlock_closed = closed
        self._clock()

    def trip_over_power(self) -> None:
        """The photodiode has read more than ``monitor_limit``: trips the laser where it is armed."""
        self._clock(events=frozenset({"over_power"}))

    def _clock(self, **inputs: Any) -> None:
        """Clock the interlock with these inputs, then until its synchroniser has settled."""
        for _ in range(SYNCHRONISER_CLOCKS + 1):
            trip = self.interlock.trip(inputs.get("events", frozenset()))
            self.count("laser_trips", int(trip != 0))
            inputs["disarm"] = inputs.get("disarm", False) or self.simulated
            self.interlock.clock(interlock_closed=self.interlock_closed, refresh=True, heartbeat_cycles=1, **inputs)
            self["trip_cause"] = self.interlock.cause
            inputs = {"key": inputs.get("key", 0)}

    def read(self, address: int, busy: bool) -> int:
        """The word at ``address``. Raises :class:`Refusal`."""
        register = self._by_address.get(address)
        if register is None or register.access is Access.WO:
            raise Refusal(Code.ADDRESS, address)
        if register.name == "status":
            bits = {
                "busy": busy,
                "laser_on": self.laser_on,
                "armed": self.interlock.armed,
                "interlock_closed": self.interlock_closed,
                "heartbeat_fresh": True,
                "tripped": self.interlock.tripped,
                "resync": False,
            }
            return sum(int(on) << STATUS_BITS[name] for name, on in bits.items())
        return self[register.name]

    def write(self, address: int, value: int, busy: bool) -> None:
        """Set the word at ``address``. Raises :class:`Refusal`."""
        register = self._by_address.get(address)
        if register is not None:
            self._write_register(register, value, busy)
            return
        for window, words in self._spans:
            if window.address <= address < window.address + words:
                _check(address, value, window.bounds(self.geometry), busy)
                self.windows[window.name][address - window.address] = value
                return
        raise Refusal(Code.ADDRESS, address)

    def _write_register(self, register: Register, value: int, busy: bool) -> None:
        if register.access is Access.RO:
            raise Refusal(Code.READ_ONLY, register.address)
        _check(register.address, value, register.bounds(self.geometry), busy and register.idle_only)
        if register.kind is Kind.SETTING:
            if register.name == "plant_source" and value not in self._plant_sources:
                raise Refusal(Code.NO_PLANT, register.address)
            self[register.name] = value
            if register.name == "plant_source":
                self._clock()
            if register.name == "exposure_base":
                self["exposure_next"] = value
        elif register.name == "laser_unlock":
            self._clock(key=value)
            code = Code.PLANT_SIMULATED if self.simulated else self.interlock.unlock_code()
            self._clock(unlock=True, key=value)
            _refuse(code, register.address)
        elif register.name == "laser_arm":
            self._clock(key=value)
            code = Code.PLANT_SIMULATED if self.simulated else self.interlock.arm_code()
            self._clock(arm=True, key=value)
            _refuse(code, register.address)
        elif register.name == "laser_disarm":
            self._clock(disarm=True)
        elif register.name == "i2c_start":
            self._transfer(read=bool(value))
        elif register.name == "counters_clear":
            for r in REGISTERS.values():
                if r.kind in (Kind.EVENT, Kind.TIMING):
                    self[r.name] = 0

    def _transfer(self, read: bool) -> None:
        """A transfer on the sensor's bus, over at once."""
        target = self["i2c_target"]
        self["i2c_state"], self["i2c_result"] = self.sensor.transfer(
            target & 0x7F,
            self["i2c_register"],
            self["i2c_value"],
            read=read,
            wide_register=bool(target >> 7 & 1),
            wide_value=bool(target >> 8 & 1),
        )


def _refuse(code: Code, address: int) -> None:
    if code != Code.OK:
        raise Refusal(code, address)


def _check(address: int, value: int, bounds: tuple[int, int], refuse_busy: bool) -> None:
    if refuse_busy:
        raise Refusal(Code.BUSY, address)
    if not bounds[0] <= value <= bounds[1]:
        raise Refusal(Code.VALUE, address)
