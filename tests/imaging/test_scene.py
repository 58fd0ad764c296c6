"""The value that everything else works on."""

import numpy as np
import pytest

from spex_model.imaging.bands import CHANGE
from spex_model.imaging.errors import BandsError, PixelSizeError, SceneError
from spex_model.imaging.scene import Scene, checked_gsd_m, parse_band_names


def test_shapes_and_names_must_fit():
    with pytest.raises(SceneError, match=r"\(1, 2, 2\).*\(3, 3\)"):
        Scene(np.zeros((1, 2, 2), np.float32), np.ones((3, 3), bool), ("red",))
    with pytest.raises(BandsError, match="1 bands, but 2 names"):
        Scene(np.zeros((1, 2, 2), np.float32), np.ones((2, 2), bool), ("red", "nir"))


def test_pixels_cannot_be_changed(make_scene):
    scene = make_scene(red=0.1)
    with pytest.raises(ValueError, match="read-only"):
        scene.reflectance[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        scene.valid[0, 0] = False


def test_a_band_by_name(make_scene):
    scene = make_scene(red=0.1, nir=0.4)
    assert scene.band("nir")[0, 0] == np.float32(0.4)
    with pytest.raises(BandsError, match="has red, nir only; swir1 is needed"):
        scene.band("swir1")


def test_the_id_follows_content_and_names(make_scene):
    one = make_scene(red=0.1, nir=0.4)
    assert one.id == make_scene(red=0.1, nir=0.4).id and len(one.id) == 16
    assert len({one.id, make_scene(red=0.1, nir=0.5).id, make_scene(nir=0.1, red=0.4).id, one.with_gsd(3).id}) == 4
    hole = np.ones((4, 4), bool)
    hole[0, 0] = False
    assert make_scene(valid=hole, red=0.1, nir=0.4).id != one.id


def test_a_pixel_size_for_files_without_georeference(make_scene):
    assert make_scene().with_gsd(30).gsd_m == 30.0
    with pytest.raises(PixelSizeError, match="stays as it is"):
        make_scene(crs=32632).with_gsd(30)


@pytest.mark.parametrize("gsd_m", [0, -1, 1e6, float("nan"), float("inf")])
def test_pixel_sizes_that_cannot_be(gsd_m):
    with pytest.raises(PixelSizeError, match="cannot be"):
        checked_gsd_m(gsd_m)


def test_renaming_bands_keeps_the_other_notes():
    notes = (f"Bands are read as red, nir. {CHANGE}", "Values in every band are taken as reflectance.")
    scene = Scene(np.zeros((2, 2, 2), np.float32), np.ones((2, 2), bool), ("red", "nir"), assumptions=notes)
    renamed = scene.with_bands(["NIR", "Red"])
    assert renamed.bands == ("nir", "red") and renamed.assumptions == notes[1:]
    with pytest.raises(BandsError, match="2 bands, but 1 names"):
        scene.with_bands(["red"])


def test_names_are_checked():
    assert parse_band_names(["Near-Infrared", "SWIR 2"]) == ("nir", "swir2")
    with pytest.raises(BandsError, match=r"'ultraviolet' is not a band that is known here\. Known: blue, green"):
        parse_band_names(["ultraviolet"])
    with pytest.raises(BandsError, match="red came twice"):
        parse_band_names(["red", "rot"])
