"""Plant path: what stands in for the optics where there are none."""

from __future__ import annotations

from collections.abc import Collection

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .chip_medium import ChipMedium
from .frame_player import FramePlayer
from .monitor import UNITY, WEIGHT_BITS, Divider
from .panel_probe import PanelProbe
from .pattern_sender import PatternSender
from .protocol.errors import Code
from .protocol.geometry import Geometry, PanelKind
from .protocol.registers import FEATURE_BITS, PLANT_SOURCES
from .registerfile import RegisterFile
from .shapes import LINK_BYTE
from .skid import Skid
from .spi.common import ADC_BITS

SIMULATED_PLANTS = ("host", "chip")
"""Plants that this path can hold."""

_REPEAT_SHIFT = 3
"""A pattern is sent again after 1/8 of the frame's time-out without a pixel."""


def plants_of(geometry: Geometry, plants: Collection[str] | None = None) -> frozenset[str]:
    """The plants to build in, by default all that can read the panel's pins. Raises :class:`ValueError`."""
    if plants is None:
        return frozenset(SIMULATED_PLANTS if geometry.panel_shows_levels else ())
    if unknown := set(plants) - set(SIMULATED_PLANTS):
        raise ValueError(f"there is no plant {sorted(unknown)}; take some of {SIMULATED_PLANTS}")
    if plants and not geometry.panel_shows_levels:
        raise ValueError(
            f"patterns for a panel of kind {PanelKind(geometry.panel_kind).name} cannot be read back from its pins"
        )
    return frozenset(plants)


def plant_features(plants: Collection[str]) -> int:
    """Bits of the register ``features`` for these plants and a camera."""
    return sum(1 << FEATURE_BITS[f"plant_{name}"] for name in {"camera", *plants})


class PlantPath(wiring.Component):
    """Passes the camera's pins on, or, as ``plant_source`` says, frames that are made from what the panel's pins show
    during each exposure: by the medium in the gateware, or by the host. They come as a sensor's would, through the
    same port and the crossing behind it.

    Parameters
    ----------
    regs : the register file, a sibling.
    plants : those of ``SIMULATED_PLANTS`` that are built in.

    Ports
    -----
    cam_* : the sensor's pins. fval, lval, dval, pixel : to the imaging path. All in domain ``cam``.
    de, vsync, level : the panel's pins, domain ``slm``, of a panel that takes video. flush : their pattern is thrown
        away.
    trigger, exposure_id : the exposure that is under way, and the last one until then.
    resync : frames cannot be matched; throw away what is left of one.
    simulated : there is no light.
    reads, reading, reading_stb, weight : the photodiode's readings come with the frames from the host: one for each
        exposure, 0 where the frame does not come; and the weight of the last one, before its frame is whole.
    busy : a frame is made or played; the pattern on the panel must stay.
    deserted : the host left a pattern without its frame; until the device is idle, no other gets one.
    patterns : packets to the host.
    frame_wanted, frame_offset : the host's next pixel. pixels, frame_monitor : what it sends, one after the other.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile, plants: Collection[str]):
        self.geometry = geometry
        self.regs = regs
        self.plants = plants_of(geometry, plants)
        super().__init__(
            {
                "cam_fval": In(1),
                "cam_lval": In(1),
                "cam_dval": In(1, init=1),
                "cam_pixel": In(geometry.pixel_bits),
                "fval": Out(1),
                "lval": Out(1),
                "dval": Out(1),
                "pixel": Out(geometry.pixel_bits),
                "de": In(1),
                "vsync": In(1),
                "level": In(8),
                "flush": In(1),
                "trigger": In(1),
                "exposure_id": In(32),
                "resync": In(1),
                "simulated": Out(1),
                "reads": Out(1),
                "reading": Out(ADC_BITS),
                "reading_stb": Out(1),
                "weight": Out(WEIGHT_BITS, init=UNITY),
                "busy": Out(1),
                "deserted": Out(1),
                "patterns": Out(stream.Signature(LINK_BYTE)),
                "frame_wanted": Out(1),
                "frame_offset": Out(range(geometry.camera_pixels + 1)),
                "frame_monitor": In(ADC_BITS),
                "pixels": In(stream.Signature(geometry.pixel_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        regs = self.regs
        with m.Switch(regs.try_data):
            with m.Case(PLANT_SOURCES["camera"], *(PLANT_SOURCES[name] for name in sorted(self.plants))):
                m.d.comb += regs.plant_source_code.eq(Code.OK)
            with m.Default():
                m.d.comb += regs.plant_source_code.eq(Code.NO_PLANT)
        m.d.comb += self.simulated.eq(regs.plant_source != PLANT_SOURCES["camera"])
        pins = {"fval": self.cam_fval, "lval": self.cam_lval, "dval": self.cam_dval, "pixel": self.cam_pixel}
        if self.plants:
            pins = self._simulate(m, pins)
        m.d.comb += [getattr(self, name).eq(pin) for name, pin in pins.items()]
        return m

    def _simulate(self, m, pins):
        """Add what the simulated plants share, and each of them; returns what stands in for the pins."""
        g = self.geometry
        abort = Signal()
        m.d.comb += abort.eq(self.resync & self.simulated)

        # The pattern on show.
        flush_slm = Signal()
        m.submodules.flush_crossing = FFSynchronizer(self.flush, flush_slm, o_domain="slm")
        probe = PanelProbe(g)
        m.submodules.probe = ResetInserter({"slm": flush_slm})(probe)
        # Far from the panel's pins.
        m.d.slm += [getattr(probe, name).eq(getattr(self, name)) for name in ("de", "vsync", "level")]

        # Pixels into the camera's clock.
        m.submodules.player = player = FramePlayer(g)
        m.submodules.pixel_fifo = fifo = AsyncFIFOBuffered(
            width=g.pixel_bits, depth=g.camera_width + 1, w_domain="sync", r_domain="cam"
        )
        m.submodules.made = made = Skid(g.pixel_bits)
        """What a plant has made, on its way into the FIFO."""
        simulated_cam, empty = Signal(), Signal()
        m.submodules.simulated_crossing = FFSynchronizer(self.simulated, simulated_cam, o_domain="cam")
        m.submodules.abort_crossing = FFSynchronizer(abort, player.abort, o_domain="cam")
        m.submodules.empty_crossing = FFSynchronizer(player.empty, empty, init=1)
        m.d.comb += [
            fifo.w_data.eq(made.o.payload),
            fifo.w_en.eq(made.o.valid),
            made.o.ready.eq(fifo.w_rdy),
            player.i.payload.eq(fifo.r_data),
            player.i.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(player.i.ready),
            player.level.eq(fifo.r_level),
        ]

        # One exposure at a time. How long it was is what the trigger shows.
        before, cycles, exposed_cycles = Signal(), Signal(32), Signal(32)
        m.d.sync += [before.eq(self.trigger), cycles.eq(Mux(self.trigger, cycles + 1, 0))]
        states = {}
        if "chip" in self.plants:
            states["chip"] = self._add_chip(m, probe, made, exposed_cycles, abort)
        if "host" in self.plants:
            states["host"] = self._add_host(m, probe, made, exposed_cycles, abort)
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(
                self.simulated & (self.trigger | before | ~fsm.ongoing("IDLE") | made.busy | ~empty | abort)
            )
            with m.State("IDLE"):
                with m.If(before & ~self.trigger & self.simulated & ~self.deserted):
                    m.d.sync += exposed_cycles.eq(cycles)
                    m.next = "PROBE"
                with m.Elif(before & ~self.trigger & self.reads):
                    m.d.sync += [self.reading.eq(0), self.reading_stb.eq(1)]
            with m.State("PROBE"):
                m.d.comb += probe.request.eq(1)
                with m.If(abort):
                    m.d.sync += [self.reading.eq(0), self.reading_stb.eq(self.reads)]
                    m.next = "IDLE"
                with m.Elif(probe.ready):
                    for name in states:
                        with m.If(self._chosen(name)):
                            m.next = name
            for add_states in states.values():
                add_states()
        played = {"fval": player.fval, "lval": player.lval, "dval": 1, "pixel": player.pixel}
        return {name: Mux(simulated_cam, played[name], pin) for name, pin in pins.items()}

    def _chosen(self, name):
        return self.regs.plant_source == PLANT_SOURCES[name]

    def _add_chip(self, m, probe, made, exposed_cycles, abort):
        """The medium in the gateware; returns what adds its states, of which the first is ``chip``."""
        medium = ChipMedium(self.geometry)
        m.submodules.medium = ResetInserter(abort)(medium)
        m.d.comb += [
            medium.exposure_cycles.eq(exposed_cycles),
            medium.r_data.eq(probe.r_data),
            medium.o.ready.eq(made.i.ready),
        ]
        with m.If(self._chosen("chip")):
            m.d.comb += [
                probe.r_addr.eq(medium.r_addr),
                probe.r_en.eq(medium.r_en),
                made.i.payload.eq(medium.o.payload),
                made.i.valid.eq(medium.o.valid),
            ]

        def add_states():
            with m.State("chip"):
                m.d.comb += [medium.start.eq(1), probe.request.eq(1)]
                m.next = "MAKE"
            with m.State("MAKE"):
                m.d.comb += probe.request.eq(medium.reading)
                with m.If(abort | ~medium.busy):
                    m.next = "IDLE"

        return add_states

    def _add_host(self, m, probe, made, exposed_cycles, abort):
        """Patterns to the host and its frames; returns what adds its states, of which the first is ``host``."""
        g, regs = self.geometry, self.regs
        m.submodules.sender = sender = PatternSender(g)
        m.submodules.divider = divider = Divider()
        quiet = Signal(32)
        whole = Signal()
        """``frame_offset`` is that of the frame's end."""
        connect(m, sender.o, flipped(self.patterns))
        m.d.comb += [
            sender.r_data.eq(probe.r_data),
            sender.fields.exposure.eq(self.exposure_id),
            sender.fields.exposure_cycles.eq(exposed_cycles),
            sender.fields.laser_power.eq(regs.laser_power),
            *(sender.fields[name].eq(getattr(probe, name)) for name in ("anchor", "border", "crc")),
            sender.fields.offset.eq(self.frame_offset),
            # What is no longer wanted is taken all the same: a frame that was given up must not hold up the link.
            self.pixels.ready.eq(made.i.ready | ~self.frame_wanted),
            self.reads.eq(self._chosen("host")),
            divider.reading.eq(self.reading),
            divider.reference.eq(regs.monitor_reference),
            self.weight.eq(divider.weight),
        ]
        with m.If(self.reads):
            m.d.comb += [
                probe.r_addr.eq(sender.r_addr),
                probe.r_en.eq(sender.r_en),
                made.i.payload.eq(self.pixels.payload),
                made.i.valid.eq(self.pixels.valid & self.frame_wanted),
            ]
        m.d.sync += [quiet.eq(quiet + 1), self.reading_stb.eq(0), divider.start.eq(0)]
        with m.If(self.pixels.valid & self.pixels.ready & self.frame_wanted):
            m.d.sync += [
                self.frame_offset.eq(self.frame_offset + 1),
                whole.eq(self.frame_offset == g.camera_pixels - 1),
                quiet.eq(0),
            ]
            with m.If(self.frame_offset == 0):
                # Its weight is there before the line that begins with this pixel.
                m.d.sync += [self.reading.eq(self.frame_monitor), divider.start.eq(1)]
        with m.If(~regs.busy):
            m.d.sync += self.deserted.eq(0)

        def add_states():
            with m.State("host"):
                m.d.comb += probe.request.eq(1)
                m.d.sync += [self.frame_offset.eq(0), whole.eq(0)]
                m.next = "PATTERN"
            with m.State("PATTERN"):
                m.d.comb += [probe.request.eq(1), self.frame_wanted.eq(1), sender.start.eq(1)]
                m.next = "FRAME"
            with m.State("FRAME"):
                m.d.comb += [probe.request.eq(1), self.frame_wanted.eq(~whole)]
                with m.If(sender.busy):
                    m.d.sync += quiet.eq(0)
                with m.Elif(~self.frame_wanted):
                    m.d.sync += self.reading_stb.eq(1)
                    m.next = "IDLE"
                with m.Elif(quiet >= regs.frame_timeout_cycles >> _REPEAT_SHIFT):
                    m.next = "PATTERN"
                with m.If(abort):
                    m.d.sync += self.reading_stb.eq(0)
                    m.next = "GIVEN UP"
            with m.State("GIVEN UP"):
                # A packet that has begun is sent whole.
                m.d.comb += probe.request.eq(1)
                m.d.sync += self.deserted.eq(1)
                with m.If(~sender.busy):
                    m.d.sync += [self.reading.eq(0), self.reading_stb.eq(1)]
                    m.next = "IDLE"

        return add_states
