"""The plant: laser, modulator, medium, camera and photodiode, in this order.

Light: a fully lit panel pixel has amplitude 1; ``S`` sums amplitudes over each cell, ``E = T S`` is the
field at a sensor pixel in units in which a wholly lit panel gives a mean intensity of 1 after division
by ``<|T|**2> k**2 N`` (``N`` panel pixels, ``k`` pixels along a macropixel). A pixel's mean in electrons is
then

    photons/s of the laser x throughput x fill factor**2 x quantum efficiency x exposure x intensity x response + dark.

Of the light's intensity the share that is coherent is ``|E|**2``, the other ``<|T|**2> sum |S|**2``. The medium turns
as ``cos(a) T + sin(a) T'``, with ``T'`` independent of ``T`` and an angle that grows with time and trembles; time is
counted in exposures (:mod:`.light`). docs/plant.md lists every effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from openopu.memory import shortage
from openopu.plants import DMD, PlantParameters
from openopu_rtl.protocol import Geometry

from .batch import Exposer
from .camera import Camera, FixedPattern
from .fields import Fields, Pattern
from .laser import Laser
from .light import Illumination, Light
from .matrix import effective_matrix
from .media import MEMORY_SHARE
from .modulator import Modulator
from .thermometer import Thermometer


class Plant:
    """Parameters: geometry and parameters of the parts; seeds of medium (and of the sensor's fixed pattern) and noise
    (0 to 2**64 - 1); whether there is noise; frequency in Hz of the clock that exposures are counted in.

    A plant remembers the pattern that it has shown last: the next one fades in, if its panel is slow.

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
        self.parameters = parameters
        self.noise = noise
        self.noise_seed = noise_seed
        self.clock_hz = clock_hz
        self.modulator = Modulator(parameters.modulator)
        self.panel = self.modulator.panel
        self.fields = Fields(g, parameters, self.modulator, seed)
        self.cells = self.fields.cells
        self.medium = medium = self.fields.media[0]
        fixed = FixedPattern.draw(parameters.camera, medium.pixels, seed).ordered(medium.pixel_order)
        self.camera = Camera(parameters.camera, g.pixel_bits, fixed)
        self.thermometer = Thermometer(parameters.thermometer)
        self.light = Light(parameters, self._electrons_per_j(), noise_seed, noise, clock_hz)
        self._exposer = Exposer(self.fields, self.light, self.camera)
        self._shown: Pattern = {}
        self._latest = 0

    def _electrons_per_j(self) -> float:
        """Electrons per joule of the laser at an intensity ``|E|**2`` of 1 in the medium's units."""
        g, p = self.geometry, self.parameters
        unit = self.medium.power * g.macropixel**2 * g.slm_width * g.slm_height
        rate = Laser(p.laser).photons_per_s(1.0) * p.medium.throughput * p.camera.quantum_efficiency / unit
        return rate * p.modulator.fill_factor**2

    # One exposure, from a frame on the panel.

    def expose_frame(
        self,
        levels: NDArray[np.uint8],
        exposure_id: int,
        exposure_cycles: int,
        laser_code: int,
        settle_cycles: int = 0,
    ) -> tuple[NDArray[np.uint16], int]:
        """What the camera and the photodiode see of one exposure.

        Parameters
        ----------
        levels : (slm_height, slm_width) uint8, on the panel during the exposure.
        exposure_id : keys the noise, and is the time.
        exposure_cycles : length of the exposure in clock cycles.
        laser_code : code of the power DAC, 0 to 4095; 0 while the laser is off.
        settle_cycles : from the pattern's change to the exposure's begin.

        Returns
        -------
        frame : (camera_height, camera_width) uint16, DN.
        monitor : reading of the photodiode's ADC, DN.
        """
        g, medium, camera = self.geometry, self.medium, self.camera
        moment = self.light.moment(exposure_id, exposure_cycles, settle_cycles, laser_code)
        pattern = self.fields.of_frame(levels)
        pixels = self.fields.intensity(pattern, self._shown, moment, crop=False)
        self._remember(pattern, exposure_id)
        pixels *= np.float32(moment.rate)
        camera.collect(pixels, exposure_cycles / self.clock_hz)
        streams = [moment.stream] if moment.stream else None
        for part in (slice(medium.crop_pixels), slice(medium.crop_pixels, None)):
            camera.digitise(pixels[:, part], streams, part=part)
        frame = np.empty(pixels.size, dtype=np.uint16)
        frame[medium.pixel_order] = pixels[0].astype(np.uint16)
        return frame.reshape(g.camera_height, g.camera_width), moment.monitor

    def monitor_reading(self, exposure_id: int | None, laser_code: int) -> int:
        """What the photodiode's ADC reads during an exposure, DN; None: between exposures, without noise."""
        quiet = exposure_id is None
        return self.light.monitor(self._latest if exposure_id is None else exposure_id, laser_code, quiet=quiet)

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
        exposed = self._exposer.expose(planes, shots, first_exposures, laser_code, reduce, outputs, self._shown)
        if len(planes):
            last = shots[-1]
            exposure = (int(first_exposures[-1]) + len(shots) - 1) & 0xFFFFFFFF
            pattern = self.fields.of_shot(last, planes[-1, last.plane or 0]) if self.light.settles else {}
            self._remember(pattern, exposure)
        return exposed

    def _remember(self, pattern: Pattern, exposure_id: int) -> None:
        self._latest = exposure_id
        if self.light.settles:
            self._shown = pattern

    # The linear map of a pair.

    @property
    def pair_is_linear(self) -> bool:
        """Whether there is an :meth:`effective_matrix`, and room for it: not where a pattern still shows the one
        before, which need not be its complement."""
        needed = 16 * self.geometry.modes * self.geometry.outputs
        return not self.light.settles and shortage(needed, MEMORY_SHARE) is None

    def effective_matrix(self, shot: Illumination, laser_code: int, exposure_id: int = 0) -> NDArray[np.float64]:
        """The exact linear map of a complement pair at the time of an exposure; see :attr:`pair_is_linear`.

        Returns
        -------
        (outputs, modes) float64, ``A`` in DN: the difference of the two frames of a pair that shows ``s`` in
        {-1, +1} is ``A @ s``, without noise (that of vibration and flicker included) and before full well, rounding
        and the ADC's limits.
        """
        return effective_matrix(self.fields, self.light, self.camera, shot, laser_code, exposure_id)

    def close(self) -> None:
        """End the threads. May be called twice."""
        self._exposer.close()
