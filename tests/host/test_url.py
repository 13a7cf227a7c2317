"""Device URLs, the registry of schemes, and what `import openopu` brings along."""

import subprocess
import sys

import pytest
from openopu import DeviceUrl, UrlError
from openopu.device import open_device


@pytest.mark.parametrize(
    ("text", "scheme", "rest", "parameters"),
    [
        ("twin:", "twin", "", {}),
        ("twin:?n=1024&m=4096&plant=a/b.toml", "twin", "", {"n": "1024", "m": "4096", "plant": "a/b.toml"}),
        ("rtl:verilator?noise=off", "rtl", "verilator", {"noise": "off"}),
        ("serial:/dev/ttyUSB0?baud=1000000", "serial", "/dev/ttyUSB0", {"baud": "1000000"}),
        ("serial:COM3", "serial", "COM3", {}),
        ("socket://localhost:5000", "socket", "//localhost:5000", {}),
    ],
)
def test_parse(text, scheme, rest, parameters):
    url = DeviceUrl.parse(text)
    assert (url.scheme, url.rest, url.parameters) == (scheme, rest, parameters)
    assert str(url) == text
    assert DeviceUrl.parse(str(url)) == url


@pytest.mark.parametrize("text", ["", "twin", ":x", "/dev/ttyUSB0", "Twin:", "twin:?n", "twin:?n=1&n=2", "C:\\x"])
def test_no_url(text):
    with pytest.raises(UrlError) as caught:
        DeviceUrl.parse(text)
    assert caught.value.next_step


def test_values():
    url = DeviceUrl.parse("twin:?n=0x10&noise=off&bad=ten")
    assert url.get_int("n", 1) == 16
    assert url.get_int("m", 7) == 7
    assert url.get_switch("noise", True) is False
    with pytest.raises(UrlError, match="bad=ten"):
        url.get_int("bad", 1)
    with pytest.raises(UrlError, match="1 to 15"):
        url.get_int("n", 1, 1, 15)
    with pytest.raises(UrlError, match="on or off"):
        url.get_switch("bad", True)
    with pytest.raises(UrlError, match="knows no key `bad`"):
        url.refuse_unknown(("n", "noise"))
    assert str(url.with_parameters(bad=None, m="3")) == "twin:?n=0x10&noise=off&m=3"


def test_unknown_scheme_names_the_known():
    with pytest.raises(UrlError, match=r"serial.*twin"):
        open_device("warp:9")


def test_import_is_light():
    """Neither hardware description, nor simulation, nor learning frameworks, nor pictures."""
    code = (
        "import sys, openopu, openopu.cli, openopu.compare, openopu.doctor, openopu.transports\n"
        "heavy = {'amaranth', 'cocotb', 'torch', 'matplotlib', 'openopu_sim', 'openopu_boards', 'scipy', 'sklearn'}\n"
        "print(sorted(heavy & {m.partition('.')[0] for m in sys.modules}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
