"""Queues: between two streams of the system clock, and of a link's bytes between its clock and the system's."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib.fifo import AsyncFIFOBuffered, SyncFIFOBuffered


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


def add_link_crossing(m: Module, link, domain: str, depth: int) -> tuple[AsyncFIFOBuffered, AsyncFIFOBuffered]:
    """Queues from and to ``domain`` behind the streams ``link.o`` and ``link.i``: (bytes received, bytes to send)."""
    m.submodules.received = received = AsyncFIFOBuffered(width=8, depth=depth, w_domain=domain, r_domain="sync")
    m.submodules.to_send = to_send = AsyncFIFOBuffered(width=8, depth=depth, w_domain="sync", r_domain=domain)
    m.d.comb += [
        link.o.payload.eq(received.r_data),
        link.o.valid.eq(received.r_rdy),
        received.r_en.eq(link.o.ready),
        to_send.w_data.eq(link.i.payload),
        to_send.w_en.eq(link.i.valid),
        link.i.ready.eq(to_send.w_rdy),
    ]
    return received, to_send
