"""Pictures of scenes."""

import numpy as np
import pytest

from spex_model.imaging.composites import available_composites, rgb_composite, stretch
from spex_model.imaging.errors import BandsError

RAMP = np.linspace(0.05, 0.4, 400).reshape(20, 20)


def test_what_bands_allow(make_scene):
    assert available_composites(make_scene(red=0.1, green=0.1, blue=0.1)) == ("natural",)
    full = make_scene(blue=0.1, green=0.1, red=0.1, nir=0.3, swir1=0.2)
    assert available_composites(full) == ("natural", "false colour", "short-wave")
    assert available_composites(make_scene(pan=0.1)) == ("grey",)


def test_uncalibrated_pictures_are_shown_as_they_are(make_scene):
    values = {
        name: np.roll(np.arange(400), shift).reshape(20, 20) % 256
        for name, shift in (("red", 0), ("green", 90), ("blue", 200))
    }
    scene = make_scene((20, 20), calibrated=False, **{name: value / 255 for name, value in values.items()})
    assert np.array_equal(rgb_composite(scene), np.stack(list(values.values()), -1))


def test_flat_counts_are_stretched(make_scene):
    scene = make_scene((20, 20), calibrated=False, red=RAMP / 4, green=RAMP / 4, blue=RAMP / 4)
    picture = rgb_composite(scene)
    assert picture.max() == 255 and np.median(picture) > 80


def test_reflectance_is_stretched_and_order_is_kept(make_scene):
    scene = make_scene((20, 20), blue=RAMP, green=RAMP[::-1], red=RAMP.T, nir=RAMP)
    picture = rgb_composite(scene, "false colour")
    assert picture.shape == (20, 20, 3) and picture.dtype == np.uint8
    assert picture[-1, 10, 0] > picture[0, 10, 0] and picture[-1, 10, 2] < picture[0, 10, 2]
    assert picture.min() == 0 and picture.max() == 255


def test_ground_under_bright_clouds_stays_visible(make_scene):
    dark = RAMP / 4
    dark[:2] = 1.0
    picture = rgb_composite(make_scene((20, 20), blue=dark, green=dark, red=dark))
    assert np.median(picture) > 60 and picture[0, 0, 0] == 255


def test_nodata_is_black_and_does_not_stretch(make_scene):
    valid = np.ones((20, 20), bool)
    valid[:10] = False
    picture = rgb_composite(make_scene((20, 20), valid=valid, red=RAMP, green=RAMP, blue=RAMP))
    assert (picture[:10] == 0).all() and picture[10:].max() == 255
    empty = make_scene((4, 4), valid=np.zeros((4, 4), bool), red=0.1, green=0.1, blue=0.1)
    assert (rgb_composite(empty) == 0).all()


def test_constant_images_do_not_divide_by_zero(make_scene):
    for calibrated in (True, False):
        picture = rgb_composite(make_scene(red=0.4, green=0.4, blue=0.4, calibrated=calibrated))
        assert len(np.unique(picture)) == 1


def test_thinned_pictures_keep_within_a_side(make_scene):
    scene = make_scene((21, 50), red=0.1, green=0.2, blue=0.3)
    assert rgb_composite(scene, max_side=20).shape == (7, 17, 3) and rgb_composite(scene, max_side=50).shape == (
        21,
        50,
        3,
    )


def test_grey_and_what_cannot_be_shown(make_scene):
    grey = rgb_composite(make_scene((20, 20), pan=RAMP), "grey")
    assert (grey[..., 0] == grey[..., 2]).all() and grey.max() == 255
    for kind in ("false colour", "thermal"):
        with pytest.raises(BandsError, match=f"'{kind}' cannot be shown; this image allows: natural"):
            rgb_composite(make_scene(red=0.1, green=0.1, blue=0.1), kind)


def test_stretch_by_percentiles():
    values = np.arange(101, dtype=float).reshape(1, 101)
    result = stretch(values, np.ones((1, 101), bool))
    assert result[0, 1] == 0 and result[0, 99] == 255 and 120 < result[0, 50] < 135
