"""Chip medium: a pseudo-random complex medium in gateware, for loops without optics."""

from __future__ import annotations

import math

import numpy as np
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry
from .protocol.patterns import LIT_FROM

LANES = 32
"""Modes that are summed in a clock."""
_SETTLE_CLOCKS = 9
"""The last word passes a register, masking, counting, sum, square, sum, and the product in two steps."""
SEED_STEP = 0x9E3779B97F4A7C15
"""Seeds of neighbouring outputs are so far apart: 2**64 over the golden ratio, as in SplitMix64."""
EXPOSURE_MAX = (1 << 16) - 1
"""Longer exposures, in cycles, count as this one."""
TYPICAL_CYCLES = 1024
"""Exposure at which a half-lit pattern's mean pixel is about 1/9 of full scale (within a factor of sqrt 2): speckle
intensities are exponential, so that exp(-9) = 0.012 % of them clip."""
MONITOR = 2048
"""Reading of the photodiode that comes with every frame: half scale."""


def shift_of(geometry: Geometry) -> int:
    """Power of two that divides energy x exposure; see ``TYPICAL_CYCLES``. The mean energy is ``modes``."""
    full = (1 << geometry.pixel_bits) - 1
    return max(0, round(math.log2(9 * geometry.modes * TYPICAL_CYCLES / full)))


def signs(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The medium: signs of real and imaginary part, two (outputs, modes) int8 of -1 and +1.

    Output j has the xorshift64 generator (Marsaglia, "Xorshift RNGs", J. Stat. Softw. 8(14), 2003; shifts 13, 7, 17)
    with the seed (j + 1) SEED_STEP. Each step gives the signs of ``LANES`` modes: the lower half of the state those
    of the real part, bit by bit, the upper half those of the imaginary part.
    """
    state = np.arange(1, geometry.outputs + 1, dtype=np.uint64) * np.uint64(SEED_STEP)
    lanes = np.arange(2 * LANES, dtype=np.uint64)
    real, imag = [], []
    for _ in range(_words(geometry)):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        drawn = 2 * (state[:, None] >> lanes & np.uint64(1)).astype(np.int8) - 1
        real.append(drawn[:, :LANES])
        imag.append(drawn[:, LANES:])
    return np.concatenate(real, axis=1)[:, : geometry.modes], np.concatenate(imag, axis=1)[:, : geometry.modes]


def pixels(geometry: Geometry, energy: np.ndarray, exposure_cycles: int) -> np.ndarray:
    """Pixel values, uint16, of energies ``|E|**2`` (any shape, integers)."""
    scaled = energy.astype(np.int64) * min(exposure_cycles, EXPOSURE_MAX) >> shift_of(geometry)
    return np.minimum(scaled, (1 << geometry.pixel_bits) - 1).astype(np.uint16)


def spread(geometry: Geometry, values: np.ndarray) -> np.ndarray:
    """Frames (..., camera_height, camera_width) of outputs (..., outputs): all pixels of a bin alike, others 0."""
    g, b = geometry, geometry.bin
    frames = np.zeros((*values.shape[:-1], g.camera_height, g.camera_width), dtype=np.uint16)
    binned = values.reshape(*values.shape[:-1], g.outputs_y, g.outputs_x)
    crop = np.repeat(np.repeat(binned, b, axis=-2), b, axis=-1)
    frames[..., g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width] = crop
    return frames


def model(geometry: Geometry, levels: np.ndarray, exposure_cycles: int) -> np.ndarray:
    """Frame (camera_height, camera_width) uint16 of a pattern, (modes,) levels of the panel."""
    lit = (np.asarray(levels) >= LIT_FROM).astype(np.int64)
    real, imag = (part.astype(np.int64) @ lit for part in signs(geometry))
    return spread(geometry, pixels(geometry, real**2 + imag**2, exposure_cycles))


def _words(geometry: Geometry) -> int:
    """Words of ``LANES`` modes in a pattern, the last one padded with dark ones."""
    return -(-geometry.modes // LANES)


class ChipMedium(wiring.Component):
    """Makes the camera's frame of one exposure. The field of each output is a sum over the lit modes, with signs that
    a generator draws anew for every frame; anchor and border do not count.

    It takes ``modes`` clocks to read the pattern, then about ``modes / LANES + 9`` for each output, a row of bins at
    a time, and one for each pixel.

    Ports
    -----
    start : strobe, with ``exposure_cycles``: begin.
    r_addr, r_en, r_data : level of each mode, one clock after its address.
    reading : the pattern must stay. busy : a frame is being made.
    o : all pixels of the sensor in raster order.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        super().__init__(
            {
                "start": In(1),
                "exposure_cycles": In(32),
                "r_addr": Out(ceil_log2(geometry.modes)),
                "r_en": Out(1),
                "r_data": In(8),
                "reading": Out(1),
                "busy": Out(1),
                "o": Out(stream.Signature(geometry.pixel_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        words = _words(g)
        full = (1 << g.pixel_bits) - 1
        m.submodules.lit = lit = memory.Memory(shape=LANES, depth=max(2, words), init=[])
        lit_write, lit_read = lit.write_port(), lit.read_port(domain="sync")
        m.submodules.row = row = memory.Memory(shape=g.pixel_bits, depth=max(2, g.outputs_x), init=[])
        row_write, row_read = row.write_port(), row.read_port(domain="sync")

        exposure = Signal(range(EXPOSURE_MAX + 1))
        # Reading: a bit a clock, gathered into words. The level comes one clock after its address.
        mode = Signal(range(words * LANES + 1))
        mode1, valid1 = Signal.like(mode), Signal()
        gathered = Signal(LANES)
        bit = Signal()
        m.d.sync += [mode1.eq(mode), valid1.eq(0)]
        m.d.comb += [
            self.r_addr.eq(mode),
            self.r_en.eq(1),
            bit.eq((self.r_data >= LIT_FROM) & (mode1 < g.modes)),
            lit_write.data.eq(Cat(gathered[1:], bit)),
            lit_write.addr.eq(mode1 // LANES),
            lit_write.en.eq(valid1 & (mode1 % LANES == LANES - 1)),
        ]
        with m.If(valid1):
            m.d.sync += gathered.eq(lit_write.data)

        # One output: the generator runs one word ahead of the pattern's memory; sums take four more clocks.
        state, seed = Signal(64), Signal(64)
        one, two, three = Signal(64), Signal(64), Signal(64)
        m.d.comb += [
            one.eq(state ^ (state << 13)),
            two.eq(one ^ (one >> 7)),
            three.eq(two ^ (two << 17)),
        ]
        word = Signal(range(words + 1))
        stepped, fetched, masked, counted = (Signal() for _ in range(4))
        m.d.comb += [lit_read.addr.eq(word), lit_read.en.eq(1)]
        m.d.sync += [stepped.eq(0), fetched.eq(stepped), masked.eq(fetched), counted.eq(masked)]
        plus = [Signal(LANES, name=f"plus_{part}") for part in ("real", "imag")]
        all_lit = Signal(LANES)
        lit, drawn = Signal(LANES), Signal(2 * LANES)
        m.d.sync += [
            # A block RAM's output takes more than half a clock: nothing but a register follows it.
            lit.eq(lit_read.data),
            drawn.eq(state),
            plus[0].eq(lit & drawn[:LANES]),
            plus[1].eq(lit & drawn[LANES:]),
            all_lit.eq(lit),
        ]
        lit_count = Signal(range(LANES + 1))
        m.d.sync += lit_count.eq(_count(all_lit))
        fields = []
        for i, part in enumerate(("real", "imag")):
            plus_count = Signal(range(LANES + 1), name=f"plus_count_{part}")
            field = Signal(range(-g.modes, g.modes + 1), name=f"field_{part}")
            m.d.sync += plus_count.eq(_count(plus[i]))
            with m.If(counted):
                # Each lit mode adds its sign: those with a plus less the others.
                m.d.sync += field.eq(field + 2 * plus_count - lit_count)
            fields.append(field)
        squares = [Signal(range(g.modes**2 + 1), name=f"square_{part}") for part in ("real", "imag")]
        energy = Signal(range(2 * g.modes**2 + 1))
        half = len(exposure) // 2
        partial = [Signal(len(energy) + half, name=f"partial{i}") for i in range(2)]
        product = Signal(len(energy) + len(exposure))
        scaled = Signal.like(product)
        m.d.sync += [
            *(square.eq(field * field) for square, field in zip(squares, fields, strict=True)),
            energy.eq(squares[0] + squares[1]),
            *(partial[i].eq(energy * exposure.word_select(i, half)) for i in range(2)),
            product.eq(partial[0] + (partial[1] << half)),
        ]
        output = Signal(range(g.outputs_x + 1))
        m.d.comb += [
            scaled.eq(product >> shift_of(g)),
            row_write.addr.eq(output),
            row_write.data.eq(Mux(scaled > full, full, scaled)),
        ]
        pause = Signal(range(_SETTLE_CLOCKS))

        # Pixels: stage 0 walks a line, stage 1 has the bin's value.
        x, y = Signal(range(g.camera_width + 1)), Signal(range(g.camera_height + 1))
        column, step_x, step_y = Signal(range(g.outputs_x + 1)), Signal(range(g.bin)), Signal(range(g.bin))
        in_row, inside, inside1 = Signal(), Signal(), Signal()
        walking, move = Signal(), Signal()
        m.d.comb += [
            in_row.eq((y >= g.crop_y) & (y < g.crop_y + g.crop_height)),
            inside.eq(in_row & (x >= g.crop_x) & (x < g.crop_x + g.crop_width)),
            move.eq(~self.o.valid | self.o.ready),
            row_read.addr.eq(column),
            row_read.en.eq(move & walking),
            self.o.payload.eq(Mux(inside1, row_read.data, 0)),
        ]
        with m.If(move):
            m.d.sync += [self.o.valid.eq(walking), inside1.eq(inside)]

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE") | self.o.valid)
            with m.State("IDLE"):
                m.d.sync += [mode.eq(0), y.eq(0), step_y.eq(0), seed.eq(SEED_STEP)]
                with m.If(self.start):
                    long = self.exposure_cycles > EXPOSURE_MAX
                    m.d.sync += exposure.eq(Mux(long, EXPOSURE_MAX, self.exposure_cycles))
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.reading.eq(1)
                m.d.sync += [mode.eq(mode + 1), valid1.eq(1)]
                with m.If(mode == words * LANES):
                    m.d.sync += valid1.eq(0)
                    m.next = "LINE"
            with m.State("LINE"):
                m.d.sync += [x.eq(0), column.eq(0), step_x.eq(0), output.eq(0)]
                m.next = "PIXELS"
                with m.If(in_row & (step_y == 0)):
                    m.next = "OUTPUT"
            with m.State("OUTPUT"):
                m.d.sync += [state.eq(seed), seed.eq(seed + SEED_STEP), word.eq(0), pause.eq(0)]
                m.d.sync += [field.eq(0) for field in fields]
                m.next = "SUM"
            with m.State("SUM"):
                # `state` and the word of the pattern become valid in the same clock.
                m.d.sync += [state.eq(three), word.eq(word + 1), stepped.eq(1)]
                with m.If(word == words - 1):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += pause.eq(pause + 1)
                with m.If(pause == _SETTLE_CLOCKS - 1):
                    m.d.comb += row_write.en.eq(1)
                    m.d.sync += output.eq(output + 1)
                    m.next = "OUTPUT"
                    with m.If(output == g.outputs_x - 1):
                        m.next = "PIXELS"
            with m.State("PIXELS"):
                m.d.comb += walking.eq(1)
                with m.If(move):
                    m.d.sync += x.eq(x + 1)
                    with m.If(inside):
                        m.d.sync += step_x.eq(step_x + 1)
                        with m.If(step_x == g.bin - 1):
                            m.d.sync += [step_x.eq(0), column.eq(column + 1)]
                    with m.If(x == g.camera_width - 1):
                        m.d.sync += y.eq(y + 1)
                        with m.If(in_row):
                            m.d.sync += step_y.eq(step_y + 1)
                            with m.If(step_y == g.bin - 1):
                                m.d.sync += step_y.eq(0)
                        m.next = "LINE"
                        with m.If(y == g.camera_height - 1):
                            m.next = "IDLE"
        return m


def _count(bits):
    """How many of ``bits`` are 1: a tree of adders."""
    terms = list(bits)
    while len(terms) > 1:
        terms = [sum(terms[i : i + 2]) for i in range(0, len(terms), 2)]
    return terms[0]
