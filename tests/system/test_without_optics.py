"""Loops without optics: the same host code, and the twin's integers, with frames from the medium in the gateware or
from an optical model on the host."""

from __future__ import annotations

import json

import numpy as np
import openopu
import pytest
from loopback import FaultyTransport
from openopu import LaserDark, LinkLost, UrlError, cli, compare
from openopu.device import Transport
from openopu.injection import InjectingTransport
from openopu.session import Session, check_plant
from openopu.url import DeviceUrl
from openopu_rtl import chip_medium
from openopu_rtl.protocol import Code, Format, PacketType, Shot, decode_records, encode_project
from openopu_rtl.protocol.registers import REGISTERS
from openopu_rtl.protocol.shots import SHOT_FIELDS, SHOT_WORDS, complement
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of

SIZE = "n=64&m=64"
"""As in test_rtl.py: one build for both."""
HEAD_STATUS = compare.HEAD_FIELDS.index("status")


def compared(capsys: pytest.CaptureFixture[str], a: str, b: str, projections: int) -> dict[str, object]:
    code = cli.main(["compare", "--device-a", a, "--device-b", b, "--projections", str(projections), "--json"])
    result: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0, result["first_difference"]
    assert result["ok"]
    assert result["projections"] == projections
    return result


@pytest.mark.parametrize(("simulator", "projections"), [("verilator", 40), ("icarus", 3)])
def test_chip_gives_the_twins_integers(capsys: pytest.CaptureFixture[str], simulator: str, projections: int) -> None:
    """On a bare board: nothing closes its interlock loop."""
    board = f"rtl:{simulator}?plant=chip&{SIZE}&link=bytes&interlock=open"
    result = compared(capsys, f"twin:?plant=chip&{SIZE}", board, projections)
    if projections > 10:
        assert result["results_saturated"]


def test_the_laser_stays_dark_without_optics() -> None:
    for url in (f"twin:?plant=chip&{SIZE}", f"rtl:verilator?plant=chip&{SIZE}&link=bytes"):
        with openopu.open(url) as opu:
            opu.configure(components=8)
            opu.project(np.eye(8))  # raises where the records say that it was dark
            with pytest.raises(LaserDark, match="PLANT_SIMULATED"):
                opu.arm()
            assert not opu.status()["laser_on"]
            assert opu.status()["monitor"] == chip_medium.MONITOR
        with pytest.raises(LaserDark, match="PLANT_SIMULATED"):
            openopu.open(url, arm=True)


def test_matrix_of_the_chip() -> None:
    with openopu.open("twin:?plant=chip") as opu:
        opu.expose_to(0.05)
        opu.configure(components=32)
        exact, measured = opu.matrix(), opu.matrix(measured=True)
        assert np.corrcoef(exact.ravel(), measured.ravel())[0, 1] > 0.995
        assert (exact * measured).sum() / (exact * exact).sum() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("simulator", "projections"), [("verilator", 12), ("icarus", 1)])
def test_host_gives_the_twins_integers(capsys: pytest.CaptureFixture[str], simulator: str, projections: int) -> None:
    """Noise on and off, and saturation, with the same seeds."""
    seeds = f"{SIZE}&seed=3&noise_seed=5"
    board = f"rtl:{simulator}?plant=host&{seeds}&link=bytes&interlock=open"
    compared(capsys, f"twin:?{seeds}", board, projections)


@pytest.mark.parametrize("source", ["host", "chip"])
def test_continuous_video_gives_the_twins_integers(capsys: pytest.CaptureFixture[str], source: str) -> None:
    """Over a line so slow that the panel shows other patterns before the host has the one that it is to answer."""
    size = f"{SIZE}&panel_kind=1"
    twin = f"twin:?{size}" + ("&plant=chip" if source == "chip" else "")
    compared(capsys, twin, f"rtl:verilator?plant={source}&{size}&interlock=open", 6)


def records(opu: openopu.Opu, words: np.ndarray, planes: np.ndarray, **registers: int) -> tuple[object, ...]:
    """What comes back, timestamps apart, for a shot table that the library would refuse; and the event counters."""
    form = Format(opu.geometry.outputs, 16)
    registers |= {"program_length": len(words) // SHOT_WORDS, "planes": planes.shape[1], "result_format": 2}

    def run(session: Session) -> tuple[list[object], list[list[int]]]:
        session.write_window("shot_table", words)
        session.write(**registers)
        heads: list[object] = []
        values: list[list[int]] = []
        for row in planes:
            first = session.read("exposure_next")["exposure_next"]
            session.send(encode_project(7, first, row[None]))
            while (packet := session.receive(session.timeout_s(1.0))) is not None and packet.type != PacketType.RESULT:
                pass
            assert packet is not None
            record = decode_records(packet.payload, form)[1]
            heads.append([record.head[name][0].item() for name in compare.HEAD_FIELDS])
            values += record.values.tolist()
        return heads, values

    opu.clear_counters()
    return *opu.on_link(run), opu.counters(timing=False)


def without(shot: Shot, field: str) -> list[int]:
    """The shot's words with a field of zero, as no :class:`Shot` can be."""
    word, low, width = SHOT_FIELDS[field]
    words = shot.words()
    words[word] &= ~(((1 << width) - 1) << low)
    return words


@pytest.mark.parametrize("source", ["host", "chip"])
def test_programs_that_cannot_run_give_the_twins_records(source: str) -> None:
    """A plane that is not there, no exposure, no frame, and a reading that comes too late: failed, but all exposed."""
    shots = [Shot(exposure_cycles=700), Shot(plane=1, invert=True, negative=True, exposure_cycles=700)]
    bad = [
        Shot(plane=5, exposure_cycles=700).words(),
        without(shots[0], "exposure_cycles"),
        without(shots[0], "frames"),
    ]
    good = [s.words() for s in shots]
    programs = [np.concatenate([*good, fault, *good]) for fault in bad]
    planes = np.random.default_rng(4).integers(0, 2, (2, 2, 64))
    found = []
    for url in (f"twin:?{SIZE}", f"rtl:verilator?{SIZE}&link=bytes"):
        plant = f"&plant={source}" if source == "chip" or url.startswith("rtl") else ""
        with openopu.open(url + plant) as opu:
            results = [records(opu, words, planes) for words in programs]
            short = np.concatenate([*good, Shot(exposure_cycles=20).words()])
            results.append(records(opu, short, planes, normalise=1))
            found.append(results)
    for wanted, got in zip(*found, strict=True):
        assert got == wanted
    statuses = [heads[0][HEAD_STATUS] for heads, _, _ in found[0]]
    assert statuses == [Code.BAD_SHOT] * len(bad) + [Code.MONITOR_LATE]


PROGRAM = complement(2, exposure_cycles=2000)
ROWS = 5


def planes_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (ROWS, PROGRAM.planes, 64))


@pytest.fixture(scope="module")
def wanted() -> dict[int, np.ndarray]:
    """What the twin gives for the planes of some seeds."""
    with openopu.open(f"twin:?{SIZE}") as opu:
        values = {}
        for seed in (1, 2):
            opu.exposure_next = 0
            values[seed] = opu.project_raw(planes_of(seed), PROGRAM).values
        return values


def test_a_bad_line_costs_time_but_no_row(wanted: dict[int, np.ndarray]) -> None:
    """Bytes flipped, dropped and doubled at 1e-3, in both directions."""
    with openopu.open(f"rtl:verilator?plant=host&{SIZE}&link=bytes") as opu:
        opu.configure(PROGRAM, frame_timeout_cycles=4_000_000)
        transport = opu.device.transport
        assert isinstance(transport, InjectingTransport)
        transport._line = line = FaultyTransport(transport._line, 1e-3, seed=1)
        line.on = True
        values = opu.project_raw(planes_of(1)).values
        line.on = False
        print(f"{line.faults} bytes damaged, {transport.repeated} times sent again, {opu.repeated} recoveries")
        assert line.faults > 20
        assert np.array_equal(values, wanted[1])


class Dying(Transport):
    """A host that dies when it has written so many bytes."""

    def __init__(self, line: Transport, left: int) -> None:
        self.line, self.left = line, left

    def write(self, data: bytes) -> None:
        self.line.write(data[: self.left])
        self.left -= len(data)
        if self.left < 0:
            self.line.close()
            raise LinkLost("the host died", "test", "Open the device again")

    def read(self, timeout_s: float) -> bytes:
        return self.line.read(timeout_s)

    def close(self) -> None:
        self.line.close()


def test_a_host_that_dies_in_mid_frame_leaves_a_device_that_works(wanted: dict[int, np.ndarray]) -> None:
    settings = settings_of(DeviceUrl.parse(f"rtl:verilator?plant=host&{SIZE}&link=bytes"))
    with Simulation(settings) as simulation:
        for left in (9_000, 3_000):
            opu = openopu.open(f"serial:{simulation.port}?plant=host")
            opu.configure(PROGRAM, frame_timeout_cycles=2_000_000)
            transport = opu.device.transport
            assert isinstance(transport, InjectingTransport)
            transport._line = Dying(transport._line, left)
            with pytest.raises(LinkLost, match=r"died|cannot be opened again"):
                opu.project_raw(planes_of(1))
            opu.close()
            # The next one may want no frames from the host.
            source = "host" if left > 5_000 else "chip"
            with openopu.open(f"serial:{simulation.port}?plant={source}") as opu:
                opu.configure(PROGRAM)
                assert opu.counters(timing=False)["frames"] == 0
                record = opu.project_raw(planes_of(2))
                if source == "host":
                    assert np.array_equal(record.values, wanted[2])
                assert opu.repeated == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("twin:?plant=host", "on the host already"),
        ("twin:?optics=dmd", "goes with plant=host"),
        ("rtl:verilator?plant=chip&optics=dmd", "goes with plant=host"),
        ("twin:?panel_kind=2&plant=chip", r"cannot for a panel of kind 2 \(PACKED_PLANES\).*panel_kind=0 or 1"),
        ("rtl:icarus?panel_kind=3&plant=host", r"cannot for a panel of kind 3 \(ROW_BUS\)"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(UrlError, match=message):
        openopu.open(url)


def test_a_board_whose_panel_cannot_be_read_back_is_not_asked_to() -> None:
    with openopu.open("twin:?panel_kind=3&n=64&m=64") as opu:
        assert opu.registers(["features"]) == {"features": 1}
        with pytest.raises(UrlError, match="ROW_BUS"):
            check_plant(DeviceUrl.parse("serial:/dev/ttyUSB0?plant=chip"), opu.geometry)


def test_sources_that_are_not_there_are_refused() -> None:
    with openopu.open(f"twin:?plant=chip&{SIZE}") as opu:
        assert opu.registers(["features", "plant_source"]) == {"features": 0b100, "plant_source": 2}
        for source in (0, 1):
            with pytest.raises(openopu.DeviceRefused, match=r"NO_PLANT.*built without"):
                opu._session.write(plant_source=source)
    assert REGISTERS["plant_source"].idle_only
