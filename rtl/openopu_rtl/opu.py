"""The optical processing unit: everything but the pins of a particular board."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFOBuffered, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .accumulator import Accumulator
from .binner import Binner
from .camera import CameraPort
from .commands import CommandProcessor
from .expander import Expander
from .exposer import Exposer
from .frames import FrameMatcher
from .framing import PacketReceiver, PacketTransmitter
from .interlock import Interlock
from .loader import Loader
from .monitor import Monitor, monitor_cycles
from .normaliser import Normaliser
from .protocol.declaration import MAGIC, PROTOCOL_HASH
from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.registers import STATUS_BITS
from .registerfile import RegisterFile, identity_values
from .replies import PacketArbiter, ReplySender
from .results import Packer, ResultReader
from .sender import ResultSender
from .shapes import PANEL_PIXEL, camera_word
from .spi import AdcDriver, Mcp3201, Mcp4921
from .store import PatternStore
from .video import VideoPort

RECEIVE_FIFO_BYTES = 256
"""Holds what a UART brings while the longest command is executed: about 3,000 clocks at 40 a byte."""

_PACKET_GUARD_CLOCKS = 8
"""After a delimiter the receiver is fed no more until its verdict is out, however quick the link."""

_READOUT_MARGIN_CLOCKS = 16
"""Jitter of a readout between two asynchronous clocks that is allowed for, beside 1/64 of its length."""

_FLUSH_CLOCKS = 4
"""Panel clocks that a reset of the panel's side must last: more than a synchroniser has stages."""


class Opu(wiring.Component):
    """Platform independent. Clock domains: ``sync`` (all but the two ports), ``slm``, ``cam``.

    Parameters
    ----------
    geometry : panel, sensor, and depths.
    clock_hz : frequency of ``sync``.
    board, build : values of the identity registers.
    adc : driver of the board's ADC.

    Ports
    -----
    link_i, link_o : bytes of the link; ``link_i`` may stall it only for the length of one command.
    link_is_bytes : identity register ``link``. uart_divisor: setting for a UART behind the link.
    slm_* : panel, in ``slm``. cam_* : sensor, in ``cam``, but ``cam_trigger`` in ``sync``: the sensor
        exposes while it is high.
    interlock_closed, laser_enable, dac_*, bias_*, adc_* : laser, its power and bias, and the ADC of photodiode and
        thermometer.
    exposure_id, exposure_active : which exposure is under way; a bench may watch it, no board needs it.
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
    ):
        self.geometry = geometry
        self.clock_hz = clock_hz
        self.adc = adc
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
        )
        super().__init__(
            {
                "link_i": In(stream.Signature(8)),
                "link_o": Out(stream.Signature(8)),
                "link_is_bytes": In(1),
                "uart_divisor": Out(16),
                "slm_de": Out(1),
                "slm_hsync": Out(1),
                "slm_vsync": Out(1),
                "slm_level": Out(8),
                "cam_trigger": Out(1),
                "cam_fval": In(1),
                "cam_lval": In(1),
                "cam_pixel": In(geometry.pixel_bits),
                "interlock_closed": In(1),
                "laser_enable": Out(1),
                "dac_cs_n": Out(1),
                "dac_sck": Out(1),
                "dac_sdi": Out(1),
                "bias_cs_n": Out(1),
                "bias_sck": Out(1),
                "bias_sdi": Out(1),
                "adc_cs_n": Out(2),
                "adc_sck": Out(1),
                "adc_sdi": Out(1),
                "adc_dout": In(1),
                "exposure_id": Out(32),
                "exposure_active": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        m.submodules.registers = regs = RegisterFile(g, self.identity)
        m.submodules.commands = commands = CommandProcessor(g)
        m.submodules.replies = replies = ReplySender()
        m.submodules.store = store = PatternStore(g)
        m.submodules.loader = loader = Loader(g, self.monitor_cycles)
        m.submodules.expander = expander = Expander(g)
        m.submodules.adc = adc = self.adc(self.clock_hz)
        m.submodules.monitor = monitor = Monitor(self.clock_hz)
        m.submodules.exposer = exposer = Exposer()
        m.submodules.frames = frames = FrameMatcher(g)
        m.submodules.binner = binner = Binner(g)
        m.submodules.normaliser = normaliser = Normaliser(g)
        m.submodules.accumulator = accumulator = Accumulator(g)
        m.submodules.results = results = ResultReader(g)
        m.submodules.packer = packer = Packer()
        m.submodules.sender = sender = ResultSender(g)
        m.submodules.interlock = interlock = Interlock()
        m.submodules.dac = dac = Mcp4921(self.clock_hz)
        m.submodules.bias = bias = Mcp4921(self.clock_hz)

        timestamp = Signal(32)
        m.d.sync += timestamp.eq(timestamp + 1)
        busy = Signal()

        # Link, inwards. The receiver cannot wait, so bytes wait before it.
        m.submodules.receive_fifo = fifo = SyncFIFOBuffered(width=8, depth=RECEIVE_FIFO_BYTES)
        m.submodules.receiver = receiver = PacketReceiver()
        guard = Signal(range(_PACKET_GUARD_CLOCKS + 1))
        feed = Signal()
        m.d.comb += [
            fifo.w_data.eq(self.link_i.payload),
            fifo.w_en.eq(self.link_i.valid),
            self.link_i.ready.eq(fifo.w_rdy),
            feed.eq(fifo.r_rdy & commands.accept & (guard == 0)),
            fifo.r_en.eq(feed),
            receiver.i.valid.eq(feed),
            receiver.i.payload.eq(fifo.r_data),
            receiver.gap_cycles.eq(regs.link_gap_cycles),
            commands.data.eq(receiver.data),
            commands.valid.eq(receiver.valid),
            commands.end.eq(receiver.end),
            commands.ok.eq(receiver.ok),
            commands.error.eq(receiver.error),
        ]
        with m.If(feed & (fifo.r_data == 0)):
            m.d.sync += guard.eq(_PACKET_GUARD_CLOCKS)
        with m.Elif(guard != 0):
            m.d.sync += guard.eq(guard - 1)

        # Registers: writes go first, replies read when there is none.
        m.d.comb += [
            regs.address.eq(Mux(commands.executing, commands.address, replies.address)),
            regs.w_stb.eq(commands.w_stb),
            regs.w_data.eq(commands.w_data),
            regs.r_stb.eq(replies.r_stb),
            regs.busy.eq(busy),
            regs.link_is_bytes.eq(self.link_is_bytes),
            regs.laser_arm_code.eq(
                Mux(
                    commands.w_data != PROTOCOL_HASH,
                    Code.ARM_KEY,
                    Mux(interlock.closed, Code.OK, Code.INTERLOCK_OPEN),
                )
            ),
            commands.code.eq(regs.code),
            replies.r_data.eq(regs.r_data),
            replies.code.eq(regs.code),
            replies.file_free.eq(~commands.executing & ~receiver.end),
            commands.program_length.eq(regs.program_length),
            commands.selection_length.eq(regs.selection_length),
            commands.result_raw.eq(regs.result_raw),
            commands.planes.eq(regs.planes),
            commands.exposure_base.eq(regs.exposure_base),
            commands.exposure_base_stb.eq(regs.exposure_base_stb),
            regs.exposure_next.eq(commands.exposure_next),
            regs.packets_accepted_inc.eq(commands.accepted),
            regs.packets_damaged_inc.eq(commands.damaged),
            regs.packets_refused_inc.eq(commands.refused | replies.refused),
        ]

        # Queues: replies, packets of projections, ended projections, shots.
        def queue(name, source, sink, depth):
            m.submodules[name] = q = SyncFIFOBuffered(width=len(source.payload.as_value()), depth=depth)
            m.d.comb += [
                q.w_data.eq(source.payload),
                q.w_en.eq(source.valid),
                source.ready.eq(q.w_rdy),
                sink.payload.eq(q.r_data),
                sink.valid.eq(q.r_rdy),
                q.r_en.eq(sink.ready),
            ]
            return q

        reply_queue = queue("reply_queue", commands.o_reply, replies.i, 16)
        queue("batch_queue", commands.o_batch, sender.batch, g.queue_depth)
        queue("ended_queue", frames.o, sender.ended, 2)
        # The shot whose pattern is being sent while the one before it is exposed.
        shot_queue = queue("shot_queue", loader.o, exposer.i, 1)

        # Patterns to the panel, through the crossing into its clock.
        video = VideoPort(g)
        panel_fifo = AsyncFIFOBuffered(width=PANEL_PIXEL.size, depth=16, w_domain="sync", r_domain="slm")
        # After a stall both are emptied. Held until the panel's clock, which may have stopped, has seen it for some
        # edges, so that no old pointer is left in a synchroniser; and until no half pattern can follow.
        flush_slm, flushed_slm, emptied = Signal(), Signal(_FLUSH_CLOCKS), Signal()
        m.d.slm += flushed_slm.eq(Cat(flush_slm, flushed_slm[:-1]))
        m.submodules.video = ResetInserter({"slm": flush_slm})(video)
        m.submodules.panel_fifo = ResetInserter({"sync": exposer.flush, "slm": flush_slm})(panel_fifo)
        m.submodules += [
            FFSynchronizer(exposer.grant, video.grant, o_domain="slm"),
            FFSynchronizer(video.latched, exposer.latched),
            FFSynchronizer(exposer.flush, flush_slm, o_domain="slm"),
            FFSynchronizer(flushed_slm[-1], emptied),
        ]
        m.d.comb += [
            store.push.eq(commands.push),
            store.data.eq(commands.push_data),
            store.commit.eq(commands.commit),
            store.rollback.eq(commands.rollback),
            commands.store_full.eq(store.full),
            store.free.eq(loader.free),
            store.free_bytes.eq(loader.free_bytes),
            store.r_addr.eq(expander.r_addr),
            store.r_en.eq(expander.r_en),
            expander.r_data.eq(store.r_data),
            loader.tail.eq(store.tail),
            loader.table_we.eq(regs.shot_table_we),
            loader.table_offset.eq(regs.w_offset),
            loader.table_data.eq(regs.w_value),
            loader.program_length.eq(regs.program_length),
            loader.planes.eq(regs.planes),
            loader.preload.eq(regs.slm_preload),
            loader.normalise.eq(regs.normalise),
            loader.add.eq(commands.commit),
            loader.add_count.eq(commands.o_batch.p.count),
            loader.exposing.eq(exposer.exposing | shot_queue.r_rdy),
            loader.expander_busy.eq(expander.busy),
            expander.start.eq(loader.start),
            expander.shot.eq(loader.shot),
            expander.blank.eq(loader.blank),
            expander.await_latch.eq(loader.await_latch),
            expander.final.eq(loader.final),
            expander.plane_address.eq(loader.plane_address),
            expander.table_we.eq(regs.level_table_we),
            expander.table_addr.eq(regs.w_offset),
            expander.table_data.eq(regs.w_value),
            panel_fifo.w_data.eq(expander.o.payload),
            panel_fifo.w_en.eq(expander.o.valid & ~exposer.flush),
            expander.o.ready.eq(panel_fifo.w_rdy | exposer.flush),
            exposer.panel_progress.eq(expander.o.valid & expander.o.ready),
            exposer.panel_timeout.eq(regs.panel_timeout_cycles),
            exposer.flushed.eq(emptied & ~loader.busy & ~expander.busy & ~shot_queue.r_rdy),
            video.i.payload.eq(panel_fifo.r_data),
            video.i.valid.eq(panel_fifo.r_rdy),
            panel_fifo.r_en.eq(video.i.ready),
            self.slm_de.eq(video.de),
            self.slm_hsync.eq(video.hsync),
            self.slm_vsync.eq(video.vsync),
            self.slm_level.eq(video.level),
        ]

        # Exposure. As long as no readout has been timed, each frame is waited for.
        readout_limit, readout_timed = Signal(32), Signal(32)
        m.d.sync += [
            readout_timed.eq(frames.readout_cycles + (frames.readout_cycles >> 6) + _READOUT_MARGIN_CLOCKS),
            readout_limit.eq(
                Mux(
                    frames.readout_known,
                    Mux(readout_timed > regs.camera_readout_cycles, readout_timed, regs.camera_readout_cycles),
                    (1 << 32) - 1,
                )
            ),
        ]
        m.d.comb += [
            exposer.id_set.eq(regs.exposure_base_stb),
            exposer.id_value.eq(regs.exposure_base),
            exposer.readout_cycles.eq(readout_limit),
            exposer.none_due.eq(frames.none_due),
            exposer.raw.eq(regs.result_raw),
            exposer.analog_ready.eq(dac.settled & bias.settled),
            exposer.monitor_pending.eq(monitor.pending),
            exposer.normalise.eq(regs.normalise),
            exposer.weight.eq(monitor.weight),
            exposer.resync.eq(frames.resync),
            exposer.release.eq(sender.release),
            exposer.release_set.eq(sender.release_set),
            self.cam_trigger.eq(exposer.trigger),
            self.exposure_id.eq(exposer.exposure_id),
            self.exposure_active.eq(exposer.trigger),
        ]

        # Frames back, through the crossing out of the camera's clock.
        word = camera_word(g)
        m.submodules.camera = camera = CameraPort(g)
        m.submodules.camera_fifo = camera_fifo = AsyncFIFOBuffered(
            width=word.size, depth=64, w_domain="cam", r_domain="sync"
        )
        m.d.comb += [
            camera.fval.eq(self.cam_fval),
            camera.lval.eq(self.cam_lval),
            camera.pixel.eq(self.cam_pixel),
            camera_fifo.w_data.eq(camera.o.payload),
            camera_fifo.w_en.eq(camera.o.valid),
            camera.o.ready.eq(camera_fifo.w_rdy),
            frames.i.payload.eq(camera_fifo.r_data),
            frames.i.valid.eq(camera_fifo.r_rdy),
            camera_fifo.r_en.eq(1),
            frames.claim.eq(exposer.claim),
            frames.claim_set.eq(exposer.set),
            frames.claim_id.eq(exposer.claim_id),
            frames.exposure_ended.eq(exposer.ended),
            frames.trigger.eq(exposer.trigger),
            frames.laser_on.eq(interlock.laser_on),
            frames.reading.eq(monitor.reading),
            frames.reading_stb.eq(monitor.reading_stb),
            frames.timestamp.eq(timestamp),
            frames.timeout.eq(regs.frame_timeout_cycles),
            frames.accumulator_saturated.eq(accumulator.saturated),
            binner.pixel.eq(frames.pixel),
            binner.valid.eq(frames.pixel_valid),
            binner.start.eq(frames.pixel_first),
            normaliser.weight.eq(frames.shot.weight),
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
        connect(m, exposer.o, frames.exposed)

        # One buffer for a raw readout: the window's rows of whatever frame came last.
        m.submodules.raw = raw = memory.Memory(shape=g.pixel_bits, depth=g.raw_rows * g.camera_width, init=[])
        raw_write, raw_read = raw.write_port(), raw.read_port(domain="sync")
        raw_next = Signal(range(g.raw_rows * g.camera_width + 1))
        raw_at = Signal.like(raw_next)
        in_window = Signal()
        m.d.comb += [
            raw_at.eq(Mux(frames.pixel_first, 0, raw_next)),
            in_window.eq((binner.row >= regs.raw_first_row) & (binner.row < regs.raw_first_row + g.raw_rows)),
            raw_write.en.eq(frames.pixel_valid & regs.result_raw & in_window & (binner.column < g.camera_width)),
            raw_write.addr.eq(raw_at),
            raw_write.data.eq(frames.pixel),
            raw_read.addr.eq(results.raw_addr),
            raw_read.en.eq(results.r_en),
            results.raw_data.eq(raw_read.data),
        ]
        with m.If(frames.pixel_valid):
            m.d.sync += raw_next.eq(raw_at + raw_write.en)

        # Results.
        m.d.comb += [
            results.start.eq(sender.read_start),
            results.count_only.eq(sender.read_count_only),
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
            sender.read_busy.eq(results.busy),
            sender.read_saturations.eq(results.saturations),
        ]
        connect(m, results.o, packer.i)
        connect(m, packer.o, sender.packed)

        # Link, outwards.
        m.submodules.arbiter = arbiter = PacketArbiter()
        m.submodules.transmitter = transmitter = PacketTransmitter()
        connect(m, replies.o, arbiter.a)
        connect(m, sender.o, arbiter.b)
        connect(m, arbiter.o, transmitter.i)
        connect(m, transmitter.o, flipped(self.link_o))
        quiet = Signal()
        m.d.comb += [
            busy.eq(loader.busy | exposer.busy | frames.busy | sender.busy),
            quiet.eq(~replies.busy & ~reply_queue.r_rdy & ~transmitter.busy & ~self.link_o.valid),
            self.idle.eq(
                quiet & ~busy & ~fifo.r_rdy & (fifo.level == 0) & ~receiver.partial & (guard == 0) & commands.accept
            ),
        ]
        # The reply to a new divisor still goes out at the old one.
        m.d.sync += self.uart_divisor.eq(Mux(quiet & commands.accept, regs.uart_divisor, self.uart_divisor))

        # Laser and its monitor.
        m.d.comb += [
            interlock.arm.eq(regs.laser_arm_stb),
            interlock.disarm.eq(regs.laser_disarm_stb),
            interlock.interlock_closed.eq(self.interlock_closed),
            interlock.refresh.eq(commands.accepted),
            interlock.heartbeat_cycles.eq(regs.heartbeat_cycles),
            self.laser_enable.eq(interlock.laser_on),
            dac.code.eq(Mux(interlock.laser_on, regs.laser_power, 0)),
            bias.code.eq(Mux(interlock.laser_on, regs.laser_bias, 0)),
            self.dac_cs_n.eq(dac.cs_n),
            self.dac_sck.eq(dac.sck),
            self.dac_sdi.eq(dac.sdi),
            self.bias_cs_n.eq(bias.cs_n),
            self.bias_sck.eq(bias.sck),
            self.bias_sdi.eq(bias.sdi),
            monitor.begin.eq(exposer.begins),
            monitor.laser_on.eq(interlock.laser_on),
            monitor.reference.eq(regs.monitor_reference),
            monitor.value.eq(adc.value),
            monitor.done.eq(adc.done),
            adc.start.eq(monitor.start),
            adc.channel.eq(monitor.channel),
            adc.dout.eq(self.adc_dout),
            self.adc_cs_n.eq(adc.cs_n),
            self.adc_sck.eq(adc.sck),
            self.adc_sdi.eq(adc.sdi),
        ]

        # Status and counters.
        status = {
            "busy": busy,
            "laser_on": interlock.laser_on,
            "armed": interlock.armed,
            "interlock_closed": interlock.closed,
            "heartbeat_fresh": interlock.fresh,
            "tripped": interlock.tripped,
            "resync": frames.resync,
        }
        for name, signal in status.items():
            m.d.comb += regs.status[STATUS_BITS[name]].eq(signal)
        slm_frame = Signal(32)
        with m.If(expander.start & ~expander.busy):
            m.d.sync += slm_frame.eq(0)
        with m.Elif(expander.busy):
            m.d.sync += [slm_frame.eq(slm_frame + 1), regs.cycles_slm_frame.eq(slm_frame)]
        with m.If(interlock.trip):
            m.d.sync += regs.trip_time.eq(timestamp)
        loading = Signal()
        m.d.comb += [
            loading.eq(loader.busy),
            regs.trip_cause.eq(interlock.cause),
            regs.monitor.eq(monitor.reading),
            regs.monitor_live.eq(monitor.live),
            regs.temperature.eq(monitor.temperature),
            regs.timestamp.eq(timestamp),
            regs.cycles_readout.eq(frames.readout_cycles),
            regs.projections_inc.eq(frames.o.valid & frames.o.ready),
            regs.projections_failed_inc.eq(frames.failed),
            regs.exposures_inc.eq(exposer.ended),
            regs.frames_inc.eq(frames.frame),
            regs.frames_missing_inc.eq(frames.missing),
            regs.frames_extra_inc.eq(frames.extra),
            regs.frames_late_inc.eq(frames.late),
            regs.frames_malformed_inc.eq(frames.malformed),
            regs.panel_stalls_inc.eq(exposer.stalled),
            regs.camera_overflows_inc.eq(frames.overflow),
            regs.accumulator_saturations_inc.eq(accumulator.saturated),
            regs.result_saturations_inc.eq(results.saturated),
            regs.laser_trips_inc.eq(interlock.trip),
            regs.cycles_busy_inc.eq(busy),
            regs.cycles_wait_pattern_inc.eq(exposer.waits_pattern & (loading | exposer.busy)),
            regs.cycles_settle_inc.eq(exposer.settles),
            regs.cycles_expose_inc.eq(exposer.trigger),
            regs.cycles_wait_camera_inc.eq(exposer.waits_camera),
            regs.cycles_wait_results_inc.eq(exposer.waits_results),
            regs.cycles_wait_input_inc.eq(busy & ~loading & ~exposer.busy),
        ]
        return m
