"""Keys of a device URL that ``twin:`` and ``rtl:`` both understand: geometry and plant.

=============  ==========================================================================================
key            meaning
=============  ==========================================================================================
n, m           modes and outputs; the geometry is made to fit (:meth:`Geometry.fitting`)
bits           bits of a sensor pixel: 8, 10 or 12
geometry       a named geometry instead of ``n`` and ``m``: see ``openopu_rtl.protocol.geometry.PRESETS``
any field of   that field of the geometry, as an integer: ``store_bytes=65536``
``Geometry``
plant          the optics: a named plant (``dmd``, the default, or ``phase``), named parts (``dlp4500+imx255``,
               see :mod:`openopu.plants.devices`) or a plant file; or where frames come from without optics:
               ``chip``, the medium in the gateware, or (``rtl:``) ``host``, see :mod:`openopu.injection`
optics         with ``plant=host``: the plant, as above
noise          on (default) or off: mean values, still rounded by the ADC
seed           of the medium, default 1
noise_seed     of the noise, default 1
sensor         model behind the I2C: see :meth:`openopu_sim.sensor.SensorSettings.named`; default ``mt9v034``
=============  ==========================================================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from openopu.errors import UrlError
from openopu.injection import PLANT_KEYS
from openopu.panel import Panel
from openopu.plants import find
from openopu.plants.devices import refuse_too_large
from openopu.plants.file import is_file
from openopu.session import check_plant
from openopu.url import DeviceUrl
from openopu_rtl.protocol import Geometry, GeometryError
from openopu_rtl.protocol.geometry import PRESETS

from .plant import ChipPlant, Plant, PlantParameters
from .plant.modulator import Modulator
from .sensor import DEFAULT_SENSOR, SensorSettings

GEOMETRY_FIELDS = tuple(f.name for f in dataclasses.fields(Geometry))
GEOMETRY_KEYS = ("n", "m", "bits", "geometry", *GEOMETRY_FIELDS)
KEYS = (*GEOMETRY_KEYS, *PLANT_KEYS, "sensor")
"""Every key of this module, for :meth:`DeviceUrl.refuse_unknown`."""

SIMULATION_CLOCK_HZ = 48_000_000
"""System clock of the simulated device, that exposures are counted in."""


def geometry_of(url: DeviceUrl) -> Geometry:
    """The geometry that a URL asks for. Raises :class:`UrlError`."""
    fields = {name: url.get_int(name, 0) for name in GEOMETRY_FIELDS if name in url.parameters}
    name = url.parameters.get("geometry")
    if "bits" in url.parameters:
        if "pixel_bits" in fields:
            raise UrlError("`bits` and `pixel_bits` are the same", str(url), "Give one of them")
        fields["pixel_bits"] = url.get_int("bits", 8)
    try:
        if name is None:
            n, m = url.get_int("n", 256, 1, 1 << 20), url.get_int("m", 1024, 1, 1 << 20)
            return Geometry.fitting(n, m, **fields)
        if name not in PRESETS:
            raise UrlError(
                f"there is no geometry `{name}`", str(url), f"Take one of: {', '.join(PRESETS)}, or n= and m="
            )
        geometry = dataclasses.replace(PRESETS[name], **fields)
    except GeometryError as error:
        raise UrlError(f"this geometry cannot be built: {error}", str(url), "Change n, m or the field named") from None
    for key, is_ in (("n", geometry.modes), ("m", geometry.outputs)):
        if url.get_int(key, is_, 1, 1 << 20) != is_:
            raise UrlError(f"geometry `{name}` has {key} = {is_}", str(url), f"Leave out `{key}=` or `geometry=`")
    return geometry


def sensor_of(url: DeviceUrl) -> SensorSettings:
    """The model of a sensor that a URL asks for. Raises :class:`openopu.errors.UsageError`."""
    return SensorSettings.named(url.parameters.get("sensor", DEFAULT_SENSOR.name))


def plant_source_of(url: DeviceUrl, geometry: Geometry | None = None) -> str:
    """Name of the value of ``plant_source`` that a URL asks for, for a device of this geometry, where it is known.

    Raises :class:`UrlError`.
    """
    if geometry is not None:
        check_plant(url, geometry)
    name = url.parameters.get("plant", "")
    source = name if name in ("host", "chip") else "camera"
    if "optics" in url.parameters and source != "host":
        raise UrlError("`optics=` goes with plant=host", str(url), "Name the optics by `plant=`")
    return source


def parameters_of(url: DeviceUrl) -> PlantParameters:
    """The plant's parameters that a URL asks for. Raises :class:`UrlError` or :class:`PlantFileError`."""
    return find(_name(url))


def check_size(url: DeviceUrl, geometry: Geometry) -> None:
    """Raise :class:`PlantFileError` where a URL names devices that are too small for the geometry."""
    g = geometry
    refuse_too_large(_name(url), (g.slm_width, g.slm_height), (g.camera_width, g.camera_height))


def _name(url: DeviceUrl) -> str:
    return url.parameters.get(_key(url), "dmd")


def _key(url: DeviceUrl) -> str:
    """Of the URL, which names the optics."""
    return "plant" if plant_source_of(url) == "camera" else "optics"


def panel_of(url: DeviceUrl) -> Panel:
    """The panel before the optics that a URL asks for. Raises :class:`openopu.errors.UsageError`."""
    if plant_source_of(url) == "chip":
        return ChipPlant.panel
    return Modulator(parameters_of(url).modulator).panel


def plant_of(url: DeviceUrl, geometry: Geometry, clock_hz: int = SIMULATION_CLOCK_HZ) -> Plant:
    """The plant that a URL asks for. Raises :class:`openopu.errors.UsageError`."""
    check_size(url, geometry)
    return Plant(
        geometry,
        parameters_of(url),
        seed=url.get_int("seed", 1, 0, (1 << 64) - 1),
        noise_seed=url.get_int("noise_seed", 1, 0, (1 << 64) - 1),
        noise=url.get_switch("noise", True),
        clock_hz=clock_hz,
    )


def optical_model(geometry: Geometry, options: Mapping[str, str], clock_hz: int) -> Plant:
    """The optics of a device whose frames come from the host; see :mod:`openopu.injection`.

    Raises :class:`UrlError` for a slow panel: patterns come without the time that they have settled for.
    """
    url = DeviceUrl("plant", "", {"plant": "host", **options})
    refuse_slow(url, "a device that asks the host for its frames")
    return plant_of(url, geometry, clock_hz)


def refuse_slow(url: DeviceUrl, who: str) -> None:
    """Raise :class:`UrlError` where ``url`` asks for a panel that is slow, and ``who`` cannot know its time."""
    if settle_s := parameters_of(url).modulator.settle_s:
        raise UrlError(
            f"{who} does not tell how long a pattern has settled", str(url),
            f"Take a plant with settle_s = 0 (this one has {settle_s:g}), or twin: or rtl: without `netlist=`",
        )  # fmt: skip


def plant_options(url: DeviceUrl) -> dict[str, str]:
    """Those keys of a URL that describe the plant, checked, for :func:`plant_from_options`."""
    parameters_of(url)
    for key in ("seed", "noise_seed"):
        url.get_int(key, 1, 0, (1 << 64) - 1)
    url.get_switch("noise", True)
    options = {key: value for key, value in url.parameters.items() if key in PLANT_KEYS}
    key = _key(url)
    if key in options and is_file(options[key]):
        options[key] = str(Path(options[key]).resolve())  # who reads it works in another folder
    return options


def plant_from_options(geometry: Geometry, options: Mapping[str, str], clock_hz: int = SIMULATION_CLOCK_HZ) -> Plant:
    """The plant of :func:`plant_options`."""
    url = DeviceUrl("plant", "", dict(options))
    url.refuse_unknown(PLANT_KEYS)
    return plant_of(url, geometry, clock_hz)
