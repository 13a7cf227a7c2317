"""USB CDC-ACM at full speed: the link as a serial port, from LUNA's device and gateware PHY on two FPGA pins.

LUNA (package luna-usb) is imported only when a design with USB is elaborated.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .queues import add_link_crossing

FIFO_BYTES = 64
"""Of each crossing between ``usb`` and ``sync``; a power of two."""
RESET_US = 2.5
"""Both lines low for so long are a bus reset (USB 2.0 specification, 7.1.7.5); the end of a packet is 0.17 us."""
SUSPEND_US = 3000
"""An idle bus for so long means that the host has suspended it, or that there is none (7.1.7.6)."""
VENDOR_ID, PRODUCT_ID = 0x1209, 0x0001
"""pid.codes' numbers for devices that are not sold; whoever sells one needs numbers of their own."""


@dataclass
class _Pin:
    """A pin as LUNA's PHY takes it."""

    i: Signal = field(default_factory=Signal)
    o: Signal = field(default_factory=Signal)
    oe: Signal = field(default_factory=Signal)


@dataclass
class _Pins:
    d_p: _Pin = field(default_factory=_Pin)
    d_n: _Pin = field(default_factory=_Pin)
    pullup: _Pin = field(default_factory=_Pin)


class UsbSerial(wiring.Component):
    """Bytes of a virtual serial port. Its baud rate means nothing.

    Clock domains: ``sync``, ``usb`` (12 MHz) and ``usb_io`` (48 MHz, of which ``usb`` is every fourth edge).

    A USB packet is sent when it is full, or when the last byte at hand ends a packet of ours.

    Parameters
    ----------
    clock_hz : frequency of ``sync``.
    serial_number : string of the board, by which the host finds it again.
    product : string for people.

    Ports
    -----
    d_p_i, d_n_i, d_p_o, d_n_o, d_oe, pullup : the lines D+ and D-, and the resistor of 1.5 kOhm that pulls D+ up.
    o : received bytes. i : bytes to send.
    link_reset : strobe: the host reset the bus, suspended it, or went away.
    busy : a byte is in a crossing; what is inside LUNA's buffers does not show.
    """

    def __init__(self, clock_hz: int, serial_number: str, product: str = "openopu"):
        self.clock_hz = clock_hz
        self.serial_number = serial_number
        self.product = product
        super().__init__(
            {
                "d_p_i": In(1),
                "d_n_i": In(1),
                "d_p_o": Out(1),
                "d_n_o": Out(1),
                "d_oe": Out(1),
                "pullup": Out(1),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "link_reset": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        with warnings.catch_warnings():
            # LUNA is written in Amaranth's idioms of before 0.5, which are deprecated, not gone.
            warnings.simplefilter("ignore", DeprecationWarning)
            from luna.gateware.usb.devices.acm import USBSerialDevice

            pins = _Pins()
            device = USBSerialDevice(
                bus=pins,
                idVendor=VENDOR_ID,
                idProduct=PRODUCT_ID,
                manufacturer_string="openopu",
                product_string=self.product,
                serial_number=self.serial_number,
                max_packet_size=64,
            )
        m = Module()
        m.submodules.device = device
        received, to_send = add_link_crossing(m, self, "usb", FIFO_BYTES + 1)
        m.d.comb += [
            pins.d_p.i.eq(self.d_p_i),
            pins.d_n.i.eq(self.d_n_i),
            self.d_p_o.eq(pins.d_p.o),
            self.d_n_o.eq(pins.d_n.o),
            self.d_oe.eq(pins.d_p.oe),
            self.pullup.eq(pins.pullup.o),
            device.connect.eq(1),
            received.w_data.eq(device.rx.payload),
            received.w_en.eq(device.rx.valid),
            device.rx.ready.eq(received.w_rdy),
            device.tx.payload.eq(to_send.r_data),
            device.tx.valid.eq(to_send.r_rdy),
            device.tx.last.eq((to_send.r_data == 0) & (to_send.r_level <= 1)),
            to_send.r_en.eq(device.tx.ready),
            self.busy.eq(received.r_rdy | (to_send.w_level != 0)),
        ]

        # The host resets or leaves: watched on the lines, whatever LUNA makes of it.
        lines, before = Signal(2), Signal(2)
        m.submodules.lines = FFSynchronizer(self.d_p_i << 1 | self.d_n_i, lines)
        reset_clocks, suspend_clocks = (math.ceil(us * 1e-6 * self.clock_hz) for us in (RESET_US, SUSPEND_US))
        still = Signal(range(suspend_clocks + 1))
        gone, gone_before = Signal(), Signal()
        m.d.sync += [before.eq(lines), gone_before.eq(gone)]
        with m.If(lines != before):
            m.d.sync += still.eq(0)
        with m.Elif(still != suspend_clocks):
            m.d.sync += still.eq(still + 1)
        m.d.comb += [
            gone.eq((lines == before) & (((lines == 0) & (still >= reset_clocks)) | (still == suspend_clocks))),
            self.link_reset.eq(gone & ~gone_before),
        ]
        return m
