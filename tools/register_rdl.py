"""The register map as SystemRDL 2.0 (Accellera, 2018), for the tools of others: headers, UVM models, bus logic."""

from __future__ import annotations

from openopu_rtl.protocol import PROTOCOL_HASH, REGISTERS, WINDOWS, Access, Kind, Register, Window, registers

WORD_BYTES = 4
_BITS = {"status": registers.STATUS_BITS, "trip_cause": registers.TRIP_CAUSES}
"""Registers of single bits, and the bits' names."""
_SOFTWARE = {Access.RO: "r", Access.RW: "rw", Access.WO: "w"}


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _register(r: Register) -> str:
    hardware = {Access.RO: "w", Access.RW: "r", Access.WO: "r"}[r.access]
    lines = [f"    reg {{ name = {_text(r.name)};", f"        desc = {_text(r.doc)};"]
    if bits := _BITS.get(r.name):
        lines += [f"        field {{ sw = r; hw = w; }} {name}[{bit}:{bit}];" for name, bit in bits.items()]
    else:
        bounds = f" desc = {_text(f'{r.minimum} to {r.maximum} {r.unit}'.strip())};" if r.kind is Kind.SETTING else ""
        reset = f" = {r.reset}" if r.kind is Kind.SETTING else ""
        lines.append(f"        field {{ sw = {_SOFTWARE[r.access]}; hw = {hardware};{bounds} }} value[31:0]{reset};")
    return "\n".join([*lines, f"    }} {r.name} @ {r.address * WORD_BYTES:#x};"])


def _entries(w: Window) -> str:
    return w.length if w.length.isdigit() else w.length.upper() + (" * 4" if w.name == "shot_table" else "")


def _window(w: Window) -> str:
    return (
        f"    external mem {{ name = {_text(w.name)}; desc = {_text(w.doc)};\n"
        f"        mementries = {_entries(w)}; memwidth = 32; sw = w;\n"
        f"    }} {w.name} @ {w.address * WORD_BYTES:#x};"
    )


def text() -> str:
    """The whole file. Parameters of the address map are the properties of the geometry that windows depend on."""
    from openopu_rtl.protocol import Geometry

    sizes = sorted({w.length for w in WINDOWS.values() if not w.length.isdigit()})
    parameters = ", ".join(f"longint unsigned {name.upper()} = {getattr(Geometry(), name)}" for name in sizes)
    body = "\n".join([*map(_register, REGISTERS.values()), *map(_window, WINDOWS.values())])
    return f"""// The register map of openopu, made by `make docs`; hash of the declaration {PROTOCOL_HASH:#010x}.
// Addresses are bytes; the link's packets count words of {WORD_BYTES} bytes.
addrmap openopu #({parameters}) {{
    default regwidth = 32;
    default accesswidth = 32;
    littleendian;
{body}
}};
"""
