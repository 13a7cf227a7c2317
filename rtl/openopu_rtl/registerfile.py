"""Register file: everything that the declaration lists, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .protocol.errors import Code
from .protocol.geometry import Geometry
from .protocol.registers import REGISTERS, WINDOWS, Access, Kind


def identity_values(geometry: Geometry, **fixed: int) -> dict[str, int]:
    """Values of the identity registers; ``fixed`` gives those that are not part of the geometry."""
    values = {f"geometry_{name}": getattr(geometry, name) for name in geometry.__dataclass_fields__} | fixed
    wanted = {r.name for r in REGISTERS.values() if r.kind is Kind.IDENTITY}
    if values.keys() != wanted:
        raise ValueError(f"identity registers without a value: {sorted(wanted ^ values.keys())}")
    return values


def counts(name: str) -> bool:
    """Whether a register is a counter inside the file, driven by its ``_inc`` port."""
    register = REGISTERS[name]
    return register.kind is Kind.EVENT or (
        register.kind is Kind.TIMING and name.startswith("cycles_") and name not in _MEASURED
    )


_MEASURED = ("cycles_slm_frame", "cycles_readout")
"""Timing registers that hold a measurement made elsewhere, not a count."""


class RegisterFile(wiring.Component):
    """One access per request: raise ``r_stb`` or ``w_stb`` for a clock; ``code`` and ``r_data`` hold the
    answer in the next clock.

    Ports by register: ``NAME`` (setting: out; status and measurement: in), ``NAME_stb`` (out, one clock
    when written), ``NAME_code`` (in, commands: why one is refused now, or OK), ``NAME_try`` (out,
    commands: one is written, in the clock of ``w_stb``, refused or not), ``NAME_inc`` (in, counters), and
    for each window ``NAME_we`` with the common ``w_offset`` and ``w_value``. ``link`` is the identity
    register that depends on a pin.
    """

    def __init__(self, geometry: Geometry, identity: Mapping[str, int]):
        self.geometry = geometry
        self.identity = identity
        ports = {
            "address": In(16),
            "r_stb": In(1),
            "w_stb": In(1),
            "w_data": In(32),
            "r_data": Out(32),
            "code": Out(8),
            "busy": In(1),
            "w_offset": Out(16),
            "w_value": Out(32),
            "link_is_bytes": In(1),
        }
        for r in REGISTERS.values():
            if counts(r.name):
                ports[f"{r.name}_inc"] = In(1)
            elif r.kind is Kind.SETTING:
                _, high = r.bounds(geometry)
                ports[r.name] = Out(max(1, high.bit_length()), init=r.reset)
                ports[f"{r.name}_stb"] = Out(1)
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
        m.d.sync += self.code.eq(Code.ADDRESS)
        for r in REGISTERS.values():
            if r.kind in (Kind.SETTING, Kind.COMMAND):
                m.d.sync += getattr(self, f"{r.name}_stb").eq(0)
        for w in WINDOWS.values():
            m.d.sync += getattr(self, f"{w.name}_we").eq(0)
        m.d.sync += self.w_value.eq(self.w_data)

        self._counters = {r.name: Signal(32, name=r.name) for r in REGISTERS.values() if counts(r.name)}
        for name, counter in self._counters.items():
            with m.If(getattr(self, f"{name}_inc")):
                m.d.sync += counter.eq(counter + 1)

        # The file is slow on purpose: answers are registered, so wide muxes do not limit the clock.
        with m.Switch(self.address):
            for r in REGISTERS.values():
                with m.Case(r.address):
                    if r.access is not Access.WO:
                        m.d.sync += self.r_data.eq(self._value(r))
                        with m.If(self.r_stb):
                            m.d.sync += self.code.eq(Code.OK)
                    if r.access is Access.RO:
                        with m.If(self.w_stb):
                            m.d.sync += self.code.eq(Code.READ_ONLY)
                    else:
                        with m.If(self.w_stb):
                            self._write(m, r)
                    if r.kind is Kind.COMMAND:
                        m.d.comb += getattr(self, f"{r.name}_try").eq(self.w_stb)
            with m.Default():
                for w in WINDOWS.values():
                    self._write_window(m, w)

        with m.If(self.counters_clear_stb):
            m.d.sync += [counter.eq(0) for counter in self._counters.values()]
        return m

    def _value(self, r):
        if r.name == "link":
            return self.link_is_bytes
        if r.kind is Kind.IDENTITY:
            return self.identity[r.name]
        if counts(r.name):
            return self._counters[r.name]
        return getattr(self, r.name)

    def _write(self, m, r):
        low, high = r.bounds(self.geometry)
        refuse_busy = self.busy if r.idle_only else Const(0)
        out_of_range = (self.w_data < low) | (self.w_data > high)
        veto = getattr(self, f"{r.name}_code") if r.kind is Kind.COMMAND else Const(Code.OK, 8)
        vetoed = veto != Code.OK
        with m.If(refuse_busy):
            m.d.sync += self.code.eq(Code.BUSY)
        with m.Elif(out_of_range):
            m.d.sync += self.code.eq(Code.VALUE)
        with m.Elif(vetoed):
            m.d.sync += self.code.eq(veto)
        with m.Else():
            m.d.sync += [self.code.eq(Code.OK), getattr(self, f"{r.name}_stb").eq(1)]
            if r.kind is Kind.SETTING:
                m.d.sync += getattr(self, r.name).eq(self.w_data)

    def _write_window(self, m, w):
        _, high = w.bounds(self.geometry)
        with m.If(self.w_stb & (self.address >= w.address) & (self.address < w.address + w.words(self.geometry))):
            m.d.sync += self.w_offset.eq(self.address - w.address)
            with m.If(self.busy):
                m.d.sync += self.code.eq(Code.BUSY)
            with m.Elif(self.w_data > high):
                m.d.sync += self.code.eq(Code.VALUE)
            with m.Else():
                m.d.sync += [self.code.eq(Code.OK), getattr(self, f"{w.name}_we").eq(1)]
