"""How numbers become reflectance, and what is said about it."""

import numpy as np
import pytest
from affine import Affine

from spex_model.imaging.errors import SceneError
from spex_model.imaging.radiometry import doubt
from spex_model.imaging.reading import open_scene

RGBN = ("red", "green", "blue", "nir")
L2A_RECENT = "S2B_MSIL2A_20230715T100559_N0509_R022_T33UVP_20230715T160000.tif"
L1C_OLD = "S2A_MSIL1C_20190715T100031_N0208_R122_T33UVP_20190715T120000.tif"


def counts(low, high, count=4, dtype="uint16"):
    return np.linspace(low, high, count * 30).reshape(count, 6, 5).astype(dtype)


def opened(write_raster, values, name="image.tif", **options):
    kept = {key: options.pop(key) for key in ("scale", "offset") if key in options}
    options.setdefault("names", RGBN)
    return open_scene(write_raster(values, name, **options), **kept)


def reflectance_of(scene, values):
    """Scale and offset that a scene was read with."""
    scale, offset = np.polyfit(values.ravel().astype(float), scene.reflectance.ravel().astype(float), 1)
    return scale, offset


@pytest.mark.parametrize(
    ("name", "low", "tags", "offset"),
    [
        (L2A_RECENT, 1100, {}, -0.1),
        (L1C_OLD, 200, {}, 0.0),
        ("s.tif", 1100, {"SENSOR": "Sentinel-2", "PROCESSING_BASELINE": "04.00"}, -0.1),
        ("s.tif", 1100, {"SENSOR": "Sentinel-2", "PROCESSING_BASELINE": "N0510"}, -0.1),
        ("s.tif", 1100, {"SENSOR": "Sentinel-2", "s2:processing_baseline": "05.09"}, -0.1),
        ("s.tif", 200, {"SENSOR": "Sentinel-2", "PROCESSING_BASELINE": "03.01"}, 0.0),
        (L2A_RECENT, 1100, {"earthsearch:boa_offset_applied": "True"}, 0.0),
        ("COPERNICUS_S2_SR_HARMONIZED_20230715.tif", 1100, {}, 0.0),
    ],
)
def test_sentinel2_offset_follows_the_baseline(write_raster, name, low, tags, offset):
    values = counts(low, 5000)
    scene = opened(write_raster, values, name, tags=tags)
    assert reflectance_of(scene, values) == pytest.approx((1e-4, offset), abs=1e-6)
    assert scene.calibrated and not any("baseline" in note for note in scene.assumptions)


def test_sentinel2_offset_that_was_taken_off_before_is_seen_and_said(write_raster):
    values = counts(50, 5000)
    scene = opened(write_raster, values, L2A_RECENT)
    assert reflectance_of(scene, values) == pytest.approx((1e-4, 0), abs=1e-6)
    assert any("taken off before" in note for note in scene.assumptions)


@pytest.mark.parametrize(("low", "hint"), [(50, False), (1100, True)])
def test_sentinel2_without_baseline_says_its_choice(write_raster, low, hint):
    scene = opened(write_raster, counts(low, 5000), "sentinel2_crop.tif")
    note = next(note for note in scene.assumptions if "baseline" in note)
    assert "--scale 0.0001 --offset -0.1" in note and ("speaks for that offset" in note) == hint


def test_sentinel2_zero_is_nodata(write_raster):
    values = counts(1100, 5000)
    values[:, 0, 0] = 0
    scene = opened(write_raster, values, L2A_RECENT)
    assert not scene.valid[0, 0] and scene.valid.sum() == 29 and np.isnan(scene.reflectance[:, 0, 0]).all()


@pytest.mark.parametrize("mission", ["LC08", "LC09", "LE07", "LT05"])
def test_landsat_collection_2_level_2(write_raster, mission):
    values = counts(7500, 30000)
    values[2, 0, 0] = 0  # 0 is fill in every single band
    scene = opened(write_raster, values, f"{mission}_L2SP_193026_20220610_20220616_02_T1.tif")
    assert scene.band("nir")[5, 4] == pytest.approx(30000 * 2.75e-5 - 0.2) and scene.calibrated
    assert not scene.valid[0, 0] and not any("scale" in note for note in scene.assumptions)


def test_landsat_level_1_says_that_the_sun_is_not_corrected(write_raster):
    values = counts(7500, 30000)
    scene = opened(write_raster, values, "LC08_L1TP_193026_20220610_20220616_02_T1.tif")
    assert reflectance_of(scene, values) == pytest.approx((2e-5, -0.1), abs=1e-6)
    assert any("sun" in note for note in scene.assumptions)


def test_scales_that_the_file_declares_are_used_a_band(write_raster):
    values = counts(1000, 5000)
    scene = opened(write_raster, values, scales=[1e-4, 1e-4, 1e-4, 2e-4], offsets=[0, 0, 0, -0.1])
    assert scene.band("red")[0, 0] == pytest.approx(0.1) and scene.band("nir")[5, 4] == pytest.approx(0.9)
    assert scene.calibrated and not any("scale" in note for note in scene.assumptions)


def test_given_scale_wins(write_raster):
    values = counts(1000, 5000)
    values[:, 1, 1] = 0
    scene = opened(write_raster, values, L2A_RECENT, scale=2e-4, offset=-0.05)
    assert scene.band("red")[0, 0] == pytest.approx(0.15) and scene.calibrated
    assert not scene.valid[1, 1]


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1e-4, float("inf"))])
def test_given_scales_that_cannot_be(write_raster, scale, offset):
    with pytest.raises(SceneError, match="the scale must be above 0"):
        opened(write_raster, counts(1000, 5000), scale=scale, offset=offset)


def test_a_declared_scale_of_zero_is_refused(write_raster):
    with pytest.raises(SceneError, match="no positive number"):
        opened(write_raster, counts(1000, 5000), scales=[0.0] * 4)


def test_8_bit_is_brightness(write_raster):
    scene = opened(write_raster, counts(10, 250, dtype="uint8"))
    assert not scene.calibrated and scene.reflectance.max() == pytest.approx(250 / 255)
    assert any("8-bit brightness" in note for note in scene.assumptions)


@pytest.mark.parametrize(
    ("values", "scale", "calibrated", "words"),
    [
        (counts(0.01, 0.6, dtype="float32"), 1.0, True, "read as reflectance"),
        (counts(100, 6000), 1e-4, True, "reflectance x 10,000"),
        (counts(100, 6000, dtype="float32"), 1e-4, True, "reflectance x 10,000"),
        (counts(3, 240), 1 / 255, False, "8-bit brightness"),
        (counts(500, 60000), None, False, "99th percentile"),
    ],
)
def test_undeclared_scales_are_judged_by_range_and_said(write_raster, values, scale, calibrated, words):
    scene = opened(write_raster, values)
    assert scene.calibrated == calibrated and any(words in note for note in scene.assumptions)
    if scale is not None:
        assert reflectance_of(scene, values)[0] == pytest.approx(scale, rel=1e-4)
    assert scene.reflectance.min() >= 0 and scene.reflectance.max() < 1.1


def test_a_thermal_band_in_kelvin_does_not_set_the_scale(write_raster):
    values = np.concatenate([counts(0.02, 0.4, 6, "float32"), counts(280, 304, 1, "float32")])
    names = ("blue", "green", "red", "nir", "swir1", "swir2", "thermal")
    scene = opened(write_raster, values, names=names)
    assert scene.calibrated and scene.band("swir2")[5, 4] == pytest.approx(0.4)
    assert any("values up to 0.4 are read as reflectance" in note for note in scene.assumptions)
    declared = opened(write_raster, values, names=names, scales=[1.0] * 6 + [0.99])
    assert not any("likely wrong" in note for note in declared.assumptions)


def test_bands_outside_the_slots_set_the_scale_where_there_are_no_others(write_raster):
    values = counts(100, 6000, 2)
    scene = opened(write_raster, values, names=("pan", "coastal"))
    assert reflectance_of(scene, values)[0] == pytest.approx(1e-4, rel=1e-4)
    doubted = opened(write_raster, values, names=("pan", "coastal"), scale=1.0)
    assert any("likely wrong" in note for note in doubted.assumptions)


@pytest.mark.parametrize(
    ("crs", "pixel", "calibrated"),
    [("EPSG:32631", 1.0, False), ("EPSG:32631", 10.0, True), ("EPSG:2263", 3.0, False), ("EPSG:2263", 33.0, True)],
)
def test_11_bit_counts_of_a_fine_camera_are_no_reflectance(write_raster, crs, pixel, calibrated):
    grid = {"crs": crs, "transform": Affine(pixel, 0, 3e5, 0, -pixel, 2e5)}
    scene = opened(write_raster, counts(10, 2046, dtype="float64"), **grid)
    assert scene.calibrated == calibrated
    assert any("11-bit" in note for note in scene.assumptions) == (not calibrated)


def test_a_scale_that_makes_no_sense_is_doubted(write_raster):
    scene = opened(write_raster, counts(0.01, 0.6, dtype="float32"), scale=1e-4)
    assert any("likely wrong" in note for note in scene.assumptions)
    assert doubt(np.full((4, 100), 0.3), True) is None
    assert "likely wrong" in str(doubt(np.full((4, 100), 300.0), True))
    assert doubt(np.full((4, 100), np.nan), True) is None and doubt(np.full((4, 9), 99.0), False) is None
