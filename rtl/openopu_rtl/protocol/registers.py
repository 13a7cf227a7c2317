"""The register map: one list, from which gateware, host access, twin and documentation derive.

Registers are 32-bit words at consecutive word addresses. Windows are write-only memories.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from .geometry import Geometry
from .links import LINKS
from .shots import SHOT_WORDS


class Access(enum.StrEnum):
    RO = "read only"
    RW = "read and write"
    WO = "write only: the write is a command"


class Kind(enum.StrEnum):
    IDENTITY = "identity"
    SETTING = "setting"
    COMMAND = "command"
    STATUS = "status"
    EVENT = "event counter"
    """Equal on twin and RTL."""
    TIMING = "timing"
    """Crosses asynchronous clocks: left out when twin and RTL are compared."""


@dataclass(frozen=True)
class Register:
    name: str
    kind: Kind
    doc: str
    unit: str = ""
    reset: int = 0
    maximum: int | str = 0xFFFFFFFF
    """Largest value that a write may hold: a number, or the name of a property of the geometry."""
    minimum: int = 0
    idle_only: bool = False
    """Writable only while no projection is queued or running."""
    conditional: bool = False
    """The gateware may refuse a value that is in its bounds; every command is so."""
    address: int = -1

    @property
    def access(self) -> Access:
        return {Kind.SETTING: Access.RW, Kind.COMMAND: Access.WO}.get(self.kind, Access.RO)

    def bounds(self, geometry: Geometry) -> tuple[int, int]:
        """Smallest and largest value that a write may hold."""
        high = getattr(geometry, self.maximum) if isinstance(self.maximum, str) else self.maximum
        return self.minimum, high


@dataclass(frozen=True)
class Window:
    """A write-only memory; word ``i`` stands at ``address + i``. Writable only while idle."""

    name: str
    address: int
    length: str
    """Property of the geometry (or number) that says how many words it has."""
    maximum: int | str
    """Largest value of a word: a number, or the name of a property of the geometry."""
    doc: str

    def bounds(self, geometry: Geometry) -> tuple[int, int]:
        """Smallest and largest value that a word may hold."""
        return 0, getattr(geometry, self.maximum) if isinstance(self.maximum, str) else self.maximum

    def words(self, geometry: Geometry) -> int:
        if self.length.isdigit():
            return int(self.length)
        return int(getattr(geometry, self.length)) * (SHOT_WORDS if self.name == "shot_table" else 1)


PLANT_SOURCES = {"camera": 0, "host": 1, "chip": 2}
"""Values of ``plant_source``: where frames come from."""
FEATURE_BITS = {f"plant_{name}": value for name, value in PLANT_SOURCES.items()}
"""Bits of the register ``features``."""


def _identity() -> list[Register]:
    fixed = [
        Register("magic", Kind.IDENTITY, 'ASCII "OOPU", so that a host knows whom it talks to.'),
        Register("protocol_hash", Kind.IDENTITY, "Hash of this declaration; the host refuses another."),
        Register("build", Kind.IDENTITY, "First 32 bits of the hash of the gateware's sources."),
        Register("board", Kind.IDENTITY, "Board: 0 simulation, 1 twin; boards count from 16."),
        Register("link", Kind.IDENTITY, "Link: " + ", ".join(f"{k.value} {text}" for k, text in LINKS.items()) + "."),
        Register("clock_hz", Kind.IDENTITY, "Frequency of the system clock.", "Hz"),
        Register("monitor_cycles", Kind.IDENTITY,
                 "From the begin of an exposure until its photodiode reading, and the weight made of it, are there; "
                 "with `normalise` an exposure must be longer.", "cycles"),
        Register("features", Kind.IDENTITY, "Bits: " + ", ".join(f"{b} {n}" for n, b in FEATURE_BITS.items())
                 + ": what this gateware was built with."),
    ]  # fmt: skip
    geometry = [
        Register(f"geometry_{f.name}", Kind.IDENTITY, f"`Geometry.{f.name}` that the gateware was built with.")
        for f in dataclasses.fields(Geometry)
    ]
    return fixed + geometry


_K = Kind
_SETTINGS = [
    Register("uart_divisor", _K.SETTING,
             "System clocks per bit of the UART; a change takes effect after its reply. A board may start at another.",
             "cycles", reset=4, minimum=4, maximum=0xFFFF),
    Register("link_gap_cycles", _K.SETTING, "A packet in which no byte arrives for so long is dropped.",
             "cycles", reset=1 << 20, minimum=64),
    Register("exposure_base", _K.SETTING, "ID of the next exposure; set by the host, then counted by the device.",
             idle_only=True),
    Register("program_length", _K.SETTING, "Shots of the program; 0: no program.", idle_only=True,
             maximum="shot_depth"),
    Register("planes", _K.SETTING, "Bit planes of one projection.", reset=1, minimum=1, maximum=256, idle_only=True),
    Register("selection_length", _K.SETTING, "Outputs that are returned, the first entries of the selection.",
             minimum=0, maximum="outputs", idle_only=True),
    Register("result_format", _K.SETTING, "Bits of a returned integer: 0: 8, 1: 12, 2: 16.", maximum=2,
             idle_only=True),
    Register("result_shift", _K.SETTING, "Results are divided by 2**result_shift, halves rounded up.", maximum=31,
             idle_only=True),
    Register("result_banks", _K.SETTING, "Accumulator banks returned for each output, 1 or 2.", reset=1, minimum=1,
             maximum=2, idle_only=True),
    Register("result_raw", _K.SETTING, "1: return `raw_rows` rows of the last shot's frame, 16 bits a pixel.",
             maximum=1, idle_only=True),
    Register("raw_first_row", _K.SETTING, "First sensor row of a raw readout.", maximum="last_raw_first_row",
             idle_only=True),
    Register("slm_preload", _K.SETTING, "1: the next pattern is sent while this one is exposed (global reset panels; "
             "continuous video never does it).",
             reset=1, maximum=1, idle_only=True),
    Register("camera_readout_cycles", _K.SETTING,
             "An exposure ends no sooner than so long after the one before it ended, or than the last readout took "
             "(plus 1/64, 32 cycles and twice the jitter) if that is longer.", "cycles", reset=0, idle_only=True),
    Register("frame_timeout_cycles", _K.SETTING, "A frame must have ended so long after its exposure.", "cycles",
             reset=1 << 22, minimum=64, idle_only=True),
    Register("camera_jitter_cycles", _K.SETTING,
             "A frame may end sooner or later after its exposure than the one before it did by so much, beside 1/256 "
             "of the readout and 8 cycles.", "cycles", maximum=1 << 30, idle_only=True),
    Register("panel_timeout_cycles", _K.SETTING,
             "The panel must take a pixel, or show a pattern that it has taken, within so long.", "cycles",
             reset=1 << 22, minimum=64, idle_only=True),
    Register("heartbeat_cycles", _K.SETTING, "The laser trips when no valid packet arrives for so long.", "cycles",
             reset=1 << 26, minimum=64),
    Register("i2c_target", _K.SETTING,
             "Slave of the next I2C transfer: bits 6:0 its address; bit 7: registers, bit 8: values of 16 bits, not 8.",
             maximum=0x1FF),
    Register("i2c_register", _K.SETTING, "Register of the slave.", maximum=0xFFFF),
    Register("i2c_value", _K.SETTING, "Value to write.", maximum=0xFFFF),
    Register("laser_power", _K.SETTING, "Code of the laser's power DAC (12 bit), applied while the laser is on.",
             maximum=4095, idle_only=True),
    Register("monitor_limit", _K.SETTING, "The laser trips when the photodiode's ADC reads more (12 bit); 4095: never.",
             reset=4095, maximum=4095, idle_only=True),
    Register("laser_bias", _K.SETTING, "Code of the laser's bias DAC (12 bit), applied while the laser is on.",
             maximum=4095, idle_only=True),
    Register("result_monitors", _K.SETTING, "1: each record ends with the photodiode readings of its shots.", maximum=1,
             idle_only=True),
    Register("normalise", _K.SETTING, "1: each frame is weighted by `monitor_reference` over its photodiode reading.",
             maximum=1, idle_only=True),
    Register("monitor_reference", _K.SETTING, "Photodiode reading at which a frame's weight is 1.", reset=2048,
             minimum=1, maximum=4095, idle_only=True),
    Register("plant_source", _K.SETTING,
             "Where frames come from: 0: the camera; 1: the host, by FRAME packets; 2: the medium in the gateware. "
             "Other than 0, the laser stays dark, and records say that it was on: the light is simulated.",
             maximum=max(PLANT_SOURCES.values()), idle_only=True, conditional=True),
]  # fmt: skip

_COMMANDS = [
    Register("laser_arm", _K.COMMAND, "Second step of arming the laser, soon after `laser_unlock`: the value must be "
             "the declaration's hash."),
    Register("laser_disarm", _K.COMMAND, "Disarm the laser, whatever the value."),
    Register("i2c_start", _K.COMMAND, "Begin an I2C transfer: 0 writes `i2c_value`, 1 reads.", maximum=1),
    Register("counters_clear", _K.COMMAND, "Set event and timing counters to zero, whatever the value.",
             idle_only=True),
    # Behind `laser_arm`, so that no single packet holds both steps in their order.
    Register("laser_unlock", _K.COMMAND, "First step of arming the laser: the value must be the declaration's hash."),
]  # fmt: skip

STATUS_BITS = {
    "busy": 0,
    "laser_on": 1,
    "armed": 2,
    "interlock_closed": 3,
    "heartbeat_fresh": 4,
    "tripped": 5,
    "resync": 6,
}
"""Bits of the register ``status``."""

TRIP_CAUSES = {"interlock_open": 0, "heartbeat_lost": 1, "link_reset": 2, "over_power": 3, "sequencer_fault": 4}
"""Bits of the register ``trip_cause``."""

I2C_STATES = {
    "idle": 0,
    "busy": 1,
    "ok": 2,
    "nack_address": 3,
    "nack_data": 4,
    "clock_stuck": 5,
    "bus_stuck": 6,
    "arbitration_lost": 7,
}
"""Values of the register ``i2c_state``."""

_STATUS = [
    Register("status", _K.STATUS, "Bits: " + ", ".join(f"{b} {n}" for n, b in STATUS_BITS.items()) + "."),
    Register("trip_cause", _K.STATUS, "Why the laser tripped: " + ", ".join(f"{b} {n}" for n, b in TRIP_CAUSES.items())
             + "; kept until the next arming."),
    Register("exposure_next", _K.STATUS, "ID that the next accepted projection begins with."),
    Register("monitor", _K.STATUS, "Photodiode reading of the last exposure (12 bit)."),
    Register("temperature", _K.STATUS, "Last reading of the thermometer (12 bit); what it means is the board's data."),
    Register("i2c_state", _K.STATUS, "I2C: " + ", ".join(f"{v} {n}" for n, v in I2C_STATES.items()) + "."),
    Register("i2c_result", _K.STATUS, "What the last I2C transfer read; 0 after a write."),
]  # fmt: skip

_EVENTS = [
    Register(name, _K.EVENT, doc)
    for name, doc in {
        "packets_accepted": "Packets with a right checksum, FRAME packets apart.",
        "packets_damaged": "Packets dropped: wrong checksum, cut short, too long, not COBS.",
        "packets_refused": "Packets with a right checksum answered by an error.",
        "projections": "Projections ended, failed ones included.",
        "projections_failed": "Projections ended with a status other than OK.",
        "exposures": "Exposures made.",
        "frames": "Whole frames accumulated.",
        "frames_missing": "Exposures without a frame in time.",
        "frames_extra": "Frames that no exposure asked for.",
        "frames_early": "Frames that ended sooner after their exposure than the one before.",
        "frames_late": "Frames unfinished when they were due, or when the next exposure ended.",
        "frames_malformed": "Frames with missing, extra, short or long lines.",
        "panel_stalls": "Times that the panel stopped taking or showing patterns.",
        "panel_underruns": "Video frames whose pixels did not come in time.",
        "camera_overflows": "Frames that lost pixels at the clock crossing.",
        "accumulator_saturations": "Sums that left 32 bits and were held at the limit.",
        "result_saturations": "Returned integers held at the limit of their width.",
        "laser_trips": "Times that the interlock tripped.",
    }.items()
]

_TIMING = [
    Register(name, _K.TIMING, doc, "cycles")
    for name, doc in {
        "cycles_busy": "From the first queued projection to the last result.",
        "cycles_wait_pattern": "Waiting for the panel: the next pattern has not been sent yet.",
        "cycles_settle": "Waiting for the panel to settle.",
        "cycles_expose": "Exposing.",
        "cycles_wait_camera": "Settled, waiting for the camera to read out.",
        "cycles_wait_results": "Settled, waiting for results to cross the link (both accumulator sets full).",
        "cycles_wait_input": "Busy, but no projection to load: waiting for the link to bring one.",
        "cycles_slm_frame": "Length of the last video frame sent, from its first to its last pixel.",
        "cycles_slm_slot": "How long a packed plane is surely shown, as measured; else 0.",
        "cycles_readout": "Length of the last readout, from the end of the exposure to the end of the frame.",
        "trip_time": "Timestamp of the last trip.",
        "timestamp": "Cycles since reset, modulo 2**32.",
    }.items()
] + [
    Register("monitor_live", _K.TIMING, "Last photodiode reading (12 bit), also one between exposures: a thousand a "
             "second while the laser is on."),
    Register("slots_missed", _K.TIMING,
             "Times that a packed plane's slot passed before it could be exposed, so that it waits for the next one."),
]  # fmt: skip


def _numbered(registers: list[Register]) -> dict[str, Register]:
    return {r.name: dataclasses.replace(r, address=i) for i, r in enumerate(registers)}


REGISTERS: dict[str, Register] = _numbered(_identity() + _SETTINGS + _COMMANDS + _STATUS + _EVENTS + _TIMING)
"""Every register by name, in order of address."""

WINDOWS: dict[str, Window] = {
    w.name: w
    for w in (
        Window("shot_table", 0x1000, "shot_depth", 0xFFFFFFFF, "The program's shots, four words each; see `Shot`."),
        Window("level_table", 0x2000, "256", 255, "Panel level of each level index (gamma); after reset the identity."),
        Window("selection", 0x8000, "outputs", "last_output",
               "Index of each output to return, in order; after reset the identity."),
    )
}  # fmt: skip
"""Every window by name."""

WEIGHT_FRACTION_BITS = 14
WEIGHT_MAX = (2 << WEIGHT_FRACTION_BITS) - 1
"""Largest weight of a frame, in units of 2**-14: just below 2, as with half the light something else is wrong."""
RESULT_BITS = (8, 12, 16)
"""Bits of a returned integer for each value of ``result_format``."""
