"""Pattern store: a ring of bytes that a packet enters as a whole or not at all."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.geometry import Geometry


class PatternStore(wiring.Component):
    """Bytes are pushed in one by one; ``commit`` keeps those since the last one, ``rollback`` drops them.

    A byte pushed while the ring is full is dropped and raises ``full``, which stays up until the next
    ``commit`` or ``rollback``. ``free`` (with ``free_bytes``) gives the oldest bytes back; ``tail`` is
    the address of the oldest. Reading has one clock of latency.
    """

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        address = ceil_log2(geometry.store_bytes)
        super().__init__(
            {
                "push": In(1),
                "data": In(8),
                "commit": In(1),
                "rollback": In(1),
                "full": Out(1),
                "free": In(1),
                "free_bytes": In(address + 1),
                "tail": Out(address),
                "r_addr": In(address),
                "r_en": In(1),
                "r_data": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.geometry.store_bytes
        m.submodules.bytes = ring = memory.Memory(shape=8, depth=depth, init=[])
        write, read = ring.write_port(), ring.read_port(domain="sync")
        m.d.comb += [read.addr.eq(self.r_addr), read.en.eq(self.r_en), self.r_data.eq(read.data)]

        head = Signal(range(depth))
        kept = Signal(range(depth))
        used = Signal(range(depth + 1))
        used_kept = Signal(range(depth + 1))
        accepted = Signal()
        freed = Signal.like(used)
        m.d.comb += [
            accepted.eq(self.push & (used != depth) & ~self.full),
            freed.eq(Mux(self.free, self.free_bytes, 0)),
            write.en.eq(accepted),
            write.addr.eq(head),
            write.data.eq(self.data),
        ]
        m.d.sync += [used.eq(used + accepted - freed), used_kept.eq(used_kept - freed)]
        with m.If(accepted):
            m.d.sync += head.eq(head + 1)
        with m.If(self.push & ~accepted):
            m.d.sync += self.full.eq(1)
        with m.If(self.free):
            m.d.sync += self.tail.eq(self.tail + self.free_bytes)
        with m.If(self.commit):
            m.d.sync += [kept.eq(head), used_kept.eq(used - freed), self.full.eq(0)]
        with m.If(self.rollback):
            m.d.sync += [head.eq(kept), used.eq(used_kept - freed), self.full.eq(0)]
        return m
