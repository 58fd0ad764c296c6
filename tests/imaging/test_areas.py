"""Areas against geodesic polygons around whole rows and single pixels."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Transformer

from spex_model.imaging import areas
from spex_model.imaging.areas import label_areas_m2, mask_area_m2, pixel_areas_m2, to_wgs84

GRIDS = {
    "UTM": (32632, Affine(10, 0, 600_000, 0, -10, 5_400_000)),
    "UTM, far east of its meridian": (32632, Affine(500, 0, 700_000, 0, -500, 5_400_000)),
    "UTM, south up": (32632, Affine(10, 0, 600_000, 0, 10, 5_400_000)),
    "UTM, rotated by 30 degrees": (32632, Affine.translation(600_000, 5_400_000) @ Affine.rotation(30) @ Affine.scale(20, -10)),
    "degrees at 60 north": (4326, Affine(0.001, 0, 10, 0, -0.001, 60)),
    "degrees over the equator, south up": (4326, Affine(0.05, 0, 10, 0, 0.05, -1)),
    "degrees, rotated": (4326, Affine.translation(10, 60) @ Affine.rotation(20) @ Affine.scale(0.02, -0.02)),
    "degrees across the date line": (4326, Affine(0.01, 0, 179.8, 0, -0.01, -17)),
    "one degree": (4326, Affine(1, 0, 0, 0, -1, 80)),
    "web Mercator at 60 north": (3857, Affine(20, 0, 1_100_000, 0, -20, 8_400_000)),
    "web Mercator, from 20 to 70 north": (3857, Affine(90_000, 0, 0, 0, -150_000, 11_000_000)),
    "web Mercator, mirrored": (3857, Affine(-20, 0, 1_100_000, 0, -20, 8_400_000)),
    "polar stereographic around the pole": (3995, Affine(1_000, 0, -25_000, 0, -1_000, 20_000)),
    "polar stereographic, wide": (3995, Affine(100_000, 0, -2_000_000, 0, -100_000, 2_500_000)),
    "US feet": (2263, Affine(3, 0, 980_000, 0, -3, 200_000)),
}  # fmt: skip
SHAPE = (40, 50)


def geodesic_area_m2(crs, transform, row0, col0, row1, col1, steps=8):
    """Area of a block of pixels as a geodesic polygon whose edges are cut into short pieces, pixel by pixel."""
    to_degrees, geod = Transformer.from_crs(crs, 4326, always_xy=True), Geod(ellps="WGS84")
    total = 0.0
    side = np.linspace(0, 1, steps, endpoint=False)
    rows = np.concatenate([0 * side, side, 0 * side + 1, 1 - side])
    columns = np.concatenate([side, 0 * side + 1, 1 - side, 0 * side])
    for row in range(row0, row1):
        for column in range(col0, col1):
            x, y = transform @ (columns + column, rows + row)
            total += abs(geod.polygon_area_perimeter(*to_degrees.transform(x, y))[0])
    return total


@pytest.mark.parametrize("name", GRIDS)
def test_rows_and_pixels_within_a_thousandth(make_scene, name):
    crs, transform = GRIDS[name]
    scene = make_scene(SHAPE, crs=crs, transform=transform)
    for row0, col0, row1, col1 in ((0, 0, 1, 50), (39, 0, 40, 50), (0, 49, 40, 50), (21, 26, 22, 27)):
        mask = np.zeros(SHAPE, bool)
        mask[row0:row1, col0:col1] = True
        wanted = geodesic_area_m2(crs, transform, row0, col0, row1, col1)
        assert mask_area_m2(mask, scene) == pytest.approx(wanted, rel=1e-3)


def test_large_scenes_are_interpolated_as_well(make_scene, monkeypatch):
    monkeypatch.setattr(areas, "_LATTICE", 5)
    monkeypatch.setattr(areas, "_FINE_LATTICE", 17)
    crs, transform = GRIDS["polar stereographic, wide"]
    scene = make_scene(SHAPE, crs=crs, transform=transform)
    mask = np.zeros(SHAPE, bool)
    mask[7, 13:29] = True
    assert mask_area_m2(mask, scene) == pytest.approx(geodesic_area_m2(crs, transform, 7, 13, 8, 29), rel=2e-3)


def test_web_mercator_is_not_taken_at_its_word(make_scene):
    crs, transform = GRIDS["web Mercator at 60 north"]
    area = mask_area_m2(np.ones(SHAPE, bool), make_scene(SHAPE, crs=crs, transform=transform))
    assert area < 0.3 * SHAPE[0] * SHAPE[1] * 400


def test_the_whole_earth(make_scene):
    scene = make_scene((180, 360), crs=4326, transform=Affine(1, 0, -180, 0, -1, 90))
    assert mask_area_m2(np.ones((180, 360), bool), scene) == pytest.approx(510_065_621_724_000, rel=1e-4)


def test_positions_off_the_earth_have_no_area(make_scene):
    scene = make_scene((4, 4), crs=3035, transform=Affine(1e7, 0, 4e6, 0, -1e7, 3e6))
    assert np.isfinite(pixel_areas_m2(scene)).all()


def test_pixel_size_alone(make_scene):
    mask = np.zeros((4, 4), bool)
    mask[:2, :3] = True
    assert mask_area_m2(mask, make_scene(gsd_m=30)) == 6 * 900
    assert mask_area_m2(mask, make_scene()) is None and pixel_areas_m2(make_scene()) is None
    assert label_areas_m2(mask.astype(int), 1, make_scene()) is None


@pytest.mark.parametrize("name", ["UTM", "degrees at 60 north", "polar stereographic, wide"])
def test_labels_sum_to_their_masks(make_scene, name):
    crs, transform = GRIDS[name]
    scene = make_scene(SHAPE, crs=crs, transform=transform)
    labels = np.random.default_rng(0).integers(0, 4, SHAPE)
    sums = label_areas_m2(labels, 4, scene)
    assert sums.shape == (4,) and sums[3] == 0
    assert sums[:3] == pytest.approx([mask_area_m2(labels == number, scene) for number in (1, 2, 3)], rel=1e-6)
    assert mask_area_m2(np.zeros(SHAPE, bool), scene) == 0


def test_areas_broadcast_and_are_made_once(make_scene):
    for crs, transform in GRIDS.values():
        scene = make_scene(SHAPE, crs=crs, transform=transform)
        values = pixel_areas_m2(scene)
        assert np.broadcast_shapes(values.shape, SHAPE) == SHAPE and (values > 0).all()
        assert pixel_areas_m2(scene) is values


def test_a_pixel_has_a_height_and_a_width(make_scene):
    crs, transform = GRIDS["degrees at 60 north"]
    assert areas.pixel_size_m(make_scene(crs=crs, transform=transform)) == pytest.approx((111.4, 55.8), abs=0.1)
    for name in ("UTM, rotated by 30 degrees", "web Mercator at 60 north", "US feet", "polar stereographic, wide"):
        scene = make_scene(SHAPE, crs=GRIDS[name][0], transform=GRIDS[name][1])
        height, width = areas.pixel_size_m(scene)
        area = np.broadcast_to(pixel_areas_m2(scene), SHAPE)[SHAPE[0] // 2, SHAPE[1] // 2]
        assert height * width == pytest.approx(area, rel=0.01), name
    assert areas.pixel_size_m(make_scene(gsd_m=3.0)) == (3.0, 3.0) and areas.pixel_size_m(make_scene()) is None


def test_positions_in_degrees(make_scene):
    scene = make_scene(crs=4326, transform=Affine(0.5, 0, 10, 0, -0.5, 60))
    longitude, latitude = to_wgs84(scene, np.array([0.0, 2.0]), np.array([0.0, 1.0]))
    assert longitude == pytest.approx([10, 10.5]) and latitude == pytest.approx([60, 59])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3, 2)])
def test_positions_keep_their_shape_without_a_warning(make_scene, shape):
    scene = make_scene(crs=32632, transform=Affine(10, 0, 500_000, 0, -10, 5_400_000))
    longitude, latitude = to_wgs84(scene, np.full(shape, 2.0), np.full(shape, 1.0))
    assert np.shape(longitude) == np.shape(latitude) == shape
    assert longitude == pytest.approx(np.full(shape, 9.0), abs=1e-3)
