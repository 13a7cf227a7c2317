"""The plant: physics, exactness, and the equality of its two entries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from openopu.errors import UsageError
from openopu_rtl import binner, expander
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import DMD, PHASE, Illumination, Plant
from openopu_sim.plant.camera import Camera
from openopu_sim.plant.cells import Cells
from openopu_sim.plant.media import EXACT_BELOW, memory
from openopu_sim.plant.noise import NoiseStreams

SMALL = Geometry.fitting(64, 64)
# Signal and anchor stand askew to the cells' grid, the panel cuts cells at every edge.
ASKEW = Geometry(
    slm_width=41, slm_height=37, modes_x=8, modes_y=8, macropixel=3, signal_x=5, signal_y=7,
    anchor_x=31, anchor_y=3, anchor_width=7, anchor_height=30,
    camera_width=29, camera_height=23, crop_x=5, crop_y=4, crop_width=18, crop_height=15, bin=3, pixel_bits=10,
    raw_rows=9,
)  # fmt: skip
TABLE = np.arange(256, dtype=np.uint8)
SHOTS = [
    # plane, inverted, on, off, anchor, border
    (0, False, 255, 0, 0, 0),
    (0, True, 255, 0, 0, 0),
    (1, True, 255, 0, 200, 0),
    (1, False, 0, 200, 0, 255),
    (None, False, 255, 0, 255, 0),
    (0, False, 255, 128, 127, 128),
]


def illumination(plane, inverted, on, off, anchor, border, cycles=1000):
    return Illumination(plane, off if inverted else on, on if inverted else off, anchor, border, cycles)


def batch(plant, planes, shots, ids, code=2048):
    g = plant.geometry
    return plant.expose_batch(planes, shots, np.asarray(ids), code, lambda c: binner.bin_crop(g, c), g.outputs)


@pytest.mark.parametrize("geometry", [SMALL, ASKEW], ids=["aligned", "askew"])
@pytest.mark.parametrize("parameters", [DMD, PHASE], ids=["binary", "phase"])
@pytest.mark.parametrize("noise", [True, False])
def test_both_entries_and_any_batch_give_the_same_integers(geometry, parameters, noise):
    # The last two exposures are dark, so that Poisson statistics are in it.
    plant = Plant(geometry, parameters, noise=noise, noise_seed=5)
    planes = np.random.default_rng(0).integers(0, 2, (5, 2, geometry.modes)).astype(np.uint8)
    shots = [illumination(*s, cycles=(1000, 1, 7)[i % 3]) for i, s in enumerate(SHOTS)]
    ids = [7, 1000, 2**32 - 2, 3, 4]
    for code in (0, 2048, 4095):
        whole, monitors = batch(plant, planes, shots, ids, code)
        for i in range(5):
            one, monitor = batch(plant, planes[i : i + 1], shots, ids[i : i + 1], code)
            np.testing.assert_array_equal(one[0], whole[i])
            np.testing.assert_array_equal(monitor[0], monitors[i])
        for i, first in enumerate(ids):
            for s, (plane, inverted, on, off, anchor, border) in enumerate(SHOTS):
                levels = expander.model(
                    geometry, np.zeros(geometry.modes) if plane is None else planes[i, plane], invert=inverted,
                    level_on=on, level_off=off, level_anchor=anchor, level_border=border, table=TABLE,
                )  # fmt: skip
                frame, monitor = plant.expose_frame(levels, (first + s) % 2**32, shots[s].exposure_cycles, code)
                assert frame.dtype == np.uint16
                assert frame.shape == (geometry.camera_height, geometry.camera_width)
                np.testing.assert_array_equal(binner.model(geometry, frame), whole[i, s])
                assert monitor == monitors[i, s]


def test_a_batch_larger_than_one_product_is_the_same(monkeypatch):
    plant = Plant(SMALL)
    planes = np.random.default_rng(1).integers(0, 2, (9, 2, SMALL.modes)).astype(np.uint8)
    shots = [illumination(*s) for s in SHOTS]
    want, _ = batch(plant, planes, shots, range(0, 90, 10))
    monkeypatch.setattr("openopu_sim.plant.batch.GEMM_ROWS", 4)
    monkeypatch.setattr("openopu_sim.plant.batch.CHUNK_PIXELS", 1)
    got, _ = batch(plant, planes, shots, range(0, 90, 10))
    np.testing.assert_array_equal(got, want)


def test_field_is_that_of_exact_integer_arithmetic():
    plant = Plant(ASKEW, noise=False)
    levels = np.random.default_rng(2).integers(0, 256, (ASKEW.slm_height, ASKEW.slm_width)).astype(np.uint8)
    (sums,) = plant.fields.of_frame(levels)[1]
    assert sums.sum() == (levels >= 128).sum()
    for part in (plant.medium.real, plant.medium.imag):
        exact = sums.astype(np.int64) @ part.astype(np.int64)
        np.testing.assert_array_equal((sums @ part).astype(np.int64), exact)
        assert 9 * np.abs(part).sum(axis=0).max() < EXACT_BELOW


def test_a_shifted_frame_moves_the_field_like_the_sum_over_pixels():
    # A frame one pixel off is still defined pixel by pixel: each pixel has its cell's column.
    cells = Cells(ASKEW)
    index = np.zeros((ASKEW.slm_height, ASKEW.slm_width), dtype=int)
    for y in range(ASKEW.slm_height):
        for x in range(ASKEW.slm_width):
            one = np.zeros(index.shape, dtype=np.float32)
            one[y, x] = 1
            sums = cells.sums(one)
            assert sums.sum() == 1
            index[y, x] = int(sums.argmax())
    g, k = ASKEW, ASKEW.macropixel
    signal = index[g.signal_y : g.signal_y + g.signal_height, g.signal_x : g.signal_x + g.signal_width]
    np.testing.assert_array_equal(signal, np.kron(np.arange(g.modes).reshape(8, 8), np.ones((k, k), dtype=int)))
    assert len(np.unique(index)) == cells.count
    assert np.bincount(index.ravel()).max() == k * k


def test_entries_lose_bits_where_sums_would_not_be_exact(caplog):
    geometry = dataclasses.replace(
        SMALL, macropixel=12, slm_width=24 * 12, slm_height=9 * 12, signal_x=0, signal_y=0,
        anchor_x=200, anchor_width=24, anchor_height=40,
    )  # fmt: skip
    plant = Plant(geometry, dataclasses.replace(DMD, medium=dataclasses.replace(DMD.medium, entry_bits=16)))
    assert plant.medium.bits < 16
    assert f"{plant.medium.bits} bits instead of 16" in caplog.text
    largest = max(np.abs(p).sum(axis=0).max() for p in (plant.medium.real, plant.medium.imag))
    assert 144 * largest < EXACT_BELOW
    assert np.abs(plant.medium.real).max() <= 2 ** (plant.medium.bits - 1) - 1


def test_a_medium_too_large_for_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "MEMORY_SHARE", 1e-9)
    with pytest.raises(UsageError, match=r"GiB.*Take fewer modes"):
        Plant(SMALL)


def test_medium_follows_its_seed_and_not_the_crop():
    a, b, other = Plant(SMALL, seed=3), Plant(SMALL, seed=3), Plant(SMALL, seed=4)
    np.testing.assert_array_equal(a.medium.real, b.medium.real)
    assert (a.medium.real != other.medium.real).mean() > 0.9
    moved = Plant(dataclasses.replace(SMALL, crop_x=2, crop_y=1), seed=3, noise=False)
    levels = np.full((SMALL.slm_height, SMALL.slm_width), 255, dtype=np.uint8)
    unmoved = Plant(SMALL, seed=3, noise=False)
    assert (moved.expose_frame(levels, 1, 500, 1000)[0] == unmoved.expose_frame(levels, 1, 500, 1000)[0]).all()


def test_medium_is_complex_gaussian_and_white():
    medium = Plant(SMALL).medium
    for part in (medium.real, medium.imag):
        assert part.std() ** 2 * 2 == pytest.approx(medium.power, rel=0.01)
        assert abs(part.mean()) < 4 * part.std() / part.size**0.5
        assert (part**4).mean() / part.std() ** 4 == pytest.approx(3.0, abs=0.05)
    assert abs((medium.real * medium.imag).mean()) / medium.power < 0.01
    neighbours = (medium.real[:, 1 : SMALL.crop_width] * medium.real[:, : SMALL.crop_width - 1]).mean()
    assert abs(neighbours) / medium.power < 0.02


def test_speckle_is_exponential():
    # Contrast 1 and P(I > t <I>) = exp(-t), without ADC effects: 12 bits, and a well that nothing fills.
    camera = dataclasses.replace(DMD.camera, full_well_e=1e6, black_level_share=0.0)
    geometry = dataclasses.replace(SMALL, pixel_bits=12)
    plant = Plant(geometry, dataclasses.replace(DMD, camera=camera), noise=False)
    rng = np.random.default_rng(3)
    frames = []
    for i in range(40):
        levels = (rng.random((SMALL.slm_height, SMALL.slm_width)) < 0.5).astype(np.uint8) * 255
        frames.append(plant.expose_frame(levels, i, 30_000, 4095)[0])
    relative = np.stack(frames) / np.mean(frames)
    assert relative.std() == pytest.approx(1.0, abs=0.05)
    for t in (0.5, 1.0, 2.0):
        assert (relative > t).mean() == pytest.approx(np.exp(-t), abs=0.02)


def test_photon_transfer():
    """Variance against mean of a flat field is a line through the read noise: slope 1 electron per electron."""
    p = dataclasses.replace(DMD.camera, black_level_share=0.05)
    camera = Camera(p, 12)
    for mean in (0.0, 0.5, 5.0, 19.0, 21.0, 200.0, 4000.0):
        pixels = np.full((1, 200_000), mean, dtype=np.float32)
        camera.digitise(pixels, [np.random.Generator(np.random.Philox(7))])
        electrons = (pixels - camera.black_dn) / camera.dn_per_e
        want = mean + p.read_noise_e**2 + 1 / (12 * camera.dn_per_e**2)
        assert electrons.mean() == pytest.approx(mean, abs=4 * (want / 200_000) ** 0.5 + 0.02 / camera.dn_per_e)
        assert electrons.var() == pytest.approx(want, rel=0.02)


def test_weak_light_is_poisson():
    camera = Camera(dataclasses.replace(DMD.camera, read_noise_e=0.0, full_well_e=255.0, black_level_share=0.0), 8)
    pixels = np.full((1, 100_000), 2.0, dtype=np.float32)
    camera.digitise(pixels, [np.random.Generator(np.random.Philox(7))])
    assert (pixels == 0).mean() == pytest.approx(np.exp(-2), abs=0.01)
    assert (pixels == 3).mean() == pytest.approx(np.exp(-2) * 8 / 6, abs=0.01)


def test_full_well_gain_and_black_level():
    p = dataclasses.replace(DMD.camera, full_well_e=1000.0, black_level_share=0.1, analog_gain=0.5)
    camera = Camera(p, 8)
    pixels = np.array([[0.0, 500.0, 1000.0, 1e6]], dtype=np.float32)
    camera.digitise(pixels)
    want = 25.5 + np.array([0, 500, 1000, 1000]) * 0.5 * 255 * 0.9 / 1000
    np.testing.assert_array_equal(pixels[0], np.rint(want))
    loud = Camera(dataclasses.replace(p, analog_gain=8.0), 8)
    pixels = np.array([[1000.0]], dtype=np.float32)
    loud.digitise(pixels)
    assert pixels[0, 0] == 255


def test_dark_signal_doubles():
    p = DMD.camera
    warm = dataclasses.replace(p, temperature_c=p.temperature_c + p.dark_doubling_k)
    assert warm.dark_e_per_s() == 2 * p.dark_e_per_s()


def test_noise_is_keyed_by_seed_and_exposure():
    levels = np.full((SMALL.slm_height, SMALL.slm_width), 255, dtype=np.uint8)
    plant = Plant(SMALL, noise_seed=1)
    frame, monitor = plant.expose_frame(levels, 10, 300, 2048)
    plant.expose_frame(levels, 99, 300, 2048)
    again, monitor_again = plant.expose_frame(levels, 10, 300, 2048)
    assert (frame == again).all()
    assert monitor == monitor_again
    assert (plant.expose_frame(levels, 11, 300, 2048)[0] != frame).any()
    assert (Plant(SMALL, noise_seed=2).expose_frame(levels, 10, 300, 2048)[0] != frame).any()
    silent = Plant(SMALL, noise=False)
    assert (silent.expose_frame(levels, 10, 300, 2048)[0] == silent.expose_frame(levels, 11, 300, 2048)[0]).all()


def test_mean_signal_is_the_documented_one():
    """Whole panel lit: photons/s x throughput x quantum efficiency x exposure."""
    parameters = dataclasses.replace(
        DMD, camera=dataclasses.replace(DMD.camera, full_well_e=1e7, black_level_share=0.0)
    )
    geometry = dataclasses.replace(SMALL, pixel_bits=12)
    levels = np.full((SMALL.slm_height, SMALL.slm_width), 255, dtype=np.uint8)
    photons = 0.1 * 2048 / 4095 / (6.62607015e-34 * 299_792_458 / 532e-9)
    want = photons * DMD.medium.throughput * 0.65 * 1e-3
    means = []
    for seed in range(4):
        plant = Plant(geometry, parameters, seed=seed, noise=False)
        means.append(plant.expose_frame(levels, 0, 48_000, 2048)[0].mean() / plant.camera.dn_per_e)
    # The panel's cut cells take away a little; four speckle patterns leave 3 %.
    assert np.mean(means) == pytest.approx(want, rel=0.08)


def test_monitor_reads_the_power():
    plant = Plant(SMALL, noise=False)
    levels = np.zeros((SMALL.slm_height, SMALL.slm_width), dtype=np.uint8)
    assert plant.expose_frame(levels, 0, 1, 0)[1] == 0
    assert plant.expose_frame(levels, 0, 1, 4095)[1] == round(4095 * 0.1 / 0.12)


@pytest.mark.parametrize("parameters", [DMD, PHASE], ids=["binary", "phase"])
@pytest.mark.parametrize("anchor", [0, 255])
def test_complement_pair_is_linear(parameters, anchor):
    """The difference of a pair is the effective matrix times s, up to the ADC's rounding."""
    plant = Plant(ASKEW, parameters, noise=False)
    signs = np.random.default_rng(4).choice([-1, 1], (6, ASKEW.modes))
    planes = (signs > 0).astype(np.uint8)[:, None, :]
    pair = [illumination(0, inverted, 255, 0, anchor, 0, cycles=150) for inverted in (False, True)]
    frames, _ = batch(plant, planes, pair, range(6))
    assert frames.max() < 9 * 1023, "the test must not clip"
    matrix = plant.effective_matrix(pair[0], 2048)
    exact = signs @ matrix.T
    difference = frames[:, 0].astype(int) - frames[:, 1]
    # 18 roundings of half a DN at most in each difference.
    assert np.abs(difference - exact).max() <= 9.0 + 1e-2
    assert np.abs(difference - exact).std() < (18 / 12) ** 0.5 * 1.2
    assert np.corrcoef(difference.ravel(), exact.ravel())[0, 1] > 0.999


def test_rows_of_the_effective_matrix_have_the_published_mean():
    """Mean over standard deviation is sqrt(2 K / n) for K grains an output, and a row's scale follows |r|."""
    matrix = Plant(SMALL).effective_matrix(illumination(0, False, 255, 0, 0, 0), 2048)
    # Squares averaged over rows of different scale: <(sum of |r|^2 over K grains)^2> = K (K + 1) <|r|^2>^2.
    ratio = (matrix.mean(axis=1) ** 2).mean() ** 0.5 / (matrix.var(axis=1)).mean() ** 0.5
    grains = SMALL.bin**2
    assert ratio == pytest.approx((2 * (grains + 1) / SMALL.modes) ** 0.5, rel=0.15)


def test_streams_are_those_of_new_generators_in_any_order():
    streams = NoiseStreams(2**64 - 1)
    for exposure, slot in ((5, 0), (7, 1), (5, 1), (2**32 - 1, 0), (5, 0)):
        fresh = np.random.Generator(np.random.Philox(key=np.array([2**64 - 1, exposure], dtype=np.uint64)))
        stream = streams.start(exposure, slot)
        # An odd count of 32-bit draws leaves half a word behind, which the next start must drop.
        np.testing.assert_array_equal(
            stream.standard_normal(7, dtype=np.float32), fresh.standard_normal(7, dtype=np.float32)
        )
        np.testing.assert_array_equal(stream.poisson(3.0, 9), fresh.poisson(3.0, 9))
