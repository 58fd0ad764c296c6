"""Synthetic scenes: deterministic, labelled exactly, physically in order."""

import numpy as np
import pytest

from spex_model.imaging.indices import compute_index
from spex_model.imaging.reading import open_scene
from spex_model.imaging.regions import label_regions
from spex_model.training.spectra import CLASSES, MATERIAL_CLASS, MATERIALS, REFLECTANCE
from spex_model.training.synthesis import cover_mask, evaluation_scene, synthesize, write_geotiff


def test_a_seed_gives_the_same_scene_twice():
    one, two = (synthesize(5, size=64, variant="haze") for _ in range(2))
    assert np.array_equal(one.labels, two.labels) and one.scene.id == two.scene.id
    assert synthesize(6, size=64, variant="haze").scene.id != one.scene.id


def test_spectra_keep_the_order_that_indices_rely_on():
    green, red, nir, swir1 = (REFLECTANCE[:, column] for column in (1, 2, 6, 8))
    plants = np.isin(MATERIAL_CLASS, [CLASSES.index(name) for name in ("forest", "crop", "grass")])
    assert ((nir - red) / (nir + red))[plants].min() > 0.5
    bright_water = [
        number for number, name in enumerate(MATERIALS) if MATERIAL_CLASS[number] == 0 and name != "dark water"
    ]
    assert ((green - swir1) / (green + swir1))[bright_water].min() > 0.5
    dark = MATERIALS.index("dark water")
    assert abs(green[dark] - swir1[dark]) < 0.002  # where the index fails


def test_the_evaluation_scene_holds_what_it_promises():
    made = evaluation_scene()
    shares = {name: float((made.labels == number).mean()) for number, name in enumerate(CLASSES)}
    assert made.scene.shape == (512, 512) and len(made.scene.bands) == 10
    assert all(shares[name] > 0.002 for name in ("water", "forest", "crop", "bare soil", "road", "building"))
    labels, count = label_regions(made.labels == CLASSES.index("water"))
    sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    assert count >= 3 and sizes[0] > 1.5 * sizes[1] > 1.5 * sizes[2]


def test_labels_lie_where_the_spectra_do():
    made = evaluation_scene(9001)
    ndvi = compute_index(made.scene, "NDVI")
    plants, water = (cover_mask(made.labels, cover) == 1 for cover in ("vegetation", "water"))
    assert np.nanmedian(ndvi[plants]) > 0.5 > np.nanmedian(ndvi[water])


@pytest.mark.parametrize(("sensor", "gsd_m", "bands"), [("landsat8", 30, 6), ("naip", 1, 4), ("rgb", 0.5, 3)])
def test_sensors_have_their_bands(sensor, gsd_m, bands):
    made = synthesize(3, size=64, gsd_m=gsd_m, sensor=sensor)
    assert len(made.scene.bands) == bands and made.scene.calibrated == (sensor == "landsat8")


def test_a_written_scene_opens_as_it_was(tmp_path):
    made = synthesize(4, size=48)
    write_geotiff(tmp_path / "scene.tif", made)
    scene = open_scene(tmp_path / "scene.tif")
    assert scene.bands == made.scene.bands and scene.gsd_m == pytest.approx(10, rel=0.01) and scene.calibrated
    np.testing.assert_allclose(scene.reflectance, made.scene.reflectance, atol=6e-5)
    assert scene.assumptions == ()
