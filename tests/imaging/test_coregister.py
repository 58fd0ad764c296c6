"""Two images on one grid: what is moved where, and what is said about it."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from spex_model.imaging.coregister import align
from spex_model.imaging.errors import AlignmentError
from spex_model.imaging.scene import Scene

UTM = CRS.from_epsg(32633)


def make(values, *, left=400_000.0, top=5_200_000.0, pixel=10.0, crs=UTM, bands=("red",)):
    values = np.broadcast_to(np.asarray(values, np.float32), (len(bands), *np.shape(values))).copy()
    transform = Affine(pixel, 0, left, 0, -pixel, top) if crs is not None else Affine.identity()
    return Scene(values, np.isfinite(values).all(0), bands, transform, crs, pixel if crs else None)


def smooth(rows, columns):
    return 0.2 + 0.001 * np.arange(rows)[:, None] + 0.002 * np.arange(columns)[None]


@given(st.integers(-9, 9), st.integers(-9, 9))
@settings(max_examples=30, deadline=None)
def test_a_shift_by_whole_pixels_is_undone_exactly(down, right):
    ground = np.pad(np.random.default_rng(0).random((30, 34)).astype(np.float32), 10, constant_values=0.5)
    first = make(ground[10:40, 10:44])
    second = make(
        ground[10 + down : 40 + down, 10 + right : 44 + right], left=400_000 + 10 * right, top=5_200_000 - 10 * down
    )
    moved = align(first, second).scene
    both = moved.valid & first.valid
    assert both.sum() >= (30 - abs(down) - 1) * (34 - abs(right) - 1)
    np.testing.assert_allclose(moved.reflectance[0][both], first.reflectance[0][both], atol=1e-5)


def test_another_projection_and_finer_pixels_come_to_the_first_grid():
    first = make(smooth(40, 40))
    fine = make(np.kron(smooth(40, 40), np.ones((4, 4))), pixel=2.5)
    aligned = align(first, fine)
    assert aligned.scene.shape == (40, 40) and aligned.scene.gsd_m == 10.0 and "2.5 m" in aligned.remarks[0]
    np.testing.assert_allclose(aligned.scene.reflectance, first.reflectance, atol=1e-3)


def test_the_same_grid_is_left_as_it_is():
    first, second = make(smooth(9, 9)), make(smooth(9, 9) + 0.1)
    aligned = align(first, second)
    assert aligned.scene is second and aligned.remarks == ()


@pytest.mark.parametrize(
    ("shift_px", "size_px", "same"),
    [((0, 0), 1, True), ((1e-4, 0), 1, True), ((10, 0), 1, False), ((0, 0.5), 1, False), ((0, 0), 5, False)],
)
def test_pixels_of_a_hair_in_degrees_are_told_apart(shift_px, size_px, same):
    pixel = 9e-7  # 0.1 m
    first = make(smooth(40, 40), left=10.0, top=50.0, pixel=pixel, crs=CRS.from_epsg(4326))
    right, down = shift_px
    second = make(smooth(40, 40), left=10 + right * pixel, top=50 - down * pixel, pixel=size_px * pixel, crs=first.crs)
    moved = align(first, second).scene
    assert (moved is second) is same and moved.transform.almost_equals(first.transform, precision=1e-9)
    if right == 10:
        assert not moved.valid[:, :9].any()
        np.testing.assert_allclose(moved.reflectance[:, :, 11:], second.reflectance[:, :, 1:-10], atol=1e-5)


def test_without_georeference_equal_sizes_are_laid_on_each_other_and_it_is_said():
    aligned = align(make(smooth(9, 12)), make(smooth(9, 12), crs=None))
    assert aligned.scene.crs == UTM and "pixel on pixel" in aligned.remarks[0]
    with pytest.raises(AlignmentError, match="12 x 9 pixels with georeference and 9 x 9 pixels without"):
        align(make(smooth(9, 12)), make(smooth(9, 9), crs=None))


def test_other_places_are_refused_and_part_overlap_is_told():
    first = make(smooth(20, 20))
    with pytest.raises(AlignmentError, match="different places"):
        align(first, make(smooth(20, 20), left=500_000))
    aligned = align(first, make(smooth(20, 20), left=400_100))
    assert "50%" in aligned.remarks[0] and not aligned.scene.valid[:, :9].any() and aligned.scene.valid[:, 11:].all()


def test_other_bands_are_told():
    assert "different bands" in align(make(smooth(9, 9)), make(smooth(9, 9), bands=("nir",))).remarks[0]
