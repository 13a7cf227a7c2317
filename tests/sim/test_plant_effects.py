"""Effects of the plant: frames and batches agree on each, whatever the parameters, and each does what it says."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openopu.plants import DMD, PHASE, PlantParameters
from openopu_rtl import binner, expander
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import Illumination, Plant
from openopu_sim.plant.camera import FixedPattern
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.crosstalk import Crosstalk, differences
from openopu_sim.plant.light import TIME_MODULUS

# Signal and anchor stand askew to the cells' grid, the panel cuts cells at every edge.
TINY = Geometry(
    slm_width=17, slm_height=15, modes_x=4, modes_y=2, macropixel=3, signal_x=2, signal_y=4,
    anchor_x=15, anchor_y=1, anchor_width=2, anchor_height=13,
    camera_width=11, camera_height=9, crop_x=1, crop_y=2, crop_width=8, crop_height=6, bin=2, pixel_bits=10, raw_rows=5,
)  # fmt: skip
TABLE = np.arange(256, dtype=np.uint8)


def changed(parameters: PlantParameters, **fields) -> PlantParameters:
    """With fields of any table replaced, by their names."""
    for table in dataclasses.fields(parameters):
        part = getattr(parameters, table.name)
        mine = {k: v for k, v in fields.items() if hasattr(part, k)}
        fields = {k: v for k, v in fields.items() if k not in mine}
        parameters = dataclasses.replace(parameters, **{table.name: dataclasses.replace(part, **mine)})
    assert not fields
    return parameters


def frames_of(plant, planes, shots, ids, code):
    """What the frame path sees, binned, and the monitor's readings; shots as (plane, on, off, anchor, border, ...)."""
    g = plant.geometry
    seen = np.empty((len(planes), len(shots), g.outputs), dtype=np.int32)
    monitors = np.empty((len(planes), len(shots)), dtype=np.uint16)
    for i, first in enumerate(ids):
        for s, shot in enumerate(shots):
            levels = expander.model(
                g, np.zeros(g.modes) if shot.plane is None else planes[i, shot.plane], invert=False,
                level_on=shot.level_on, level_off=shot.level_off, level_anchor=shot.level_anchor,
                level_border=shot.level_border, table=TABLE,
            )  # fmt: skip
            frame, monitors[i, s] = plant.expose_frame(
                levels, (first + s) % 2**32, shot.exposure_cycles, code, shot.settle_cycles
            )
            seen[i, s] = binner.model(g, frame)
    return seen, monitors


def batch(plant, planes, shots, ids, code=2048):
    g = plant.geometry
    return plant.expose_batch(planes, shots, np.asarray(ids), code, lambda c: binner.bin_crop(g, c), g.outputs)


def maybe(values):
    """Nothing, or some of an effect."""
    return st.one_of(st.just(0.0), values)


LEVEL = st.integers(0, 255)
COMMON = {
    "drift_per_exposure": maybe(st.floats(-1e-8, 1e-8)),
    "coherence": st.one_of(st.just(1.0), st.floats(0.0, 1.0)),
    "fill_factor": st.floats(0.5, 1.0),
    "crosstalk": maybe(st.floats(0.001, 0.8)),
    "settle_s": maybe(st.floats(1e-5, 1e-3)),
    "warm_up_rad": maybe(st.floats(0.01, 1.5)),
    "drift_rad_per_exposure": maybe(st.floats(1e-6, 0.3)),
    "vibration_rad_rms": maybe(st.floats(0.01, 1.0)),
    "prnu_rms": maybe(st.floats(0.001, 0.3)),
    "dsnu_e_rms": maybe(st.floats(0.1, 300.0)),
    "hot_pixel_share": maybe(st.floats(0.01, 0.5)),
    "hot_pixel_e_per_s": st.floats(1e3, 1e8),
    "dead_pixel_share": maybe(st.floats(0.01, 0.5)),
    "offset_dn": st.floats(-20.0, 200.0),
    "bandwidth_hz": maybe(st.floats(1e3, 1e8)),
}
PHASE_ONLY = {
    "levels": st.integers(2, 256),
    "phase_max_rad": st.floats(0.0, 7.0),
    "gamma": st.floats(0.3, 3.0),
    "flicker_rad_rms": maybe(st.floats(0.01, 0.3)),
}


@st.composite
def plants(draw) -> PlantParameters:
    common = {k: draw(v) for k, v in COMMON.items()}
    kind = draw(st.sampled_from(["dense", "counter", "diffuser"]))
    if draw(st.booleans()):
        parameters = changed(DMD, **common, off_amplitude=draw(maybe(st.floats(0.001, 0.5))))
    else:
        parameters = changed(PHASE, **common, **{k: draw(v) for k, v in PHASE_ONLY.items()})
    return dataclasses.replace(parameters, medium=dataclasses.replace(parameters.medium, kind=kind))


SHOT = st.builds(
    Illumination,
    st.sampled_from([0, 1, 0, 1, None]),
    *(st.one_of(st.just(255), LEVEL), st.one_of(st.just(0), LEVEL), LEVEL, LEVEL),
    st.sampled_from([2000, 300, 1]),
    st.integers(0, 3000),
)


PAIR = [Illumination(plane, on, 255 - on, 0, 0, 2000, 100) for plane in (0, 1) for on in (255, 0)]
SLOW = changed(DMD, settle_s=1e-4, crosstalk=0.1, coherence=0.9)
TREMBLING = changed(PHASE, levels=64, vibration_rad_rms=0.1, flicker_rad_rms=0.1, coherence=0.9)


# In many products, a pattern that fades into the next one's, and one that does not: chance alone seldom has them.
@example(SLOW, PAIR, True, 2**32 - 5, 3, True)
@example(TREMBLING, PAIR, True, 7, 3, True)
@settings(max_examples=40, deadline=None)
@given(
    plants(), st.lists(SHOT, min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32 - 1), st.integers(1, 9),
    st.booleans(),
)  # fmt: skip
def test_frames_and_batches_agree_whatever_the_parameters(parameters, shots, noise, first, macropixel, cut):
    geometry = TINY if macropixel > 2 else Geometry.fitting(16, 16, macropixel=macropixel)
    one, other = (Plant(geometry, parameters, seed=2, noise=noise, noise_seed=first) for _ in range(2))
    planes = np.random.default_rng(first).integers(0, 2, (4, 2, geometry.modes)).astype(np.uint8)
    ids = [(first + i * len(shots)) % 2**32 for i in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        if cut:  # a product and a task for each row
            patch.setattr("openopu_sim.plant.batch.GEMM_ROWS", 2)
            patch.setattr("openopu_sim.plant.batch.CHUNK_PIXELS", 1)
        # Two calls, so that the second begins with what the first has shown last.
        for rows in (slice(0, 3), slice(3, 4)):
            seen, monitors = batch(one, planes[rows], shots, ids[rows], 3000)
            want, wanted = frames_of(other, planes[rows], shots, ids[rows], 3000)
            np.testing.assert_array_equal(seen, want)
            np.testing.assert_array_equal(monitors, wanted)
    one.close()
    other.close()


def stale_share(parameters, shot, clock_hz=48_000_000):
    """Mean of exp(-t / settle_s) over the exposure, by the midpoint rule."""
    if not parameters.modulator.settle_s:
        return 0.0
    begin, length = shot.settle_cycles / clock_hz, shot.exposure_cycles / clock_hz
    times = begin + (np.arange(20_000) + 0.5) / 20_000 * length
    return float(np.exp(-times / parameters.modulator.settle_s).mean())


def pixel_field(parameters, levels):
    """Field of each panel pixel, crosstalk included, in double precision."""
    m = parameters.modulator
    step = levels.astype(int) * m.levels // 256
    if m.kind == "binary":
        field = np.where(step == 1, 1.0, m.off_amplitude).astype(complex)
    else:
        field = np.exp(1j * m.phase_max_rad * (step / (m.levels - 1)) ** m.gamma)
    padded = np.pad(field, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    return (1 - m.crosstalk) * field + m.crosstalk * neighbours


def electrons_of(plant, parameters, levels, before, exposure, shot, code):
    """Mean electrons of each pixel, straight from docs/plant.md."""
    g, p = plant.geometry, parameters
    time = exposure % 2**28
    angle = p.medium.drift_rad_per_exposure * time
    angle += p.modulator.warm_up_rad * (1 - math.exp(-time / p.modulator.warm_up_exposures))
    stale = stale_share(p, shot)
    panel = (1 - stale) * pixel_field(p, levels) + stale * pixel_field(p, before)
    sums = np.zeros(plant.cells.count, dtype=complex)
    np.add.at(sums, cell_of_pixels(g), panel)
    media = [m.columns(0, plant.cells.count, crop=False).astype(complex) for m in plant.fields.media]
    field = sums @ media[0] if len(media) == 1 else sums @ (math.cos(angle) * media[0] + math.sin(angle) * media[1])
    c = p.laser.coherence
    intensity = c * abs(field) ** 2 + (1 - c) * plant.medium.power * (abs(sums) ** 2).sum()
    photons_j = 532e-9 / (6.62607015e-34 * 299_792_458)
    power = p.laser.power_w * code / 4095 * max(1 + p.laser.drift_per_exposure * time, 0)
    seconds = shot.exposure_cycles / 48e6
    light = photons_j * power * seconds * p.medium.throughput * p.camera.quantum_efficiency
    light *= p.modulator.fill_factor**2 * intensity
    light /= plant.medium.power * g.macropixel**2 * g.slm_width * g.slm_height
    fixed, dark = (
        plant.camera.fixed,
        2.0 ** ((p.camera.temperature_c - p.camera.dark_reference_c) / p.camera.dark_doubling_k),
    )
    light *= 1.0 if fixed.response is None else fixed.response
    light += p.camera.dark_signal_e_per_s * dark * seconds
    light += 0.0 if fixed.hot is None else fixed.hot * p.camera.hot_pixel_e_per_s * dark * seconds
    return light + (0.0 if fixed.offset_e is None else fixed.offset_e)


@functools.cache
def cell_of_pixels(geometry):
    """Cell of each panel pixel."""
    cells = Cells(geometry)
    index = np.zeros((geometry.slm_height, geometry.slm_width), dtype=int)
    for y, x in np.ndindex(index.shape):
        one = np.zeros(index.shape, dtype=np.float32)
        one[y, x] = 1
        index[y, x] = cells.sums(one).argmax()
    return index


@settings(max_examples=25, deadline=None)
@given(plants(), SHOT, st.integers(0, 2**32 - 1))
def test_a_frame_is_the_documented_formula(parameters, shot, exposure):
    plant = Plant(TINY, parameters, seed=3, noise=False)
    rng = np.random.default_rng(exposure)
    pool = rng.integers(0, 256, 5).astype(np.uint8)
    levels, before = (pool[rng.integers(0, 5, (TINY.slm_height, TINY.slm_width))] for _ in range(2))
    plant.expose_frame(before, 7, 1, 0)
    # A third of the well on average, so that most of it can be seen.
    want = electrons_of(plant, parameters, levels, before, exposure, shot, 4095)
    code = min(4095, int(4095 * 3000 / max(want.mean(), 1)))
    want = electrons_of(plant, parameters, levels, before, exposure, shot, code)
    frame, _ = plant.expose_frame(levels, exposure, shot.exposure_cycles, code, shot.settle_cycles)
    seen = frame.ravel()[plant.medium.pixel_order]
    dn = np.clip(np.clip(want, -10_700, 10_700) * plant.camera.dn_per_e + plant.camera.black_dn, 0, 1023)
    # Half a DN of rounding, and float32.
    assert np.abs(seen - dn).max() <= 0.51 + 1e-4 * np.abs(want).max() * plant.camera.dn_per_e
    plant.close()


@settings(max_examples=20, deadline=None)
@given(plants(), LEVEL, LEVEL, LEVEL, LEVEL, st.integers(0, 2**28))
def test_a_complement_pair_is_linear_with_every_effect(parameters, on, off, anchor, border, exposure):
    wide = changed(parameters, full_well_e=1e5, settle_s=0.0)
    plant = Plant(TINY, wide, seed=4, noise=False)
    signs = np.random.default_rng(exposure).choice([-1, 1], (4, TINY.modes))
    shot = Illumination(0, on, off, anchor, border, 1500)
    assert plant.pair_is_linear
    matrix = plant.effective_matrix(shot, 4095, exposure)
    for row in signs:
        frames = []
        for bits in (row > 0, row < 0):
            levels = expander.model(
                TINY, bits.astype(np.uint8), invert=False, level_on=on, level_off=off, level_anchor=anchor,
                level_border=border, table=TABLE,
            )  # fmt: skip
            frames.append(plant.expose_frame(levels, exposure, 1500, 4095)[0].astype(int))
        if max(f.max() for f in frames) == 1023 or min(f.min() for f in frames) == 0:
            continue  # clipped
        difference = binner.model(TINY, frames[0].astype(np.uint16)) - binner.model(TINY, frames[1].astype(np.uint16))
        # Four roundings of half a DN in each frame, and float32.
        assert np.abs(difference - matrix @ row).max() <= 4 + 1e-4 * max(f.max() for f in frames)
    plant.close()


def test_there_is_no_matrix_where_the_pattern_before_still_shows():
    assert not Plant(TINY, changed(DMD, settle_s=1e-5)).pair_is_linear
    assert Plant(TINY, DMD).pair_is_linear


@pytest.mark.parametrize("macropixel", [1, 2, 3, 4, 5])
def test_crosstalk_of_modes_is_that_of_their_pixels(macropixel):
    g = Geometry.fitting(16, 16, macropixel=macropixel)
    crosstalk = Crosstalk(Cells(g))
    bits = np.random.default_rng(5).integers(0, 2, (3, g.modes)).astype(np.float32)
    got = crosstalk.of_modes(bits)
    for row, sums in zip(bits, got.swapaxes(0, 1), strict=True):
        frame = np.zeros((g.slm_height, g.slm_width), dtype=np.float32)
        block = np.kron(row.reshape(g.modes_y, g.modes_x), np.ones((macropixel, macropixel), dtype=np.float32))
        frame[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width] = block
        np.testing.assert_array_equal(sums, crosstalk.sums(frame))
        # Light is neither lost nor made, and every sum of a group stays small enough for an exact field.
        assert differences(frame).sum() == 0
        assert np.abs(sums).max() <= macropixel**2


def test_time_is_the_exposures_number_and_calibrations_see_the_medium_of_now():
    plant = Plant(TINY, changed(DMD, drift_rad_per_exposure=1e-3, warm_up_rad=0.2, warm_up_exposures=50.0))
    assert plant.light.angle(0) == 0
    assert plant.light.angle(100) == pytest.approx(0.1 + 0.2 * (1 - math.exp(-2)))
    assert plant.light.angle(0xF000_0000 + 100) == plant.light.angle(100)
    assert plant.light.angle(TIME_MODULUS) == 0


def test_two_moments_correlate_by_the_cosine_of_the_angle_between_them():
    geometry = Geometry.fitting(64, 256)
    plant = Plant(geometry, changed(DMD, drift_rad_per_exposure=0.01, full_well_e=1e6), noise=False)
    levels = (np.random.default_rng(0).random((geometry.slm_height, geometry.slm_width)) < 0.5).astype(np.uint8) * 255
    pattern = plant.fields.of_frame(levels)

    def field(exposure):
        real, imag = plant.fields.field(pattern, pattern, plant.light.moment(exposure, 1, 0, 1), crop=False)
        return (real + 1j * imag)[0]

    start = field(0)
    for exposure in (30, 100, 157):
        now = field(exposure)
        correlation = np.vdot(start, now).real / np.linalg.norm(start) / np.linalg.norm(now)
        assert correlation == pytest.approx(math.cos(0.01 * exposure), abs=0.05)


def test_deviates_of_flicker_vibration_and_photodiode():
    noisy = changed(
        PHASE, levels=256, flicker_rad_rms=0.1, vibration_rad_rms=0.2, bandwidth_hz=1e7, full_scale_a=1e-6,
        noise_rms_dn=3.0, relative_noise_rms=0.0, offset_dn=7.0,
    )  # fmt: skip
    light = Plant(TINY, noisy).light
    moments = [light.moment(i, 100, 0, 2048) for i in range(4000)]
    assert np.std([m.flicker for m in moments]) == pytest.approx(1, abs=0.05)
    assert np.std([m.angle for m in moments]) == pytest.approx(0.2, abs=0.01)
    share = 0.1 * 2048 / 4095 / 0.12
    shot_dn = (2 * 1.602176634e-19 * 1e-6 * share * 1e7) ** 0.5 / 1e-6 * 4095
    assert shot_dn > 3
    monitors = np.array([m.monitor for m in moments])
    assert monitors.std() == pytest.approx((shot_dn**2 + 9 + 1 / 12) ** 0.5, rel=0.05)
    assert monitors.mean() == pytest.approx(share * 4095 + 7, abs=0.5)
    # The phase at the top level trembles by the parameter, the one at the bottom not at all.
    modulator = light.modulator
    phases = [np.angle(modulator.amplitude(255, m.flicker) / modulator.amplitude(255)) for m in moments]
    assert np.std(phases) == pytest.approx(0.1, rel=0.05)
    assert modulator.amplitude(0, 1.0) == 1


def test_deviates_are_drawn_in_the_documented_order():
    vibrating, flickering = {"vibration_rad_rms": 0.2}, {"levels": 256, "flicker_rad_rms": 0.1}
    drawn = np.random.Generator(np.random.Philox(key=np.array([5, 9], dtype=np.uint64))).standard_normal(5)
    for effects, scalars in (({}, 2), (vibrating, 3), (flickering, 3), (vibrating | flickering, 4)):
        moment = Plant(TINY, changed(PHASE, **effects), noise_seed=5).light.moment(9, 100, 0, 2048)
        assert moment.flicker == (drawn[2] if "levels" in effects else 0)
        assert moment.angle == (0.2 * drawn[scalars - 1] if "vibration_rad_rms" in effects else 0)
        assert moment.stream.standard_normal() == drawn[scalars]


def test_fixed_patterns_follow_the_seed_and_not_the_crop():
    fixed = changed(
        DMD, prnu_rms=0.1, dsnu_e_rms=50.0, hot_pixel_share=0.1, hot_pixel_e_per_s=1e8, dead_pixel_share=0.1
    )
    levels = np.full((TINY.slm_height, TINY.slm_width), 255, dtype=np.uint8)
    a = Plant(TINY, fixed, seed=1, noise=False).expose_frame(levels, 0, 900, 4095)[0]
    moved = dataclasses.replace(TINY, crop_x=2, crop_y=1)
    assert (a == Plant(moved, fixed, seed=1, noise=False).expose_frame(levels, 0, 900, 4095)[0]).all()
    assert (a != Plant(TINY, fixed, seed=2, noise=False).expose_frame(levels, 0, 900, 4095)[0]).any()
    one, other = (FixedPattern.draw(fixed.camera, 1000, seed) for seed in (1, 2))
    for field in dataclasses.fields(FixedPattern):
        assert (getattr(one, field.name) != getattr(other, field.name)).any(), field.name
