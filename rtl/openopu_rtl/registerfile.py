"""Register file: everything that the declaration lists, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.registers import REGISTERS, WINDOWS, Access, Kind
from .shapes import LINK


def identity_values(geometry: Geometry, **fixed: int) -> dict[str, int]:
    """Values of the identity registers; ``fixed`` gives those that are not part of the geometry."""
    values = {f"geometry_{name}": int(getattr(geometry, name)) for name in geometry.__dataclass_fields__} | fixed
    wanted = {r.name for r in REGISTERS.values() if r.kind is Kind.IDENTITY}
    if values.keys() != wanted:
        raise ValueError(f"identity registers without a value: {sorted(wanted ^ values.keys())}")
    return values


def counts(name: str) -> bool:
    """Whether a register is a counter inside the file, driven by its ``_inc`` port."""
    register = REGISTERS[name]
    return register.kind is Kind.EVENT or (
        register.kind is Kind.TIMING and name.startswith(("cycles_", "slots_")) and name not in _MEASURED
    )


_MEASURED = ("cycles_slm_frame", "cycles_slm_slot", "cycles_readout")
"""Timing registers that hold a measurement made elsewhere, not a count."""


_ROW = 16
"""Registers that share a multiplexer of the file's second stage."""


class RegisterFile(wiring.Component):
    """One access per request: raise ``r_stb`` or ``w_stb`` for a clock; ``done`` is high in the one clock,
    ``LATENCY`` later, in which ``code`` and ``r_data`` hold the answer. One access at a time.

    Ports by register: ``NAME`` (setting: out; status and measurement: in), ``NAME_stb`` (out, one clock
    when written), ``NAME_code`` (in, commands and conditional settings: why one is refused now, or OK),
    ``NAME_try`` (out, commands: one is written, refused or not, in the clock in which ``NAME_code`` is
    asked; ``try_data`` is the value), ``NAME_inc`` (in, counters), and for each window ``NAME_we`` with the
    common ``w_offset`` and ``w_value``. ``link`` is the identity register that depends on a pin. ``resets``:
    values after reset other than the declared ones.

    It is slow on purpose: decoding, checking and answering each end in a register, so that neither the number of
    registers nor what drives them limits the clock. Counters follow their events by a clock.
    """

    LATENCY = 3

    def __init__(self, geometry: Geometry, identity: Mapping[str, int], resets: Mapping[str, int] | None = None):
        self.geometry = geometry
        self.identity = identity
        ports = {
            "address": In(16),
            "r_stb": In(1),
            "w_stb": In(1),
            "w_data": In(32),
            "r_data": Out(32),
            "code": Out(8),
            "done": Out(1),
            "busy": In(1),
            "try_data": Out(32),
            "w_offset": Out(16),
            "w_value": Out(32),
            "link": In(LINK),
        }
        for r in REGISTERS.values():
            if counts(r.name):
                ports[f"{r.name}_inc"] = In(1)
            elif r.kind is Kind.SETTING:
                _, high = r.bounds(geometry)
                ports[r.name] = Out(max(1, high.bit_length()), init=(resets or {}).get(r.name, r.reset))
                ports[f"{r.name}_stb"] = Out(1)
                if r.conditional:
                    ports[f"{r.name}_code"] = In(8)
            elif r.kind is Kind.COMMAND:
                ports[f"{r.name}_stb"] = Out(1)
                ports[f"{r.name}_code"] = In(8)
                ports[f"{r.name}_try"] = Out(1)
            elif r.kind is not Kind.IDENTITY:
                ports[r.name] = In(32)
        for w in WINDOWS.values():
            ports[f"{w.name}_we"] = Out(1)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        self._counters = {r.name: Signal(32, name=r.name) for r in REGISTERS.values() if counts(r.name)}
        for name, counter in self._counters.items():
            event = Signal(name=f"{name}_event")
            m.d.sync += event.eq(getattr(self, f"{name}_inc"))
            with m.If(self.counters_clear_stb):
                m.d.sync += counter.eq(0)
            with m.Elif(event):
                m.d.sync += counter.eq(counter + 1)

        # Stage 1: the request.
        address1, data1, read1, write1 = Signal(16), Signal(32), Signal(), Signal()
        m.d.sync += [address1.eq(self.address), data1.eq(self.w_data), read1.eq(self.r_stb), write1.eq(self.w_stb)]
        m.d.comb += self.try_data.eq(data1)

        # Stage 2: what it asks for, and the value of one register out of each row of sixteen.
        address2, data2, read2, write2 = Signal(16), Signal(32), Signal(), Signal()
        readable, code2, veto2, offset2 = Signal(), Signal(8), Signal(8), Signal(16)
        m.d.sync += [address2.eq(address1), data2.eq(data1), read2.eq(read1), write2.eq(write1)]
        m.d.sync += [readable.eq(0), code2.eq(Code.ADDRESS), veto2.eq(Code.OK)]
        with m.Switch(address1):
            for r in REGISTERS.values():
                with m.Case(r.address):
                    m.d.sync += [readable.eq(r.access is not Access.WO), code2.eq(self._write_code(r, data1))]
                    if r.kind is Kind.COMMAND:
                        m.d.comb += getattr(self, f"{r.name}_try").eq(write1)
                    if r.kind is Kind.COMMAND or r.conditional:
                        m.d.sync += veto2.eq(getattr(self, f"{r.name}_code"))
            with m.Default():
                for w in WINDOWS.values():
                    with m.If((address1 >= w.address) & (address1 < w.address + w.words(self.geometry))):
                        _, high = w.bounds(self.geometry)
                        m.d.sync += [
                            offset2.eq(address1 - w.address),
                            code2.eq(Mux(self.busy, Code.BUSY, Mux(data1 > high, Code.VALUE, Code.OK))),
                        ]
        registers = list(REGISTERS.values())
        rows = [registers[i : i + _ROW] for i in range(0, len(registers), _ROW)]
        values = [Signal(32, name=f"row{i}") for i in range(len(rows))]
        for value, row in zip(values, rows, strict=True):
            # Each row has its own copy, told from the others by its reset, so that synthesis keeps them apart.
            column = Signal(ceil_log2(_ROW), init=rows.index(row))
            m.d.sync += column.eq(self.address[: len(column)])
            with m.Switch(column):
                for i, r in enumerate(row):
                    if r.access is not Access.WO:
                        with m.Case(i):
                            m.d.sync += value.eq(self._value(r))

        # Stage 3: the answer, and the write.
        with m.If(read2 | write2):
            m.d.sync += self.code.eq(
                Mux(write2, Mux(code2 == Code.OK, veto2, code2), Mux(readable, Code.OK, Code.ADDRESS))
            )
            with m.Switch(address2[ceil_log2(_ROW) :]):
                for i, value in enumerate(values):
                    with m.Case(i):
                        m.d.sync += self.r_data.eq(value)
        accepted = Signal()
        m.d.comb += accepted.eq(write2 & (code2 == Code.OK) & (veto2 == Code.OK))
        m.d.sync += [self.done.eq(read2 | write2), self.w_offset.eq(offset2), self.w_value.eq(data2)]
        for r in REGISTERS.values():
            if r.kind in (Kind.SETTING, Kind.COMMAND):
                written = accepted & (address2 == r.address)
                m.d.sync += getattr(self, f"{r.name}_stb").eq(written)
                if r.kind is Kind.SETTING:
                    with m.If(written):
                        m.d.sync += getattr(self, r.name).eq(data2)
        for w in WINDOWS.values():
            inside = (address2 >= w.address) & (address2 < w.address + w.words(self.geometry))
            m.d.sync += getattr(self, f"{w.name}_we").eq(accepted & inside)
        return m

    def _value(self, r):
        if r.name == "link":
            return self.link
        if r.kind is Kind.IDENTITY:
            return self.identity[r.name]
        if counts(r.name):
            return self._counters[r.name]
        return getattr(self, r.name)

    def _write_code(self, r, data):
        """Code that answers a write of ``data``, vetoes apart."""
        if r.access is Access.RO:
            return Const(Code.READ_ONLY, 8)
        low, high = r.bounds(self.geometry)
        code = Mux((data < low) | (data > high), Code.VALUE, Code.OK)
        return Mux(self.busy, Code.BUSY, code) if r.idle_only else code
