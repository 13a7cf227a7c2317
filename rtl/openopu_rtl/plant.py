"""Plant path: what stands in for the optics where there are none."""

from __future__ import annotations

from collections.abc import Collection

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from . import chip_medium
from .chip_medium import ChipMedium
from .frame_player import FramePlayer
from .panel_probe import PanelProbe
from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.registers import PLANT_SOURCES
from .registerfile import RegisterFile

SIMULATED_PLANTS = ("chip",)
"""Plants that this path can hold."""


class PlantPath(wiring.Component):
    """Passes the camera's pins on, or, as ``plant_source`` says, frames that are made from what the panel's pins show
    during each exposure. These come as a sensor's would, through the same port and the crossing behind it.

    Parameters
    ----------
    regs : the register file, a sibling.
    plants : those of ``SIMULATED_PLANTS`` that are built in.

    Ports
    -----
    cam_* : the sensor's pins. fval, lval, pixel : to the imaging path. All in domain ``cam``.
    de, vsync, level : the panel's pins, domain ``slm``. flush : their pattern is thrown away.
    trigger : the exposure is under way. resync : frames cannot be matched; throw away what is left of one.
    simulated : there is no light. monitor : the photodiode's reading, where it is simulated too.
    busy : a frame is made or played; the pattern on the panel must stay.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile, plants: Collection[str] = SIMULATED_PLANTS):
        self.geometry = geometry
        self.regs = regs
        self.plants = frozenset(plants)
        if unknown := self.plants - set(SIMULATED_PLANTS):
            raise ValueError(f"there is no plant {sorted(unknown)}; take some of {SIMULATED_PLANTS}")
        super().__init__(
            {
                "cam_fval": In(1),
                "cam_lval": In(1),
                "cam_pixel": In(geometry.pixel_bits),
                "fval": Out(1),
                "lval": Out(1),
                "pixel": Out(geometry.pixel_bits),
                "de": In(1),
                "vsync": In(1),
                "level": In(8),
                "flush": In(1),
                "trigger": In(1),
                "resync": In(1),
                "simulated": Out(1),
                "monitor": Out(12),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        regs = self.regs
        with m.Switch(regs.w_data):
            with m.Case(PLANT_SOURCES["camera"], *(PLANT_SOURCES[name] for name in sorted(self.plants))):
                m.d.comb += regs.plant_source_code.eq(Code.OK)
            with m.Default():
                m.d.comb += regs.plant_source_code.eq(Code.NO_PLANT)
        m.d.comb += self.simulated.eq(regs.plant_source != PLANT_SOURCES["camera"])
        pins = {"fval": self.cam_fval, "lval": self.cam_lval, "pixel": self.cam_pixel}
        if self.plants:
            pins = self._simulate(m, pins)
        m.d.comb += [getattr(self, name).eq(pin) for name, pin in pins.items()]
        return m

    def _simulate(self, m, pins):
        """Add the simulated plants; returns the pins or what stands in for them."""
        g = self.geometry
        abort = Signal()
        m.d.comb += abort.eq(self.resync & self.simulated)

        # The pattern on show.
        flush_slm = Signal()
        m.submodules.flush_crossing = FFSynchronizer(self.flush, flush_slm, o_domain="slm")
        probe = PanelProbe(g)
        m.submodules.probe = ResetInserter({"slm": flush_slm})(probe)
        medium = ChipMedium(g)
        m.submodules.medium = ResetInserter(abort)(medium)
        m.d.comb += [
            *(getattr(probe, name).eq(getattr(self, name)) for name in ("de", "vsync", "level")),
            probe.r_addr.eq(medium.r_addr),
            probe.r_en.eq(medium.r_en),
            medium.r_data.eq(probe.r_data),
            self.monitor.eq(chip_medium.MONITOR),
        ]

        # Pixels into the camera's clock.
        m.submodules.player = player = FramePlayer(g)
        m.submodules.pixel_fifo = fifo = AsyncFIFOBuffered(
            width=g.pixel_bits, depth=g.camera_width + 1, w_domain="sync", r_domain="cam"
        )
        simulated_cam, empty = Signal(), Signal()
        m.submodules.simulated_crossing = FFSynchronizer(self.simulated, simulated_cam, o_domain="cam")
        m.submodules.abort_crossing = FFSynchronizer(abort, player.abort, o_domain="cam")
        m.submodules.empty_crossing = FFSynchronizer(player.empty, empty, init=1)
        m.d.comb += [
            fifo.w_data.eq(medium.o.payload),
            fifo.w_en.eq(medium.o.valid),
            medium.o.ready.eq(fifo.w_rdy),
            player.i.payload.eq(fifo.r_data),
            player.i.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(player.i.ready),
            player.level.eq(fifo.r_level),
        ]

        # One exposure at a time.
        trigger_before = Signal()
        cycles, exposed_cycles = Signal(32), Signal(32)
        m.d.sync += [trigger_before.eq(self.trigger), cycles.eq(Mux(self.trigger, cycles + 1, 0))]
        m.d.comb += medium.exposure_cycles.eq(exposed_cycles)
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(
                self.simulated & (self.trigger | trigger_before | ~fsm.ongoing("IDLE") | ~empty | abort)
            )
            with m.State("IDLE"):
                with m.If(trigger_before & ~self.trigger & self.simulated):
                    m.d.sync += exposed_cycles.eq(cycles)
                    m.next = "PROBE"
            with m.State("PROBE"):
                m.d.comb += probe.request.eq(1)
                with m.If(probe.ready):
                    m.d.comb += medium.start.eq(1)
                    m.next = "MAKE"
                with m.If(abort):
                    m.next = "IDLE"
            with m.State("MAKE"):
                m.d.comb += probe.request.eq(medium.reading)
                with m.If(abort | ~medium.busy):
                    m.next = "IDLE"

        return {name: Mux(simulated_cam, getattr(player, name), pin) for name, pin in pins.items()}
