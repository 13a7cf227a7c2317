"""Draws docs/timing/*.svg: what each interface does, recorded from a simulation of the gateware.

Each diagram is a function that runs a block in Amaranth's simulator and returns its signals, a value a clock.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from openopu_rtl.camera import CameraPort
from openopu_rtl.ft245 import Ft245Async
from openopu_rtl.i2c import I2cMaster
from openopu_rtl.interlock import Interlock
from openopu_rtl.protocol import PROTOCOL_HASH, Geometry
from openopu_rtl.protocol.ft245 import FT232H
from openopu_rtl.spi import Mcp3201, Mcp4921
from openopu_rtl.uart import UartTransmitter
from recording import Diagram, first, levels, only, record
from timing_panels import dvi_bits, dvi_line, packed_planes, row_bus, video
from waveforms import Mark, draw

FOLDER = Path(__file__).parent.parent / "docs" / "timing"


def camera() -> Diagram:
    """A frame of three lines at the sensor's pins, and the words that the camera port makes of it."""
    size = {"camera_width": 6, "camera_height": 3, "crop_width": 6, "crop_height": 3, "crop_x": 0, "crop_y": 0}
    dut = CameraPort(Geometry.fitting(64, 16, **size, bin=1, raw_rows=3))

    def stimulus(ctx, clock):
        line, column = divmod(clock - 6, 9)
        ctx.set(dut.fval, 3 <= clock < 36)
        inside = 0 <= line < 3 and column < 6
        ctx.set(dut.lval, inside)
        ctx.set(dut.pixel, 16 * line + column + 1 if inside else 0)
        ctx.set(dut.o.ready, 1)

    signals = {"FVAL": dut.fval, "LVAL": dut.lval, "pixel": dut.pixel}
    signals |= {
        "word valid": dut.o.valid,
        "word pixel": dut.o.p.pixel,
        "word first": dut.o.p.first,
        "word end": dut.o.p.end,
    }
    found = record(dut, signals, stimulus, 44, "cam")
    for bus, valid in (("pixel", "LVAL"), ("word pixel", "word valid")):
        found[bus] = only(found[bus], found[valid])
    return Diagram(
        "Camera port: FVAL, LVAL and pixels become words; one `end` word closes every frame",
        levels(found, "pixel", "word pixel"),
        clock="pixel clock of the sensor",
    )


def dac() -> Diagram:
    """A word to the laser's power DAC."""
    dut = Mcp4921(100_000_000)
    signals = {"/CS": dut.cs_n, "SCK": dut.sck, "SDI": dut.sdi, "code": dut.code, "settled": dut.settled}
    found = record(dut, signals, lambda ctx, clock: ctx.set(dut.code, 0xA5C), dut.word_clocks + 8)
    low = first(found["/CS"], 0)
    return Diagram(
        "Laser power DAC (MCP4921), 100 MHz system clock: 16 bits, then the rising /CS sets the output",
        levels(found, "code"),
        [Mark("/CS", low, first(found["/CS"], 1, low), "one word")],
    )


def adc() -> Diagram:
    """A conversion of the monitor photodiode."""
    dut = Mcp3201(20_000_000)
    value = 0xB53
    shown: list[int] = []

    def stimulus(ctx, clock):
        # The part: a null bit after the second falling clock, then twelve bits, each after a falling clock.
        ctx.set(dut.start, clock == 20)
        falls = sum(a and not b for a, b in itertools.pairwise(shown))
        bit = value >> (14 - falls) & 1 if 3 <= falls <= 14 else 0
        ctx.set(dut.dout, bit)
        shown.append(int(ctx.get(dut.sck)))

    signals = {
        "start": dut.start,
        "/CS": dut.cs_n[0][0],
        "CLK": dut.sck,
        "DOUT": dut.dout,
        "busy": dut.busy,
        "value": dut.value,
    }
    found = record(dut, signals, stimulus, dut.conversion_clocks + 40)
    low = first(found["/CS"], 0)
    return Diagram(
        "Photodiode ADC (MCP3201), 20 MHz system clock: one conversion",
        levels(found, "value"),
        [Mark("/CS", low, first(found["/CS"], 1, low), "15 clocks of at most 1.6 MHz")],
    )


def uart() -> Diagram:
    """Two bytes of the serial line."""
    dut = UartTransmitter()
    data = iter((0x4F, 0x00))

    def stimulus(ctx, clock):
        ctx.set(dut.divisor, 8)
        if clock == 2 or (clock > 2 and ctx.get(dut.i.ready) and ctx.get(dut.i.valid)):
            byte = next(data, None)
            ctx.set(dut.i.valid, byte is not None)
            ctx.set(dut.i.payload, byte or 0)

    found = record(dut, {"valid": dut.i.valid, "ready": dut.i.ready, "tx": dut.tx}, stimulus, 176)
    start = first(found["tx"], 0)
    return Diagram(
        "UART, 8 system clocks a bit: start bit, 0x4F with the lowest bit first, stop bit; then 0x00",
        levels(found),
        [Mark("tx", start, start + 80, "10 bits")],
    )


def interlock() -> Diagram:
    """The laser's enable when the loop opens; closing it again does not bring the light back."""
    dut = Interlock()

    def stimulus(ctx, clock):
        ctx.set(dut.heartbeat_cycles, 1000)
        ctx.set(dut.interlock_closed, 2 <= clock < 14 or clock >= 22)
        ctx.set(dut.key, PROTOCOL_HASH)
        ctx.set(dut.unlock, clock == 5)
        ctx.set(dut.arm, clock == 7)

    signals = {
        "interlock_closed": dut.interlock_closed,
        "unlock": dut.unlock,
        "arm": dut.arm,
        "armed": dut.armed,
        "closed": dut.closed,
    }
    signals |= {"tripped": dut.tripped, "laser_on": dut.laser_on}
    found = record(dut, signals, stimulus, 32)
    fall = first(found["interlock_closed"], 0, 10)
    dark = first(found["laser_on"], 0, fall)
    return Diagram(
        "Interlock: the loop opens at its pin, the enable falls; the trip stays when the loop closes",
        levels(found),
        [Mark("laser_on", fall, dark, f"{dark - fall} clocks")],
    )


def ft245() -> Diagram:
    """The asynchronous FIFO of an FT232H: a byte from the host, two to it."""
    dut = Ft245Async(FT232H, 100_000_000)
    had = {"read": False}

    def stimulus(ctx, clock):
        reading = not ctx.get(dut.rd_n)
        had["read"] = had["read"] or reading
        ctx.set(dut.rxf_n, clock < 4 or (had["read"] and not reading))
        ctx.set(dut.data_i, 0x5A if reading else 0)
        ctx.set(dut.txe_n, clock < 30 or not ctx.get(dut.wr_n))
        ctx.set(dut.i.payload, 0xC3)
        ctx.set(dut.i.valid, clock < 40)
        ctx.set(dut.o.ready, 1)

    signals = {"RXF#": dut.rxf_n, "RD#": dut.rd_n, "TXE#": dut.txe_n, "WR#": dut.wr_n}
    signals |= {"drives": dut.data_oe, "D": dut.data_o, "received": dut.o.valid}
    found = record(dut, signals, stimulus, 64)
    found["D"] = only(found["D"], found["drives"])
    low = first(found["RD#"], 0)
    return Diagram(
        "FT245, asynchronous (FT232H), 100 MHz system clock: a byte is read, then two are written",
        levels(found, "D"),
        [Mark("RD#", low, first(found["RD#"], 1, low), "read pulse")],
    )


def i2c() -> Diagram:
    """A register of a sensor is written; the sensor acknowledges each byte."""
    dut = I2cMaster(1_600_000, 100_000)
    bus = {"bits": 0, "scl": 1, "sda": 1, "ack": False}

    def stimulus(ctx, clock):
        ctx.set(dut.start, clock == 2)
        ctx.set(dut.target, 0x48)
        ctx.set(dut.register, 0x0B)
        ctx.set(dut.value, 0x5A)
        scl = not ctx.get(dut.scl_oe)
        if bus["scl"] and not scl:
            bus["ack"] = bus["bits"] % 9 == 8
            bus["bits"] += 1
        sda = not (ctx.get(dut.sda_oe) or bus["ack"])
        if scl and bus["scl"] and bus["sda"] and not sda:
            bus["bits"] = 0
        bus["scl"], bus["sda"] = scl, sda
        ctx.set(dut.scl_i, scl)
        ctx.set(dut.sda_i, sda)

    signals = {"SCL": dut.scl_i, "SDA": dut.sda_i, "master pulls SDA": dut.sda_oe, "busy": dut.busy}
    found = record(dut, signals, stimulus, 660)
    return Diagram(
        "I2C to the sensor: address 0x48, register 0x0B, value 0x5A; where the master lets go, the sensor acknowledges",
        levels(found),
        clock="system clock (1.6 MHz; SCL at most 100 kHz)",
    )


DIAGRAMS: dict[str, Callable[[], Diagram]] = {
    f.__name__: f
    for f in (video, dvi_line, dvi_bits, packed_planes, row_bus, camera, i2c, interlock, dac, adc, uart, ft245)
}


def draw_all(folder: Path) -> Iterator[Path]:
    """Draw every diagram into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in DIAGRAMS.items():
        d = make()
        path = folder / f"{name}.svg"
        draw(path, d.title, d.traces, d.marks, d.clock)
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: docs/timing)")
    for path in draw_all(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()
