"""Schemes through a device without noise: right to the camera's rounding; and what is refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import openopu
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openopu import Encoding, Opu, Panel, UsageError, plants
from openopu.schemes import Anchor, Complement, Intensity, Phase, Scheme, Stepping

QUIET = "bits=12&noise=off"
LCOS = {
    # Four steps of a quarter turn exactly, and a panel that has to be driven by its curve.
    "lcos": {"levels": 256, "phase_max_rad": 2 * math.pi * 255 / 256},
    "curved": {"levels": 200, "phase_max_rad": 7.0, "gamma": 1.3},
}
ENCODINGS = [Encoding(), Encoding("sign"), Encoding("bits", bits=3), Encoding("bits", "threshold", bits=6)]


@pytest.fixture(
    scope="module",
    params=[(16, 16, "dmd"), (64, 64, "dmd"), (24, 48, "phase"), (24, 48, "curved"), (64, 64, "lcos")],
    ids=lambda p: f"{p[2]}-{p[0]}x{p[1]}",
)
def opu(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opu]:
    n, m, plant = request.param
    if plant in LCOS:
        modulator = dataclasses.replace(plants.PHASE.modulator, **LCOS[plant])
        plant = str(tmp_path_factory.mktemp("plant") / f"{plant}.toml")
        plants.save(plant, dataclasses.replace(plants.PHASE, modulator=modulator))
    with openopu.open(f"twin:?n={n}&m={m}&plant={plant}&{QUIET}") as opened:
        opened.configure()
        assert opened.expose_to(0.04).clipped_share == 0
        yield opened


def rounding(opu: Opu) -> float:
    """Largest error of a sum of frames, DN: each pixel is off by half at most, and the result by half of its unit."""
    frames = max(sum(1 << s.shift for s in opu.settings.program if s.bank == bank) for bank in (0, 1))
    return 0.5 * (frames * opu.geometry.bin**2 + (1 << opu.settings.shift)) + 1e-6


def of_panel(opu: Opu) -> list[type[Scheme]]:
    assert opu.panel is not None
    usable = [s for s in (Complement, Anchor, Phase) if opu.panel.kind in s.panels]
    return [*usable, Stepping] if Phase in usable and opu.panel.error(math.pi / 2) < 1e-9 else usable


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 5), encoding=st.sampled_from(ENCODINGS), data=st.data())
def test_projections_are_right_to_the_rounding(opu, seed, rows, encoding, data):
    components = data.draw(st.integers(1, opu.geometry.modes))
    scheme = data.draw(st.sampled_from(of_panel(opu)))(encoding)
    opu.configure(scheme=scheme, components=components, outputs=data.draw(st.integers(1, opu.geometry.outputs)))
    vectors = np.random.default_rng(seed).normal(size=(rows, components))
    results = opu.project(vectors, (seed,))
    coded = scheme.encode(vectors, (seed,))
    apart = results - coded.decoded() @ opu.matrix().T
    error = np.maximum(np.abs(apart.real), np.abs(apart.imag))
    limit = np.zeros((rows, 1))
    limit[coded.kept, 0] = coded.scale * rounding(opu) / scheme.weight(opu.settings.program)
    if isinstance(scheme, Anchor):
        limit = limit / scheme.divisor(opu.reference)
    assert (error <= limit * (1 + 1e-5) + 1e-6 * np.abs(results)).all()


def test_the_measured_matrix_is_the_exact_one(opu):
    for cls in of_panel(opu):
        opu.configure(scheme=cls(Encoding("bits", bits=3)), components=opu.geometry.modes // 2)
        exact, measured = opu.matrix(), opu.matrix(measured=True)
        per_vector = 4 * 2 * 0.5 + 1e-6
        limit = per_vector / cls().divisor(opu.reference)[:, None] if cls is Anchor else per_vector
        assert (np.abs((exact - measured).real) <= limit).all()
        assert (np.abs((exact - measured).imag) <= limit).all()
        assert np.abs(exact).max() > 5 * np.max(limit)
        assert (exact != measured).any()


def test_matrices_are_of_the_outputs_and_the_program_that_are_configured(opu):
    cls = of_panel(opu)[0]
    opu.configure(scheme=cls())
    whole, program = opu.matrix(), opu.settings.program
    opu.configure(scheme=cls(), outputs=[5, 2])
    np.testing.assert_array_equal(opu.matrix(), whole[[5, 2]])
    assert opu.layout.inverted.sum() == opu.geometry.modes // 2
    twice = dataclasses.replace(program, shots=program.shots + program.shots)
    opu.configure(twice, scheme=cls(), outputs=[5, 2])
    before = opu.exposure_next
    np.testing.assert_allclose(opu.matrix(measured=True), whole[[5, 2]], atol=2 * 4)
    assert opu.exposure_next == before
    with pytest.raises(UsageError, match="repeats"):
        opu.matrix(measured=True, repeats=0)


def test_rows_of_zeros_are_zero(opu):
    opu.configure(scheme=of_panel(opu)[0](), components=4)
    vectors = np.array([[0, 0, 0, 0], [1, -1, 1, -1], [0, 0, 0, 0], [1, 1, 1, 1.0]])
    results = opu.project(vectors)
    assert not results[[0, 2]].any()
    assert np.abs(results - vectors @ opu.matrix().T).max() <= rounding(opu) / opu.scheme.weight(opu.settings.program)


def test_a_crooked_curve_leaves_a_constant_in_stepping(opu):
    """Where no level shows exactly pi, signs do not sum to zero: a constant beside the linear part."""
    if opu.panel.kind not in Stepping.panels or not 1e-6 < opu.panel.error(math.pi / 2) < 0.1:
        return
    opu.configure(scheme=Stepping(Encoding("sign", "threshold")))
    signs = np.random.default_rng(0).integers(0, 2, (20, opu.components)) * 2.0 - 1
    there, back = opu.project(signs), opu.project(-signs)
    linear, constant = (there - back) / 2, (there + back) / 2
    apart = linear - signs @ opu.matrix().T
    assert max(np.abs(apart.real).max(), np.abs(apart.imag).max()) <= rounding(opu) * (1 + 1e-5)
    assert np.abs(constant.mean(axis=0)).max() < 0.05 * np.abs(linear).std()
    assert np.ptp(np.abs(constant), axis=0).max() < 4 * rounding(opu)


def test_the_anchor_is_the_lit_panel(opu):
    if opu.panel.kind not in Anchor.panels:
        with pytest.raises(UsageError, match="binary"):
            opu.configure(scheme="anchor")
        return
    opu.configure(scheme="anchor")
    opu.configure(scheme="anchor", outputs=[3, 0])
    shot = opu.settings.program.shots[0]
    lit = opu.device.exact_matrix(shot).sum(axis=1)[[3, 0]]
    # Frames of a quarter of the exposure, scaled.
    np.testing.assert_allclose(opu.reference, lit, atol=4 * 4 * 2 * 0.5)


def test_intensities_of_bits_and_their_complements(opu):
    bits = np.random.default_rng(0).integers(0, 2, (5, opu.geometry.modes))
    opu.configure(scheme="intensity")
    limit = 2 * 4 * 0.5  # frame and black level
    camera = opu.geometry.bin**2 * ((1 << opu.geometry.pixel_bits) - 1)
    np.testing.assert_allclose(opu.reference, plants.DMD.camera.black_level_share * camera, atol=2 * 4)
    assert not opu.layout.inverted.any()
    light, rest = opu.project(bits), opu.project(1 - bits)
    opu.configure(opu.settings.program.replace(shift=5), scheme="intensity")
    np.testing.assert_allclose(opu.project(bits), light, atol=limit)
    opu.configure(scheme="intensity")
    signs = opu.layout.expand(bits > 0) * 2.0 - 1
    exact = signs @ opu.device.exact_matrix(opu.settings.program.shots[0]).T
    np.testing.assert_allclose(light - rest, exact, atol=2 * limit)
    if not opu.project(np.zeros_like(bits[:1])).any():
        assert light.min() >= -limit
    with pytest.raises(UsageError, match="not linear"):
        opu.matrix()
    with pytest.raises(UsageError, match="0 or 1"):
        opu.project(bits - 0.5)
    with pytest.raises(UsageError, match="bits as they are"):
        _ = opu.encoding


def test_the_reference_follows_what_it_depends_on(opu):
    opu.configure(scheme="intensity", outputs=5)
    before = opu.exposure_next
    first = opu.reference
    assert opu.exposure_next == before, "measurements use exposures of their own"
    assert first.shape == (5,)
    assert opu.reference is first
    again = opu.measure_reference()
    assert again is not first
    assert opu.reference is again
    for change in (
        lambda: opu.set_exposure(opu.exposure_cycles + 100),
        lambda: opu.set_exposure(opu.exposure_cycles, laser_power=1000),
        lambda: opu.set_level_table(np.r_[1, 1:256]),
    ):
        again = opu.reference
        change()
        assert opu.reference is not again
    opu.set_level_table(np.arange(256))
    opu.configure(scheme="intensity", outputs=5, laser_power=2048)
    opu.reference = np.arange(5)
    rows = opu.project(np.zeros((2, opu.geometry.modes)))
    opu.reference = np.zeros(5)
    np.testing.assert_allclose(opu.project(np.zeros((2, opu.geometry.modes))) - rows, np.tile(np.arange(5.0), (2, 1)))
    for bad in (np.zeros(4), np.full(5, np.nan), "a"):
        with pytest.raises(UsageError):
            opu.reference = bad
    opu.configure()
    assert opu.reference is None


def test_another_gain_of_the_sensor_has_another_black_level():
    with openopu.open("twin:?n=64&m=64") as opu:
        opu.configure_sensor("mt9v034")
        opu.configure(scheme="intensity")
        before, program = opu.reference, opu.settings.program
        opu.configure_sensor("mt9v034", gain=2.0)
        assert opu.settings.program == program
        assert opu.reference is not before


def test_an_anchor_is_weighted_by_the_light_as_its_frames_are():
    with openopu.open("twin:?n=16&m=16&bits=12&noise=off") as opu:
        least = opu.identity.monitor_cycles + 1
        opu.configure(scheme="anchor", exposure_cycles=2 * least, normalise=True)
        opu.refer_monitor()
        whole, reading = opu.reference, opu.settings.registers["monitor_reference"]
        opu.configure(scheme="anchor", monitor_reference=reading // 2)
        np.testing.assert_allclose(opu.reference, whole / 2, rtol=0.02, atol=8)
        assert whole.mean() > 100
        opu.configure(scheme="anchor", normalise=False, laser_power=0)
        with pytest.raises(UsageError, match="no light"):
            opu.project(np.ones((1, 16)))


def test_fewer_banks_than_a_scheme_reads_project_nothing():
    with openopu.open("twin:?n=64&m=16&plant=phase") as opu:
        opu.panel = None
        opu.configure(scheme="stepping", banks=1)
        with pytest.raises(UsageError, match="does not compute the scheme stepping"):
            opu.project(np.ones((1, 64)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "none"}, "Known"),
        ({"scheme": 3}, "Known"),
        ({"scheme": "intensity", "encoding": Encoding()}, "bits as they are"),
        ({"scheme": Complement, "encoding": Encoding()}, "Known"),
        ({"encoding": Encoding("bits", bits=16), "banks": 0}, "banks"),
    ],
)
def test_what_configure_refuses(opu, arguments, message):
    opu.configure()
    before = opu.settings, opu.scheme
    with pytest.raises(UsageError, match=message):
        opu.configure(**arguments)
    assert (opu.settings, opu.scheme) == before


@pytest.mark.parametrize(
    "vectors", [np.ones(16), np.ones((1, 3)), [[1.0, np.nan] * 4], [[1, 2], [3]], np.ones((1, 8), complex)]
)
@pytest.mark.parametrize("scheme", [None, Intensity()])
def test_vectors_that_are_none(opu, vectors, scheme):
    opu.configure(scheme=scheme, components=8)
    with pytest.raises(UsageError):
        opu.project(vectors)


def test_devices_that_cannot(opu):
    others = [s for s in (Complement, Anchor, Phase, Stepping) if opu.panel.kind not in s.panels]
    for cls in others:
        with pytest.raises(UsageError, match="panel"):
            opu.configure(scheme=cls())
    with openopu.open("twin:?n=64&m=16&plant=phase&anchor_width=1") as small:
        with pytest.raises(UsageError, match="anchor region"):
            small.configure()
        small.configure(scheme="intensity")
    with openopu.open("twin:?n=64&m=16&shot_depth=8") as few:
        few.configure(encoding=Encoding("bits", bits=4))
        with pytest.raises(UsageError, match="shot table"):
            few.configure(encoding=Encoding("bits", bits=5))


def test_a_bench_is_told_its_panel():
    with openopu.open("twin:?n=64&m=16&plant=phase") as bench:
        bench.panel = None
        bench.configure()
        assert isinstance(bench.scheme, Complement), "unknown panels are taken for binary"
        bench.panel = Panel("phase", np.linspace(0, 1.5 * math.pi, 256))
        bench.set_level_table(np.arange(256)[::-1])
        bench.configure()
        assert isinstance(bench.scheme, Phase)
        assert {s.level_off for s in bench.settings.program} == {255}
        assert {s.level_on for s in bench.settings.program} == {85}
        with pytest.raises(UsageError, match="panel"):
            bench.panel = "phase"


def test_timing_is_kept(opu):
    before = opu.exposure_cycles
    opu.configure(settle_cycles=123, frames=2)
    opu.configure(scheme="intensity", exposure_cycles=before)
    assert {(s.settle_cycles, s.frames, s.exposure_cycles) for s in opu.settings.program} == {(123, 2, before)}
    for bad in ({"settle_cycles": -1}, {"frames": 0}, {"frames": 256}, {"settle_cycles": 1.5}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            opu.configure(**bad)
    opu.configure(settle_cycles=64, frames=1)
    assert {(s.settle_cycles, s.frames) for s in opu.settings.program} == {(64, 1)}
