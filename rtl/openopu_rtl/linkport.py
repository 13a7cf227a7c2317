"""What every port of a link has, and how one is joined to the device.

``UartPort``, ``Ft245Async``, ``Ft245Sync`` and ``UsbSerial`` share these ports, in ``sync``:

o : received bytes, a stream. i : bytes to send, a stream.
link_reset : the link is reset (a break on the line, a bus reset, the cable gone), for a clock or more.
busy : a byte is inside.
"""

from amaranth.hdl import Module


def serve(m: Module, port, opu) -> None:
    """Join ``port`` to the device ``opu`` (its ``link_i``, ``link_o`` and ``link_reset``)."""
    to_opu, from_opu = opu.link_i, opu.link_o
    m.d.comb += [
        to_opu.payload.eq(port.o.payload),
        to_opu.valid.eq(port.o.valid),
        port.i.payload.eq(from_opu.payload),
        port.i.valid.eq(from_opu.valid),
        from_opu.ready.eq(port.i.ready),
        opu.link_reset.eq(port.link_reset),
    ]
    if not port.o.signature.always_ready:
        m.d.comb += port.o.ready.eq(to_opu.ready)
