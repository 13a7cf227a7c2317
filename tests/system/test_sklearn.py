"""The scikit-learn transformer on the RTL: the twin's features, to the last bit."""

import numpy as np
from openopu.sklearn import OpticalRandomFeatures

GEOMETRY = "n=64&m=64"
"""As in test_rtl.py, whose built model it shares."""


def test_the_same_features_on_the_rtl():
    rows = np.random.default_rng(8).normal(size=(9, 10))
    features = []
    for device in (f"twin:?{GEOMETRY}", f"rtl:verilator?{GEOMETRY}"):
        with OpticalRandomFeatures(40, device=device, encoder="thermometer", levels=3, random_state=4) as optical:
            features.append(optical.fit_transform(rows))
    np.testing.assert_array_equal(*features)
    assert np.unique(features[0]).size > 100
