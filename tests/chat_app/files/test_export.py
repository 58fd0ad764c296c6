"""Files for other programs: on the image's own grid, with the numbers that the chat states."""

import geopandas
import numpy as np
import pytest
import rasterio

from chat_app.files.export import export_layer
from spex_model.imaging.regions import label_regions


@pytest.fixture
def water(conversation, session):
    list(conversation.run_turn(session.id, "show me the water"))
    return session.find_layer("water")


def test_a_mask_lies_on_the_image_grid(session, water, scene_file, tmp_path):
    path = export_layer(session, water, tmp_path, "geotiff")
    with rasterio.open(path) as mask, rasterio.open(scene_file) as image:
        assert (mask.crs, mask.transform, mask.shape) == (image.crs, image.transform, image.shape)
        assert mask.nodata == 255 and mask.descriptions == ("water",) and mask.dtypes == ("uint8",)
        assert np.array_equal(mask.read(1) == 1, session.extraction(water).mask)


def test_vectors_carry_true_areas(session, water, tmp_path):
    own = geopandas.read_file(export_layer(session, water, tmp_path, "gpkg"))
    world = geopandas.read_file(export_layer(session, water, tmp_path, "geojson"))
    _, count = label_regions(session.extraction(water).mask)
    assert len(own) == len(world) == count
    assert own.crs == session.scene.crs.to_wkt() and world.crs.to_epsg() == 4326
    assert own["area_m2"].sum() == pytest.approx(session.area_m2(water))
    assert own.geometry.area.sum() == pytest.approx(own["area_m2"].sum(), rel=2e-3)
    assert world.geometry.to_crs(own.crs).area.sum() == pytest.approx(own.geometry.area.sum(), rel=1e-4)
    assert own["confidence"].between(0.5, 1).all()


def test_a_picture_shows_the_mask_and_nothing_else(session, water, tmp_path):
    from PIL import Image

    picture = np.asarray(Image.open(export_layer(session, water, tmp_path, "png")))
    assert np.array_equal(picture[..., 3] > 0, session.extraction(water).mask)


@pytest.mark.parametrize("fmt", ["geotiff", "geojson", "gpkg", "png"])
def test_an_empty_layer_exports_too(conversation, session, water, tmp_path, fmt):
    list(conversation.run_turn(session.id, "drop anything under 100 km2"))
    assert export_layer(session, session.find_layer("water"), tmp_path, fmt).exists()


def test_a_layer_name_is_no_path(conversation, session, water, tmp_path):
    list(conversation.run_turn(session.id, "rename it to ../../etc/passwd"))
    path = export_layer(session, session.find_layer(water.id), tmp_path, "png")
    assert path.parent == tmp_path and ".." not in path.name
