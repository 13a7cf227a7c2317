"""Arguments that no device can take: each is refused with a reason, and the device goes on."""

import numpy as np
import openopu
import pytest
from openopu.errors import UsageError

N = 64


@pytest.fixture(scope="module")
def opu():
    with openopu.open(f"twin:?n={N}&m=64") as opened:
        opened.expose_to(0.12)
        yield opened


@pytest.mark.parametrize(
    "errors",
    [
        [[1, 2], [3]],
        [],
        None,
        np.ones(N),
        np.ones((1, N), complex),
        [["a"] * N],
        np.full((1, N), np.nan),
        np.full((1, N), -np.inf),
        np.full((1, N), 1e30),
    ],
)
def test_errors(opu, errors):
    with pytest.raises(UsageError):
        opu.project(errors)


@pytest.mark.parametrize("key", [5, "ab", (1.5,), (-1,), [None]])
def test_keys(opu, key):
    with pytest.raises(UsageError, match="key"):
        opu.project(np.ones((1, N)), key)


@pytest.mark.parametrize(
    "planes", [[[1], [1, 2]], np.full((1, 2, N), 2), np.full((1, 2, N), np.nan), [[["a"] * N] * 2]]
)
def test_planes(opu, planes):
    with pytest.raises(UsageError):
        opu.project_raw(planes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components", 0),
        ("components", 1.5),
        ("components", "a"),
        ("outputs", 10**12),
        ("outputs", -1),
        ("outputs", [[1], [2, 3]]),
        ("bits", 0),
        ("bits", 8.0),
        ("bits", "8"),
        ("shift", 1.5),
        ("banks", 1.5),
        ("encoding", "ternary"),
        ("program", []),
        ("layout_seed", -1),
        ("layout_seed", 1.5),
        ("exposure_cycles", 0),
        ("exposure_cycles", 1 << 32),
        ("exposure_cycles", 1.5),
        ("exposure_cycles", float("nan")),
        ("laser_power", 1.5),
        ("laser_power", "a"),
        ("laser_power", 4096),
    ],
)
def test_settings(opu, name, value):
    before = opu.settings
    with pytest.raises(UsageError, match=name):
        opu.configure(**{name: value})
    assert opu.settings is before
    assert opu.project(np.ones((1, N))).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda o: o.capture(exposure_cycles=0),
        lambda o: o.capture(exposure_cycles=1 << 40),
        lambda o: o.capture([[1], [1, 2]]),
        lambda o: o.project_raw(np.zeros((1, 2, N)), program="x"),
        lambda o: o.expose_to("a"),
        lambda o: o.matrix(measured=True, repeats=1.5),
        lambda o: o.set_baud(0),
        lambda o: o.registers(["none"]),
        lambda o: setattr(o, "exposure_next", 1.5),
        lambda _: openopu.open(None),
        lambda _: openopu.open("twin:?n=64&m=64", exposure_base="a"),
    ],
)
def test_calls(opu, call):
    with pytest.raises(UsageError):
        call(opu)
    assert opu.project(np.ones((1, N))).any()


def test_ids_wrap(opu):
    """The rows behind the last exposure ID draw the noise of the first ones."""
    errors = np.random.default_rng(0).normal(size=(9, N))
    opu.configure()
    opu.exposure_next = (1 << 32) - 4 * 4
    whole = opu.submit(errors, (1,)).record()
    assert opu.exposure_next == 4 * 5
    np.testing.assert_array_equal(whole.head["exposure"][3:6], [(1 << 32) - 4, 0, 4])
    opu.exposure_next = 0
    signs = np.tile(np.random.default_rng(1).random((1, 2, N)) < 0.5, (2, 1, 1))
    first = opu.project_raw(signs).values
    opu.exposure_next = (1 << 32) - 4
    np.testing.assert_array_equal(opu.project_raw(np.concatenate([signs[:1], signs])).values[1:], first)
