"""Files that cannot be opened: one sentence each, bounded memory, nothing on standard error."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from spex_model.imaging.errors import SceneError, SceneTooLarge
from spex_model.imaging.reading import MAX_PIXELS, open_scene
from tests.imaging.test_reading import RGBN, TEN_M, UTM, noise, sentence


def text(path):
    path.write_text("This is a letter, and no image.\n" * 50)


def nothing(path):
    path.write_bytes(b"")


def truncated(path):
    with rasterio.open(path, "w", driver="GTiff", count=3, height=300, width=300, dtype="uint16") as dataset:
        dataset.write(noise(3, (300, 300)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_picture(driver):
    def write(path):
        with rasterio.open(path, "w", driver=driver, count=3, height=200, width=200, dtype="uint8") as dataset:
            dataset.write(noise(3, (200, 200), 0, 255, "uint8"))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def virtual(path):
    secret = path.with_name("secret.tif")
    with rasterio.open(secret, "w", driver="GTiff", count=1, height=5, width=5, dtype="uint8") as dataset:
        dataset.write(np.full((1, 5, 5), 7, np.uint8))
    path.write_text(
        '<VRTDataset rasterXSize="5" rasterYSize="5"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def filled(value, dtype, **profile):
    def write(path):
        with rasterio.open(path, "w", driver="GTiff", count=3, height=9, width=9, dtype=dtype, **profile) as dataset:
            dataset.write(np.full((3, 9, 9), value, dtype))

    return write


def empty(count, side, dtype="uint8", **profile):
    """A header that promises pixels, and none of them written."""

    def write(path):
        rasterio.open(
            path, "w", driver="GTiff", count=count, height=side, width=side, dtype=dtype, SPARSE_OK=True, **profile
        ).close()

    return write


def foreign_overview(path):
    other = path.with_name("other.tif")
    filled(7, "uint16")(other)
    with rasterio.open(path, "w", driver="GTiff", count=3, height=20, width=20, dtype="uint16") as dataset:
        dataset.write(noise(3, (20, 20)))
        dataset.update_tags(ns="overviews", overview_file=str(other))


BAD = {
    "text": (text, "cannot be read as an image"),
    "zero bytes": (nothing, "cannot be read as an image"),
    "truncated TIFF": (truncated, "cannot be read as an image"),
    "truncated PNG": (truncated_picture("PNG"), "cannot be read as an image"),
    "truncated JPEG": (truncated_picture("JPEG"), "cannot be read as an image"),
    "VRT": (virtual, "cannot be read as an image"),
    "all nodata": (filled(0, "uint16", nodata=0), "no valid pixel"),
    "NaN only": (filled(np.nan, "float32"), "no valid pixel"),
    "beyond float32": (filled(1e300, "float64"), "no valid pixel"),
    "complex": (filled(1, "complex64"), "complex numbers"),
    "complex integers": (empty(1, 8, "complex_int16"), "complex numbers"),
    "65 bands": (empty(65, 8), "65 bands; up to 64"),
    "10 gigapixels": (empty(3, 100_000, tiled=True), "100000 x 100000 = 10,000 megapixels"),
    "giant tiles": (empty(1, 100, "float64", tiled=True, blockxsize=16384, blockysize=16384), "tiles of 16384"),
    "another file as overview": (foreign_overview, "refers to another file"),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", BAD)
def test_bad_files_end_in_one_sentence(tmp_path, kind):
    write, words = BAD[kind]
    path = tmp_path / "bad.tif"
    write(path)
    with pytest.raises(SceneError) as caught:
        open_scene(path)
    assert words in sentence(caught.value) and "bad.tif" in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "image.tif", tmp_path):
        with pytest.raises(SceneError, match="There is no file"):
            open_scene(path)


def test_limits_can_be_set_and_name_the_numbers(write_raster):
    path = write_raster(noise(), names=RGBN)
    with pytest.raises(SceneTooLarge, match=r"30 x 20 = 0 megapixels"):
        open_scene(path, max_pixels=599)
    assert open_scene(path, max_pixels=600).shape == (20, 30)


def test_many_bands_of_many_pixels_are_too_large(write_raster, monkeypatch):
    path = write_raster(noise(), names=RGBN)
    monkeypatch.setattr("spex_model.imaging.reading.MAX_VALUES", 4 * 600 - 1)
    with pytest.raises(SceneTooLarge, match="30 x 20 pixels in 4 bands"):
        open_scene(path)
    assert MAX_PIXELS <= 100_000_000


def test_one_pixel_is_an_image(write_raster):
    scene = open_scene(write_raster(np.full((4, 1, 1), 3000, np.uint16), crs=UTM, transform=TEN_M))
    assert scene.shape == (1, 1) and scene.valid.all() and scene.reflectance == pytest.approx(0.3)


def test_a_picture_inside_the_wrong_suffix_is_read_for_what_it_is(write_raster):
    path = write_raster(noise(3, low=1, high=255, dtype="uint8"), "photo.png")
    assert open_scene(path.rename(path.with_suffix(".tif"))).bands == ("red", "green", "blue")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bad_files_leave_standard_error_empty_and_memory_small(tmp_path):
    """In a process of its own, with 1.5 GB at most: GDAL must neither speak nor allocate what a header promises."""
    for number, (write, _) in enumerate(BAD.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder / "bad.tif")
    script = (
        "import sys\nfrom pathlib import Path\nfrom spex_model.imaging.reading import open_scene\n"
        "from spex_model.imaging.errors import ImagingError\n"
        "for path in sorted(Path(sys.argv[1]).glob('*/bad.tif')):\n"
        "    try:\n        open_scene(path)\n    except ImagingError as error:\n        print(error)\n"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script, str(tmp_path)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (1_500_000_000, 1_500_000_000)),
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and done.stderr == ""
    assert len(lines) == len(BAD) + 1 and int(lines[-1]) < 600_000
