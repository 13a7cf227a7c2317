"""The host library on the twin: the optics is a model of the real one, the gateware's integers are exact."""

import json

import numpy as np
import openopu
import pytest
from loopback import FaultyTransport
from openopu import Encoding, Opu, UsageError, cli, session
from openopu.device import open_device
from openopu.settings import lossless
from openopu_rtl.protocol.shots import intensity

SMALL = "twin:?n=64&m=64"


@pytest.fixture(scope="module")
def opu():
    with openopu.open("twin:") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _fresh(request):
    if "opu" in request.fixturenames:
        opened = request.getfixturevalue("opu")
        opened.configure(components=10, outputs=200)
        opened.exposure_next = 0


def test_feedback_is_the_product_with_the_matrix(opu):
    report = opu.expose_to()
    assert report.mean_fill == pytest.approx(0.12, rel=0.03)
    assert not report.warnings
    errors = np.random.default_rng(0).normal(size=(100, 10))
    for encoding in (Encoding(), Encoding("ternary", "threshold"), Encoding("sign", "stochastic")):
        opu.configure(components=10, outputs=200, encoding=encoding)
        g = opu.matrix()
        wanted = encoding.encode(errors, (5,)).decoded() @ g.T
        y = opu.project(errors, (5,))
        assert np.corrcoef(y.ravel(), wanted.ravel())[0, 1] > 0.99
        # The same units, not only the same direction.
        assert (y * wanted).sum() / (wanted * wanted).sum() == pytest.approx(1, abs=0.02)
    # Stochastic encodings are unbiased: the feedback's slope on the exact product is 1.
    wanted = errors @ g.T
    mean = np.mean([opu.project(errors, (i,)) for i in range(10)], axis=0)
    assert (mean * wanted).sum() / (wanted * wanted).sum() == pytest.approx(1, abs=0.05)


def test_measured_matrix_is_the_exact_one(opu):
    opu.expose_to()
    exact, measured = opu.matrix(), opu.matrix(measured=True, repeats=4)
    assert exact.shape == (200, 10)
    assert np.corrcoef(exact.ravel(), measured.ravel())[0, 1] > 0.998
    assert (exact * measured).sum() / (exact * exact).sum() == pytest.approx(1, abs=0.01)


def test_same_exposures_draw_the_same_noise(opu):
    errors = np.random.default_rng(0).normal(size=(50, 10))
    first = opu.project(errors, (1,))
    again = opu.project(errors, (1,))
    assert (first != again).any()
    opu.exposure_next = 0
    halves = [opu.project(errors[:20], (1,)), None]
    planes = opu.encoding.encode(errors, (1,))
    opu.exposure_next = 0
    np.testing.assert_array_equal(opu.project(errors, (1,)), first)
    assert halves[0].shape == (20, 200)
    # Rows sent in two submissions are those of one.
    expanded = opu.layout.expand(planes.planes)
    opu.exposure_next = 0
    whole = opu.project_raw(expanded).values
    opu.exposure_next = 0
    parts = [opu.project_raw(p).values for p in np.split(expanded, [7, 31])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_lossless_results_are_those_of_16_bits(opu):
    opu.configure(components=10, outputs=200, exposure_cycles=20_000)
    assert (opu.settings.bits, opu.settings.shift) == lossless(opu.settings.program, opu.geometry) == (12, 0)
    planes = np.random.default_rng(3).random((20, 2, 256)) < 0.5
    opu.exposure_next = 0
    narrow = opu.project_raw(planes)
    opu.configure(components=10, outputs=200, exposure_cycles=20_000, bits=16, shift=0)
    opu.exposure_next = 0
    np.testing.assert_array_equal(opu.project_raw(planes).values, narrow.values)
    assert not narrow.head["saturated"].any()
    opu.configure(components=10, exposure_cycles=1000)


def test_capture_is_a_speckle_frame(opu):
    frame = opu.capture(np.random.default_rng(0).random(256) < 0.5)
    g = opu.geometry
    assert frame.shape == (g.camera_height, g.camera_width)
    assert frame.dtype == np.uint16
    crop = frame[g.crop_y : g.crop_y + g.crop_height, g.crop_x : g.crop_x + g.crop_width]
    assert crop.std() > 0.3 * crop.mean() > 0


def test_damaged_bytes_on_the_twin_never_give_a_wrong_row(monkeypatch):
    monkeypatch.setattr(session, "MARGIN_S", 0.1)
    device = open_device(SMALL)
    faulty = FaultyTransport(device.transport, 1e-3, 5)
    device.transport = faulty
    device.time_factor = 1.0
    with Opu(device) as opened:
        opened.configure(components=10, outputs=24)
        planes = np.random.default_rng(0).random((150, 2, 64)) < 0.5
        clean = opened.project_raw(planes)
        faulty.on = True
        for _ in range(2):
            opened.exposure_next = 0
            record = opened.project_raw(planes)
            np.testing.assert_array_equal(record.values, clean.values)
            np.testing.assert_array_equal(record.head["monitor"], clean.head["monitor"])
        faulty.on = False
        assert opened.repeated > 3


def test_the_twin_equals_itself(capsys):
    words = ["compare", "--device-a", SMALL, "--device-b", SMALL, "--projections", "60", "--json"]
    assert cli.main(words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["projections"], result["mismatches"]) == (60, 0)
    assert result["results_saturated"] > 0


def test_another_medium_compares_unequal(capsys):
    """Noise alone must be told apart too."""
    for key in ("seed", "noise_seed"):
        words = ["compare", "--device-a", SMALL, "--device-b", f"{SMALL}&{key}=9", "--projections", "20", "--json"]
        assert cli.main(words) == 1
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert result["mismatches"] > 3
        assert result["first_difference"]["noise"] == "on"


def test_saturated_accumulators_are_provoked_where_they_can_be(capsys):
    url = f"{SMALL}&bits=12"
    assert cli.main(["compare", "--device-a", url, "--device-b", url, "--projections", "60", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accumulators_saturated"] > 0


def test_doctor_names_an_open_interlock(capsys):
    assert cli.main(["doctor", "--device", f"{SMALL}&interlock=open", "--json"]) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["stage"] == "laser"
    assert "interlock" in result["cause"]
    assert "emergency stop" in result["next_step"]


def test_what_the_twin_is_not():
    with pytest.raises(UsageError):
        openopu.open("twin:?n=7")
    with pytest.raises(UsageError, match="knows no key"):
        openopu.open("twin:?modes=64")


def test_a_frame_has_the_levels_and_times_that_are_configured(monkeypatch):
    programs = []
    using = Opu.using
    monkeypatch.setattr(Opu, "using", lambda self, s, *how, **more: programs.append(s) or using(self, s, *how, **more))
    with openopu.open("twin:?n=64&m=64&noise=off") as opu:
        bright = opu.capture()
        opu.configure(intensity(level_on=0))
        assert opu.capture(exposure_cycles=1000).max() < bright.mean()
        opu.configure(intensity(settle_cycles=777, frames=2, exposure_cycles=900))
        opu.capture(exposure_cycles=800)
    shot = programs[-1].program.shots[0]
    assert (shot.settle_cycles, shot.frames, shot.exposure_cycles) == (777, 2, 800)


def test_settings_are_right_after_an_interrupt_while_they_were_written(monkeypatch):
    """The worker goes on to write them, though nobody waits for it any more."""
    planes = np.random.default_rng(5).integers(0, 2, (3, 2, 64))
    with openopu.open("twin:?n=64&m=64&noise=off") as opu:
        opu.configure(components=10, outputs=[5, 3])
        wanted = opu.project_raw(planes).values
        call = opu._worker.call

        def interrupted(run, **how):
            call(run, **how)
            monkeypatch.undo()
            raise KeyboardInterrupt

        other = opu.settings.replace(selection=np.array([7, 8]), shift=opu.settings.shift + 1)
        monkeypatch.setattr(opu._worker, "call", interrupted)
        with pytest.raises(KeyboardInterrupt), opu.using(other):
            pass
        opu.apply(opu.settings)
        assert np.array_equal(opu.project_raw(planes).values, wanted)
