"""COBS at one byte per clock. The model of both directions is :mod:`.protocol.codec`."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from .protocol.codec import DELIMITER
from .shapes import LINK_BYTE

GROUP_BYTES_MAX = 254
"""Data bytes of the longest group; its code is 255 and no zero follows it."""
STORE_BYTES = 512
"""Two of the longest groups: one is sent while the next is collected."""
GROUPS = 16
"""Groups that may wait to be sent; short groups are as quick to send as to collect."""


class CobsDecoder(wiring.Component):
    """Decoded bytes from link bytes, each one clock after the byte that it comes from.

    Ports
    -----
    i : link bytes; there is no back-pressure.
    clear : forget the packet under way: the next byte begins a packet.
    data, valid : decoded byte and its strobe.
    end : strobe: a delimiter ended a packet (none for an empty one). Never together with ``valid``.
    error : with ``end``: the packet was cut short inside a group.
    active : a packet has begun and not ended.
    """

    i: In(stream.Signature(8, always_ready=True))
    clear: In(1)
    data: Out(8)
    valid: Out(1)
    end: Out(1)
    error: Out(1)
    active: Out(1)

    def elaborate(self, platform):
        m = Module()
        left = Signal(8)  # data bytes to come in this group
        longest = Signal()  # this group is of the longest kind: no zero follows it
        byte = self.i.payload
        m.d.sync += [self.valid.eq(0), self.end.eq(0), self.error.eq(0)]
        with m.If(self.i.valid):
            with m.If(byte == DELIMITER[0]):
                m.d.sync += [self.end.eq(self.active), self.error.eq(left != 0), self.active.eq(0), left.eq(0)]
            with m.Elif(left == 0):
                m.d.sync += [
                    left.eq(byte - 1),
                    longest.eq(byte == GROUP_BYTES_MAX + 1),
                    self.active.eq(1),
                    # The zero between two groups comes with the second one's code.
                    self.data.eq(0),
                    self.valid.eq(self.active & ~longest),
                ]
            with m.Else():
                m.d.sync += [left.eq(left - 1), self.data.eq(byte), self.valid.eq(1)]
        with m.If(self.clear):
            m.d.sync += [self.active.eq(0), left.eq(0)]
        return m


class CobsEncoder(wiring.Component):
    """Link bytes, delimiter included, of the packets of a byte stream.

    A group's code comes before its bytes, so a group is collected before it is sent: the first byte
    leaves up to 256 clocks after the first one came. From then on both sides run at one byte per
    clock.

    Ports
    -----
    i : content of packets, each ending with its ``last`` byte.
    o : link bytes; every packet ends with the delimiter.
    busy : anything is inside, or a packet has begun and its last byte has not come.
    """

    i: In(stream.Signature(LINK_BYTE))
    o: Out(stream.Signature(8))
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(shape=8, depth=STORE_BYTES, init=[])
        write, read = store.write_port(), store.read_port()
        group_layout = data.StructLayout({"code": 8, "last": 1})
        m.submodules.groups = groups = SyncFIFO(width=group_layout.size, depth=GROUPS)
        pushed = data.View(group_layout, groups.w_data)
        popped = data.View(group_layout, groups.r_data)

        # Collect. Addresses have one bit more than the store needs, to tell full from empty.
        write_at = Signal(range(2 * STORE_BYTES))
        read_at = Signal(range(2 * STORE_BYTES))
        count = Signal(8)  # bytes of the open group, below GROUP_BYTES_MAX
        opened = Signal()  # a packet has begun
        tail = Signal()  # a packet ended with a zero: one more, empty, group
        byte, last = self.i.payload.data, self.i.payload.last
        full = Signal()
        m.d.comb += [
            full.eq((write_at ^ read_at) == STORE_BYTES),
            write.addr.eq(write_at),
            write.data.eq(byte),
            self.i.ready.eq(~full & groups.w_rdy & ~tail),
        ]
        with m.If(tail):
            m.d.comb += [pushed.code.eq(1), pushed.last.eq(1), groups.w_en.eq(1)]
            m.d.sync += tail.eq(~groups.w_rdy)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += opened.eq(~last)
            with m.If(byte == 0):
                m.d.comb += [pushed.code.eq(count + 1), groups.w_en.eq(1)]
                m.d.sync += [count.eq(0), tail.eq(last)]
            with m.Else():
                m.d.comb += [
                    write.en.eq(1),
                    pushed.code.eq(count + 2),
                    pushed.last.eq(last),
                    groups.w_en.eq(last | (count == GROUP_BYTES_MAX - 1)),
                ]
                m.d.sync += [write_at.eq(write_at + 1), count.eq(Mux(groups.w_en, 0, count + 1))]

        # Send. What goes out next is decided here and appears a clock later, as the store's bytes do.
        advance = Signal()
        left = Signal(8)  # bytes of this group to send
        ends = Signal()  # this group is the packet's last
        from_store = Signal()
        literal = Signal(8)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.o.payload.eq(Mux(from_store, read.data, literal)),
            read.addr.eq(read_at),
            read.en.eq(advance),
        ]
        with m.FSM() as fsm:
            with m.State("CODE"), m.If(advance):
                m.d.comb += groups.r_en.eq(1)
                m.d.sync += [
                    self.o.valid.eq(groups.r_rdy),
                    from_store.eq(0),
                    literal.eq(popped.code),
                    left.eq(popped.code - 1),
                    ends.eq(popped.last),
                ]
                with m.If(groups.r_rdy):
                    with m.If(popped.code != 1):
                        m.next = "DATA"
                    with m.Elif(popped.last):
                        m.next = "DELIMITER"
            with m.State("DATA"), m.If(advance):
                m.d.sync += [from_store.eq(1), read_at.eq(read_at + 1), left.eq(left - 1)]
                with m.If(left == 1):
                    with m.If(ends):
                        m.next = "DELIMITER"
                    with m.Else():
                        m.next = "CODE"
            with m.State("DELIMITER"), m.If(advance):
                m.d.sync += [from_store.eq(0), literal.eq(DELIMITER[0])]
                m.next = "CODE"
            m.d.comb += self.busy.eq(opened | tail | groups.r_rdy | ~fsm.ongoing("CODE") | self.o.valid)
        return m
