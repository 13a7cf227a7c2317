"""Projections in flight: credits, pairing of results with rows, and recovery.

The link keeps order, so recovery is go-back-N: on any damaged or lost packet the host waits until the device is
idle, sets ``exposure_base`` to the first exposure without a result, and sends again from there. A result counts only
if it answers the oldest open packet and carries its exposures; so a row is right or an error, never another's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from openopu_rtl.protocol import (
    ERRORS,
    Code,
    ErrorReply,
    Format,
    Geometry,
    Packet,
    PacketType,
    Program,
    Record,
    codec,
    decode_records,
    encode_project,
    packets,
)

from .errors import DeviceSilent, LinkGarbled, ProjectionFailed, UsageError
from .session import TRANSIENT, Session, sentence

PACKET_BYTES = 2048
RESULT_BYTES = 4096
"""Packets and results are filled up to about so much: large enough that headers cost below 2 %, small enough that
a damaged one is soon repeated."""
OVERHEAD_BYTES = 32
"""Header, checksum, delimiter and COBS of one packet and of its result, for time-outs."""
STALLED_TRIES = 10
"""Recoveries without a new result before the link counts as unusable."""
FAILED_TRIES = 3
"""Times that one projection may end with a fault before it is an error."""
PERMANENT = (Code.BAD_SHOT, Code.MONITOR_LATE)
"""Faults of the program, which do not go away by themselves."""
EXPOSURE_IDS = 1 << 32
SLOWEST_PIXEL_CLOCK_HZ = 10e6
"""For time-outs only: the host does not know the panel's pixel clock, and no panel's is slower."""


def rows_of_a_packet(row_bytes: int, record_bytes: int, store_bytes: int) -> int:
    """Projections in one packet: as many as fill a packet or its result, two packets in the store."""
    return max(1, min(min(PACKET_BYTES, store_bytes // 2) // row_bytes, RESULT_BYTES // record_bytes))


@dataclass(frozen=True)
class Setup:
    """What the device is configured for while projections are in flight."""

    program: Program
    form: Format
    geometry: Geometry
    clock_hz: int
    frame_timeout_cycles: int = 1 << 22
    readout_cycles: int = 0
    """What the settings add to a shot for the camera's sake."""
    panel_timeout_cycles: int = 1 << 22
    rows_limit: int | None = None
    """Most projections in one packet."""

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of the pattern store that one projection takes."""
        return self.program.planes * self.geometry.plane_bytes

    @cached_property
    def rows_per_packet(self) -> int:
        """Projections in one packet: as many as fill a packet or its result, two packets in the store."""
        most = rows_of_a_packet(self.row_bytes, self.form.record_bytes, self.geometry.store_bytes)
        return min(most, self.rows_limit or most)

    @cached_property
    def row_seconds(self) -> float:
        """Device seconds of one projection, frames in time: an upper estimate for time-outs and the heartbeat."""
        frame_s = self.geometry.slm_frame_clocks / SLOWEST_PIXEL_CLOCK_HZ
        camera_s = 2 * self.geometry.camera_width * self.geometry.camera_height / SLOWEST_PIXEL_CLOCK_HZ
        cycles = sum(s.settle_cycles + s.exposure_cycles + self.readout_cycles for s in self.program)
        return sum(s.frames + 1 for s in self.program) * frame_s + len(self.program) * camera_s + cycles / self.clock_hz

    @cached_property
    def fault_seconds(self) -> float:
        """Device seconds that a projection takes longer when no frame comes, or the panel stalls."""
        return (len(self.program) * self.frame_timeout_cycles + self.panel_timeout_cycles) / self.clock_hz


@dataclass
class Job:
    """Rows that belong together, and where their records go."""

    planes: NDArray[np.bool_]
    """(rows, planes, modes)."""
    first: int
    """ID of the first exposure of row 0."""
    setup: Setup
    future: Future[Record] = field(default_factory=Future)
    done: int = 0
    """Rows whose record is here."""

    def __post_init__(self) -> None:
        self.head = np.zeros(len(self.planes), dtype=packets.RECORD_DTYPE)
        self.values = np.zeros((len(self.planes), self.setup.form.count), dtype=np.int32)
        shots = self.setup.form.monitors
        self.monitors = np.zeros((len(self.planes), shots), dtype=np.uint16) if shots else None
        self.sent = 0

    @property
    def record(self) -> Record:
        return Record(self.head, self.values, self.monitors)

    def take(self, row: int, record: Record, count: int) -> None:
        """Keep the first ``count`` of some records as those from ``row`` on."""
        rows = slice(row, row + count)
        self.head[rows], self.values[rows] = record.head[:count], record.values[:count]
        if self.monitors is not None and record.monitors is not None:
            self.monitors[rows] = record.monitors[:count]
        self.done = row + count

    def exposure(self, row: int) -> int:
        """ID of the first exposure of ``row``."""
        return (self.first + row * len(self.setup.program)) % EXPOSURE_IDS


@dataclass
class _Flight:
    job: Job
    row: int
    count: int
    sequence: int
    bytes_out: int
    bytes_back: int


class Pipeline:
    """Keeps the device busy with the rows of its jobs; all jobs in it share one :class:`Setup`.

    Parameters
    ----------
    session
        The link.
    keep_alive_s
        Longest silence towards a device whose clock runs on by itself; None: no keep-alive.
    """

    def __init__(self, session: Session, keep_alive_s: Callable[[], float | None] = lambda: None) -> None:
        self._session = session
        self._keep_alive_s = keep_alive_s
        self._jobs: deque[Job] = deque()
        self._flights: deque[_Flight] = deque()
        self._recoveries = 0
        self._failures: dict[int, int] = {}
        self._rows_limit: int | None = None
        self._progress_s = 0.0
        self._behind_s = 0.0
        """Device seconds for what was in flight behind a projection that failed, and is not waited for."""
        self.repeated = 0
        """Recoveries made, in all."""

    @property
    def active(self) -> bool:
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Queue a job. Its exposures must follow those of the job before it."""
        need = job.setup.row_bytes
        if need > job.setup.geometry.store_bytes:
            raise UsageError(
                f"one projection of {job.setup.program.planes} planes takes {need} bytes, the device stores "
                f"{job.setup.geometry.store_bytes}",
                "program",
                "Use fewer planes",
            )
        if not len(job.planes):
            job.future.set_result(job.record)
            return
        self._jobs.append(job)

    def fail(self, error: BaseException) -> None:
        """End every job with ``error``."""
        for job in self._jobs:
            if not job.future.done():
                job.future.set_exception(error)
        self._jobs.clear()
        self._flights.clear()
        self._recoveries = 0
        self._failures.clear()

    def step(self, poll_s: float = 0.1) -> None:
        """Send what credits allow, then take one packet or notice that none came; waits at most ``poll_s``."""
        self._send()
        if not self._flights:
            if self._jobs:
                raise AssertionError("rows wait, but none can be sent: the pipeline would never end")
            return
        session = self._session
        wait = self._progress_s + self._patience_s() - time.monotonic()
        if wait <= 0:
            self._recover("no result came in time")
            return
        wait = min(wait, poll_s)
        alive = self._keep_alive_s()
        if alive is not None:
            wait = min(wait, max(session.last_sent_s + alive - time.monotonic(), 0.0))
        try:
            packet = session.receive(wait)
        except codec.CodecError as error:
            self._recover(f"a packet arrived damaged ({error})")
            return
        if packet is None:
            if alive is not None and time.monotonic() >= session.last_sent_s + alive:
                payload = packets.READ_PAYLOAD.pack(0, 1)
                session.send(Packet(PacketType.READ, session.next_sequence(), payload).encode())
            return
        if packet.type == PacketType.RESULT:
            if not self._accept(packet):
                self._recover("a result was lost")
        elif packet.type == PacketType.ERROR:
            self._refused(packet)

    # Sending

    def _send(self) -> None:
        stored = sum(f.count * f.job.setup.row_bytes for f in self._flights)
        for job in list(self._jobs):
            setup = job.setup
            step = min(setup.rows_per_packet, self._rows_limit or setup.rows_per_packet)
            while job.sent < len(job.planes):
                count = min(step, len(job.planes) - job.sent)
                if self._flights and (
                    stored + count * setup.row_bytes > setup.geometry.store_bytes
                    or len(self._flights) >= setup.geometry.queue_depth
                ):
                    return
                stored += count * setup.row_bytes
                sequence = self._session.next_sequence()
                rows = job.planes[job.sent : job.sent + count]
                encoded = encode_project(sequence, job.exposure(job.sent), rows)
                if not self._flights:
                    self._progress_s = time.monotonic()
                back = count * setup.form.record_bytes
                self._flights.append(_Flight(job, job.sent, count, sequence, len(encoded), back))
                job.sent += count
                self._session.send(encoded)

    def _flight_seconds(self, all_fail: bool = False) -> float:
        """Device seconds for all that is in flight, where the first packet's projections fail, or all do."""
        line = sum(f.bytes_out + f.bytes_back + OVERHEAD_BYTES for f in self._flights)
        work = sum(f.count * f.job.setup.row_seconds for f in self._flights)
        failing = list(self._flights)[: None if all_fail else 1]
        faults = sum(f.count * f.job.setup.fault_seconds for f in failing)
        return self._session.line_seconds(line) + work + faults

    def _patience_s(self) -> float:
        return self._session.timeout_s(self._flight_seconds())

    # Receiving

    def _accept(self, packet: Packet) -> bool:
        """Take a result. False if it answers a packet behind the oldest open one, or holds a failed record."""
        flight = self._flights[0] if self._flights else None
        if flight is None or packet.sequence != flight.sequence:
            return all(packet.sequence != f.sequence for f in self._flights)  # an old one is no news
        job, setup = flight.job, flight.job.setup
        try:
            first, record = decode_records(packet.payload, setup.form)
        except codec.CodecError as error:
            raise ProjectionFailed(
                f"a whole result does not fit the settings ({error})", self._session.where, "Reopen the device"
            ) from error
        expected = (job.exposure(flight.row) + np.arange(flight.count) * len(setup.program)) % EXPOSURE_IDS
        if first != expected[0] or len(record.head) != flight.count or np.any(record.head["exposure"] != expected):
            raise ProjectionFailed(
                f"a result for exposure {first} answers a packet that began with {expected[0]}",
                self._session.where,
                "The device broke the pairing of patterns and results: stop, and report its counters",
            )
        bad = np.flatnonzero(~record.ok)
        good = int(bad[0]) if len(bad) else flight.count
        job.take(flight.row, record, good)
        if good:
            self._progressed()
        self._flights.popleft()
        if job.done == len(job.planes):
            self._jobs.popleft()
            job.future.set_result(job.record)
        if good < flight.count:
            # What is behind the failed one is exposed again too, so that rows and IDs stay paired.
            self._behind_s = self._flight_seconds(all_fail=True)
            self._flights.clear()
            self._note_failure(job, flight.row + good, int(record.head["status"][good]))
            return False
        return True

    def _progressed(self) -> None:
        self._progress_s = time.monotonic()
        self._recoveries = 0
        self._rows_limit = None if self._rows_limit is None else self._rows_limit * 2

    def _note_failure(self, job: Job, row: int, status: int) -> None:
        exposure = job.exposure(row)
        self._failures[exposure] = tries = self._failures.get(exposure, 0) + 1
        if tries < FAILED_TRIES and status not in PERMANENT:
            return
        known = Code(status) if status in Code._value2member_map_ else None
        explanation = ERRORS.get(known) if known is not None else None
        what = f"{known.name}: {explanation.what}" if known and explanation else f"unknown status {status}"
        raise ProjectionFailed(
            f"row {row} (exposure {exposure}) failed {tries} times: {what}",
            self._session.where,
            sentence(explanation.next_step) if explanation else "Host and gateware differ: reflash",
            status,
        )

    def _refused(self, packet: Packet) -> None:
        reply = self._session.error_of(packet) or ErrorReply(int(Code.FRAMING), 0)
        ours = packet.sequence == 0 or any(f.sequence == packet.sequence for f in self._flights)
        if not ours:
            return
        if reply.code not in TRANSIENT:
            raise self._session.refusal(reply)
        self._recover(str(self._session.refusal(reply).what))

    # Recovery

    def resume(self) -> None:
        """Go on with the first row without a result, on a device that came back and is idle."""
        self._note_recovery("the link was lost")
        self._restart()

    def _note_recovery(self, cause: str) -> None:
        session = self._session
        self.repeated += 1
        self._recoveries += 1
        if self._recoveries > STALLED_TRIES:
            kind = LinkGarbled if session.damaged else DeviceSilent
            raise kind(
                f"no projection got through in {STALLED_TRIES} tries; the last time {cause}",
                session.where,
                f"Check the cable, lower the baud rate; `openopu doctor --device {session.where}` measures the link",
            )
        # Shorter packets: what gets through before the next damage is more often whole.
        in_flight = max((f.count for f in self._flights), default=1)
        self._rows_limit = max(1, in_flight // 2)

    def _restart(self) -> None:
        self._flights.clear()
        if self._jobs:
            head = self._jobs[0]
            for job in self._jobs:
                job.sent = job.done
            self._session.write(exposure_base=head.exposure(head.done))
        self._progress_s = time.monotonic()

    def _recover(self, cause: str) -> None:
        session = self._session
        self._note_recovery(cause)

        def sink(packet: Packet) -> None:
            # Results that still come in order are as good as any.
            if self._flights and packet.sequence == self._flights[0].sequence:
                self._accept(packet)

        # Ends a packet whose delimiter was lost, so that the next one is not swallowed with it.
        session.device.transport.write(codec.DELIMITER)
        seconds, self._behind_s = max(self._flight_seconds(all_fail=True), self._behind_s), 0.0
        session.wait_idle(seconds, sink)
        self._restart()
