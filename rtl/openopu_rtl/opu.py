"""The optical processing unit: everything but the pins of a particular board."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control import ControlPath
from .display import DisplayPath
from .exposer import Exposer
from .i2c import I2cMaster
from .imaging import ImagingPath
from .laser import LASER_PINS, LaserPath
from .monitor import monitor_cycles
from .panel import panel_pins
from .plant import PlantPath, plant_features, plants_of
from .protocol.declaration import MAGIC, PROTOCOL_HASH
from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.registers import STATUS_BITS
from .registerfile import RegisterFile, identity_values
from .shapes import LINK
from .spi import AdcDriver, Mcp3201


class Opu(wiring.Component):
    """Platform independent. Clock domains: ``sync`` (all but the two ports), ``slm``, ``cam``.

    Parameters
    ----------
    geometry : panel, sensor, and depths.
    clock_hz : frequency of ``sync``.
    board, build : values of the identity registers.
    adc : driver of the board's ADC.
    baud : rate of a UART behind the link after reset; None: the clock over the declared divisor.
    plants : simulated plants that are built in, for loops without optics; None: all that the panel allows.

    Ports
    -----
    link_i, link_o : bytes of the link; ``link_i`` may stall it only for the length of one command.
    link_kind : identity register ``link``. uart_divisor: setting for a UART behind the link.
    link_reset : the link is reset (a break on the line, a bus reset, the cable gone): the laser goes dark.
    slm_* : panel, in ``slm``. cam_* : sensor, in ``cam``, but ``cam_trigger`` in ``sync``: the sensor
        exposes while it is high. ``cam_dval`` is high where the sensor has none.
    i2c_* : the sensor's two-wire bus; ``_oe`` pulls a line low, it is never driven high.
    interlock_closed, laser_enable, dac_*, bias_*, adc_* : laser, its power and bias, and the ADC of photodiode and
        thermometer.
    exposure_id, exposure_active : which exposure is under way, also where the light is simulated and ``cam_trigger``
        stays low; a bench may watch it, no board needs it.
    idle : nothing received in part, to do, or to send.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        clock_hz: int,
        board: int = 0,
        build: int = 0,
        adc: type[AdcDriver] = Mcp3201,
        baud: int | None = None,
        plants: Collection[str] | None = None,
    ):
        self.geometry = geometry
        self.resets = {} if baud is None else {"uart_divisor": round(clock_hz / baud)}
        self.clock_hz = clock_hz
        self.adc = adc
        self.plants = plants_of(geometry, plants)
        self.monitor_cycles = monitor_cycles(adc, clock_hz)
        self.identity: Mapping[str, int] = identity_values(
            geometry,
            magic=MAGIC,
            protocol_hash=PROTOCOL_HASH,
            build=build,
            board=board,
            link=0,
            clock_hz=clock_hz,
            monitor_cycles=self.monitor_cycles,
            features=plant_features(self.plants),
        )
        super().__init__(
            {
                "link_i": In(stream.Signature(8)),
                "link_o": Out(stream.Signature(8)),
                "link_kind": In(LINK),
                "link_reset": In(1),
                "uart_divisor": Out(16),
                **panel_pins(geometry),
                "cam_trigger": Out(1),
                "cam_fval": In(1),
                "cam_lval": In(1),
                "cam_dval": In(1, init=1),
                "cam_pixel": In(geometry.pixel_bits),
                "i2c_scl_i": In(1, init=1),
                "i2c_scl_oe": Out(1),
                "i2c_sda_i": In(1, init=1),
                "i2c_sda_oe": Out(1),
                **LASER_PINS,
                "exposure_id": Out(32),
                "exposure_active": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        m.submodules.registers = regs = RegisterFile(g, self.identity, self.resets)
        m.submodules.control = control = ControlPath(g, regs)
        m.submodules.display = display = DisplayPath(g, regs, self.monitor_cycles)
        m.submodules.laser = laser = LaserPath(self.clock_hz, regs, self.adc)
        m.submodules.exposer = exposer = Exposer()
        m.submodules.plant = plant = PlantPath(g, regs, self.plants)
        m.submodules.imaging = imaging = ImagingPath(g, regs)

        # Pins of the same name.
        for path in (control, display, laser, plant):
            for name in sorted(path.signature.members.keys() & self.signature.members.keys() - {"idle"}):
                if self.signature.members[name].is_signature:
                    connect(m, getattr(path, name), flipped(getattr(self, name)))
                elif self.signature.members[name].flow is In:
                    m.d.comb += getattr(path, name).eq(getattr(self, name))
                else:
                    m.d.comb += getattr(self, name).eq(getattr(path, name))

        timestamp = Signal(32)
        m.d.sync += timestamp.eq(timestamp + 1)
        busy = Signal()
        m.d.comb += [
            regs.link.eq(self.link_kind),
            control.busy.eq(busy),
            laser.refresh.eq(control.accepted),
            laser.exposure_begins.eq(exposer.begins),
            laser.panel_fault.eq(exposer.flush),
            laser.shot_take.eq(exposer.i.valid & exposer.i.ready),
            laser.shot_exposure_cycles.eq(exposer.i.p.shot.exposure_cycles),
            laser.trigger.eq(exposer.trigger),
            laser.timestamp.eq(timestamp),
            busy.eq(display.loading | exposer.busy | imaging.busy | plant.busy),
        ]

        # The sensor's registers.
        m.submodules.i2c = i2c = I2cMaster(self.clock_hz)
        m.d.comb += [
            i2c.start.eq(regs.i2c_start_stb),
            i2c.read.eq(regs.w_value[0]),
            Cat(i2c.target, i2c.wide_register, i2c.wide_value).eq(regs.i2c_target),
            i2c.register.eq(regs.i2c_register),
            i2c.value.eq(regs.i2c_value),
            i2c.scl_i.eq(self.i2c_scl_i),
            i2c.sda_i.eq(self.i2c_sda_i),
            self.i2c_scl_oe.eq(i2c.scl_oe),
            self.i2c_sda_oe.eq(i2c.sda_oe),
            regs.i2c_start_code.eq(Mux(i2c.busy, Code.BUSY, Code.OK)),
            regs.i2c_state.eq(i2c.state),
            regs.i2c_result.eq(i2c.result),
            self.idle.eq(control.idle & ~i2c.busy),
        ]

        # Patterns.
        m.d.comb += [
            # A simulated plant reads the pattern from the panel: the next one is not shown before.
            exposer.i.payload.eq(display.shot.payload),
            exposer.i.valid.eq(display.shot.valid & ~plant.busy),
            display.shot.ready.eq(exposer.i.ready & ~plant.busy),
            display.push.eq(control.push),
            display.push_data.eq(control.push_data),
            display.commit.eq(control.commit),
            display.commit_count.eq(control.commit_count),
            display.rollback.eq(control.rollback),
            control.store_full.eq(display.store_full),
            display.grant.eq(exposer.grant),
            display.flush.eq(exposer.flush),
            display.exposing.eq(exposer.exposing),
            display.exposed.eq(exposer.o.valid),
            display.exposed_last.eq(exposer.o.p.last),
            exposer.latched.eq(display.latched),
            exposer.panel_progress.eq(display.progress),
            exposer.panel_timeout.eq(regs.panel_timeout_cycles),
            exposer.panel_underrun.eq(display.underrun),
            exposer.showing_cycles.eq(display.showing_cycles),
            exposer.flushed.eq(display.flushed),
        ]

        # Exposures.
        m.d.comb += [
            exposer.id_set.eq(regs.exposure_base_stb),
            exposer.id_value.eq(regs.exposure_base),
            exposer.readout_cycles.eq(imaging.readout_cycles),
            exposer.none_due.eq(imaging.none_due),
            exposer.raw.eq(regs.result_raw),
            exposer.analog_ready.eq(laser.analog_ready),
            exposer.monitor_pending.eq(laser.monitor_pending),
            exposer.normalise.eq(regs.normalise),
            exposer.weight.eq(laser.weight),
            exposer.resync.eq(imaging.resync),
            exposer.hopeless.eq(imaging.hopeless),
            exposer.release.eq(imaging.release),
            exposer.release_set.eq(imaging.release_set),
            self.cam_trigger.eq(exposer.trigger & ~plant.simulated),
            self.exposure_id.eq(exposer.exposure_id),
            self.exposure_active.eq(exposer.trigger),
        ]

        # What stands between panel and camera.
        m.d.comb += [
            *(
                getattr(plant, name).eq(getattr(display, f"slm_{name}"))
                for name in ("de", "vsync", "level")
                if self.plants
            ),
            plant.flush.eq(exposer.flush),
            plant.trigger.eq(exposer.trigger),
            plant.exposure_id.eq(exposer.exposure_id),
            plant.resync.eq(imaging.resync),
            plant.frame_monitor.eq(control.frame_monitor),
            control.frame_wanted.eq(plant.frame_wanted),
            control.frame_exposure.eq(exposer.exposure_id),
            control.frame_offset.eq(plant.frame_offset),
        ]
        connect(m, plant.patterns, control.patterns)
        connect(m, control.pixels, plant.pixels)

        # Frames and results.
        connect(m, exposer.o, imaging.exposed)
        connect(m, control.batch, imaging.batch)
        connect(m, imaging.o, control.results)
        m.d.comb += [
            imaging.claim.eq(exposer.claim),
            imaging.claim_set.eq(exposer.set),
            imaging.claim_id.eq(exposer.claim_id),
            imaging.exposure_ended.eq(exposer.ended),
            imaging.trigger.eq(exposer.trigger),
            *(
                getattr(imaging, name).eq(getattr(plant, name))
                for name in ("fval", "lval", "dval", "pixel", "simulated", "deserted", "reads", "weight")
            ),
            imaging.laser_on.eq(laser.state.laser_on | plant.simulated),
            # With frames from the host its readings come with them.
            imaging.reading.eq(Mux(plant.reads, plant.reading, laser.reading)),
            imaging.reading_stb.eq(Mux(plant.reads, plant.reading_stb, laser.reading_stb)),
            regs.monitor.eq(imaging.reading),
            imaging.timestamp.eq(timestamp),
        ]

        # Status and counters; the paths drive their own.
        status = {"busy": busy, "resync": imaging.resync} | {name: laser.state[name] for name, _ in laser.state.shape()}
        for name, signal in status.items():
            m.d.comb += regs.status[STATUS_BITS[name]].eq(signal)
        m.d.comb += [
            regs.timestamp.eq(timestamp),
            regs.exposures_inc.eq(exposer.ended),
            regs.panel_stalls_inc.eq(exposer.stalled),
            regs.slots_missed_inc.eq(exposer.missed),
            regs.cycles_busy_inc.eq(busy),
            regs.cycles_wait_pattern_inc.eq(exposer.waits_pattern & (display.loading | exposer.busy)),
            regs.cycles_settle_inc.eq(exposer.settles),
            regs.cycles_expose_inc.eq(exposer.trigger),
            regs.cycles_wait_camera_inc.eq(exposer.waits_camera),
            regs.cycles_wait_results_inc.eq(exposer.waits_results),
            regs.cycles_wait_input_inc.eq(busy & ~display.loading & ~exposer.busy),
        ]
        return m
