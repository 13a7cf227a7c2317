"""The scikit-learn transformer: its estimator checks, what it computes, and what it says to bad input."""

import gc
import pickle
import re

import numpy as np
import openopu
import pytest
from openopu import leases
from openopu.errors import DeviceError, LaserDark, LinkLost, UrlError, UsageError
from openopu.sklearn import OpticalRandomFeatures
from openopu_rtl.protocol.shots import intensity
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

EXACT = "twin:?n=64&m=96&bin=1&bits=12&noise=off"
NOISY = "twin:?n=64&m=96&bin=1"
COMPARES_DRAWS = (
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_pipeline_consistency",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
)
"""Checks that transform the same rows twice; scikit-learn itself skips the last three where an estimator is noisy."""
RNG = np.random.default_rng(5)
BITS = RNG.random((40, 20)) < 0.4


def checks():
    """All of scikit-learn's checks, but that of arrays that are not NumPy's, whose support is not claimed."""
    for url, left_out in ((EXACT, ()), (NOISY, COMPARES_DRAWS)):
        for estimator, check in estimator_checks_generator(OpticalRandomFeatures(30, device=url)):
            name = check.func.__name__
            if name not in ("check_array_api_input", *left_out):
                yield pytest.param(estimator, check, id=f"{name}-{'noisy' if left_out else 'exact'}")


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_estimator_checks(estimator, check):
    check(estimator)


def planes_of(features, bits, modes=64):
    planes = np.zeros((len(bits), 1, modes))
    for copy in features.modes_:
        planes[:, 0, copy] = np.hstack([bits, np.ones((len(bits), features.bias_bits))])
    return planes


def test_features_are_intensities_of_the_device():
    """Against the device itself, asked directly."""
    features = OpticalRandomFeatures(50, device=EXACT, encoder="binary", bias_bits=2, random_state=1)
    y = features.fit(BITS).transform(BITS)
    assert (y.dtype, y.shape, features.modes_.shape) == (np.float32, (40, 50), (2, 22))
    program = intensity(exposure_cycles=features.exposure_cycles_)
    with openopu.open(EXACT) as opu:
        opu.configure(program, outputs=features.outputs_)
        values = opu.project_raw(planes_of(features, BITS)).values
    wanted = (values - features.black_) * features.scale_ / np.sqrt(50)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-4)
    assert 0.1 < features.fill_ < 0.14
    features.close()


def test_products_estimate_the_kernel():
    url = "twin:?n=64&m=4096&bin=1&bits=12&noise=off"
    with OpticalRandomFeatures(4096, device=url, encoder="binary", random_state=0, fill=0.06) as features:
        y = features.fit_transform(BITS)
    b = np.hstack([BITS, np.ones((40, 1))])
    dots = b @ b.T
    kernel = np.outer(np.diag(dots), np.diag(dots)) + dots**2
    errors = (y @ y.T) / kernel - 1
    assert np.abs(errors).mean() < 0.05
    assert np.abs((y @ y.T) / np.outer(np.diag(dots), np.diag(dots)) - 1).mean() > 0.1  # the second term is there


def test_encoders():
    rows = np.array([[0.0, 10.0], [4.0, 30.0], [1.0, 20.0]])
    median = OpticalRandomFeatures(4, device=EXACT).fit(rows)
    np.testing.assert_array_equal(median._encode(rows), [[0, 0, 1], [1, 1, 1], [0, 0, 1]])
    fixed = OpticalRandomFeatures(4, device=EXACT, threshold=3, bias_bits=0).fit(rows)
    np.testing.assert_array_equal(fixed._encode(rows), [[0, 1], [1, 1], [0, 1]])
    thermometer = OpticalRandomFeatures(4, device=EXACT, encoder="thermometer", levels=3, bias_bits=0).fit(rows)
    np.testing.assert_array_equal(thermometer.thresholds_, [[1, 2, 3], [15, 20, 25]])
    np.testing.assert_array_equal(thermometer._encode(rows)[1], [1] * 6)
    np.testing.assert_array_equal(thermometer._encode(rows)[2], [0, 0, 0, 1, 0, 0])


def test_random_state_names_the_features():
    first, same, other = (OpticalRandomFeatures(30, device=EXACT, random_state=s).fit(BITS) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.transform(BITS), same.transform(BITS))
    correlation = np.corrcoef(first.transform(BITS).ravel(), other.transform(BITS).ravel())[0, 1]
    assert correlation < 0.9
    assert first.get_feature_names_out()[29] == "opticalrandomfeatures29"


def test_batches_do_not_matter(monkeypatch):
    features = OpticalRandomFeatures(30, device=EXACT, random_state=1).fit(BITS)
    whole = features.transform(BITS)
    monkeypatch.setattr("openopu.sklearn.BATCH_BYTES", 640)
    np.testing.assert_array_equal(features.transform(BITS), whole)


def test_device_is_shared_and_closed():
    before = set(leases._shared)
    first, second = (OpticalRandomFeatures(20, device=NOISY, random_state=s) for s in (0, 1))
    assert set(leases._shared) == before, "nothing is opened before fit"
    first.fit(BITS)
    second.fit(BITS)
    (key,) = set(leases._shared) - before
    opu = leases._shared[key].opu
    assert opu.exposure_next == 0, "fitting leaves a run's exposures alone"
    first.close()
    first.close()
    assert second.transform(BITS).shape == (40, 20)
    assert first.transform(BITS).shape == (40, 20), "opened again"
    del second
    gc.collect()
    assert leases._shared[key].opu is opu
    del first
    gc.collect()
    assert key not in leases._shared
    with pytest.raises(DeviceError, match="closed"):
        opu.counters()


def test_a_forked_process_opens_a_device_of_its_own(monkeypatch):
    features = OpticalRandomFeatures(20, device=EXACT, random_state=3).fit(BITS)
    wanted = features.transform(BITS)
    ((pid, url),) = (k for k in leases._shared if k[1] == EXACT)
    parents = leases._shared[pid, url].opu
    with monkeypatch.context() as child:
        child.setattr("openopu.leases.os.getpid", lambda: pid + 1)
        np.testing.assert_array_equal(features.transform(BITS), wanted)
        assert leases._shared[pid + 1, url].opu is not parents
        features.close()
    assert not parents.abandoned
    assert parents.counters(timing=False)


def test_a_laser_that_went_dark():
    features = OpticalRandomFeatures(20, device=EXACT, random_state=3).fit(BITS)
    (shared,) = (s for (_, url), s in leases._shared.items() if url == EXACT)
    shared.opu.disarm()
    features.set_params(arm=True)
    assert features.transform(BITS).any(), "armed again"
    features.set_params(arm=False)
    shared.opu.disarm()
    with pytest.raises(LaserDark, match="the laser was off in 40 of 40"):
        features.transform(BITS)


def test_pickled_and_cloned_without_the_device():
    features = OpticalRandomFeatures(20, device=EXACT, random_state=3).fit(BITS)
    wanted = features.transform(BITS)
    data = pickle.dumps(features)
    assert len(data) < 6000
    features.close()
    np.testing.assert_array_equal(pickle.loads(data).transform(BITS), wanted)
    copy = clone(features)
    assert not hasattr(copy, "modes_")
    np.testing.assert_array_equal(copy.fit_transform(BITS), wanted)


def test_in_a_pipeline_it_separates_what_a_line_cannot():
    bits = RNG.random((400, 12)) < 0.5
    parity = bits[:, 0] ^ bits[:, 1]
    line = RidgeClassifier().fit(bits[:200], parity[:200]).score(bits[200:], parity[200:])
    optical = make_pipeline(
        OpticalRandomFeatures(96, device=NOISY, encoder="binary", random_state=0), RidgeClassifier()
    )
    assert line < 0.65
    assert optical.fit(bits[:200], parity[:200]).score(bits[200:], parity[200:]) > 0.9


def test_more_rows_than_a_batch_of_a_named_drifting_bench():
    rows = np.tile(BITS, (15, 1))
    device = "twin:?n=64&m=64&bin=1&plant=dlp4500+imx255"
    with OpticalRandomFeatures(64, device=device, encoder="binary", random_state=0) as features:
        y = features.fit_transform(rows).reshape(15, 40, 64)
    assert np.abs(y - y.mean(axis=0)).mean() < 0.2 * y.std()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"device": "twin:?n=16&m=64"}, UsageError, r"21 bits \(20 columns, 1 of bias\) exceed the device's 16 modes"),
        ({"n_components": 97}, UsageError, "97 components exceed the device's 96 outputs"),
        ({"n_components": 0}, UsageError, "n_components: 0 is out of range"),
        ({"encoder": "gray"}, UsageError, "Known: threshold, thermometer, binary"),
        ({"encoder": "thermometer", "levels": 0}, UsageError, "levels"),
        ({"threshold": "mean"}, UsageError, "or `median`"),
        ({"threshold": float("nan")}, UsageError, "no threshold"),
        ({"threshold": 2, "bias_bits": 0}, UsageError, "no row lights a single input"),
        ({"bias_bits": -1}, UsageError, "bias_bits"),
        ({"fill": 1.5}, UsageError, "fill"),
        ({"exposure_cycles": 0}, UsageError, "exposure_cycles"),
        ({"shot": {"settle": 3}}, UsageError, "shot"),
        ({"shot": {"settle_cycles": "a"}}, UsageError, "shot"),
        ({"device": "twin"}, UrlError, "no device URL"),
        ({"device": f"{EXACT}&interlock=open"}, LaserDark, "interlock"),
        ({"shot": {"level_on": 0}}, LaserDark, "no light reaches the camera"),
    ],
)
def test_bad_input(options, kind, words):
    with pytest.raises(kind, match=words):
        OpticalRandomFeatures(**{"n_components": 10, "device": EXACT, **options}).fit(BITS)


@pytest.mark.parametrize(
    "options",
    [
        {"device": "twin:?n=8&m=64", "encoder": "thermometer", "levels": 51, "bias_bits": 1},  # 1,021: no multiple of 8
        {"device": "twin:?n=64&m=64", "n_components": 1021},  # a prime
    ],
)
def test_the_device_that_an_error_advises_can_be_opened(options):
    rows = BITS * RNG.random(BITS.shape)
    with pytest.raises(UsageError) as refused:
        OpticalRandomFeatures(**{"n_components": 10, **options}).fit(rows)
    advised = re.search(r"`(twin:\?[nm]=\d+)`", str(refused.value)).group(1)
    with OpticalRandomFeatures(**{"n_components": 10, **options, "device": advised}) as features:
        assert features.fit(rows).exposure_cycles_ > 1


def test_rows_that_are_no_bits():
    features = OpticalRandomFeatures(10, device=EXACT, encoder="binary").fit(BITS)
    with pytest.raises(UsageError, match="Give 0 and 1 only"):
        features.transform(BITS * 2.0)


def test_dark_and_clipped_features_warn():
    with pytest.warns(UserWarning, match="features are dark"):
        OpticalRandomFeatures(10, device=EXACT, exposure_cycles=60).fit(BITS)
    with pytest.warns(UserWarning, match="features clip; lower `fill`"):
        OpticalRandomFeatures(10, device=EXACT, fill=0.6).fit(BITS)


def test_another_device_after_fit():
    features = OpticalRandomFeatures(90, device=EXACT).fit(BITS)
    features.set_params(device="twin:?n=64&m=64")
    with pytest.raises(UsageError, match="Fit again"):
        features.transform(BITS)


def test_a_lost_device_is_opened_anew(monkeypatch):
    features = OpticalRandomFeatures(10, device=EXACT, random_state=0).fit(BITS)
    wanted = features.transform(BITS)
    with monkeypatch.context() as patch:
        patch.setattr(openopu.Opu, "project_raw", _lost)
        with pytest.raises(DeviceError):
            features.transform(BITS)
    np.testing.assert_array_equal(features.transform(BITS), wanted)


def _lost(self, *_):
    raise LinkLost("the port went away", "twin:", "Plug it in")


@pytest.mark.parametrize("plant", ["phase", "lcos2pi+imx255"])
def test_a_phase_panel_shows_signs(plant):
    """At the levels of its phases 0 and pi: level 255 of a panel of two pi is phase 0 again, and all rows are alike."""
    url = f"twin:?n=64&m=256&bin=1&noise=off&plant={plant}"
    bits = np.random.default_rng(0).integers(0, 2, (8, 62))
    shot = {"settle_cycles": 3_000_000}
    with OpticalRandomFeatures(256, device=url, encoder="binary", bias_bits=2, shot=shot, random_state=0) as estimator:
        features = estimator.fit_transform(bits)
        shown = np.zeros((8, 1, 64), bool)
        shown[:, 0, estimator.modes_[0]] = np.hstack([bits, np.ones((8, 2), int)])
    with openopu.open(url) as opu:
        pi = opu.panel.level(np.pi)
        program = intensity(level_on=pi, exposure_cycles=estimator.exposure_cycles_, **shot)
        opu.configure(program, normalise=False)
        wanted = opu.project_raw(shown).values * 2.0**opu.settings.shift
    ours = features / (estimator.scale_ / 16) + estimator.black_
    np.testing.assert_allclose(ours, wanted[:, estimator.outputs_], atol=1.01)
    assert (features.std(axis=0) / features.mean(axis=0)).mean() > 0.3


def test_a_slow_panel_that_is_not_waited_for(recwarn):
    url = "twin:?n=64&m=64&bin=1&noise=off&plant=lcos+imx255"
    for shot, said in (({"settle_cycles": 3_000_000}, 0), ({}, 1)):
        recwarn.clear()
        OpticalRandomFeatures(4, device=url, shot=shot).fit(np.eye(4)).close()
        assert sum("time constant of 6.79 ms" in str(w.message) for w in recwarn) == said


@pytest.mark.parametrize("field", ["invert", "negative", "bank"])
def test_shots_of_something_else_are_refused(field):
    with pytest.raises(UsageError, match="Leave out"):
        OpticalRandomFeatures(4, device=EXACT, shot={field: 1}).fit(np.eye(4))


def test_more_bits_than_were_fitted():
    estimator = OpticalRandomFeatures(4, device=EXACT).fit(np.eye(4))
    with pytest.raises(UsageError, match="Fit again"):
        estimator.set_params(bias_bits=3).transform(np.eye(4))
