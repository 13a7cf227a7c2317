"""The plant: laser, modulator, medium, camera and photodiode, in this order.

Light: a fully lit panel pixel has amplitude 1; ``S`` sums amplitudes over each cell, ``E = T S`` is the
field at a sensor pixel in units in which a wholly lit panel gives a mean intensity of 1 after division
by ``<|T|**2> k**2 N`` (``N`` panel pixels, ``k`` pixels along a macropixel). A pixel's mean in electrons is
then

    photons/s of the laser x throughput x quantum efficiency x exposure x intensity + dark signal.

Noise is drawn for each exposure from a stream keyed by (noise seed, exposure ID), in this order: the
laser's relative intensity, the photodiode's reading, the crop's pixels in raster order, the others.
So whoever needs only the crop draws only the crop, and gets the same integers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openopu.plants import DMD, PlantParameters
from openopu_rtl.protocol import Geometry

from .camera import Camera
from .cells import Cells
from .laser import Laser
from .media import THREADS, Dense, refuse_too_large
from .modulator import Modulator
from .noise import NoiseStreams
from .photodiode import Photodiode
from .thermometer import Thermometer

Reals = NDArray[np.float32]
Draws = tuple[np.random.Generator, float, float]

GEMM_ELEMENTS = 1 << 22
"""Elements of one product of a batch: large enough for the BLAS's full speed."""
GEMM_ROWS = 512
"""Most rows of one product: beyond, they bring no speed."""
CHUNK_PIXELS = 1 << 15
"""Pixels that one thread works on at a time: float32 buffers of them stay in the second-level cache."""


@dataclass(frozen=True)
class Illumination:
    """One shot as the optics sees it. Levels are those on the panel, after level table and inversion."""

    plane: int | None
    """Bit plane that is shown, or None: all modes 0."""
    level_on: int
    """Level of a mode whose bit is 1."""
    level_off: int
    level_anchor: int
    level_border: int
    exposure_cycles: int


class Plant:
    """Parameters: geometry and parameters of the parts; seeds of medium and noise (0 to 2**64 - 1); whether there is
    noise; frequency in Hz of the clock that exposures are counted in.

    Raises :class:`openopu.errors.UsageError` for a geometry whose medium would be too large.
    """

    def __init__(
        self,
        geometry: Geometry | None = None,
        parameters: PlantParameters = DMD,
        *,
        seed: int = 1,
        noise_seed: int = 1,
        noise: bool = True,
        clock_hz: int = 48_000_000,
    ) -> None:
        self.geometry = g = geometry or Geometry()
        refuse_too_large(g)
        self.parameters = parameters
        self.noise = noise
        self.noise_seed = noise_seed
        self._streams = NoiseStreams(noise_seed)
        self.clock_hz = clock_hz
        self.laser = Laser(parameters.laser)
        self.modulator = Modulator(parameters.modulator)
        self.cells = Cells(g)
        self.medium = Dense(g, self.cells, seed, parameters.medium.entry_bits)
        self.camera = Camera(parameters.camera, g.pixel_bits)
        self.photodiode = Photodiode(parameters.photodiode)
        self.thermometer = Thermometer(parameters.thermometer)
        # Electrons per second and watt at an intensity |E|**2 of 1 in the medium's units.
        unit = self.medium.power * g.macropixel**2 * g.slm_width * g.slm_height
        self._rate = (
            self.laser.photons_per_s(1.0) * parameters.medium.throughput * parameters.camera.quantum_efficiency / unit
        )
        self._regions: list[tuple[Reals, Reals]] = []
        self._fields: Reals | None = None
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="plant")

    # One exposure, from a frame on the panel.

    def expose_frame(
        self, levels: NDArray[np.uint8], exposure_id: int, exposure_cycles: int, laser_code: int
    ) -> tuple[NDArray[np.uint16], int]:
        """What the camera and the photodiode see of one exposure.

        Parameters
        ----------
        levels : (slm_height, slm_width) uint8, on the panel during the exposure.
        exposure_id : keys the noise.
        exposure_cycles : length of the exposure in clock cycles.
        laser_code : code of the power DAC, 0 to 4095; 0 while the laser is off.

        Returns
        -------
        frame : (camera_height, camera_width) uint16, DN.
        monitor : reading of the photodiode's ADC, DN.
        """
        g, medium = self.geometry, self.medium
        amplitudes = self.cells.sums(self.modulator.amplitudes(levels))
        pixels = np.empty((1, g.camera_height * g.camera_width), dtype=np.float32)
        np.matmul(amplitudes, medium.real, out=pixels[0])
        self._to_intensity(pixels, amplitudes @ medium.imag)
        draws = self._draws(exposure_id)
        gain, monitor = self._light(draws, exposure_cycles, laser_code)
        self._to_electrons(pixels, np.array([[gain]], dtype=np.float32), exposure_cycles)
        streams = [draws[0]] if draws else None
        for part in (pixels[:, : medium.crop_pixels], pixels[:, medium.crop_pixels :]):
            self.camera.digitise(part, streams)
        frame = np.empty(pixels.size, dtype=np.uint16)
        frame[medium.pixel_order] = pixels[0].astype(np.uint16)
        return frame.reshape(g.camera_height, g.camera_width), monitor

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int:
        """What the photodiode's ADC reads during an exposure, DN; None: between exposures, without noise."""
        draws = None if exposure_id is None else self._draws(exposure_id)
        return self._light(draws, 0, laser_code)[1]

    def temperature_reading(self) -> int:
        """What the thermometer's ADC reads, DN."""
        return self.thermometer.reading()

    # Many exposures, from bit planes.

    def expose_batch(
        self,
        planes: NDArray[np.uint8],
        shots: Sequence[Illumination],
        first_exposures: NDArray[np.integer],
        laser_code: int,
        reduce: Callable[[NDArray[np.uint16]], NDArray[np.int32]],
        outputs: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """The crops of ``len(planes)`` projections of ``len(shots)`` exposures each, reduced. One caller at a time.

        Parameters
        ----------
        planes : (projections, planes, modes) of 0 and 1.
        shots : the program. Exposure i of a projection has the ID ``first + i`` modulo 2**32.
        first_exposures : (projections,) IDs of each projection's first exposure.
        laser_code : as in :meth:`expose_frame`.
        reduce : maps crops (k, crop_height, crop_width) uint16 to (k, outputs) int32; it is called in
            several threads.
        outputs : length of a reduced crop.

        Returns
        -------
        reduced : (projections, shots, outputs) int32.
        monitors : (projections, shots) uint16, readings of the photodiode.
        """
        count = len(planes)
        reduced = np.empty((count, len(shots), outputs), dtype=np.int32)
        monitors = np.empty((count, len(shots)), dtype=np.uint16)
        statics = [self._static_field(shot) for shot in shots]
        shown = sorted({shot.plane for shot in shots if shot.plane is not None})
        pixels, modes = self.medium.crop_pixels, self.geometry.modes
        at_once = max(1, min(GEMM_ELEMENTS // pixels, GEMM_ROWS) // max(1, len(shown)))
        group = max(1, CHUNK_PIXELS // pixels)
        full = np.float32(self.geometry.macropixel**2)
        for start in range(0, count, at_once):
            stop = min(start + at_once, count)
            amplitudes = planes[start:stop, shown].astype(np.float32).reshape(-1, modes) * full
            shape = (stop - start, len(shown), pixels)
            fields = self._products(amplitudes)
            shape = (stop - start, len(shown), pixels)

            def work(
                task: tuple[int, int],
                start: int = start,
                stop: int = stop,
                fields: tuple[Reals, Reals] = fields,
                shape: tuple[int, ...] = shape,
            ) -> None:
                s, low = task
                high = min(low + group, stop)
                shot = shots[s]
                step = self.modulator.amplitude(shot.level_on) - self.modulator.amplitude(shot.level_off)
                signal = None
                if shot.plane is not None and step:
                    rows, plane = slice(low - start, high - start), shown.index(shot.plane)
                    signal = (fields[0].reshape(shape)[rows, plane], fields[1].reshape(shape)[rows, plane])
                ids = [(int(first) + s) & 0xFFFFFFFF for first in first_exposures[low:high]]
                crops, seen = self._expose_group(signal, step, statics[s], ids, shot.exposure_cycles, laser_code)
                reduced[low:high, s] = reduce(crops)
                monitors[low:high, s] = seen

            tasks = [(s, low) for low in range(start, stop, group) for s in range(len(shots))]
            list(self._pool.map(work, tasks))
        return reduced, monitors

    def _products(self, amplitudes: Reals) -> tuple[Reals, Reals]:
        """Fields of the signal's modes at the crop, real and imaginary, in buffers that the next call overwrites."""
        shape = (len(amplitudes), self.medium.crop_pixels)
        if self._fields is None or self._fields.shape[1] < shape[0]:
            self._fields = np.empty((2, *shape), dtype=np.float32)
        real, imag = self._fields[0, : shape[0]], self._fields[1, : shape[0]]
        for part, out in ((self.medium.real, real), (self.medium.imag, imag)):
            np.matmul(amplitudes, part[: self.geometry.modes, : shape[1]], out=out)
        return real, imag

    def _expose_group(
        self,
        signal: tuple[Reals, Reals] | None,
        step: int,
        static: tuple[Reals, Reals] | None,
        ids: Sequence[int],
        cycles: int,
        laser_code: int,
    ) -> tuple[NDArray[np.uint16], list[int]]:
        g = self.geometry
        shape = (len(ids), self.medium.crop_pixels)
        buffers = self._buffers(shape)
        pixels, imag = buffers
        for part, out in enumerate(buffers):
            _field(signal[part] if signal else None, step, static[part] if static else None, out)
        self._to_intensity(pixels, imag)
        draws = [self._draws(exposure, slot) for slot, exposure in enumerate(ids)]
        light = [self._light(draw, cycles, laser_code) for draw in draws]
        self._to_electrons(pixels, np.array([[gain] for gain, _ in light], dtype=np.float32), cycles)
        streams = [draw[0] for draw in draws if draw] if self.noise else None
        self.camera.digitise(pixels, streams, imag)
        crops = pixels.astype(np.uint16).reshape(len(ids), g.crop_height, g.crop_width)
        return crops, [monitor for _, monitor in light]

    def _buffers(self, shape: tuple[int, int]) -> tuple[Reals, Reals]:
        """Two buffers of this thread."""
        held: tuple[Reals, Reals] | None = getattr(self._local, "held", None)
        if held is None or held[0].size < shape[0] * shape[1]:
            held = (np.empty(shape[0] * shape[1], dtype=np.float32), np.empty(shape[0] * shape[1], dtype=np.float32))
            self._local.held = held
        size = shape[0] * shape[1]
        return held[0][:size].reshape(shape), held[1][:size].reshape(shape)

    # Steps that both entries share, so that they cannot differ.

    def _draws(self, exposure_id: int, slot: int = 0) -> Draws | None:
        """Stream of one exposure, and the deviates of laser and photodiode; None without noise."""
        if not self.noise:
            return None
        stream = self._streams.start(exposure_id, slot)
        laser, monitor = stream.standard_normal(2).tolist()
        return stream, laser, monitor

    def _light(self, draws: Draws | None, cycles: int, laser_code: int) -> tuple[float, int]:
        """Electrons per unit of ``|E|**2`` of one exposure, and the reading of the photodiode."""
        _, laser, monitor = draws or (None, 0.0, 0.0)
        power_w = self.laser.power_w(laser_code, laser)
        return self._rate * power_w * cycles / self.clock_hz, self.photodiode.reading(power_w, monitor)

    @staticmethod
    def _to_intensity(real: Reals, imag: Reals) -> None:
        """``real`` becomes ``|E|**2``; ``imag`` is overwritten. Three products and sums, none of them fused."""
        np.multiply(real, real, out=real)
        np.multiply(imag, imag, out=imag)
        real += imag

    def _to_electrons(self, intensity: Reals, gains: Reals, cycles: int) -> None:
        intensity *= gains
        intensity += np.float32(self.camera.dark_e(cycles / self.clock_hz))

    # Fields of the regions.

    def _static_field(self, shot: Illumination) -> tuple[Reals, Reals] | None:
        """Field at the crop of everything that does not depend on a bit, or None where it is dark."""
        if not self._regions:
            mode_pixels = np.zeros(self.cells.count, dtype=np.float32)
            mode_pixels[: self.geometry.modes] = self.geometry.macropixel**2
            for weights in (mode_pixels, self.cells.anchor(), self.cells.border()):
                crop = slice(self.medium.crop_pixels)
                self._regions.append((weights @ self.medium.real[:, crop], weights @ self.medium.imag[:, crop]))
        levels = (shot.level_off, shot.level_anchor, shot.level_border)
        lit = [(self.modulator.amplitude(level), region) for level, region in zip(levels, self._regions, strict=True)]
        lit = [(amplitude, region) for amplitude, region in lit if amplitude]
        if not lit:
            return None
        real, imag = (sum(np.float32(a) * region[part] for a, region in lit) for part in (0, 1))
        return np.asarray(real, dtype=np.float32), np.asarray(imag, dtype=np.float32)

    def effective_matrix(self, shot: Illumination, laser_code: int) -> NDArray[np.float64]:
        """The exact linear map of a complement pair.

        Returns
        -------
        (outputs, modes) float64, ``A`` in DN: the difference of the two frames of a pair that shows ``s`` in
        {-1, +1} is ``A @ s``, without noise and before full well, rounding and the ADC's limits.
        """
        g, medium = self.geometry, self.medium
        on, off = self.modulator.amplitude(shot.level_on), self.modulator.amplitude(shot.level_off)
        static = self._static_field(shot)
        gain = self._rate * self.laser.power_w(laser_code) * shot.exposure_cycles / self.clock_hz
        dn = gain * self.camera.dn_per_e
        matrix = np.zeros((g.outputs, g.modes))
        for part, field, everything in (
            (medium.real, static[0] if static else None, self._regions[0][0]),
            (medium.imag, static[1] if static else None, self._regions[0][1]),
        ):
            # E(s) = centre + (on - off)/2 T s, so I(s) - I(-s) = 2 (on - off) Re(conj(centre) T s).
            centre = (on - off) / 2 * everything.astype(np.float64)
            if field is not None:
                centre += field
            centre *= 2.0 * (on - off) * g.macropixel**2 * dn
            rows = g.outputs_x * g.bin * g.bin
            for y in range(g.outputs_y):
                pixels = slice(y * rows, (y + 1) * rows)
                terms = part[: g.modes, pixels] * centre[pixels]
                binned = terms.reshape(g.modes, g.bin, g.outputs_x, g.bin).sum(axis=(1, 3))
                matrix[y * g.outputs_x : (y + 1) * g.outputs_x] += binned.T
        return matrix

    def close(self) -> None:
        """End the threads. May be called twice."""
        self._pool.shutdown()


def _field(signal: Reals | None, step: int, static: Reals | None, out: Reals) -> None:
    """``out`` becomes ``static + step * signal``, in which every intermediate value is an exact integer."""
    if signal is None:
        out[:] = 0.0 if static is None else static
    elif static is None:
        np.multiply(signal, np.float32(step), out=out)
    elif step == 1:
        np.add(static, signal, out=out)
    elif step == -1:
        np.subtract(static, signal, out=out)
    else:
        np.multiply(signal, np.float32(step), out=out)
        out += static
