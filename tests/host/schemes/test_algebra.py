"""Each scheme against the formula that it is said to compute, in float64 and without a device."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu import Encoding, UsageError, schemes
from openopu.panel import Panel
from openopu.plants import ModulatorKind
from openopu.schemes import Anchor, Complement, Intensity, LinearScheme, Phase, Stepping
from openopu.settings import largest_sum
from openopu_rtl.protocol import Geometry
from openopu_rtl.protocol.shots import complement, intensity
from optics import BINARY, CURVE, PHASE, Optics

CYCLES = 3
ENCODINGS = [Encoding(k, r) for k in ("ternary", "sign") for r in ("stochastic", "threshold")]
ENCODINGS += [Encoding("bits", bits=b) for b in (1, 2, 5, 8)]
sizes = {"modes": st.integers(1, 24), "outputs": st.integers(1, 6), "grains": st.integers(1, 4)}
seeds = st.integers(0, 2**32 - 1)
SAME = {"rtol": 1e-9, "atol": 1e-9}


def formula(scheme: LinearScheme, optics: Optics) -> np.ndarray:
    """(outputs, modes): the map of the scheme's docstring, written out."""
    medium = optics.medium
    if isinstance(scheme, Phase | Stepping):
        fixed = optics.anchor + optics.border
        products = -4 * np.conj(fixed)[:, :, None] * medium  # a bit of 1 shows phase pi: -1
        return CYCLES * (products if isinstance(scheme, Stepping) else products.real).sum(axis=1)
    lit = medium.sum(axis=2)
    products = (np.conj(lit)[:, :, None] * medium).real.sum(axis=1) * CYCLES
    if isinstance(scheme, Anchor):
        return products / np.sqrt((np.abs(lit) ** 2).sum(axis=1) * CYCLES)[:, None]
    return products


def lit_panel(scheme: LinearScheme, optics: Optics) -> np.ndarray | None:
    if not isinstance(scheme, Anchor):
        return None
    return (np.abs(optics.medium.sum(axis=2)) ** 2).sum(axis=1) * CYCLES


@settings(max_examples=150, deadline=None)
@given(
    cls=st.sampled_from([Complement, Anchor, Phase, Stepping]),
    encoding=st.sampled_from(ENCODINGS),
    rows=st.integers(0, 4),
    seed=seeds,
    black=st.sampled_from([0.0, 7.0]),
    **sizes,
)
def test_linear_schemes_compute_their_formula(cls, encoding, rows, seed, black, modes, outputs, grains):
    scheme = cls(encoding, dark=0.0) if cls is Anchor else cls(encoding)
    panel = PHASE if ModulatorKind.PHASE in scheme.panels else BINARY
    optics = Optics(panel, modes, outputs, grains, seed, black)
    vectors = np.random.default_rng(seed).normal(size=(rows, modes))
    coded = scheme.encode(vectors, (seed,))
    program = scheme.program(panel, exposure_cycles=CYCLES)
    assert len(program) == scheme.shots
    assert program.balanced
    weight = scheme.weight(program)
    reference = lit_panel(scheme, optics)
    results = np.zeros((rows, outputs), scheme.dtype).astype(complex)
    values = optics.sums(coded.planes, program, scheme.banks)
    results[coded.kept] = scheme.decode(values, coded.scale / weight, reference)
    matrix = formula(scheme, optics)
    limit = 1e-10 * (np.abs(values).max(initial=1) + 1) * max(1.0, np.abs(vectors).max(initial=1))
    np.testing.assert_allclose(results, coded.decoded() @ matrix.T, atol=limit)
    np.testing.assert_allclose(scheme.matrix(program, optics.exact, reference), matrix, **SAME)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, **sizes)
def test_the_anchor_scheme_is_the_published_formula(seed, modes, outputs, grains):
    """(|Ta|^2 + |Tx|^2 - |T(a-x)|^2) / (2 |Ta|) of bits x, which are (1 + s) / 2."""
    optics = Optics(BINARY, modes, outputs, grains, seed)
    x = np.random.default_rng(seed).random((3, 1, modes)) < 0.5
    scheme = Anchor(Encoding("sign", "threshold"), dark=0.0)
    program = scheme.program(BINARY)
    shot = program.shots[0]
    of_a, of_x, of_rest = (
        np.array([optics.frame(bits[0], shot) for bits in planes]) for planes in (np.ones_like(x), x, ~x)
    )
    published = (of_a + of_x - of_rest) / (2 * np.sqrt(of_a))
    mine = scheme.decode(optics.sums(x, program, 1), np.ones(3), of_a[0])
    np.testing.assert_allclose(2 * published - np.sqrt(of_a), mine, rtol=1e-6, atol=1e-6 * np.abs(mine).max())


@settings(max_examples=40, deadline=None)
@given(seed=seeds, **sizes)
def test_intensities(seed, modes, outputs, grains):
    optics = Optics(BINARY, modes, outputs, grains, seed, black=5.0)
    scheme = Intensity()
    bits = np.random.default_rng(seed).integers(0, 2, (4, modes))
    coded = scheme.encode(bits)
    assert len(coded.kept) == 4, "rows of zeros are rows too"
    sums = optics.sums(coded.planes, scheme.program(BINARY, exposure_cycles=CYCLES), 1)
    out = scheme.decode(sums, coded.scale, np.full(outputs, 5.0 * grains))
    fields = np.einsum("ogm,rm->rog", optics.medium, bits)
    np.testing.assert_allclose(out, CYCLES * (np.abs(fields) ** 2).sum(axis=2), rtol=1e-9, atol=1e-9)


def test_dark_anchors_are_masked():
    optics = Optics(BINARY, 16, 200)
    power = lit_panel(Anchor(), optics)
    scheme = Anchor(dark=0.1)
    lit = scheme.lit(power)
    assert 5 < (~lit).sum() < 40
    assert (power[~lit] <= 0.1 * power.mean()).all()
    out = scheme.decode(np.ones((2, 200, 1)), np.ones(2), power)
    np.testing.assert_array_equal(out != 0, np.broadcast_to(lit, (2, 200)))
    assert not Anchor(dark=0.0).lit(np.array([0.0, -1.0, 1.0]))[:2].any(), "no light at all is always masked"


def test_a_linear_drift_cancels():
    """Frames that brighten in proportion to their time leave nothing, in every two planes of a weight."""
    for cls, panel in ((Complement, BINARY), (Phase, PHASE), (Stepping, PHASE)):
        program = cls().program(panel)
        for bank in range(cls.banks):
            ramp = [-i if s.negative else i for i, s in enumerate(program) if s.bank == bank]
            assert sum(ramp) == 0, cls.name


def test_programs_of_whole_signs_are_those_of_the_protocol():
    assert Complement().program(BINARY, exposure_cycles=70) == complement(2, exposure_cycles=70)
    assert Complement(Encoding("sign")).program() == complement(1)
    assert [s.shift for s in Complement(Encoding("bits", bits=3)).program()] == [0, 0, 1, 1, 2, 2]


def test_a_program_of_other_shots_computes_the_same():
    scheme = Complement()
    program = scheme.program(exposure_cycles=5)
    twice = dataclasses.replace(program, shots=program.shots + program.shots)
    shifted = program.replace(shift=1)
    assert [scheme.weight(p) for p in (program, twice, shifted)] == [2, 4, 4]
    optics = Optics(BINARY, 8, 3)
    for shots in (program, twice, shifted):
        np.testing.assert_allclose(scheme.matrix(shots, optics.exact, None), 5 / 3 * formula(scheme, optics))
    assert scheme.weight(complement(3)) is None
    assert Complement(Encoding("bits", bits=2)).weight(program) is None
    stepping = Stepping()
    assert stepping.weight(stepping.program(PHASE, settle_cycles=9)) == 2
    assert stepping.weight(program) is None
    steps = stepping.program(PHASE, exposure_cycles=5)
    longer = dataclasses.replace(steps, shots=(*steps.shots[:3], *steps.replace(exposure_cycles=6).shots[3:]))
    assert (stepping.weight(steps), stepping.weight(longer)) == (2, None)
    assert Intensity().weight(program) is None
    assert Intensity().weight(intensity(shift=3)) == 8
    for other in ({"negative": True}, {"invert": True}, {"bank": 1}):
        assert Intensity().weight(intensity(**other)) is None


def test_levels_follow_the_panel():
    for panel in (Panel(ModulatorKind.PHASE), PHASE):
        levels = [s.level_anchor for s in Stepping(Encoding("sign")).program(panel)]
        assert levels == [0, 64, 192, 128]
    steep = Panel(ModulatorKind.PHASE, CURVE * 2 % 6.3)
    assert Phase().program(steep).shots[0].level_on == 64
    turn = Panel(ModulatorKind.PHASE, np.linspace(0, 2 * math.pi, 256))
    assert (turn.level(0.0), turn.level(math.pi)) == (0, 127), "a turn is as good as nothing"
    alike = Panel(ModulatorKind.PHASE, math.pi + 1e-12 * (np.arange(256) != 7))
    assert alike.level(math.pi) == 0, "what rounding makes of levels does not choose among them"
    table = np.arange(256)[::-1]
    assert PHASE.through(table).level(0.0) == 255
    short = Panel(ModulatorKind.PHASE, CURVE / 2)
    Phase().check(Geometry(), PHASE)
    with pytest.raises(UsageError, match=r"phase of 1\.5 pi"):
        Stepping().check(Geometry(), short)
    half = Panel(ModulatorKind.PHASE, CURVE * 0.45)
    with pytest.raises(UsageError, match=r"phase of 1 pi"):
        Phase().check(Geometry(), half)


def test_steps_that_are_not_quite_right_are_in_the_matrix():
    """The linear part of what a panel of a few levels does, and a constant that is not."""
    coarse = Panel(ModulatorKind.PHASE, (np.arange(256) * 25 >> 8) * (2 * math.pi / 25))
    optics = Optics(coarse, 12, 5)
    scheme = Stepping(Encoding("sign", "threshold"))
    program = scheme.program(coarse)
    signs = np.random.default_rng(0).integers(0, 2, (200, 12)) * 2 - 1
    values = [scheme.decode(optics.sums(s[:, None] > 0, program, 2), np.ones(len(s)), None) for s in (signs, -signs)]
    np.testing.assert_allclose(
        (values[0] - values[1]) / 2, signs @ scheme.matrix(program, optics.exact, None).T, rtol=1e-9, atol=1e-6
    )


def geometry(**fields: int) -> Geometry:
    return Geometry.fitting(64, 64, **fields)


@pytest.mark.parametrize(
    ("scheme", "device", "panel", "message"),
    [
        (Phase(), geometry(), BINARY, "needs a phase panel.*Take complement or anchor$"),
        (Stepping(), geometry(), BINARY, "needs a phase panel"),
        (Complement(), geometry(), PHASE, "needs a binary panel.*Take phase or stepping$"),
        (Complement(), geometry(), Panel(ModulatorKind.PHASE, CURVE / 2), "needs a binary panel.*Take phase$"),
        (Complement(), geometry(), Panel(ModulatorKind.PHASE, CURVE * 0.45), "Take a device with another panel"),
        (Anchor(), geometry(), PHASE, "needs a binary panel"),
        (Phase(), geometry(anchor_width=0), PHASE, "no anchor region"),
        (Stepping(), geometry(anchor_width=1, anchor_height=2), None, r"0\.1% of the panel"),
        (Phase(), geometry(slm_width=120, anchor_width=90), PHASE, r"67\.5% of the panel"),
        (Complement(Encoding("bits", bits=16)), geometry(shot_depth=16), BINARY, "32 shots, the shot table holds 16"),
        (Stepping(Encoding("bits", bits=16)), geometry(shot_depth=63), PHASE, "64 shots"),
        (Complement(Encoding("bits", bits=8)), geometry(store_bytes=32), BINARY, "pattern store"),
        (Complement(Encoding("bits", bits=14)), geometry(pixel_bits=12, bin=8), BINARY, "32 bits"),
    ],
)
def test_what_a_device_cannot_do(scheme, device, panel, message):
    with pytest.raises(UsageError, match=message):
        scheme.check(device, panel)


def test_what_a_device_can_do():
    for scheme in (Complement(Encoding("bits", bits=16)), Anchor(), Intensity()):
        scheme.check(geometry(), BINARY)
        scheme.check(geometry(), None)
    Complement(Encoding("bits", bits=13)).check(geometry(pixel_bits=12, bin=8), BINARY)
    for scheme in (Phase(Encoding("bits", bits=8)), Stepping(), Intensity()):
        scheme.check(geometry(), PHASE)
    assert largest_sum(Complement(Encoding("bits", bits=3)).program(), geometry()) == 255 * 4 * 7


def test_making_schemes():
    assert isinstance(schemes.make(None, None, None), Complement)
    assert type(schemes.make(None, None, PHASE)) is Phase
    assert schemes.make("anchor", Encoding("sign"), None) == Anchor(Encoding("sign"))
    assert schemes.make(Anchor(dark=0.2), Encoding("sign"), None) == Anchor(Encoding("sign"), dark=0.2)
    for bad in ("holography", 5, Complement):
        with pytest.raises(UsageError, match="Known: complement"):
            schemes.make(bad, None, None)
    with pytest.raises(UsageError, match="bits as they are"):
        schemes.make("intensity", Encoding(), None)
    for dark in (-0.1, 1.0, float("nan"), "a"):
        with pytest.raises(UsageError, match="dark"):
            Anchor(dark=dark)
    with pytest.raises(UsageError, match="encoding"):
        Complement("ternary")
    with pytest.raises(UsageError, match="0 or 1"):
        Intensity().encode(np.full((1, 3), 0.5))
    for phases in (np.zeros(255), np.full(256, np.nan)):
        with pytest.raises(UsageError, match="256 finite"):
            Panel(ModulatorKind.PHASE, phases)


def test_intensities_on_a_phase_panel_are_of_phases_0_and_pi():
    two_pi = Panel(ModulatorKind.PHASE, np.arange(256) * (2 * np.pi / 255))  # level 255 is as good as level 0
    shot = Intensity().program(two_pi).shots[0]
    assert (shot.level_on, shot.level_off) == (127, 0)
    with pytest.raises(UsageError, match="the scheme intensity needs a phase of 1 pi"):
        Intensity().check(geometry(), Panel(ModulatorKind.PHASE, np.linspace(0, 2, 256)))
