"""The Opu class on the loop-back device."""

import re

import numpy as np
import openopu
import pytest
from loopback import FaultyTransport, LoopbackDevice, loopback
from openopu import (
    DeviceError,
    Encoding,
    IdentityMismatch,
    LaserDark,
    Opu,
    ProjectionFailed,
    UsageError,
    session,
)
from openopu.device import Device
from openopu.url import DeviceUrl
from openopu_rtl.protocol import TRIPS, Code, Geometry
from openopu_rtl.protocol.registers import STATUS_BITS, TRIP_CAUSES
from openopu_rtl.protocol.shots import complement, intensity

SMALL = Geometry.fitting(modes=64, outputs=64)


@pytest.fixture
def pair():
    device, end = loopback(SMALL)
    with Opu(device) as opu:
        yield opu, end


def test_project_multiplies_by_the_matrix(pair):
    opu, _ = pair
    opu.configure(components=6, outputs=40)
    opu.expose_to(0.05)
    g = opu.matrix()
    assert g.shape == (40, 6)
    errors = np.random.default_rng(0).normal(size=(500, 6))
    encoded = opu.encoding.encode(errors, (1, 2))
    y = opu.project(errors, (1, 2))
    wanted = encoded.decoded() @ g.T
    # The loop-back rounds each frame to integers: four roundings of 0.3 DN each, times the row's scale over 2 planes.
    assert np.abs(y - wanted).max() < 4 * np.abs(errors).max()
    assert np.corrcoef(y.ravel(), wanted.ravel())[0, 1] > 0.999


def test_rows_of_zeros_have_no_feedback_and_no_projection(pair):
    opu, end = pair
    opu.configure(components=6)
    errors = np.random.default_rng(0).normal(size=(5, 6))
    errors[[1, 3]] = 0
    before = end.get("exposure_next")
    pending = opu.submit(errors)
    y = pending.result()
    assert pending.projections == 3
    assert end.get("exposure_next") - before == 3 * 4 == opu.exposure_next - before
    assert not y[[1, 3]].any()
    assert y[[0, 2, 4]].any(axis=1).all()
    assert opu.project(np.zeros((4, 6))).shape == (4, 64)


def test_outputs_are_returned_in_the_order_asked_for(pair):
    opu, _ = pair
    planes = np.random.default_rng(3).random((3, 2, 64)) < 0.5
    opu.configure()
    full = opu.project_raw(planes).values
    opu.configure(outputs=[5, 3, 60])
    np.testing.assert_array_equal(opu.project_raw(planes).values, full[:, [5, 3, 60]])


def test_many_batches_in_flight_keep_their_rows(pair):
    opu, end = pair
    opu.configure(components=8, outputs=16, encoding=Encoding("sign", "threshold"))
    batches = [np.random.default_rng(i).normal(size=(137, 8)) for i in range(6)]
    together = [opu.submit(b) for b in batches]
    alone = [opu.project(b) for b in batches]
    for pending, y in zip(together, alone, strict=True):
        np.testing.assert_array_equal(pending.result(), y)
    assert SMALL.store_bytes // 2 <= end.largest_in_flight <= SMALL.store_bytes
    assert opu.repeated == 0


def test_raw_program_for_one_call_leaves_the_configuration(pair):
    opu, _ = pair
    opu.configure(components=6)
    before = opu.settings
    record = opu.project_raw(np.ones((2, 1, 64)), intensity(exposure_cycles=100))
    assert record.values.shape == (2, 64)
    assert opu.settings.program == before.program
    opu.project(np.ones((1, 6)))


@pytest.mark.parametrize("raw_rows", [40, 7, 24])
def test_capture_puts_a_frame_together(raw_rows):
    geometry = Geometry.fitting(modes=64, outputs=64, crop_height=32, crop_width=8, bin=2, camera_height=40,
                                raw_rows=raw_rows)  # fmt: skip
    device, end = loopback(geometry)
    with Opu(device) as opu:
        frame = opu.capture(np.ones(64), exposure_cycles=500)
        assert frame.shape == (40, geometry.camera_width)
        lit = end.intensity(np.ones(64), 500).reshape(geometry.outputs_y, geometry.outputs_x) // 4
        np.testing.assert_array_equal(frame[4:36:2, geometry.crop_x : geometry.crop_x + 8 : 2], lit)
        assert opu.exposure_next == 1


def test_exposure_hits_its_target(pair):
    opu, _ = pair
    report = opu.expose_to(0.15)
    assert report.mean_fill == pytest.approx(0.15, rel=0.05)
    assert not report.warnings
    assert opu.settings.program.shots[0].exposure_cycles == report.exposure_cycles == opu.exposure_cycles
    assert opu.exposure_next == 0
    assert opu.expose_to(0.15) == report


def test_exposure_warns_of_clipping(pair, caplog):
    opu, _ = pair
    report = opu.expose_to(0.6)
    assert report.clipped_share > 0.01
    assert any("clip" in w for w in report.warnings)
    assert "clip" in caplog.text


@pytest.mark.parametrize(
    "errors",
    [np.zeros(6), np.zeros((2, 5)), [[np.nan] * 6], [[np.inf] * 6], np.zeros((1, 6), dtype=complex), [["a"] * 6]],
)
def test_errors_that_cannot_be_projected(pair, errors):
    opu, _ = pair
    opu.configure(components=6)
    with pytest.raises(UsageError):
        opu.project(errors)


@pytest.mark.parametrize(
    "settings",
    [
        {"components": 65}, {"components": -1}, {"outputs": 65}, {"outputs": [64]}, {"outputs": [-1]}, {"outputs": 0},
        {"bits": 9}, {"shift": 32}, {"shift": -1}, {"banks": 3}, {"laser_power": 4096}, {"no_such": 1},
        {"outputs": [0.5]}, {"exposure_cycles": 0}, {"program": complement(2).__class__(complement(2).shots * 20, 2)},
    ],
)  # fmt: skip
def test_settings_out_of_range(pair, settings):
    opu, _ = pair
    before = opu.settings
    with pytest.raises(UsageError):
        opu.configure(**settings)
    assert opu.settings is before
    assert opu.project(np.ones((1, 64))).shape == (1, 64)


@pytest.mark.parametrize(("register", "times"), [("camera_readout_cycles", 1), ("camera_jitter_cycles", 2)])
def test_time_outs_allow_for_what_the_camera_is_given(pair, register, times):
    """The device waits so long between two exposures: no result is late before that."""
    opu, _ = pair
    registers, shots, cycles = opu.settings.registers, len(opu.settings.program), 1 << 28
    before = opu._setup(opu.settings).row_seconds
    after = opu._setup(opu.settings.replace(registers={**registers, register: cycles})).row_seconds
    assert after - before == pytest.approx(times * shots * cycles / opu.identity.clock_hz)


def test_planes_that_do_not_fit(pair):
    opu, _ = pair
    for planes in (np.zeros((1, 2, 63)), np.zeros((1, 1, 64)), np.zeros((2, 64)), np.full((1, 2, 64), 2)):
        with pytest.raises(UsageError):
            opu.project_raw(planes)


def test_nonlinear_program_does_not_project(pair):
    opu, _ = pair
    opu.configure(intensity(), components=6)
    with pytest.raises(UsageError, match="project_raw"):
        opu.project(np.ones((1, 6)))


def test_real_device_stays_dark_until_told():
    device, end = loopback(SMALL, arms_itself=False)
    with Opu(device) as opu:
        assert not opu.status()["laser_on"]
        with pytest.raises(LaserDark, match="--arm"):
            opu.project(np.ones((1, 64)))
        opu.arm()
        assert opu.status()["laser_on"]
        opu.project(np.ones((1, 64)))
    assert not end.get("status") & 2, "closing disarms"


def test_leaving_by_an_error_disarms_and_fails_what_is_queued():
    device, end = loopback(SMALL)
    pending = []
    with pytest.raises(KeyboardInterrupt), Opu(device) as opu:  # noqa: PT012
        pending = [opu.submit(np.ones((300, 64))) for _ in range(5)]
        assert end.get("status") & 2
        raise KeyboardInterrupt
    assert not end.get("status") & 2
    assert device.transport.closed
    assert all(p.done() for p in pending)
    with pytest.raises(DeviceError, match="closed"):
        pending[-1].record()
    with pytest.raises(DeviceError, match="closed"):
        opu.status()
    with pytest.raises(DeviceError, match="closed"):
        opu.project(np.ones((1, 64)))
    opu.close()


def test_dark_is_allowed_on_request():
    device, _ = loopback(SMALL, arms_itself=False)
    with Opu(device, allow_dark=True) as opu:
        opu.project(np.ones((1, 64)))


def test_open_interlock_is_named():
    device, end = loopback(SMALL, arms_itself=False)
    end.set("status", 0)
    with pytest.raises(LaserDark, match="interlock"):
        Opu(device, arm=True)


@pytest.mark.parametrize("refusal", [Code.ARM_ORDER, Code.ARM_WINDOW])
def test_arming_begins_again_when_its_window_is_over(refusal):
    device, end = loopback(SMALL, arms_itself=False)
    end.arm_refusals = [refusal]
    with Opu(device, arm=True) as opu:
        assert opu.status()["laser_on"]
        opu.disarm()
        end.arm_refusals = [refusal] * 10
        with pytest.raises(LaserDark, match="laser_unlock"):
            opu.arm()
        # The second step was done, but its answer lost: sent again it is refused, and all is well.
        end.arm_refusals = []
        opu.arm()
        end.arm_refusals = [refusal]
        opu.arm()
        assert opu.status()["laser_on"]


def test_a_laser_that_tripped_says_why_and_what_to_do():
    device, end = loopback(SMALL, arms_itself=False)
    end.set("status", end.get("status") | 1 << STATUS_BITS["tripped"])
    end.set("trip_cause", 1 << TRIP_CAUSES["over_power"] | 1 << TRIP_CAUSES["link_reset"])
    with Opu(device) as opu:
        with pytest.raises(LaserDark, match=r"more than `monitor_limit`.*laser_power.*arm\(\)") as caught:
            opu.project(np.ones((1, 64)))
        for name in ("over_power", "link_reset"):
            assert TRIPS[name].what in caught.value.what
            assert TRIPS[name].next_step.lower() in caught.value.next_step.lower()


def test_every_cause_of_a_trip_is_explained():
    assert TRIPS.keys() == TRIP_CAUSES.keys()


@pytest.mark.parametrize(("register", "text"), [("magic", "no openopu"), ("protocol_hash", "Flash")])
def test_another_gateware_is_refused(register, text):
    device, end = loopback(SMALL)
    end.set(register, 0xDEAD)
    with pytest.raises(IdentityMismatch, match=text):
        Opu(device)


def test_geometry_of_the_url_is_checked():
    device, _ = loopback(SMALL)
    device.url = DeviceUrl("loopback", "", {"n": "128"})
    with pytest.raises(UsageError, match="n=128"):
        Opu(device)


def test_exposure_base_is_set_on_opening():
    device, end = loopback(SMALL)
    with Opu(device, exposure_base=(1 << 32) - 4) as opu:
        record = opu.project_raw(np.ones((2, 2, 64)))
        assert record.head["exposure"].tolist() == [(1 << 32) - 4, 0]
        assert opu.exposure_next == 4 == end.get("exposure_next")
        assert opu.repeated == 0


@pytest.mark.parametrize("count", [1, 2])
def test_failed_rows_are_exposed_again(pair, count):
    opu, end = pair
    opu.configure(outputs=16)
    planes = np.random.default_rng(3).random((50, 2, 64)) < 0.5
    opu.exposure_next = 0
    clean = opu.project_raw(planes)
    end.fail = {4 * row: [Code.FRAME_MISSING] * count for row in (0, 17, 49)}
    opu.exposure_next = 0
    again = opu.project_raw(planes)
    np.testing.assert_array_equal(again.values, clean.values)
    assert again.ok.all()
    assert count <= opu.repeated <= 3 * count


def test_lasting_fault_is_an_error_with_the_next_step(pair):
    opu, end = pair
    end.fail = {8: [Code.FRAME_GEOMETRY] * 10}
    planes = np.ones((5, 2, 64))
    with pytest.raises(ProjectionFailed, match=r"FRAME_GEOMETRY.*LVAL/FVAL"):
        opu.project_raw(planes)
    end.fail = {}
    assert opu.project_raw(planes).ok.all()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_never_give_a_wrong_row(seed, monkeypatch):
    """One byte in a thousand flipped, dropped or doubled, both ways."""
    monkeypatch.setattr(session, "MARGIN_S", 0.05)
    inner, _ = loopback(SMALL)
    faulty = FaultyTransport(inner.transport, 1e-3, seed)
    with Opu(Device(DeviceUrl("loopback"), "faulty", faulty, arms_itself=True, realtime=False)) as opu:
        opu.configure(components=10, outputs=32)
        planes = np.random.default_rng(seed).random((200, 2, 64)) < 0.5
        opu.exposure_next = 0
        clean = opu.project_raw(planes)
        faulty.on = True
        for _ in range(3):
            opu.exposure_next = 0
            record = opu.project_raw(planes)
            np.testing.assert_array_equal(record.values, clean.values)
            np.testing.assert_array_equal(record.head["exposure"], 4 * np.arange(200))
        opu.configure(components=10, outputs=[3, 1, 2])
        opu.exposure_next = 0
        np.testing.assert_array_equal(opu.project_raw(planes).values, clean.values[:, [3, 1, 2]])
        faulty.on = False
        assert faulty.faults > 20
        assert opu.repeated > 5


def test_matrix_measured_equals_exact():
    device, end = loopback(SMALL)

    def exact(shot):
        """A from the loop-back's own transmission: the difference of both frames is linear in the signs."""
        power = end.get("laser_power") / 4095 * shot.exposure_cycles / (2 * SMALL.modes) * 0.25
        r = end.transmission.sum(axis=1)
        return power * np.real(np.conj(r)[:, None] * end.transmission)

    device.exact_matrix = exact
    with Opu(device) as opu:
        opu.configure(components=7, outputs=[9, 0, 33], layout_seed=5)
        opu.expose_to(0.05)
        known, measured = opu.matrix(), opu.matrix(measured=True)
        assert known.shape == measured.shape == (3, 7)
        np.testing.assert_allclose(measured, known, atol=0.6)
        assert np.abs(known).max() > 5


def test_device_keeps_its_largest_packet_within_the_store():
    device, end = loopback(Geometry.fitting(modes=64, outputs=64, store_bytes=32))
    assert isinstance(end, LoopbackDevice)
    with Opu(device) as opu:
        opu.configure(outputs=4)
        opu.project_raw(np.ones((20, 2, 64)))
    assert end.largest_in_flight <= 32


@pytest.mark.parametrize(("settings", "key"), [({"components": 65}, "n"), ({"outputs": 1009}, "m")])
def test_the_larger_device_that_an_error_advises_can_be_opened(settings, key):
    with openopu.open("twin:?n=64&m=64") as small, pytest.raises(UsageError) as refused:
        small.configure(**settings)
    url = re.search(r"`(twin:[^`]*)`", str(refused.value)).group(1)
    assert f"?{key}=" in url
    with openopu.open(url) as larger:
        larger.configure(**settings)
