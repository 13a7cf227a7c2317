"""A queue between two streams of the system clock."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib.fifo import SyncFIFOBuffered


def add_queue(m: Module, name: str, source, sink, depth: int) -> SyncFIFOBuffered:
    """Put a queue of ``depth`` payloads, submodule ``name``, between the streams ``source`` and ``sink``."""
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
