"""ULX3S with an ECP5-85F: DVI out, a parallel camera on J1, laser and analog on J2.

Its link is the FT231X on the board, the FPGA's own USB connector US2, or an FT232H module on J2.
"""

from __future__ import annotations

from amaranth_boards.ulx3s import ULX3S_85F_Platform
from openopu_rtl.protocol import Link
from openopu_rtl.protocol.geometry import PRESETS
from openopu_rtl.protocol.links import FT245SYNC_HZ
from openopu_rtl.protocol.video import VIDEO_MODES
from openopu_rtl.spi import Max11125

from .board import Line, lines
from .ecp5 import LVCMOS, UP, Ecp5Board, camera, ft231x, laser, sensor_bus

_MODE = VIDEO_MODES["hd720"]
_J = ("gpio", 0)
_FAST = LVCMOS | {"DRIVE": "8", "SLEWRATE": "FAST"}
_FIFO = (
    *lines(_J, _FAST, (("link_data", "24+ 24- 25+ 25- 26+ 26- 27+ 27-", "io", "FT232H ADBUS0 to ADBUS7"),)),
    *lines(
        _J,
        UP,
        (
            ("link_rxf_n", "23+", "i", "FT232H ACBUS0, RXF#"),
            ("link_txe_n", "23-", "i", "FT232H ACBUS1, TXE#"),
            ("link_pwren_n", "17-", "i", "FT232H ACBUS9, set to PWREN# in its EEPROM"),
        ),
    ),
    *lines(
        _J,
        _FAST | {"PULLMODE": "UP"},
        (("link_rd_n", "22-", "o", "FT232H ACBUS2, RD#"), ("link_wr_n", "20-", "o", "FT232H ACBUS3, WR#")),
    ),
)
_USB = LVCMOS | {"PULLMODE": "NONE"}

BOARD = Ecp5Board(
    name="ulx3s",
    title="ULX3S with ECP5-85F",
    part="LFE5U-85F-6BG381C",
    family="ecp5",
    idcode=0x0111_3043,
    loader="ulx3s",
    vendor=ULX3S_85F_Platform,
    geometry=PRESETS[_MODE.name],
    oscillator="clk25",
    oscillator_hz=25_000_000,
    clock_hz=100_000_000,
    link_clock_hz={Link.FT245SYNC: 80_000_000, Link.USB: 80_000_000},
    mode=_MODE,
    camera_clock_hz=74_250_000,
    adc=Max11125,
    dvi=True,
    plants=("chip", "host"),
    seed=3,
    unconnected=("cam_dval",),
    links={
        Link.UART: ft231x(rx="M1", tx="L4"),
        Link.FT245: _FIFO,
        Link.FT245SYNC: (
            *_FIFO,
            *lines(_J, UP, (("link_clk", "17+", "i", "FT232H ACBUS5, CLKOUT (a clock pin)", FT245SYNC_HZ),)),
            *lines(_J, _FAST | {"PULLMODE": "UP"}, (("link_oe_n", "16+", "o", "FT232H ACBUS6, OE#"),)),
        ),
        Link.USB: (
            Line("link_d_p", "D15", "io", None, tuple(_USB.items()), "D+ of the board's connector US2"),
            Line("link_d_n", "E15", "io", None, tuple(_USB.items()), "D- of the board's connector US2"),
            Line("link_pullup", "B12", "o", None, tuple(_USB.items()), "pull-up of D+, on the board"),
        ),
    },
    lines=(
        *camera(_J, 74_250_000, clk="0+", fval="1+", lval="1-", pixel="2+ 2- 3+ 3- 4+ 4- 5+ 5-", trigger="6+"),
        *sensor_bus(_J, scl="7+", sda="7-"),
        *laser(_J, enable="18+", dac="19+ 19- 20+", bias="21+ 21- 22+", closed="18-"),
        Line("adc_cs_n", "R17", "o", None, tuple(LVCMOS.items()), "MAX11125: photodiode on J2 GN14 (AIN0)"),
        Line("adc_sck", "P17", "o", None, tuple(LVCMOS.items()), "MAX11125: thermometer on J2 GP14 (AIN1)"),
        Line("adc_sdi", "R16", "o", None, tuple(LVCMOS.items()), "MAX11125 on the board"),
        Line("adc_dout", "U16", "i", None, tuple(UP.items()), "MAX11125 on the board"),
    ),
    notes=(
        "Links `ft245`, `ft245sync`: an FT232H module (UM232H or another breakout of its pins), with wires of at most "
        "10 cm and a ground wire beside CLKOUT. Tie ACBUS4 (SIWU#) and ACBUS7 (PWRSAV#) to 3.3 V.",
        "Before wiring, write the module's EEPROM (FT_PROG): port A as 245 FIFO, ACBUS9 as PWREN#. A chip in another "
        "mode drives ADBUS against the FPGA.",
        "Link `usb`: the board's second connector, US2; the host sees `/dev/ttyACM0`. The FT231X stays for JTAG.",
    ),
    sources=(
        "pins: amaranth-boards and the board's constraint file ulx3s_v20.lpf, which names clock pins and ADC inputs",
        "PLL: Lattice FPGA-DS-02012, sysCLOCK PLL timing",
        "FT232H: data sheet FT_000288 version 2.1, section 3; that ACBUS9 can be PWREN# is from memory",
    ),
)
