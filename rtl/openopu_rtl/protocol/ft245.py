"""Times of FT245-style FIFOs: data sheets, and how many clocks the gateware's ports take for a byte."""

from __future__ import annotations

import math
from dataclasses import dataclass

SYNCHRONISER_CLOCKS = 2
"""Clocks from a status pin to the decision."""
INPUT_SETUP_NS = 5.0
"""Data must be valid so long before it is sampled: an input buffer of an FPGA and the board's lines."""
BURST_BYTES = 256
"""Synchronous: bytes in one direction before the other gets its turn, where it has any."""
TURN_CLOCKS = 2
"""Synchronous: clocks without a byte between the last one in one direction and the first one in the other."""


@dataclass(frozen=True)
class Ft245Timing:
    """Widths in ns. The chip takes a byte at the falling edge of WR#; both strobes rest high."""

    read_pulse_ns: float
    """RD# low, at least."""
    read_data_ns: float
    """RD# low to valid data, and RD# high to a released bus, at most."""
    read_status_ns: float
    """RD# high to RXF# high, at most."""
    read_recovery_ns: float
    """RXF# high after a byte, at least."""
    read_high_ns: float
    """RD# high between two bytes, at least."""
    write_setup_ns: float
    """Data before WR# falls, at least."""
    write_hold_ns: float
    """Data after WR# rises, at least."""
    write_pulse_ns: float
    """WR# low, at least."""
    write_high_ns: float
    """WR# high between two bytes, at least."""
    write_status_ns: float
    """WR# falls to TXE# high, at most."""
    write_recovery_ns: float
    """TXE# high after a byte, at least."""


FT232H = Ft245Timing(
    read_pulse_ns=30, read_data_ns=14, read_status_ns=14, read_recovery_ns=49, read_high_ns=0,
    write_setup_ns=5, write_hold_ns=5, write_pulse_ns=30, write_high_ns=0, write_status_ns=14, write_recovery_ns=49,
)  # fmt: skip
"""FT232H data sheet FT_000288 version 2.1, section 4.5, table 4.2 (T1 to T11)."""

FT245R = Ft245Timing(
    read_pulse_ns=50, read_data_ns=50, read_status_ns=25, read_recovery_ns=80, read_high_ns=130,
    write_setup_ns=20, write_hold_ns=0, write_pulse_ns=50, write_high_ns=50, write_status_ns=25, write_recovery_ns=80,
)  # fmt: skip
"""FT245R data sheet FT_000052, FIFO read and write cycles. T1 to T6 as quoted in public drivers; T7 to T12 (the
write cycle) from memory, not confirmed. Its WR is active high and writes at the falling edge too, so that the
same waveform fits: high for T7, low for T8."""


def clocks_of(ns: float, clock_hz: int) -> int:
    """Fewest clocks that last ``ns``."""
    return math.ceil(ns * 1e-9 * clock_hz - 1e-6)


def write_cycle_clocks(timing: Ft245Timing, clock_hz: int) -> int:
    """Model: clocks from byte to byte of :class:`Ft245Async` that only writes, to a chip as quick as its data sheet.

    TXE# low is seen two clocks after the pin, and WR# falls in the clock after that. The chip's times count from
    clock to clock, each rounded up to whole clocks.
    """
    t = timing

    def clocks(ns: float) -> int:
        return max(1, clocks_of(ns, clock_hz))

    ready = clocks(t.write_status_ns) + clocks(t.write_recovery_ns)  # TXE# is low again
    by_status = ready + SYNCHRONISER_CLOCKS + 1
    # WR# low, WR# high with the data held, a clock to load the next byte, its setup.
    by_bus = clocks(t.write_pulse_ns) + clocks(t.write_hold_ns) + 1 + clocks(t.write_setup_ns)
    by_strobe = clocks(t.write_pulse_ns) + clocks(t.write_high_ns) + 1
    return max(by_status, by_bus, by_strobe)


def read_cycle_clocks(timing: Ft245Timing, clock_hz: int) -> int:
    """Model: as :func:`write_cycle_clocks`, for a port that only reads."""
    t = timing

    def clocks(ns: float) -> int:
        return max(1, clocks_of(ns, clock_hz))

    pulse = max(clocks(t.read_pulse_ns), clocks(t.read_data_ns + INPUT_SETUP_NS))
    # After RXF#: seen, then a clock for the decision, and one in which nobody drives the bus.
    by_status = pulse + clocks(t.read_status_ns) + clocks(t.read_recovery_ns) + SYNCHRONISER_CLOCKS + 2
    by_strobe = pulse + clocks(t.read_high_ns) + 2
    by_bus = pulse + clocks(t.read_data_ns) + 2
    return max(by_status, by_bus, by_strobe)


def pair_cycle_clocks(timing: Ft245Timing, clock_hz: int) -> int:
    """Model: clocks of a byte written and one read in turns. The read falls partly into the recovery of the write."""
    t = timing

    def clocks(ns: float) -> int:
        return max(1, clocks_of(ns, clock_hz))

    write = clocks(t.write_pulse_ns) + clocks(t.write_hold_ns) + clocks(t.write_setup_ns)
    read = max(clocks(t.read_pulse_ns), clocks(t.read_data_ns + INPUT_SETUP_NS)) + clocks(t.read_data_ns)
    # The decision, the turn of the bus, and the clock in which the next byte is laid out.
    by_bus = write + read + 3
    return max(by_bus, write_cycle_clocks(timing, clock_hz), read_cycle_clocks(timing, clock_hz))


def burst_clocks(written: int, read: int) -> int:
    """Model: clocks of CLKOUT for ``written`` and ``read`` bytes, both always on offer, in turns of ``BURST_BYTES``."""
    turns = max(written, read) / BURST_BYTES
    return round(written + read + 2 * turns * TURN_CLOCKS)
