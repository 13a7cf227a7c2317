"""Every error that the device can name, with what happened and what to do next."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Code(enum.IntEnum):
    """Codes below 32 answer a packet; codes from 32 are the status of one projection."""

    OK = 0
    CRC = 1
    FRAMING = 2
    UNKNOWN_TYPE = 3
    LENGTH = 4
    ADDRESS = 5
    READ_ONLY = 6
    BUSY = 7
    VALUE = 8
    NO_SPACE = 9
    EXPOSURE_MISMATCH = 10
    NO_PROGRAM = 11
    ARM_KEY = 12
    INTERLOCK_OPEN = 13
    ARM_ORDER = 14
    ARM_WINDOW = 15
    ARM_FAULT = 16
    NO_PLANT = 20
    PLANT_SIMULATED = 21
    ONE_PROJECTION = 22
    FRAME_MISSING = 32
    FRAME_EXTRA = 33
    FRAME_LATE = 34
    FRAME_GEOMETRY = 35
    CAMERA_OVERFLOW = 36
    RESYNC = 37
    BAD_SHOT = 38
    PANEL_STALLED = 39
    MONITOR_LATE = 40
    PANEL_UNDERRUN = 41
    SLOT_TOO_SHORT = 42
    FRAME_EARLY = 43


@dataclass(frozen=True)
class Explanation:
    what: str
    """What happened; ``detail`` of the reply is formatted into ``{detail}``."""
    next_step: str


ERRORS: dict[Code, Explanation] = {
    Code.CRC: Explanation(
        "a packet arrived with a wrong checksum",
        "nothing of it was used; send it again. If it repeats, lower the baud rate or check the cable",
    ),
    Code.FRAMING: Explanation(
        "a packet was cut short, too long, or not a packet", "nothing of it was used; send it again"
    ),
    Code.UNKNOWN_TYPE: Explanation(
        "packet type {detail:#04x} is not known", "host and gateware differ: rebuild or reflash"
    ),
    Code.LENGTH: Explanation(
        "a packet of type {detail:#04x} has the wrong length",
        "send whole words, and whole projections of `planes` bit planes",
    ),
    Code.ADDRESS: Explanation("nothing is mapped at word address {detail:#06x}", "see the register map"),
    Code.READ_ONLY: Explanation("word address {detail:#06x} cannot be written", "see the register map"),
    Code.BUSY: Explanation(
        "word address {detail:#06x} can be written only while the device is idle",
        "wait for the queued projections' results",
    ),
    Code.VALUE: Explanation(
        "the value for word address {detail:#06x} is out of its range", "see the register map for its bounds"
    ),
    Code.NO_SPACE: Explanation(
        "the pattern store or the queue is full", "wait for results before sending more projections"
    ),
    Code.EXPOSURE_MISMATCH: Explanation(
        "a packet of projections did not begin at the next exposure, which is {detail}",
        "an earlier packet was lost: wait for idle, set `exposure_base`, and send again from there",
    ),
    Code.NO_PROGRAM: Explanation("there is no program to run", "write the shot table and `program_length`"),
    Code.ARM_KEY: Explanation(
        "the key of a step of arming is not the declaration's hash", "host and gateware differ: rebuild or reflash"
    ),
    Code.INTERLOCK_OPEN: Explanation(
        "the laser interlock loop is open", "close the loop (door, key switch, emergency stop), then arm again"
    ),
    Code.ARM_ORDER: Explanation(
        "the laser was to be armed without its first step, or something came between the two",
        "write the key to `laser_unlock`, then to `laser_arm`",
    ),
    Code.ARM_WINDOW: Explanation(
        "the second step of arming came too late after the first", "begin again with `laser_unlock`"
    ),
    Code.ARM_FAULT: Explanation(
        "what trips the laser is present: a link reset, over-power or a sequencer fault",
        "see that the line is idle and the panel's pixel clock runs, then arm again",
    ),
    Code.NO_PLANT: Explanation(
        "this gateware was built without the plant that `plant_source` asks for",
        "see the register `features`; leave out `plant=`, or build the gateware with it, for a panel of kind 0 or 1",
    ),
    Code.PLANT_SIMULATED: Explanation(
        "the laser cannot be armed while the light is simulated", "set `plant_source` to 0, or do without the laser"
    ),
    Code.ONE_PROJECTION: Explanation(
        "with frames from the host a packet holds one projection: its result would keep the next patterns waiting",
        "send each projection in a packet of its own",
    ),
    Code.FRAME_MISSING: Explanation(
        "no frame came for an exposure",
        "check trigger and camera cables, and that the exposure suits the sensor; with plant=host: that the host "
        "answers within `frame_timeout_cycles`",
    ),
    Code.FRAME_EXTRA: Explanation(
        "the camera sent a frame or a part of one that no exposure asked for",
        "check that the camera runs in its external trigger mode",
    ),
    Code.FRAME_LATE: Explanation(
        "a frame had not ended when the frame before it had, so long after its exposure, when the next exposure did, "
        "or within `frame_timeout_cycles`",
        "check the camera's pixel clock; raise `camera_jitter_cycles` or `camera_readout_cycles`; with plant=host: "
        "`frame_timeout_cycles`",
    ),
    Code.FRAME_EARLY: Explanation(
        "a frame ended sooner after its exposure than the frame before it: it may be another exposure's",
        "check that the camera runs in its external trigger mode; raise `camera_jitter_cycles` if its readout varies",
    ),
    Code.FRAME_GEOMETRY: Explanation(
        "a frame had missing, extra, short or long lines", "check the sensor's region and the LVAL/FVAL wiring"
    ),
    Code.CAMERA_OVERFLOW: Explanation(
        "pixels were lost between the camera's clock and the system clock",
        "lower the camera's pixel clock below the system clock",
    ),
    Code.RESYNC: Explanation(
        "the projection was under way while the device realigned itself after a fault", "send it again"
    ),
    Code.PANEL_STALLED: Explanation(
        "the panel took no pixel of a pattern, or did not show it, within `panel_timeout_cycles`",
        "check that the panel's pixel clock runs; nothing was exposed, so send the projection again",
    ),
    Code.PANEL_UNDERRUN: Explanation(
        "the panel's pixel clock outran the pattern: a video frame of the shot, or one sent while it was exposed, "
        "lacked pixels",
        "use a pixel clock that is no faster than the system clock; send the projection again",
    ),
    Code.SLOT_TOO_SHORT: Explanation(
        "settling and exposure take longer than the panel shows a pattern",
        "shorten `settle_cycles` and `exposure_cycles` to `cycles_slm_slot` in all, or have the panel show longer",
    ),
    Code.BAD_SHOT: Explanation("a shot of the program is invalid", "write a valid shot table: see `Shot`"),
    Code.MONITOR_LATE: Explanation(
        "a shot is too short for its photodiode reading to normalise its frame",
        "expose for more than `monitor_cycles` (lower `laser_power` to keep the signal), or set `normalise` to 0",
    ),
}

TRIPS: dict[str, Explanation] = {
    "interlock_open": Explanation(
        "the interlock loop opened", "close it (door, key switch, emergency stop) when all is safe"
    ),
    "heartbeat_lost": Explanation(
        "no valid packet came for `heartbeat_cycles`",
        "see whether the host stopped or the cable is loose; raise `heartbeat_cycles` for a slow host",
    ),
    "link_reset": Explanation(
        "the link was reset (break on the line, bus reset, cable gone)",
        "check the cable and the adapter's supply, and that no other program opens the port",
    ),
    "over_power": Explanation(
        "the photodiode read more than `monitor_limit`",
        "lower `laser_power`; check beam path, attenuators and the laser's driver before raising the limit",
    ),
    "sequencer_fault": Explanation(
        "the panel stalled, or an exposure lasted longer than its shot says",
        "check that the panel's pixel clock runs",
    ),
}
"""Every cause of a trip of the laser, by its name in ``TRIP_CAUSES``."""
