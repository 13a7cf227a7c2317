"""The camera before a referee: what the EMVA 1288 reference implementation recovers from our frames, and from those of
its own simulated camera with the same parameters."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from emva1288.camera.camera import Camera as Reference
from emva1288.camera.routines import Qe
from emva1288.process.data import Data1288
from emva1288.process.results import Results1288
from emva1288.process.routines import get_int_imgs
from openopu.plants import CAMERAS, DMD, CameraParameters
from openopu_sim.plant.camera import Camera, FixedPattern

SIDE, BITS = 160, 12
EXPOSURE_S, WAVELENGTH_NM = 0.02, 532
STACK = 24
"""Images for the spatial part."""
TEMPERATURE_C = 41.0


def ours(parameters: CameraParameters):
    """Takes mean photons on each pixel, gives an image of our camera."""
    camera = Camera(parameters, BITS, FixedPattern.draw(parameters, SIDE * SIDE, seed=5))
    stream = np.random.Generator(np.random.Philox(6))

    def grab(photons: float) -> np.ndarray:
        pixels = np.full((1, SIDE * SIDE), photons * parameters.quantum_efficiency, dtype=np.float32)
        camera.collect(pixels, EXPOSURE_S)
        camera.digitise(pixels, [stream])
        return pixels.reshape(SIDE, SIDE).astype(np.int64)

    return grab


def reference(parameters: CameraParameters):
    """The same from the emva1288 package's camera."""
    p, rng = parameters, np.random.default_rng(7)
    gain = Camera(p, BITS)
    camera = Reference(
        bit_depth=BITS, width=SIDE, height=SIDE, temperature=p.temperature_c, temperature_ref=p.dark_reference_c,
        temperature_doubling=p.dark_doubling_k,
        qe=Qe(np.full((SIDE, SIDE, 1), p.quantum_efficiency), np.array([float(WAVELENGTH_NM)]), SIDE, SIDE),
        exposure=EXPOSURE_S * 1e9, K=gain.dn_per_e, K_min=gain.dn_per_e, K_max=gain.dn_per_e, K_steps=1,
        # Its black level comes after a limit at 0 electrons; before it, dark noise is not cut.
        blackoffset=0, blackoffset_min=0, blackoffset_max=1, dark_signal_0=gain.black_dn / gain.dn_per_e,
        dark_current_ref=p.dark_signal_e_per_s, sigma2_dark_0=p.read_noise_e**2,
        u_esat=p.full_well_e + gain.black_dn / gain.dn_per_e, dsnu=p.dsnu_e_rms * rng.standard_normal((SIDE, SIDE)),
        prnu=1 + p.prnu_rms * rng.standard_normal((SIDE, SIDE)), seed=8,
    )  # fmt: skip
    per_radiance = float(np.sum(camera.get_photons(1.0)))

    def grab(photons: float) -> np.ndarray:
        return camera.grab(np.full((SIDE, SIDE, 1), photons / per_radiance)).astype(np.int64)

    return grab


def measured(grab, saturation: float) -> Results1288:
    """The photon transfer curve to above saturation (in photons), and the spatial statistics at half of it."""
    levels = [0.0, *(saturation * np.r_[np.linspace(0.04, 0.92, 23), np.arange(0.93, 1.1, 0.01)]).tolist()]
    temporal = {}
    for level in levels:
        pair = get_int_imgs([grab(level), grab(level)])
        temporal[level] = {"sum": pair["sum"].sum(), "pvar": pair["pvar"].sum(), "dmean": pair["dmean"]}
    half = saturation / 2
    spatial = {level: get_int_imgs([grab(level) for _ in range(STACK)]) for level in (0.0, half)}
    data = {"width": SIDE, "height": SIDE, "temporal": {EXPOSURE_S: temporal}, "spatial": {EXPOSURE_S: spatial}}
    statistics = Data1288(data, loglevel=logging.ERROR).data
    # Saturation is where the temporal variance has its maximum; the referee's own search stops at a local one.
    peak = int(np.argmax(statistics["temporal"]["s2_y"]))
    return Results1288(statistics, index_u_ysat=peak, loglevel=logging.ERROR)


PARAMETERS = {
    "imx255": dataclasses.replace(
        CAMERAS["imx255"].parameters, prnu_rms=0.01, dsnu_e_rms=3.0, dark_signal_e_per_s=50.0, black_level_share=0.03,
        temperature_c=TEMPERATURE_C, hot_pixel_share=0.0, dead_pixel_share=0.0,
    ),
    "noisy": dataclasses.replace(
        DMD.camera, full_well_e=13_500.0, read_noise_e=13.0, quantum_efficiency=0.6, prnu_rms=0.008, dsnu_e_rms=15.0,
        dark_signal_e_per_s=125.0, black_level_share=0.05, temperature_c=TEMPERATURE_C,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_the_referee_recovers_the_parameters(name, monkeypatch):
    # The referee's fits use a name that NumPy 2 no longer has.
    monkeypatch.setattr(np, "asfarray", lambda a: np.asarray(a, dtype=float), raising=False)
    p = PARAMETERS[name]
    camera = Camera(p, BITS)
    dark_e = p.dark_signal_e_per_s * 2.0 ** ((TEMPERATURE_C - p.dark_reference_c) / p.dark_doubling_k) * EXPOSURE_S
    saturation = (p.full_well_e - dark_e) / p.quantum_efficiency
    mine, theirs = (measured(make(p), saturation) for make in (ours, reference))
    set_values = {
        "K": camera.dn_per_e,
        "QE": 100 * p.quantum_efficiency,
        "sigma_d": (p.read_noise_e**2 + dark_e) ** 0.5,
        "DSNU1288": p.dsnu_e_rms,
        "PRNU1288": 100 * p.prnu_rms,
    }
    for quantity, value in set_values.items():
        got, told = getattr(mine, quantity), getattr(theirs, quantity)
        if quantity == "sigma_d":  # the referee's camera rounds twice
            told = (told**2 - 1 / 12 / camera.dn_per_e**2) ** 0.5
        assert got == pytest.approx(value, rel=0.02), quantity
        assert got == pytest.approx(told, rel=0.02), quantity
    # The variance's maximum lies somewhat below saturation, as shot noise and PRNU make some pixels full before others.
    assert mine.SNR_max == pytest.approx(theirs.SNR_max, rel=0.02)
    assert mine.SNR_max == pytest.approx((p.full_well_e - dark_e) ** 0.5, rel=0.03)
    # The whole photon transfer curve up to three quarters of saturation, and the signal-to-noise ratio along it.
    linear = mine.temporal["u_p"] < 0.75 * saturation
    electrons = p.quantum_efficiency * mine.temporal["u_p"][linear]
    signals = [(seen.temporal["u_y"] - seen.temporal["u_ydark"])[linear] for seen in (mine, theirs)]
    for signal in signals:
        np.testing.assert_allclose(signal, camera.dn_per_e * electrons, rtol=0.01)
    expected = electrons / (p.read_noise_e**2 + dark_e + 1 / 12 / camera.dn_per_e**2 + electrons) ** 0.5
    snr = signals[0] / mine.temporal["s2_y"][linear] ** 0.5
    # Each variance is known to 0.9 % from these pixels, the mean of the ratios much better.
    np.testing.assert_allclose(snr, expected, rtol=0.025)
    assert (snr / expected).mean() == pytest.approx(1, abs=0.005)
