"""Imaging path: the camera's frames become the results of projections."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .accumulator import Accumulator
from .binner import Binner
from .camera import CameraPort
from .commands import BATCH
from .frames import FrameMatcher
from .monitor import WEIGHT_BITS
from .normaliser import Normaliser
from .protocol.geometry import Geometry
from .queues import add_queue
from .rawframe import RawFrame
from .registerfile import RegisterFile
from .results import Packer, ResultReader
from .sender import ResultSender
from .shapes import EXPOSED, LINK_BYTE, camera_word
from .skid import Skid
from .spi.common import ADC_BITS

_READOUT_MARGIN_CLOCKS = 32
"""Between a readout and the end of the next exposure, beside 1/64 of its length and twice the jitter: more than the
matcher's margin, so that a frame that comes for the next one, and after one too many, comes too soon."""

_IN_FRAME_STAGES = 4
"""Of the synchroniser of FVAL: as slow as the exposure's way to the matcher, so that a camera may answer at once, and
quicker than the crossing's FIFO, so that FVAL is seen to fall before the frame's end."""

_SILENCE_CLOCKS = 256
"""Without a camera: after so many clocks, what is left of an aborted frame has come through the crossings."""


class ImagingPath(wiring.Component):
    """From the camera's pins to packets of results.

    Parameters
    ----------
    regs : the register file, a sibling.

    Ports
    -----
    fval, lval, dval, pixel : the sensor's pins, domain ``cam``.
    exposed, claim, claim_set, claim_id, exposure_ended, trigger : from the exposer.
    resync, hopeless, none_due, readout_cycles, release, release_set : to the exposer; ``readout_cycles`` is how long a
        readout takes at most, the largest number as long as none has been timed: then each frame is waited for.
    simulated : frames come from no camera, so that no readout is like the one before it, and none comes late.
    deserted : none will come.
    reads, weight : frames bring their readings, and ``weight`` is that of the one under way.
    batch : queued packets of projections. o : their packets of results.
    laser_on, reading, reading_stb, timestamp : what the records say; a photodiode reading for each exposure.
    busy : a projection is under way or to be sent.
    """

    def __init__(self, geometry: Geometry, regs: RegisterFile):
        self.geometry = geometry
        self.regs = regs
        super().__init__(
            {
                "fval": In(1),
                "lval": In(1),
                "dval": In(1, init=1),
                "pixel": In(geometry.pixel_bits),
                "exposed": In(stream.Signature(EXPOSED, always_ready=True)),
                "claim": In(1),
                "claim_set": In(1),
                "claim_id": In(32),
                "exposure_ended": In(1),
                "trigger": In(1),
                "resync": Out(1),
                "hopeless": Out(1),
                "none_due": Out(1),
                "readout_cycles": Out(32),
                "simulated": In(1),
                "deserted": In(1),
                "reads": In(1),
                "weight": In(WEIGHT_BITS),
                "release": Out(1),
                "release_set": Out(1),
                "batch": In(stream.Signature(BATCH)),
                "o": Out(stream.Signature(LINK_BYTE)),
                "laser_on": In(1),
                "reading": In(ADC_BITS),
                "reading_stb": In(1),
                "timestamp": In(32),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, regs = self.geometry, self.regs
        m.submodules.camera = camera = CameraPort(g)
        m.submodules.frames = frames = FrameMatcher(g)
        m.submodules.binner = binner = Binner(g)
        m.submodules.normaliser = normaliser = Normaliser(g)
        m.submodules.accumulator = accumulator = Accumulator(g)

        # Out of the camera's clock.
        m.submodules.camera_fifo = camera_fifo = AsyncFIFOBuffered(
            width=camera_word(g).size, depth=16, w_domain="cam", r_domain="sync"
        )
        m.d.comb += [
            camera.fval.eq(self.fval),
            camera.lval.eq(self.lval),
            camera.dval.eq(self.dval),
            camera.pixel.eq(self.pixel),
            camera_fifo.w_data.eq(camera.o.payload),
            camera_fifo.w_en.eq(camera.o.valid),
            camera.o.ready.eq(camera_fifo.w_rdy),
            frames.i.payload.eq(camera_fifo.r_data),
            frames.i.valid.eq(camera_fifo.r_rdy),
            camera_fifo.r_en.eq(1),
            frames.claim.eq(self.claim),
            frames.claim_set.eq(self.claim_set),
            frames.claim_id.eq(self.claim_id),
            frames.exposure_ended.eq(self.exposure_ended),
            frames.trigger.eq(self.trigger),
            frames.laser_on.eq(self.laser_on),
            frames.reading.eq(self.reading),
            frames.reading_stb.eq(self.reading_stb),
            frames.timestamp.eq(self.timestamp),
            frames.timeout.eq(Mux(self.deserted, _SILENCE_CLOCKS, regs.frame_timeout_cycles)),
            frames.silence.eq(Mux(self.simulated, _SILENCE_CLOCKS, regs.frame_timeout_cycles)),
            frames.timed.eq(~self.simulated),
            frames.jitter.eq(regs.camera_jitter_cycles),
            frames.accumulator_saturated.eq(accumulator.saturated),
            self.resync.eq(frames.resync),
            self.hopeless.eq(frames.hopeless),
            self.none_due.eq(frames.none_due),
            binner.pixel.eq(frames.pixel),
            binner.valid.eq(frames.pixel_valid),
            binner.start.eq(frames.pixel_first),
            normaliser.valid.eq(binner.o_valid),
            normaliser.index.eq(binner.o_index),
            normaliser.value.eq(binner.o_value),
            accumulator.valid.eq(normaliser.o_valid),
            accumulator.index.eq(normaliser.o_index),
            accumulator.value.eq(normaliser.o_value),
            accumulator.set.eq(frames.shot.set),
            accumulator.bank.eq(frames.shot.bank),
            accumulator.negative.eq(frames.shot.negative),
            accumulator.shift.eq(frames.shot.shift),
            accumulator.fresh.eq(frames.shot.fresh),
        ]
        # Known well before the frame's first bin; a register here keeps the choice off the multiplier's path.
        m.d.sync += normaliser.weight.eq(
            Mux(self.reads & regs.normalise & ~frames.shot.invalid, self.weight, frames.shot.weight)
        )
        m.submodules += FFSynchronizer(camera.in_frame, frames.in_frame, stages=_IN_FRAME_STAGES)
        connect(m, flipped(self.exposed), frames.exposed)
        readout_timed, room = Signal(32), Signal(32)
        m.d.sync += [
            room.eq((regs.camera_jitter_cycles << 1) + _READOUT_MARGIN_CLOCKS),
            readout_timed.eq(frames.readout_cycles + (frames.readout_cycles >> 6) + room),
            self.readout_cycles.eq(
                Mux(
                    frames.readout_known & ~self.simulated,
                    Mux(readout_timed > regs.camera_readout_cycles, readout_timed, regs.camera_readout_cycles),
                    (1 << 32) - 1,
                )
            ),
        ]

        m.submodules.raw = raw = RawFrame(g)
        m.d.comb += [
            raw.enable.eq(regs.result_raw),
            raw.first_row.eq(regs.raw_first_row),
            raw.pixel.eq(frames.pixel),
            raw.valid.eq(frames.pixel_valid),
            raw.start.eq(frames.pixel_first),
            raw.row.eq(binner.row),
            raw.column.eq(binner.column),
        ]

        # Results.
        m.submodules.results = results = ResultReader(g)
        m.submodules.packer = packer = Packer()
        m.submodules.sender = sender = ResultSender(g)
        m.submodules.skid = skid = Skid(LINK_BYTE)
        add_queue(m, "ended_queue", frames.o, sender.ended, 2)
        m.d.comb += [
            raw.r_addr.eq(results.raw_addr),
            raw.r_en.eq(results.r_en),
            results.raw_data.eq(raw.r_data),
            results.start.eq(sender.read_start),
            results.set.eq(sender.ended.p.set),
            results.used.eq(sender.ended.p.used),
            results.length.eq(regs.selection_length),
            results.two_banks.eq(regs.result_banks == 2),
            results.shift.eq(regs.result_shift),
            results.format.eq(regs.result_format),
            results.raw.eq(regs.result_raw),
            results.selection_we.eq(regs.selection_we),
            results.selection_addr.eq(regs.w_offset),
            results.selection_data.eq(regs.w_value),
            accumulator.r_set.eq(results.r_set),
            accumulator.r_index.eq(results.r_index),
            accumulator.r_bank.eq(results.r_bank),
            accumulator.r_en.eq(results.r_en),
            results.r_data.eq(accumulator.r_data),
            packer.format.eq(sender.packed_format),
            packer.i_last.eq(results.o_last),
            sender.packed_last.eq(packer.o_last),
            sender.raw.eq(regs.result_raw),
            sender.monitors.eq(regs.result_monitors),
            sender.program_length.eq(regs.program_length),
            sender.monitor_we.eq(frames.monitor_we),
            sender.monitor_set.eq(frames.monitor_set),
            sender.monitor_number.eq(frames.monitor_number),
            sender.monitor.eq(frames.monitor),
            sender.format.eq(regs.result_format),
            sender.read_saturations.eq(results.saturations),
            self.release.eq(sender.release),
            self.release_set.eq(sender.release_set),
            self.busy.eq(frames.busy | sender.busy | skid.busy),
        ]
        connect(m, results.o, packer.i)
        connect(m, packer.o, sender.packed)
        connect(m, flipped(self.batch), sender.batch)
        connect(m, sender.o, skid.i)
        connect(m, skid.o, flipped(self.o))

        m.d.comb += [
            regs.cycles_readout.eq(frames.readout_cycles),
            regs.projections_inc.eq(frames.o.valid & frames.o.ready),
            regs.projections_failed_inc.eq(frames.failed),
            regs.frames_inc.eq(frames.frame),
            regs.frames_missing_inc.eq(frames.missing),
            regs.frames_extra_inc.eq(frames.extra),
            regs.frames_early_inc.eq(frames.early),
            regs.frames_late_inc.eq(frames.late),
            regs.frames_malformed_inc.eq(frames.malformed),
            regs.camera_overflows_inc.eq(frames.overflow),
            regs.accumulator_saturations_inc.eq(accumulator.saturated),
            regs.result_saturations_inc.eq(results.saturated),
        ]
        return m
