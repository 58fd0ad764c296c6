"""Which band of a file is which."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from spex_model.imaging.band_names import CHANGE
from spex_model.imaging.errors import BandsError
from spex_model.imaging.reading import open_scene

SENTINEL2_L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
UTM, TEN_M = "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_400_000)


def numbered(count, dtype="uint16", size=(6, 5)):
    """Bands that can be told apart: band n holds 100 n (n for 8 bit) and a little texture."""
    step = 10 if dtype in ("uint8",) else 100
    texture = np.arange(size[0] * size[1]).reshape(size) % 7
    return np.stack([step * number + texture for number in range(1, count + 1)]).astype(dtype)


def write_with_alpha(path, values):
    """Bands without names, the last marked as alpha as GDAL's own tools do: before the values are written."""
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype.name}
    with rasterio.open(path, "w", driver="GTiff", photometric="MINISBLACK", **shape) as dataset:
        dataset.colorinterp = (ColorInterp.gray, *[ColorInterp.undefined] * (count - 2), ColorInterp.alpha)
        dataset.write(values)
    return path


def file_band(scene, name, dtype="uint16"):
    """Which band of the `numbered` file a scene's band was read from."""
    digital = (
        scene.band(name)[0, 0] / scene.reflectance.max() * (len(scene.bands) * (10 if dtype == "uint8" else 100) + 6)
    )
    return round(float(digital) / (10 if dtype == "uint8" else 100))


def test_descriptions_name_bands(write_raster):
    scene = open_scene(write_raster(numbered(4), names=("NIR", "Red", "Green", "Blue")))
    assert scene.bands == ("nir", "red", "green", "blue")
    assert [file_band(scene, name) for name in scene.bands] == [1, 2, 3, 4]
    assert not any("band" in note.lower() for note in scene.assumptions)


def test_stac_common_names_win_over_descriptions(write_raster):
    tags = [
        {"common_name": name} for name in ("blue", "rededge", "rededge", "nir", "nir08", "nir09", "swir16", "swir22")
    ]
    scene = open_scene(
        write_raster(numbered(8), names=("B02", "B05", "B06", "B08", "B8A", "B09", "B11", "B12"), band_tags=tags)
    )
    assert scene.bands == ("blue", "rededge", "rededge2", "nir", "nir2", "watervapour", "swir1", "swir2")


def test_eo_prefixed_band_tags(write_raster):
    tags = [{"eo:common_name": name} for name in ("red", "green", "blue", "nir")]
    assert open_scene(write_raster(numbered(4), band_tags=tags)).bands == ("red", "green", "blue", "nir")


@pytest.mark.parametrize("name", ["S2B_MSIL2A_20230715T100559_N0509_R022_T33UVP.tif", "field.tif"])
def test_sentinel2_numbers(write_raster, name):
    scene = open_scene(write_raster(numbered(12), name, names=SENTINEL2_L2A))
    assert scene.bands[1:4] == ("blue", "green", "red") and scene.bands[7:9] == ("nir", "nir2")
    assert scene.bands[-2:] == ("swir1", "swir2")


def test_a_few_sentinel2_bands_by_zero_padded_numbers(write_raster):
    assert open_scene(write_raster(numbered(4), names=("B04", "B03", "B02", "B08"))).bands == (
        "red",
        "green",
        "blue",
        "nir",
    )


def test_landsat8_surface_reflectance_numbers(write_raster):
    names = tuple(f"SR_B{number}" for number in range(1, 8)) + ("ST_B10", "QA_PIXEL")
    scene = open_scene(write_raster(numbered(9), "LC08_L2SP_193026_20220610_20220616_02_T1.tif", names=names))
    assert scene.bands == ("coastal", "blue", "green", "red", "nir", "swir1", "swir2", "thermal")
    assert any("QA_PIXEL" in note for note in scene.assumptions)


def test_landsat7_numbers_mean_other_bands(write_raster):
    names = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")
    scene = open_scene(write_raster(numbered(6), "LE07_L2SP_193026_20020610_20200916_02_T1.tif", names=names))
    assert scene.bands == ("blue", "green", "red", "nir", "swir1", "swir2")


@pytest.mark.parametrize(
    ("numbers", "bands", "sensor"),
    [
        ("SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B7", "blue green red nir swir1 swir2", "Landsat 4-7"),
        ("SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B7 ST_B6", "blue green red nir swir1 swir2 thermal", None),
        ("SR_B3 SR_B4 ST_B6", "red nir thermal", None),
        ("SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B6 SR_B7", "coastal blue green red nir swir1 swir2", None),
        ("SR_B1 SR_B2 SR_B3 SR_B7 ST_B10", "coastal blue green swir2 thermal", None),
        ("SR_B2 SR_B3 SR_B4 SR_B5", "blue green red nir", "Landsat 8/9"),
        ("B2 B3 B4 B5", "blue green red nir", "Landsat 8/9"),
    ],
)
def test_landsat_numbers_tell_the_sensor_or_the_choice_is_said(write_raster, numbers, bands, sensor):
    names = tuple(numbers.split())
    scene = open_scene(write_raster(numbered(len(names)), names=names))
    assert scene.bands == tuple(bands.split())
    said = [note for note in scene.assumptions if "does not tell its sensor" in note]
    assert len(said) == (sensor is not None)
    if sensor:
        assert f"{sensor}: {bands.replace(' ', ', ')}." in said[0] and CHANGE in said[0]


def test_harmonised_landsat_is_not_taken_for_sentinel2(write_raster):
    names = ("B02", "B03", "B04", "B05", "B06", "B07")
    assert open_scene(write_raster(numbered(6), "HLS.L30.T32UPU.2023001.tif", names=names)).bands[3] == "nir"


def test_band_1_band_2_only_count_the_bands_of_the_file(write_raster):
    scene = open_scene(write_raster(numbered(4), names=("Band 1", "Band 2", "Band 3", "Band 4")))
    assert scene.bands == ("blue", "green", "red", "nir")
    assert "PlanetScope order" in scene.assumptions[0]


def test_planetscope_8_bands_by_name_and_by_default(write_raster):
    names = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
    named = open_scene(write_raster(numbered(8), names=names))
    default = open_scene(write_raster(numbered(8), "unnamed.tif"))
    assert named.bands == default.bands == ("coastal", "blue", "green2", "green", "yellow", "red", "rededge", "nir")
    assert not any("names no bands" in note for note in named.assumptions)
    assert default.with_bands(default.bands).bands == default.bands  # as many names as the note speaks of


def test_six_unnamed_bands_are_landsat_order_and_said(write_raster):
    scene = open_scene(write_raster(numbered(6, "uint8")))
    assert scene.bands == ("blue", "green", "red", "nir", "swir1", "swir2")
    assert "blue, green, red, nir, swir1, swir2" in scene.assumptions[0]


def test_seven_unnamed_bands_of_8_bit_are_thematic_mapper(write_raster):
    assert open_scene(write_raster(numbered(7, "uint8"))).bands[5:] == ("thermal", "swir2")
    assert open_scene(write_raster(numbered(7), "landsat8.tif")).bands[0] == "coastal"


def test_four_unnamed_8_bit_bands_by_pixel_size(write_raster):
    plain = (ColorInterp.gray,) + (ColorInterp.undefined,) * 3
    one_m = Affine(1, 0, 500_000, 0, -1, 5_400_000)
    aerial = open_scene(
        write_raster(
            numbered(4, "uint8"), "naip.tif", photometric="MINISBLACK", colours=plain, crs=UTM, transform=one_m
        )
    )
    space = open_scene(
        write_raster(numbered(4, "uint8"), "sat.tif", photometric="MINISBLACK", colours=plain, crs=UTM, transform=TEN_M)
    )
    assert aerial.bands == ("red", "green", "blue", "nir") and space.bands == ("blue", "green", "red", "nir")


def test_naip_whose_infrared_is_tagged_as_alpha(write_raster):
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    scene = open_scene(write_raster(numbered(4, "uint8"), colours=colours))
    assert scene.bands == ("red", "green", "blue", "nir") and scene.valid.all()
    assert any("near-infrared" in note for note in scene.assumptions)


def test_real_alpha_band_makes_pixels_invalid(write_raster):
    values = numbered(4, "uint8")
    values[3] = 255
    values[3, 0, :2] = 0
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    scene = open_scene(write_raster(values, colours=colours))
    assert scene.bands == ("red", "green", "blue") and (~scene.valid).sum() == 2


def test_real_alpha_beside_described_bands(write_raster):
    values = numbered(4)
    values[3] = 65535
    values[3, 2] = 0
    path = write_raster(values, names=("red", "green", "blue", ""), photometric="RGB", alpha="YES")
    scene = open_scene(path)
    assert scene.bands == ("red", "green", "blue") and (~scene.valid).sum() == 5


@pytest.mark.parametrize("opaque", [1, 255, 65535])
@pytest.mark.parametrize(
    ("count", "bands"),
    [(1, "pan"), (2, "band1 band2"), (3, "red green blue"), (4, "blue green red nir"), (9, None)],
)
def test_alpha_is_taken_out_before_the_default_by_count(tmp_path, count, bands, opaque):
    values = numbered(count + 1)
    values[-1] = opaque
    values[-1, 0, :2] = 0
    scene = open_scene(write_with_alpha(tmp_path / "image.tif", values))
    assert scene.bands == (tuple(bands.split()) if bands else tuple(f"band{number}" for number in range(1, 10)))
    assert not scene.valid[0, :2].any() and scene.valid.sum() == 28
    assert not any("99th percentile" in note for note in scene.assumptions)


def test_a_band_marked_as_alpha_that_varies_is_counted(tmp_path):
    scene = open_scene(write_with_alpha(tmp_path / "image.tif", numbered(4)))
    assert scene.bands == ("blue", "green", "red", "nir") and scene.valid.all()


@pytest.mark.parametrize("opaque", [1, 255])
def test_alpha_of_floats_is_no_infrared(write_raster, opaque):
    values = numbered(4).astype("float32") / 1000
    values[3] = opaque
    values[3, 0, 0] = 0
    values[:, 1] = np.nan
    scene = open_scene(write_raster(values, photometric="RGB", alpha="YES"))
    assert scene.bands == ("red", "green", "blue") and scene.calibrated
    assert not scene.valid[0, 0] and not scene.valid[1].any() and scene.valid.sum() == 24
    assert scene.band("blue")[0, 1] == pytest.approx(0.301)


def test_dark_water_in_infrared_that_is_marked_as_alpha(write_raster):
    values = numbered(4, "uint8")
    values[3] = np.array([0, 1, 2, 0, 1])  # 0 and its commonest value are no alpha while brighter pixels remain
    values[3, 0, 0] = 90
    scene = open_scene(write_raster(values))
    assert scene.bands == ("red", "green", "blue", "nir") and scene.valid.all()


def test_soft_alpha_of_a_png_is_no_infrared(write_raster):
    values = numbered(4, "uint8")
    values[3] = np.linspace(0, 255, 30).reshape(6, 5)
    scene = open_scene(write_raster(values, "soft.png"))
    assert scene.bands == ("red", "green", "blue") and (~scene.valid).sum() == 1


def test_colours_name_16_bit_bands_too(write_raster):
    colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.nir)
    scene = open_scene(write_raster(numbered(4), colours=colours))
    assert scene.bands == ("blue", "green", "red", "nir")
    assert not any("names no bands" in note for note in scene.assumptions)


def test_grey_and_alpha(write_raster):
    values = np.full((2, 3, 3), 90, np.uint8)
    values[1] = 255
    values[1, 0, 0] = 0
    scene = open_scene(write_raster(values, "grey.png"))
    assert scene.bands == ("pan",) and (~scene.valid).sum() == 1


def test_colour_tables_are_refused(write_raster, tmp_path):
    path = tmp_path / "classes.tif"
    with rasterio.open(path, "w", driver="GTiff", height=4, width=4, count=1, dtype="uint8") as dataset:
        dataset.write(np.ones((1, 4, 4), np.uint8))
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(BandsError, match="colour table"):
        open_scene(path)


@pytest.mark.parametrize("count", [2, 9, 11, 20])
def test_unnamed_bands_without_a_default_are_asked_for(write_raster, count):
    scene = open_scene(write_raster(numbered(count)))
    assert scene.bands == tuple(f"band{number}" for number in range(1, count + 1))
    assert f"names none of its {count} bands" in scene.assumptions[0] and CHANGE in scene.assumptions[0]


def test_given_names_come_first_and_must_fit(write_raster):
    path = write_raster(numbered(4), names=("red", "green", "blue", "nir"))
    assert open_scene(path, bands=["blue", "green", "red", "nir"]).bands == ("blue", "green", "red", "nir")
    with pytest.raises(BandsError, match="has 4 bands, but 3 names"):
        open_scene(path, bands=["red", "green", "blue"])
    with pytest.raises(BandsError, match="'purple' is not a band"):
        open_scene(path, bands=["red", "green", "blue", "purple"])
    with pytest.raises(BandsError, match="red came twice"):
        open_scene(path, bands=["red", "Red", "blue", "nir"])


def test_a_cloud_mask_is_neither_alpha_nor_a_band(write_raster):
    values = numbered(5)
    values[4] = 0
    scene = open_scene(write_raster(values, names=("blue", "green", "red", "nir", "cloud mask")))
    assert scene.bands == ("blue", "green", "red", "nir") and scene.valid.all()
    assert any("cloud mask" in note for note in scene.assumptions)


def test_a_band_called_mask_is_left_aside_since_its_polarity_is_not_known(write_raster):
    values = numbered(5)
    values[4] = 0
    values[4, 0] = 1  # masked
    scene = open_scene(write_raster(values, names=("blue", "green", "red", "nir", "mask")))
    assert scene.bands == ("blue", "green", "red", "nir") and scene.valid.all()
    assert "Bands that are not used here: mask." in scene.assumptions


def test_a_band_called_mask_that_the_file_marks_as_alpha_counts_and_is_said(write_raster):
    values = numbered(4, "uint8")
    values[3] = 255
    values[3, 0] = 0
    path = write_raster(values, names=("red", "green", "blue", "mask"), photometric="RGB", alpha="YES")
    scene = open_scene(path)
    assert scene.bands == ("red", "green", "blue") and not scene.valid[0].any() and scene.valid[1:].all()
    assert any('band "mask" as alpha' in note for note in scene.assumptions)


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:32618", 3.0), ("EPSG:2263", 9.84)])
def test_feet_are_no_metres_for_the_order_of_bands(write_raster, crs, pixel):
    plain = (ColorInterp.gray,) + (ColorInterp.undefined,) * 3
    grid = {"crs": crs, "transform": Affine(pixel, 0, 300_000, 0, -pixel, 200_000)}
    scene = open_scene(write_raster(numbered(4, "uint8"), photometric="MINISBLACK", colours=plain, **grid))
    assert scene.bands == ("red", "green", "blue", "nir")
