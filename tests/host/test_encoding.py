"""Encodings and layouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openopu import UsageError
from openopu.encoding import KINDS, ROUNDINGS, Encoding, generator
from openopu.layout import balanced, plain

ALL = [Encoding(k, r) for k in KINDS for r in ROUNDINGS] + [Encoding("bits", bits=b) for b in (1, 2, 16)]
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("kind", KINDS)
def test_stochastic_encodings_are_unbiased(kind):
    errors = np.array([[1.0, -0.5, 0.25, 0.0, -1e-3, 0.8]])
    draws = Encoding(kind, "stochastic").encode(np.repeat(errors, 40_000, axis=0), (7,)).decoded()
    # Each value has a spread of at most 1 (the row's largest), so that of the mean is 1 / 200.
    np.testing.assert_allclose(draws.mean(axis=0), errors[0], atol=4 / 200)


@pytest.mark.parametrize("encoding", ALL)
def test_same_key_same_draw(encoding):
    errors = np.random.default_rng(0).normal(size=(20, 9))
    a, b = encoding.encode(errors, (1, 2, 3)), encoding.encode(errors, (1, 2, 3))
    np.testing.assert_array_equal(a.planes, b.planes)
    if encoding.rounding == "stochastic":
        assert (a.planes != encoding.encode(errors, (1, 2, 4)).planes).any()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, encoding=st.sampled_from(ALL), rows=st.integers(0, 6), n=st.integers(1, 12))
def test_decoded_vectors_are_what_the_table_says(seed, encoding, rows, n):
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(rows, n)) * (rng.random((rows, n)) < 0.7)
    coded = encoding.encode(errors, (seed,))
    out = coded.decoded()
    assert out.shape == errors.shape
    assert coded.planes.shape == (len(coded.kept), encoding.planes, n)
    dropped = np.setdiff1d(np.arange(rows), coded.kept)
    assert not out[dropped].any()
    largest = np.abs(errors).max(axis=1, initial=0)[coded.kept]
    kept, e = out[coded.kept], errors[coded.kept]
    if encoding.kind == "ternary":
        unit = 1.0 if encoding.rounding == "threshold" else largest[:, None]
        assert (np.isin(np.round(kept / unit, 9), (-1, 0, 1))).all()
        assert kept.any(axis=1).all()
        assert (np.sign(kept) * np.sign(e) >= 0).all()
        if encoding.rounding == "threshold":
            np.testing.assert_array_equal(kept != 0, np.abs(e) > 0.2)
        zeros = kept == 0
        assert (coded.planes[:, 0] != coded.planes[:, 1])[zeros].all()
        assert (coded.planes[:, 0] == coded.planes[:, 1])[~zeros].all()
    elif encoding.kind == "bits":
        # On the grid of 2**bits values, at most a step away, or half of one.
        steps = 2**encoding.bits - 1
        grid = (kept / largest[:, None] + 1) * steps / 2
        np.testing.assert_allclose(grid, np.rint(grid), atol=1e-9)
        away = np.abs(kept - e) / largest[:, None] * steps / 2
        assert (away <= (0.5 if encoding.rounding == "threshold" else 1) + 1e-9).all()
    else:
        wanted = largest if encoding.rounding == "stochastic" else np.abs(e).mean(axis=1)
        np.testing.assert_allclose(np.abs(kept), np.broadcast_to(wanted[:, None], kept.shape))
        if encoding.rounding == "threshold":
            assert (np.sign(kept) == np.where(e >= 0, 1, -1)).all()


def test_largest_component_is_never_rounded_away():
    errors = np.random.default_rng(0).normal(size=(300, 10))
    out = Encoding().encode(errors, (0,)).decoded()
    peak = np.abs(errors).argmax(axis=1)
    rows = np.arange(300)
    np.testing.assert_allclose(out[rows, peak], errors[rows, peak])


@pytest.mark.parametrize("encoding", ALL)
@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_extreme_magnitudes(encoding, scale):
    coded = encoding.encode(np.array([[scale, -scale / 2, 0]]), (1,))
    assert np.isfinite(coded.decoded()).all()
    below = (encoding.kind, encoding.rounding) == ("ternary", "threshold") and scale < encoding.threshold
    assert len(coded.kept) == (0 if below else 1)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "trits"},
        {"rounding": "up"},
        {"threshold": float("inf")},
        {"threshold": -0.1},
        {"bits": 0},
        {"bits": 17},
        {"bits": 2.5},
    ],
)
def test_unknown_encodings(bad):
    with pytest.raises(UsageError):
        Encoding(**bad)
    with pytest.raises(UsageError):
        generator((-1,))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, modes=st.integers(1, 300), data=st.data())
def test_layout_is_balanced(seed, modes, data):
    components = data.draw(st.integers(1, modes))
    layout = balanced(components, modes, seed)
    copies = np.bincount(layout.component, minlength=components)
    assert copies.max() - copies.min() <= 1
    inverted = np.bincount(layout.component[layout.inverted], minlength=components)
    assert (np.abs(2 * inverted - copies) <= 1).all()
    even = copies % 2 == 0
    np.testing.assert_array_equal(2 * inverted[even], copies[even])
    assert abs(2 * layout.inverted.sum() - modes) <= 2
    # Whatever the vector, as many mirrors are on as off, up to components with an odd number of copies.
    bits = np.random.default_rng(seed).random((4, components)) < 0.5
    on = layout.expand(bits).sum(axis=1)
    assert (np.abs(2 * on - modes) <= (copies % 2).sum()).all()
    signs = 2.0 * bits - 1
    np.testing.assert_array_equal(layout.matrix() @ signs.T, 2.0 * layout.expand(bits).T - 1)


@pytest.mark.parametrize(("components", "modes"), [(64, 64), (60, 64), (21, 64), (10, 256)])
def test_zeros_light_half_of_the_modes_in_each_plane(components, modes):
    """With one copy of a component too: what encoding and layout do about zeros must not meet."""
    sparse = np.zeros((1, components))
    sparse[0, 0] = 1.0
    planes = Encoding("ternary", "threshold").encode(sparse).planes
    lit = balanced(components, modes).expand(planes).sum(axis=2)
    assert (np.abs(2 * lit - modes) <= 2 * (modes // components) + 4).all()
    assert (np.abs(2 * planes.sum(axis=2) - components) <= 4).all(), "without a layout that inverts, too"


def test_layout_depends_on_its_seed_only():
    a, b, c = balanced(10, 256, 3), balanced(10, 256, 3), balanced(10, 256, 4)
    np.testing.assert_array_equal(a.component, b.component)
    assert (a.component != c.component).any()
    assert plain(5).expand(np.array([True, False, True, True, False])).tolist() == [True, False, True, True, False]


@pytest.mark.parametrize("components", [0, -3, 257])
def test_components_that_do_not_fit(components):
    with pytest.raises(UsageError, match="256"):
        balanced(components, 256)
