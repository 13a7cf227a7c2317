"""Every effect of the plant: that frame and batch agree on it, whatever the parameters, and that it does what it says."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu.plants import DMD, PHASE, PlantParameters
from openopu_rtl import binner, expander
from openopu_rtl.protocol import Geometry
from openopu_sim.plant import Illumination, Plant
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
    "settle_s": maybe(st.floats(1e-6, 1e-3)),
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
    "kind": st.just("dense"),
}
PHASE_ONLY = {
    "levels": st.integers(2, 256),
    "phase_max_rad": st.floats(0.0, 7.0),
    "gamma": st.floats(0.3, 3.0),
    "flicker_rad_rms": maybe(st.floats(0.01, 0.3)),
}


@st.composite
def plants(draw) -> PlantParameters:
    common = {k: draw(v) for k, v in COMMON.items() if k != "kind"}
    kind = draw(st.sampled_from(["dense", "counter", "diffuser"]))
    if draw(st.booleans()):
        parameters = changed(DMD, **common, off_amplitude=draw(maybe(st.floats(0.001, 0.5))))
    else:
        parameters = changed(PHASE, **common, **{k: draw(v) for k, v in PHASE_ONLY.items()})
    return dataclasses.replace(parameters, medium=dataclasses.replace(parameters.medium, kind=kind))


SHOT = st.builds(
    Illumination,
    st.sampled_from([None, 0, 1]), LEVEL, LEVEL, LEVEL, LEVEL, st.sampled_from([1, 300, 2000]), st.integers(0, 3000),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(plants(), st.lists(SHOT, min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_frames_and_batches_agree_whatever_the_parameters(parameters, shots, noise, first, macropixel):
    geometry = TINY if macropixel > 2 else Geometry.fitting(16, 16, macropixel=macropixel)
    one, other = (Plant(geometry, parameters, seed=2, noise=noise, noise_seed=first) for _ in range(2))
    planes = np.random.default_rng(first).integers(0, 2, (4, 2, geometry.modes)).astype(np.uint8)
    ids = [(first + i * len(shots)) % 2**32 for i in range(4)]
    # Two calls, so that the second begins with what the first has shown last.
    for rows in (slice(0, 3), slice(3, 4)):
        seen, monitors = batch(one, planes[rows], shots, ids[rows], 3000)
        want, wanted = frames_of(other, planes[rows], shots, ids[rows], 3000)
        np.testing.assert_array_equal(seen, want)
        np.testing.assert_array_equal(monitors, wanted)
    one.close()
    other.close()
