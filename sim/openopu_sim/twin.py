"""The device ``twin:``: a bit-exact model of the gateware, and the plant, in one process.

Keys of the URL: those of :mod:`openopu_sim.options`, and ``interlock=closed`` (default) or ``open``.
With ``plant=chip`` frames come from the medium that a gateware can hold, and there is no laser to arm.
"""

from __future__ import annotations

import time

from openopu.device import Device, Transport
from openopu.errors import LinkLost, UrlError
from openopu.url import DeviceUrl
from openopu_rtl.protocol.registers import PLANT_SOURCES

from .options import KEYS, geometry_of, plant_of, plant_source_of, sensor_of
from .plant import ChipPlant
from .twin_device import TwinDevice


class TwinTransport(Transport):
    """Hands bytes to a :class:`TwinDevice`. What it has queued is executed when the host reads."""

    def __init__(self, device: TwinDevice) -> None:
        self._device: TwinDevice | None = device
        self._out = bytearray()

    def write(self, data: bytes) -> None:
        self._out += self._open().receive(data)

    def read(self, timeout_s: float) -> bytes:
        self._out += self._open().run()
        data = bytes(self._out)
        self._out.clear()
        if not data:
            # Nothing can come until the host writes again; it asked to wait.
            time.sleep(timeout_s)
        return data

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _open(self) -> TwinDevice:
        if self._device is None:
            raise LinkLost("the twin was closed", "twin:", "Open it again")
        return self._device


def open_twin(url: DeviceUrl) -> Device:
    """Open ``twin:``. Raises :class:`openopu.errors.UsageError`."""
    if url.rest:
        raise UrlError(f"`{url.rest}` means nothing here", str(url), "Write `twin:`, and settings behind a `?`")
    url.refuse_unknown((*KEYS, "interlock"))
    closed = url.get("interlock", _closed, True, "open or closed")
    geometry = geometry_of(url)
    source = plant_source_of(url, geometry)
    if source == "host":
        raise UrlError("the twin's optics is on the host already", str(url), "Write plant=dmd, phase, FILE or chip")
    plant = ChipPlant(geometry) if source == "chip" else plant_of(url, geometry)
    twin = TwinDevice(plant, interlock_closed=closed, sensor=sensor_of(url))
    return Device(
        url=url,
        name="twin",
        transport=TwinTransport(twin),
        arms_itself=source != "chip",
        plant_source=PLANT_SOURCES[source],
        realtime=False,
        exact_matrix=twin.exact_matrix if plant.pair_is_linear else None,
        panel=plant.panel,
    )


def _closed(text: str) -> bool:
    if text not in ("open", "closed"):
        raise ValueError
    return text == "closed"
