"""Plants that need no file."""

from __future__ import annotations

import dataclasses
import math

from .parameters import (
    CameraParameters,
    LaserParameters,
    MediumKind,
    MediumParameters,
    ModulatorKind,
    ModulatorParameters,
    PhotodiodeParameters,
    PlantParameters,
    ThermometerParameters,
)

# full_well_e, read_noise_e: IMX255, SNR 40.3 dB and dynamic range 71.3 dB (mvBlueFOX3 manual p. 861), the noise being
# the whole threshold. relative_noise_rms: 0.01 %, an optically pumped semiconductor laser (Coherent). throughput: a
# half lit default panel at half power gives a mean of 1/9 of the full well in 1000 cycles of 48 MHz. All others are
# chosen, and neutral where an effect can be.
DMD = PlantParameters(
    LaserParameters(
        wavelength_m=532e-9,
        power_w=0.1,
        relative_noise_rms=1e-4,
        drift_per_exposure=0.0,
        coherence=1.0,
    ),
    ModulatorParameters(
        ModulatorKind.BINARY,
        fill_factor=1.0,
        off_amplitude=0.0,
        levels=2,
        phase_max_rad=0.0,
        gamma=1.0,
        crosstalk=0.0,
        flicker_rad_rms=0.0,
        settle_s=0.0,
        warm_up_rad=0.0,
        warm_up_exposures=1e6,
    ),
    MediumParameters(
        MediumKind.DENSE,
        file="",
        throughput=2.3e-9,
        entry_bits=12,
        grain_px=1.0,
        layers=2,
        oversampling=2.0,
        drift_rad_per_exposure=0.0,
        vibration_rad_rms=0.0,
    ),
    CameraParameters(
        full_well_e=10_700.0,
        read_noise_e=2.9,
        quantum_efficiency=0.65,
        dark_signal_e_per_s=10.0,
        dark_reference_c=25.0,
        dark_doubling_k=8.0,
        temperature_c=25.0,
        black_level_share=0.01,
        analog_gain=1.0,
        normal_from_e=20.0,
        prnu_rms=0.0,
        dsnu_e_rms=0.0,
        hot_pixel_share=0.0,
        hot_pixel_e_per_s=0.0,
        dead_pixel_share=0.0,
    ),
    PhotodiodeParameters(
        full_scale_w=0.12,
        noise_rms_dn=1.0,
        offset_dn=0.0,
        full_scale_a=1e-3,
        bandwidth_hz=0.0,
    ),
    ThermometerParameters(temperature_c=25.0, zero_v=0.5, slope_v_per_k=0.01, reference_v=3.3),
)
"""An ideal binary panel before the camera IMX255, of which only gain, full well and noise are modelled."""

# All of a phase panel is bright all the time, not the half of its signal region.
PHASE = dataclasses.replace(
    DMD,
    modulator=dataclasses.replace(DMD.modulator, kind=ModulatorKind.PHASE, phase_max_rad=math.pi),
    medium=dataclasses.replace(DMD.medium, throughput=DMD.medium.throughput * 0.28),
)
"""An ideal 0/pi phase panel before the same camera."""

NAMED: dict[str, PlantParameters] = {"dmd": DMD, "phase": PHASE}
"""By name, as in a device URL."""
