"""Makes docs/plant.md from the parameters and the named devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from camera_page import table
from openopu.plants import CAMERAS, LASERS, MODULATORS, NAMED, PHOTODIODE, TABLES, Described
from openopu.plants.parameters import Checked

EFFECTS = {
    "laser.wavelength_m": "photons per joule",
    "laser.power_w": "electrons and photodiode, times code / 4095",
    "laser.relative_noise_rms": "factor 1 + rms z of the power, z drawn for each exposure, for the photodiode too",
    "laser.drift_per_exposure": "factor 1 + drift t of the power, 0 where that is below",
    "laser.coherence": "I = c |E|^2 + (1 - c) <|T|^2> sum over cells of |S|^2",
    "modulator.kind": "amplitude by level",
    "modulator.fill_factor": "factor f^2 of the intensity",
    "modulator.off_amplitude": "amplitude of a dark mirror; a lit one has 1",
    "modulator.levels": "level L is step s = L levels // 256",
    "modulator.phase_max_rad": "amplitude exp(i phase_max (s / (levels - 1))^gamma)",
    "modulator.gamma": "as above",
    "modulator.crosstalk": "(1 - c) a + c mean of the neighbours' a; beyond the edge a neighbour is like the pixel",
    "modulator.flicker_rad_rms": "phase_max + rms z, z drawn for each exposure",
    "modulator.settle_s": "(1 - e) new pattern + e old one; e = mean of exp(-time / settle) over the exposure",
    "modulator.warm_up_rad": "angle warm_up (1 - exp(-t / exposures)) of the medium",
    "modulator.warm_up_exposures": "as above",
    "medium.kind": "which matrix; see [media](media.md)",
    "medium.file": "the matrix",
    "medium.throughput": "electrons",
    "medium.entry_bits": "rounding of the matrix",
    "medium.grain_px": "correlation of neighbouring pixels",
    "medium.layers": "the matrix",
    "medium.oversampling": "the matrix",
    "medium.drift_rad_per_exposure": "angle drift t of the medium",
    "medium.vibration_rad_rms": "angle rms z of the medium, z drawn for each exposure",
    "camera.full_well_e": "limit, and gain: at analog gain 1 it fills the ADC",
    "camera.read_noise_e": "normal, for each pixel",
    "camera.quantum_efficiency": "electrons",
    "camera.dark_signal_e_per_s": "added to the mean, with shot noise",
    "camera.dark_reference_c": "dark signal times 2^((temperature - reference) / doubling)",
    "camera.dark_doubling_k": "as above",
    "camera.temperature_c": "as above",
    "camera.black_level_share": "offset, taken from the ADC's range",
    "camera.analog_gain": "DN per electron",
    "camera.normal_from_e": "shot noise is normal from this mean on, else Poisson",
    "camera.prnu_rms": "factor 1 + rms z of a pixel's light, z drawn once",
    "camera.dsnu_e_rms": "offset rms z of a pixel, after shot noise, z drawn once",
    "camera.hot_pixel_share": "which pixels are hot, drawn once",
    "camera.hot_pixel_e_per_s": "more dark signal of hot pixels, same law, with shot noise",
    "camera.dead_pixel_share": "factor 0 of a pixel's light, drawn once",
    "photodiode.full_scale_w": "reading = 4095 power / full scale + offset + noise",
    "photodiode.noise_rms_dn": "noise, in quadrature with shot noise",
    "photodiode.offset_dn": "reading",
    "photodiode.full_scale_a": "photocurrent I, for its shot noise",
    "photodiode.bandwidth_hz": "shot noise sqrt(2 q I B)",
    "thermometer.temperature_c": "(zero + slope temperature) / reference x 4096",
    "thermometer.zero_v": "as above",
    "thermometer.slope_v_per_k": "as above",
    "thermometer.reference_v": "as above",
}
"""How each parameter enters."""


def _parameters() -> str:
    out = []
    for name, cls in TABLES.items():
        rows: list[list[object]] = []
        for f in dataclasses.fields(cls):
            neutral = [getattr(getattr(NAMED["dmd"], name), f.name)]
            rows.append(
                [f"`{f.name}`", f.metadata["unit"], EFFECTS[f"{name}.{f.name}"], f.metadata["source"], *neutral]
            )
        out.append(f"### `[{name}]`\n\n" + table(["field", "unit", "how it enters", "where from", "in `dmd`"], rows))
    return "\n".join(out)


def _devices(devices: Mapping[str, Described[Checked]]) -> str:
    rows: list[list[object]] = []
    for name, device in devices.items():
        size = f"{device.size[0]} x {device.size[1]} pixels" if device.size else ""
        rows.append([f"**`{name}`**" if name else "", size, device.what])
        for f in dataclasses.fields(device.parameters):
            value = getattr(device.parameters, f.name)
            shown = f"{value:.4g}" if isinstance(value, float) else value
            rows.append(
                [f"`{f.name}`", f"{shown} {'' if f.name == 'kind' else f.metadata['unit']}", device.sources[f.name]]
            )
    return table(["device, field", "value", "source"], rows)


def text() -> str:
    return f"""# The plant

What stands between the panel's pins and the camera's, modelled: laser, modulator, medium, camera, photodiode. Made by
`make docs` from `host/openopu/plants` (parameters, files, named devices); the model is `sim/openopu_sim/plant`. Twin
and RTL run the same model and give the same integers with every effect on (`tests/system/test_plant_effects.py`).

## Which plant

- `plant=dmd` (the default), `plant=phase`: an ideal binary or 0/pi panel before an IMX255 of which gain, full well and
  noise are modelled; all else is off.
- `plant=dlp4500+imx255`, `plant=lcos+imx249+diode`: named parts, `MODULATOR+CAMERA` or `MODULATOR+CAMERA+LASER`; the
  first laser where none is named.
- `plant=PATH`: a plant file, TOML with one table a part. **Every field is required**: what is not known about a bench
  is for whoever describes it to decide.

Write a complete file, with units and sources as comments, and change it:

```python
from openopu.plants import find, save

save("bench.toml", find("dlp4500+imx255"))
```

Your own camera, from its EMVA 1288 sheet:

```python
import dataclasses

from openopu.plants import camera_from_emva, find, save

camera = camera_from_emva(
    snr_max_db=40.2,
    dr_db=70.9,
    quantum_efficiency=0.64,
    gain_dn_per_e=0.38,
    dsnu_e_rms=1.1,
    prnu_rms=0.006,
    dark_signal_e_per_s=3.0,
    temperature_c=45.0,
)
save("bench.toml", dataclasses.replace(find("dlp4500+imx255"), camera=camera))
```

## From a pattern to a number

1. **Steps.** A panel tells `levels` steps apart. Each has a complex amplitude `a` relative to a fully lit pixel. A
   pattern is one mask for each step above 0; the field is `T (a_0 1 + sum of (a_s - a_0) mask_s)`, and crosstalk adds
   its share of each mask's differences between neighbours. Masks are counted over cells: whole numbers, so on an exact
   medium `T mask` is exact, whatever the batch. What is left is elementwise in float32, in a fixed order.
2. **Slow panels.** The field is `(1 - e) new + e old`. `old` is the pattern of the exposure before (of the program
   before, at its start; a panel begins at level 0), not what was left of it. The time that counts is the shot's
   `settle_cycles`, not what the shot waited for the camera. Devices that ask the host for frames (`plant=host`) and
   netlists do not tell it, and refuse slow panels.
3. **Time** is the exposure ID modulo 2^28, `t`: twin, RTL and resumed runs agree on it, and calibrations, whose IDs
   have the upper bits set, see the medium of now. It starts over after 2^28 exposures, nine hours at 8 kHz. The medium
   is `cos(a) T + sin(a) T'` with an independent `T'` and an angle `a` of drift, warm-up and vibration; two moments
   correlate by the cosine of the angle between them. `T'` takes memory (or time) only where something turns.
4. **Light.** Intensity of a pixel: the coherent share interferes, the rest adds the panel's power. Mean electrons are
   photons/s x throughput x fill factor^2 x quantum efficiency x exposure x intensity (1 for a wholly lit panel on
   average) x response + dark signal.
5. **Camera**, as in the emva1288 package's camera: shot noise, read noise, dark offset, full well (nothing spills
   over), gain, black level, rounding, limits of the ADC. Fixed patterns follow the medium's seed and the sensor's
   pixels, not the crop.
6. **Noise** of an exposure is a stream keyed by (noise seed, exposure ID): laser, photodiode, flicker (if there is
   any), vibration (if there is any), then the crop's pixels in raster order, then the others. `noise=off` sets all
   draws to 0; drift, warm-up and fixed patterns stay.

At one moment a complement pair stays exactly linear under all of this but a slow panel: `Device.exact_matrix` is its
matrix at the next exposure, without noise, and is not there where `settle_s` is above 0.

## Parameters

`t`: time; `z`: a standard normal deviate.

{_parameters()}
## Named devices

*chosen*: no source; plausible, and to be replaced by a fit to your bench. A plant of named parts has the medium of
`dmd` (of `phase`, with its throughput, for a phase panel).

### Modulators

{_devices(MODULATORS)}
### Cameras

{_devices(CAMERAS)}
### Lasers

{_devices(LASERS)}
### Photodiode

{_devices({"": PHOTODIODE})}
## What it costs

`.venv/bin/python tools/speed_of_plants.py`: CPU time of the twin's optics for a projection of 256 modes on 1,024
outputs, 4 shots, noise on, `dense` medium, beside `dmd` in the same run (0.39 to 0.55 ms on a busy machine of two
cores, two runs): `phase` 0.9 to 1.0 x, `dlp4500+imx255` 1.2 to 1.5 x, `dlp4500+imx255+diode` 1.4 x, `lcos+imx255` 2.2
to 2.5 x. A medium that turns takes a second product, crosstalk one to four (four where a macropixel is one pixel), a
slow panel the field of the pattern before. Frames on the bench cost the same products, one at a time.

## Checked

- `tests/sim/test_emva1288.py`: the EMVA 1288 reference implementation recovers gain, quantum efficiency, dark noise,
  DSNU and PRNU from our frames within 2 %, of what was set and of what it recovers from its own simulated camera; the
  photon transfer curve within 1 % and the signal-to-noise ratio along it within 2.5 % a point, 0.5 % on average. (Its
  camera cuts dark noise at 0 electrons before its black level, and rounds twice; the test says how it is set.)
- `tests/sim/test_plant_effects.py`: with random parameters, frames and batches of any size give the same integers, a
  frame is the formulas of this page in double precision, and a complement pair is its matrix.
- `tests/system/test_plant_effects.py`: everything on, twin against the RTL in Verilator.
"""
