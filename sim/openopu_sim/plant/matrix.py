"""The linear map of a complement pair.

A pair shows ``b = (1 + s) / 2`` and its complement. Its fields are ``C + H s`` and ``C - H s``, its intensities differ
by ``4 Re(conj(C) H) s``, pixel by pixel, whatever the panel's amplitudes; so do sums of the panel's own power, of light
that does not interfere.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .camera import Camera
from .fields import Fields
from .light import Illumination, Light

BLOCK_ELEMENTS = 1 << 22
"""Entries of the transmission matrix that are held at a time."""


def effective_matrix(
    fields: Fields, light: Light, camera: Camera, shot: Illumination, laser_code: int, exposure_id: int
) -> NDArray[np.float64]:
    """See :meth:`Plant.effective_matrix`."""
    g = fields.geometry
    moment = light.moment(exposure_id, shot.exposure_cycles, 0, laser_code, quiet=True)
    moment, shot = dataclasses.replace(moment, stale=0.0), dataclasses.replace(shot, plane=0)
    ends = [fields.of_shot(shot, np.full(g.modes, bit, dtype=np.uint8)) for bit in (1, 0)]
    both = [fields.field(end, end, moment, crop=True) for end in ends]
    centre = sum(real[0].astype(np.float64) + 1j * imag[0] for real, imag in both) / 2
    amplitude = fields.modulator.amplitude
    on, off = (amplitude(fields.modulator.step(level)) for level in (shot.level_on, shot.level_off))
    response = np.ones(len(centre)) if camera.fixed.response is None else camera.fixed.response[: len(centre)]
    scale = moment.rate * camera.dn_per_e * response.astype(np.float64)
    pixel = 2.0 * fields.coherence * scale * np.conj(centre) * (on - off)
    matrix = np.empty((g.outputs, g.modes))
    step = max(1, BLOCK_ELEMENTS // len(centre))
    for first in range(0, g.modes, step):
        stop = min(first + step, g.modes)
        terms = (fields.columns(first, stop, moment) * pixel).real
        binned = terms.reshape(stop - first, g.outputs_y, g.bin, g.outputs_x, g.bin).sum(axis=(2, 4))
        matrix[:, first:stop] = binned.reshape(stop - first, -1).T
    if not fields.coherent:
        power = sum(fields.emitted(end, end, moment).astype(np.complex128) for end in ends) / 2
        own = 2.0 * (fields.seen_by_modes(np.conj(power)) * (on - off)).real * fields.incoherent_power
        matrix += scale.reshape(g.outputs_y, g.bin, g.outputs_x, g.bin).sum(axis=(1, 3)).reshape(-1, 1) * own
    return matrix
