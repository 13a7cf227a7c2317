"""The checks, each a function of an opened device. They leave the settings as they found them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable

import numpy as np
from openopu_rtl.protocol import PROTOCOL_HASH, REGISTERS, Code, Kind, Program, Shot
from openopu_rtl.protocol.packets import RECORD_FLAGS
from openopu_rtl.protocol.registers import PLANT_SOURCES, TRIP_CAUSES

from .. import compare
from ..calibration import CalibrationFailed
from ..calibration import settle as settling
from ..encoding import generator
from ..errors import DeviceError, DeviceRefused, ProjectionFailed
from ..measure import permitted_dark
from ..opu import Opu
from ..opu import open as open_opu
from ..session import Session
from ..settings import Settings
from ..url import DeviceUrl
from .pairing import check_pairing
from .report import Check, failed, left_out, passed

SEED = 20_261_124
"""Of the patterns; fixed, so that two reports can be compared."""
LINK_PACKETS = 50
"""Requests of each kind that the link check sends, one at a time."""
WRITE_WORDS = 1024
"""Words of one of its writes, in several packets."""
TRIALS = 16
"""Random programs of the datapath check."""
SHORT_HEARTBEAT_S = 0.02
"""Heartbeat of the trip check; the exposure that outlasts it is three times as long."""


def link(opu: Opu) -> Check:
    """Rate and damage of the link, with the longest packets of each direction."""
    name = "link"
    readable = [r.name for r in REGISTERS.values() if r.kind is not Kind.COMMAND]
    # What stands there already, so that nothing changes; entries behind it are not in use.
    selection = np.zeros(min(opu.geometry.outputs, WRITE_WORDS), dtype=np.int64)
    selection[: len(opu.outputs)] = opu.outputs[: len(selection)]
    garbled, damaged = opu._session.damaged, opu.registers(["packets_damaged"])["packets_damaged"]

    def repeat(action: Callable[[Session], object]) -> float:
        started = time.perf_counter()
        opu.on_link(lambda s: [action(s) for _ in range(LINK_PACKETS)])
        return time.perf_counter() - started

    read_s = repeat(lambda s: s.read(*readable))
    write_s = repeat(lambda s: s.write_window("selection", selection))
    garbled = opu._session.damaged - garbled
    damaged = opu.registers(["packets_damaged"])["packets_damaged"] - damaged
    figures = {
        "damaged_to_device": damaged,
        "damaged_to_host": garbled,
        "read_bytes_per_s": 4 * LINK_PACKETS * len(readable) / read_s,
        "write_bytes_per_s": 4 * LINK_PACKETS * len(selection) / write_s,
    }
    if damaged or garbled:
        return failed(
            name,
            f"{damaged} packets arrived damaged at the device, {garbled} at the host",
            "Lower the baud rate, shorten the cable, or keep it away from the laser's supply",
            **figures,
        )
    rates = [figures[n] / 1000 for n in ("read_bytes_per_s", "write_bytes_per_s")]
    return passed(
        name, f"{LINK_PACKETS} long requests each way, none damaged; {rates[0]:.0f} and {rates[1]:.0f} kB/s", **figures
    )


def modulator(opu: Opu) -> Check:
    """Every test pattern is taken and shown by the panel in time."""
    name = "modulator"
    patterns = test_patterns(opu.geometry.modes_x, opu.geometry.modes_y)
    program = Program((Shot(exposure_cycles=1000, settle_cycles=64),))
    try:
        opu.project_raw(np.stack(list(patterns.values()))[:, None, :], program)
    except ProjectionFailed as error:
        return failed(name, error.what, error.next_step or "Check the panel's cable and clock", code=error.code)
    counters = opu.counters()
    frame_us = counters["cycles_slm_frame"] / opu.identity.clock_hz * 1e6
    return passed(
        name,
        f"{len(patterns)} test patterns shown" + (f", {frame_us:.0f} us a video frame" if frame_us else ""),
        patterns=list(patterns),
        frame_us=frame_us,
        panel_stalls=counters["panel_stalls"],
    )


def test_patterns(columns: int, rows: int) -> dict[str, np.ndarray]:
    """Patterns to look at on the panel, (modes,) bits by name; each shows one kind of wiring or scaling fault."""
    y, x = np.mgrid[:rows, :columns]
    shapes = {
        "all off": np.zeros((rows, columns), dtype=bool),
        "all on": np.ones((rows, columns), dtype=bool),
        "checkerboard": (x + y) % 2 == 0,
        "columns": x % 2 == 0,
        "rows": y % 2 == 0,
        "left half": x < columns // 2,
        "top half": y < rows // 2,
        "diagonal": x * rows // columns == y,
        "first corner": (x == 0) & (y == 0),
        "last corner": (x == columns - 1) & (y == rows - 1),
    }
    return {name: shape.ravel() for name, shape in shapes.items()}


def camera(opu: Opu) -> Check:
    """Whole frames, dark and lit, and no bit of a pixel that never moves."""
    name = "camera"
    g = opu.geometry
    try:
        dark = opu.capture(np.zeros(g.modes), 1)
        lit = [opu.capture(p, opu.exposure_cycles) for p in generator((SEED, 1)).random((2, g.modes)) < 0.5]
    except ProjectionFailed as error:
        return failed(name, error.what, error.next_step, code=error.code)
    frames = np.stack([dark, *lit])
    moving = np.bitwise_or.reduce(frames, axis=None) & ~np.bitwise_and.reduce(frames, axis=None)
    stuck = [bit for bit in range(g.pixel_bits) if not moving >> bit & 1]
    full = (1 << g.pixel_bits) - 1
    dark_mean, lit_mean = float(dark.mean()), float(frames[1:].mean())
    figures = {
        "dark_mean_dn": dark_mean,
        "lit_mean_dn": lit_mean,
        "clipped_share": float((frames[1:] == full).mean()),
        "readout_us": opu.counters()["cycles_readout"] / opu.identity.clock_hz * 1e6,
        "stuck_bits": stuck,
    }
    found = f"whole frames; mean {dark_mean:.1f} DN dark, {lit_mean:.1f} DN lit"
    if frames.min() == frames.max():
        return failed(
            name, f"every pixel reads {frames.min()}", "Check the data lines, and that light comes", **figures
        )
    # Upper bits stay still in a dim frame; the lower ones never do.
    if any(bit < g.pixel_bits // 2 for bit in stuck):
        return failed(name, f"pixel bits {stuck} never move", "Check these data lines of the camera's cable", **figures)
    if lit_mean <= dark_mean:
        return failed(name, f"{found}: no light arrives", "Arm the laser (--arm); check shutter and beam", **figures)
    return passed(name, found, **figures)


def pairing(opu: Opu) -> Check:
    """The 0-0-1-1 test; see :mod:`openopu.selftest.pairing`."""
    name = "pairing"
    if not opu.status()["laser_on"] and opu.device.plant_source == PLANT_SOURCES["camera"]:
        return left_out(name, "it needs light: give --arm")
    report = check_pairing(opu)
    figures = {n: getattr(report, n) for n in ("seen", "frames_behind", "dark", "bright")}
    if report.ok:
        return passed(name, report.found, **figures)
    return failed(name, report.found, report.next_step, **figures)


def settle(opu: Opu) -> Check:
    """Shortest settling time after which a frame no longer depends on it, clocked by the gateware.

    A half of the panel is switched from dark to lit and exposed after waits that double. The change of the frame is
    given as a share of its change after the longest wait.
    """
    name = "settle"
    clock, exposure = opu.identity.clock_hz, settling.exposure_of(opu)
    longest = settling.longest_wait(opu, exposure)
    if not longest:
        slot = opu.registers(["cycles_slm_slot"])["cycles_slm_slot"]
        return left_out(name, f"the panel shows a pattern for {slot} cycles only: no time to wait in")
    try:
        found = settling.sweep(opu, longest, exposure)
    except CalibrationFailed as error:
        return failed(name, error.what, error.next_step)
    settled_us = found.settled_cycles / clock * 1e6
    figures = {
        "settle_us": (found.waits / clock * 1e6).tolist(),
        "share": found.share.tolist(),
        "noise": found.noise,
        "settled_us": settled_us,
    }
    if found.restless:
        return failed(
            name,
            f"the pattern still changes after {longest / clock * 1e3:.0f} ms",
            "Give the shots more video frames (`frames`), or look for vibration and drift",
            **figures,
        )
    return passed(name, f"settled to {1 - found.allowed:.1%} after {settled_us:.1f} us", **figures)


def interlock(opu: Opu) -> Check:
    """A wrong key or a step left out never arms; an armed laser goes dark and stays dark when the host falls silent."""
    name = "interlock"
    if opu.device.plant_source != PLANT_SOURCES["camera"]:
        return left_out(name, "the light is simulated, so the laser cannot be armed; open the device without `plant=`")
    status = opu.status()
    right, wrong = PROTOCOL_HASH, PROTOCOL_HASH ^ 1
    for what, steps, expected in (
        ("a first step with a wrong key", {"laser_unlock": wrong}, Code.ARM_KEY),
        ("a second step with a wrong key", {"laser_unlock": right, "laser_arm": wrong}, Code.ARM_KEY),
        ("a second step alone", {"laser_arm": right}, Code.ARM_ORDER),
    ):
        refusal = _refusal(opu, steps)
        if refusal is None:
            return failed(name, f"{what} was accepted", "Do not use this board with a laser: reflash it")
        if refusal.code not in (expected, Code.INTERLOCK_OPEN):
            return failed(name, f"{what} was refused, but as {refusal.what}", "Reflash the board")
    if not status["interlock_closed"]:
        return left_out(name, "wrong arming was refused; the loop is open, so the trip cannot be tried")
    if not status["armed"]:
        return left_out(name, "wrong arming was refused; give --arm to try the trip with the laser's enable on")
    if opu.device.name == "twin":
        return left_out(name, "wrong arming was refused; the twin has no clock, so its heartbeat never runs out")
    return _trip(opu, name)


def _refusal(opu: Opu, values: dict[str, int]) -> DeviceRefused | None:
    """What the device says to a write, or None where it takes it."""
    try:
        opu.on_link(lambda session: session.write(**values))
    except DeviceRefused as error:
        return error
    return None


def _trip(opu: Opu, name: str) -> Check:
    """Expose for longer than the heartbeat lasts, and say nothing meanwhile."""
    beat = round(SHORT_HEARTBEAT_S * opu.identity.clock_hz)
    usual = opu.settings.registers["heartbeat_cycles"]

    def set_heartbeat(session: Session, cycles: int, keep_alive: bool) -> None:
        session.write(heartbeat_cycles=cycles)
        if not keep_alive:
            opu._worker.keep_alive(None)

    settings = opu.settings.replace(program=Program((Shot(exposure_cycles=3 * beat),)))
    try:
        with permitted_dark(opu), opu.using(settings):
            opu.on_link(lambda s: set_heartbeat(s, beat, False))
            lit = False
            with contextlib.suppress(ProjectionFailed):  # its frame is the camera's business
                record = opu.project_raw(np.zeros((1, 1, opu.geometry.modes)))
                lit = bool(record.head["flags"][0] >> RECORD_FLAGS["laser_on"] & 1)
            status = opu.status()
    finally:
        opu.on_link(lambda s: set_heartbeat(s, usual, True))
        opu._set_keep_alive()
    causes = [c for c in TRIP_CAUSES if status[f"trip_{c}"]]
    if not status["tripped"] or status["laser_on"] or lit or causes != ["heartbeat_lost"]:
        return failed(
            name,
            f"after a lost heartbeat the laser is {'on' if status['laser_on'] else 'off'}, tripped: {causes or 'no'}",
            "Do not use this board with a laser: reflash it",
        )
    again = opu.status()  # a packet came meanwhile: the heartbeat is fresh again
    if again["laser_on"] or not again["tripped"]:
        return failed(name, "the trip did not latch", "Do not use this board with a laser: reflash it")
    try:
        opu.arm()
    except DeviceError as error:
        return failed(name, f"it tripped, but could not be armed again: {error.what}", error.next_step)
    return passed(name, "wrong arming was refused; the lost heartbeat tripped, latched, and only arming ended it")


def _twin_of(opu: Opu) -> Opu:
    """A twin of the same geometry whose light, too, is made by the gateware's medium."""
    fields = {name: str(int(getattr(opu.geometry, name))) for name in opu.geometry.__dataclass_fields__}
    return open_opu(DeviceUrl("twin", "", {"plant": "chip", **fields}))


def _no_chip(opu: Opu) -> str:
    what = "the light is not the gateware's own"
    if not opu.geometry.panel_shows_levels:
        return f"{what}, and cannot be: the pattern on a panel of this kind cannot be read back"
    return f"{what}; open the device with `?plant=chip`"


def memory(opu: Opu) -> Check:
    """Every byte of the pattern store, entry of the selection and sum of both accumulator sets, against the twin."""
    name = "memory"
    if opu.device.plant_source != PLANT_SOURCES["chip"]:
        return left_out(name, _no_chip(opu))
    g = opu.geometry
    # More than the store holds, so that it wraps; and no two neighbours alike.
    rows = g.store_bytes // g.plane_bytes + 3
    planes = generator((SEED, 3)).random((rows, 1, g.modes)) < 0.5
    program = Program((Shot(exposure_cycles=600), Shot(invert=True, bank=1, exposure_cycles=600)))
    backwards = np.arange(g.outputs)[::-1]
    found = []
    with _twin_of(opu) as twin:
        for device in (opu, twin):
            settings = device.settings.replace(program=program, selection=backwards, bits=16, shift=0, banks=2)
            with device.using(settings, exposure_base=0):
                found.append(device.project_raw(planes).values)
    wrong = np.argwhere(found[0] != found[1])
    figures = {"store_bytes": g.store_bytes, "outputs": g.outputs, "rows": rows, "wrong": len(wrong)}
    if len(wrong):
        row, place = wrong[0].tolist()
        return failed(
            name,
            f"{len(wrong)} of {found[0].size} integers differ from the twin's, first in row {row}, output "
            f"{backwards[place // 2]}",
            "Rebuild the bitstream and flash it again; if it stays, the board's memory or supply is faulty",
            **figures,
        )
    return passed(name, f"{g.store_bytes} bytes of patterns and {g.outputs} outputs in two banks, all right", **figures)


def datapath(opu: Opu) -> Check:
    """Random programs on the gateware's own medium, integer for integer against the twin."""
    name = "datapath"
    if opu.device.plant_source != PLANT_SOURCES["chip"]:
        return left_out(name, _no_chip(opu))
    rng, tally = generator((SEED, 4)), compare.Tally()
    with _twin_of(opu) as twin, opu.using(opu.settings):
        for number in range(TRIALS):
            rows, base = int(rng.integers(1, 5)), Settings.default(opu.geometry)
            trial = compare.draw(rng, base, opu.geometry, twin.identity.monitor_cycles, rows, number)
            # Whether a reading comes in time depends on the board's ADC, which the twin's need not be.
            trial = dataclasses.replace(trial, settings=trial.settings.replace(normalise=False))
            opu.exposure_next = twin.exposure_next = number << 16
            found, wanted = compare.perform(opu, trial), compare.perform(twin, trial)
            compare.check(tally, trial, found, wanted, {"trial": number, "kind": trial.kind})
    figures = {"projections": tally.projections, "mismatches": tally.mismatches}
    if tally.mismatches:
        return failed(
            name,
            f"{tally.mismatches} of {tally.projections} projections differ from the twin's: {tally.first_difference}",
            "Rebuild the bitstream from the sources of this host, and flash it again",
            **figures,
        )
    return passed(name, f"{tally.projections} random projections equal the twin's, integer for integer", **figures)
