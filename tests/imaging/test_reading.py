"""Opening files: good ones of every kind, and bad ones that must end in one sentence."""

from datetime import date

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags

from spex_model.imaging.errors import ImagingError, PixelSizeError
from spex_model.imaging.reading import open_scene

RGBN = ("red", "green", "blue", "nir")
UTM = "EPSG:32632"
TEN_M = Affine(10, 0, 500_000, 0, -10, 5_400_000)


def noise(count=4, size=(20, 30), low=100, high=5000, dtype="uint16"):
    return np.random.default_rng(1).integers(low, high, (count, *size)).astype(dtype)


def sentence(error):
    """The message of an error, checked to be one that a person can read."""
    text = str(error)
    assert text[0].isupper() or text.split()[0].startswith(("image", "bad"))
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text and "/" not in text
    assert isinstance(error, ImagingError)
    return text


def test_a_plain_geotiff(write_raster):
    values = noise()
    scene = open_scene(write_raster(values, names=RGBN, crs=UTM, transform=TEN_M, scales=[1e-4] * 4))
    assert scene.bands == RGBN and scene.shape == (20, 30) and scene.source == "image.tif"
    assert scene.crs.to_epsg() == 32632 and scene.transform == TEN_M and scene.georeferenced
    assert scene.gsd_m == pytest.approx(10, rel=2e-3) and scene.valid.all() and scene.assumptions == ()
    np.testing.assert_allclose(scene.reflectance, values * 1e-4, rtol=1e-6)
    assert scene.reflectance.dtype == np.float32


def test_strips_join_without_seams(write_raster, monkeypatch):
    values = noise(size=(37, 10))
    path = write_raster(values, names=RGBN, scales=[1e-4] * 4)
    monkeypatch.setattr("spex_model.imaging.reading._PIXELS_AT_ONCE", 45)
    np.testing.assert_allclose(open_scene(path).reflectance, values * 1e-4, rtol=1e-6)


@pytest.mark.parametrize(("name", "tolerance"), [("photo.png", 0), ("photo.jpg", 12)])
def test_plain_photos(write_raster, name, tolerance):
    ramp = np.add.outer(np.arange(20), np.arange(30)) * 4 + 20
    values = np.stack([ramp, ramp, ramp]).astype(np.uint8)
    scene = open_scene(write_raster(values, name))
    assert scene.bands == ("red", "green", "blue") and not scene.calibrated and not scene.georeferenced
    assert np.abs(scene.reflectance * 255 - values).max() <= tolerance + 1e-3
    assert any("not georeferenced" in note for note in scene.assumptions) and scene.gsd_m is None


def test_jpeg_2000(write_raster):
    values = noise(size=(64, 64))
    path = write_raster(values, "image.jp2", QUALITY="100", REVERSIBLE="YES", crs=UTM, transform=TEN_M)
    scene = open_scene(path)
    assert scene.bands == ("blue", "green", "red", "nir") and scene.gsd_m == pytest.approx(10, rel=2e-3)
    np.testing.assert_allclose(scene.reflectance, values * 1e-4, rtol=1e-5)


def test_jpeg_compressed_orthophoto_is_rgb(write_raster):
    values = np.full((3, 32, 32), 100, np.uint8)
    values[0] = 200
    scene = open_scene(write_raster(values, photometric="YCBCR", compress="JPEG", interleave="pixel"))
    assert scene.bands == ("red", "green", "blue")
    assert scene.band("red").mean() * 255 == pytest.approx(200, abs=6)


@pytest.mark.parametrize(
    ("dtype", "nodata", "single_band_counts"),
    [("int16", -9999, True), ("uint16", 65535, True), ("float32", -3.4028234663852886e38, True), ("uint8", 0, False)],
)
def test_nodata(write_raster, dtype, nodata, single_band_counts):
    values = noise(high=250, dtype=dtype)
    values[:, 0, 0] = nodata
    values[1, 5, 5] = nodata
    scene = open_scene(write_raster(values, names=RGBN, nodata=nodata))
    assert not scene.valid[0, 0] and scene.valid[5, 5] != single_band_counts
    assert scene.valid.sum() == 600 - 1 - single_band_counts
    assert np.isnan(scene.reflectance[:, ~scene.valid]).all() and np.isfinite(scene.reflectance[:, scene.valid]).all()


def test_nan_is_nodata(write_raster):
    values = noise().astype("float32") / 1e4
    values[2, 3, 4] = np.nan
    values[0, 4, 4] = np.inf
    scene = open_scene(write_raster(values, names=RGBN, nodata=float("nan")))
    assert (~scene.valid).sum() == 2 and not scene.valid[3, 4] and not scene.valid[4, 4]


def test_an_internal_mask_counts(tmp_path):
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "masked.tif", "w", driver="GTiff", count=4, height=20, width=30, dtype="uint16"
        ) as dataset,
    ):
        dataset.write(noise())
        mask = np.full((20, 30), 255, np.uint8)
        mask[:3] = 0
        dataset.write_mask(mask)
    with rasterio.open(tmp_path / "masked.tif") as dataset:
        assert MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    scene = open_scene(tmp_path / "masked.tif")
    assert not scene.valid[:3].any() and scene.valid[3:].all()


@pytest.mark.parametrize("dtype", ["uint8", "float64", "uint16"])
def test_a_black_margin_that_no_nodata_declares(write_raster, dtype):
    values = noise(low=5, high=250, dtype=dtype)
    values[:, :7] = 0
    values[:, 12, 12] = 0  # a black pixel inside
    scene = open_scene(write_raster(values, names=RGBN))
    assert not scene.valid[:7].any() and scene.valid[7:12].all()
    assert scene.valid[12, 12] == (dtype == "uint8")
    assert any("black margin" in note for note in scene.assumptions) == (dtype == "uint8")


def test_a_black_picture_and_dark_corners_stay_valid(write_raster):
    assert open_scene(write_raster(np.zeros((3, 20, 30), np.uint8), "black.png")).valid.all()
    values = noise(3, low=5, high=250, dtype="uint8")
    values[:, 0, 0] = 0
    assert open_scene(write_raster(values, "corner.png")).valid.all()


@pytest.mark.parametrize(
    ("tag", "gsd_m"), [("30", 30.0), ("0.5", 0.5), ("-3", None), ("nan", None), ("1e9", None), ("ten", None)]
)
def test_the_pixel_size_tag(write_raster, tag, gsd_m):
    scene = open_scene(write_raster(noise(), names=RGBN, tags={"GSD_M": tag}))
    assert scene.gsd_m == gsd_m
    assert sum("GSD_M" in note for note in scene.assumptions) == 1


def test_a_given_pixel_size(write_raster):
    bare = write_raster(noise(), names=RGBN, tags={"GSD_M": "30"})
    assert open_scene(bare, gsd_m=2.5).gsd_m == 2.5
    placed = open_scene(write_raster(noise(), "placed.tif", names=RGBN, crs=UTM, transform=TEN_M), gsd_m=2.5)
    assert placed.gsd_m == pytest.approx(10, rel=2e-3) and any("not used" in note for note in placed.assumptions)
    for impossible in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(PixelSizeError, match="cannot be"):
            open_scene(bare, gsd_m=impossible)


def test_pixel_size_in_degrees_at_60_north(write_raster):
    scene = open_scene(write_raster(noise(), names=RGBN, crs="EPSG:4326", transform=Affine(1e-4, 0, 10, 0, -1e-4, 60)))
    assert scene.gsd_m == pytest.approx(np.sqrt(5.58 * 11.14), rel=1e-2)
    assert any("wide" in note and "high" in note for note in scene.assumptions)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ('LOCAL_CS["site grid",UNIT["metre",1]]', Affine(1, 0, 0, 0, -1, 0)),
        ("EPSG:4326", TEN_M),
        ('GEOGCS["Mars",DATUM["D",SPHEROID["M",3396190,169.8]],PRIMEM["R",0],UNIT["degree",0.0174532925199433]]', Affine(0.1, 0, 0, 0, -0.1, 0)),
        ("EPSG:32632", Affine(0, 0, 500_000, 0, 0, 5_400_000)),
    ],
)  # fmt: skip
def test_a_georeference_that_is_nowhere_on_earth_is_said(write_raster, crs, transform):
    scene = open_scene(write_raster(noise(), names=RGBN, crs=crs, transform=transform))
    assert scene.gsd_m is None and not scene.georeferenced
    assert any("cannot be placed on Earth" in note for note in scene.assumptions)


@pytest.mark.parametrize(
    ("transform", "said"),
    [(TEN_M, False), (Affine(10, 0, 5e5, 0, 10, 5.4e6), True), (Affine(0, 10, 5e5, 10, 0, 5.4e6), True)],
)
def test_south_up_images_are_said(write_raster, transform, said):
    scene = open_scene(write_raster(noise(), names=RGBN, crs=UTM, transform=transform))
    assert any("north" in note for note in scene.assumptions) == said
    assert scene.gsd_m == pytest.approx(10, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "tags", "day"),
    [
        ("image.tif", {"acquired": "2021-06-30T10:00:00Z"}, date(2021, 6, 30)),
        ("image.tif", {"TIFFTAG_DATETIME": "2024:01:05 10:20:30", "DATE_ACQUIRED": "2023-12-31"}, date(2023, 12, 31)),
        ("S2B_MSIL2A_20230715T100559_N0509_R022_T33UVP.tif", {}, date(2023, 7, 15)),
        ("LC08_L2SP_193026_20220610_20220616_02_T1.tif", {}, date(2022, 6, 10)),
        ("image.tif", {"acquired": "last summer"}, None),
        ("image.tif", {"acquired": "2021-13-45"}, None),
        ("image.tif", {}, None),
    ],
)
def test_the_day_of_the_image(write_raster, name, tags, day):
    assert open_scene(write_raster(noise(low=1100), name, names=RGBN, tags=tags)).acquired == day


def test_tags_in_another_encoding_do_no_harm(write_raster):
    path = write_raster(noise(), names=RGBN, tags={"TIFFTAG_IMAGEDESCRIPTION": "aXXXXb"})
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"\xe9\xff\xfe\xe9"))
    assert open_scene(path).bands == RGBN


def test_endless_numbers_in_tags_do_no_harm(write_raster):
    tags = {"SENSOR": "Sentinel-2", "PROCESSING_BASELINE": "9" * 5000}
    assert open_scene(write_raster(noise(), names=RGBN, tags=tags)).calibrated
