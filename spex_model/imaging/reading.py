"""Open an image file as a Scene: drivers, limits, band names, scale, nodata; what is assumed is said."""

import contextlib
import logging
import re
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from scipy.ndimage import binary_propagation

from spex_model.imaging.band_names import BandNames, name_bands
from spex_model.imaging.errors import BandsError, PixelSizeError, SceneError, SceneTooLarge
from spex_model.imaging.radiometry import Radiometry, bands_that_tell, declare_radiometry, doubt
from spex_model.imaging.scene import Scene, checked_gsd_m, parse_band_names

log = logging.getLogger(__name__)

DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "JPEG", "PNG")
MAX_PIXELS = 64_000_000
MAX_BANDS = 64
MAX_VALUES = 13 * MAX_PIXELS
"""Pixels times bands: 3.3 GB of reflectance."""
_PIXELS_AT_ONCE = 4_000_000
_BORDER_SHARE = 0.005

_GDAL_OPTIONS = {
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,  # its fast path gives out stale memory where a PNG is cut off
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a JPEG that is cut off is an error, not a grey half
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no file beside the image takes part
}
_DATE_TAGS = (
    "acquired", "date_acquired", "acquisition_date", "acquisitiondate", "sensing_time", "sensing_date", "datetime",
    "exif_datetimeoriginal", "tifftag_datetime",
)  # fmt: skip
"""Tags that hold the day of the image, best first: the last may be the day of writing."""


def open_scene(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    gsd_m: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Scene:
    """Open a GeoTIFF, COG, JPEG 2000, PNG or JPEG.

    bands names the bands in file order; reflectance = DN * scale + offset; gsd_m is the pixel size of a file
    without georeference. What is not given comes from the file, else from a documented default that
    `Scene.assumptions` states. Raises SceneError, SceneTooLarge, BandsError or PixelSizeError with one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise SceneError(f"There is no file {path.name}.")
    if gsd_m is not None:
        gsd_m = checked_gsd_m(gsd_m)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # Only plain raster drivers: a VRT or other indirection could point at any file or address.
            with (
                rasterio.Env(**_GDAL_OPTIONS),
                DatasetReader(path.absolute(), driver=list(DRIVERS), sharing=False) as dataset,
            ):
                return _read(dataset, path, bands, scale, offset, gsd_m, max_pixels)
    except (RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError) as error:
        log.info("cannot open %s", path.name, exc_info=error)
        raise SceneError(
            f"{path.name} cannot be read as an image: it is damaged, cut off or of another kind. "
            "GeoTIFF, JPEG 2000, PNG and JPEG are taken."
        ) from error


def _check_size(dataset: DatasetReader, name: str, max_pixels: int) -> None:
    pixels = dataset.width * dataset.height
    if pixels > max_pixels:
        raise SceneTooLarge(
            f"{name} has {dataset.width} x {dataset.height} = {pixels / 1e6:,.0f} megapixels; up to "
            f"{max_pixels / 1e6:.0f} megapixels are taken. Cut out a part of it and upload that."
        )
    if dataset.count > MAX_BANDS:
        raise SceneError(f"{name} has {dataset.count} bands; up to {MAX_BANDS} are taken.")
    if any(key.upper() == "OVERVIEW_FILE" for key in dataset.tags(ns="OVERVIEWS")):
        # GDAL would open whatever file or address stands there.
        raise SceneError(f"{name} refers to another file as its overview, which is not followed. Save it anew without.")
    block_height, block_width = dataset.block_shapes[0]
    if block_height * block_width > max(2 * pixels, _PIXELS_AT_ONCE):
        raise SceneError(
            f"{name} is made of tiles of {block_width} x {block_height} pixels; save it with smaller ones."
        )
    if any("complex" in dtype for dtype in dataset.dtypes):
        raise SceneError(f"{name} holds complex numbers (radar); optical images are needed.")


def _read(
    dataset: DatasetReader,
    path: Path,
    bands: Sequence[str] | None,
    scale: float | None,
    offset: float | None,
    gsd_m: float | None,
    max_pixels: int,
) -> Scene:
    _check_size(dataset, path.name, max_pixels)
    named = BandNames(parse_band_names(bands), ()) if bands is not None else name_bands(dataset, path.name)
    if len(named.names) != dataset.count:
        raise BandsError(f"{path.name} has {dataset.count} bands, but {len(named.names)} names were given.")
    keep = [number for number, name in enumerate(named.names, start=1) if name not in ("alpha", None)]
    if not keep:
        raise BandsError(f"None of the {dataset.count} bands of {path.name} is known. Say which bands they are.")
    if len(keep) * dataset.width * dataset.height > MAX_VALUES:
        raise SceneTooLarge(
            f"{path.name} has {dataset.width} x {dataset.height} pixels in {len(keep)} bands; up to "
            f"{MAX_VALUES / 1e6:.0f} million values are taken. Cut out a part of it, or leave bands away."
        )
    radiometry = declare_radiometry(dataset, named, keep, scale=scale, offset=offset)
    reflectance, valid = _read_pixels(dataset, keep, named, radiometry)
    notes = [*named.assumptions, *radiometry.assumptions]
    if dataset.nodata is None and not radiometry.zero_is_nodata and "alpha" not in named.names:
        notes += _drop_border(reflectance, valid, radiometry)
    if not valid.any():
        raise SceneError(f"{path.name} holds no valid pixel: all are nodata.")
    thinned = max(1, max(valid.shape) // 512)
    told = bands_that_tell([named.names[number - 1] for number in keep])
    doubts = doubt(reflectance[told, ::thinned, ::thinned].reshape(len(told), -1), radiometry.calibrated)
    notes += [doubts] if doubts else []
    size_m, size_notes = _pixel_size(dataset, gsd_m)
    return Scene(
        reflectance,
        valid,
        tuple(str(named.names[number - 1]) for number in keep),
        dataset.transform,
        dataset.crs if _ground_steps_m(dataset) else None,
        size_m,
        _acquired(dataset, path.name),
        path.name,
        radiometry.calibrated,
        tuple(notes + size_notes),
    )


def _read_pixels(
    dataset: DatasetReader, keep: list[int], named: BandNames, radiometry: Radiometry
) -> tuple[np.ndarray, np.ndarray]:
    """Read in strips, so that memory holds the result and one strip."""
    height, width = dataset.height, dataset.width
    reflectance = np.empty((len(keep), height, width), np.float32)
    valid = np.empty((height, width), bool)
    alpha = named.names.index("alpha") + 1 if "alpha" in named.names else None
    rows_at_once = max(1, _PIXELS_AT_ONCE // width)
    for row in range(0, height, rows_at_once):
        window = rasterio.windows.Window(0, row, width, min(rows_at_once, height - row))
        raw = dataset.read(keep, window=window)
        usable = ~_is_empty(raw, dataset.nodata, radiometry)
        if any("per_dataset" in flags and "alpha" not in flags for flags in _mask_flags(dataset)):
            usable &= dataset.read_masks(keep[0], window=window) > 0
        if alpha is not None:
            usable &= dataset.read(alpha, window=window) > 0
        with np.errstate(over="ignore", invalid="ignore"):
            values = raw.astype(np.float32)
            values *= radiometry.scale[:, None, None]
            values += radiometry.offset[:, None, None]
        usable &= np.isfinite(values).all(0)
        values[:, ~usable] = np.nan
        strip = slice(row, row + raw.shape[1])
        reflectance[:, strip], valid[strip] = values, usable
    return reflectance, valid


def _mask_flags(dataset: DatasetReader) -> list[list[str]]:
    return [[flag.name for flag in flags] for flags in dataset.mask_flag_enums]


def _is_empty(raw: np.ndarray, nodata: float | None, radiometry: Radiometry) -> np.ndarray:
    """Where DN (C, H, W) hold nodata (H, W): in one band if no measurement can give that value, else in all of them.

    0 and the values of 8-bit pictures occur in single bands of dark and bright things; -9999 or 65535 do not, and
    nor does 0 where the offset makes a reflectance far below zero of it.
    """
    if nodata is None and not radiometry.zero_is_nodata:
        return np.zeros(raw.shape[1:], bool)
    value = 0.0 if nodata is None else nodata
    if not np.isfinite(value):
        return np.zeros(raw.shape[1:], bool)  # what is not finite is dropped anyway
    impossible = (radiometry.offset < -0.05).any() if value == 0 else raw.dtype.itemsize > 1
    hit = raw == value
    return hit.any(0) if impossible else hit.all(0)


def _drop_border(reflectance: np.ndarray, valid: np.ndarray, radiometry: Radiometry) -> list[str]:
    """Take a black margin, 0 in all bands and reaching the image's edge, out of `valid`, in place; and say so."""
    if len(reflectance) < 3:
        return []
    black = valid.copy()
    for band, zero in zip(reflectance, radiometry.offset, strict=True):
        black &= band == zero
    if black.mean() < _BORDER_SHARE:
        return []
    edge = black.copy()
    edge[1:-1, 1:-1] = False
    border = binary_propagation(edge, mask=black)
    if border.mean() < _BORDER_SHARE or border[valid].all():
        return []
    valid &= ~border
    reflectance[:, border] = np.nan
    return [f"A black margin of {border.mean():.0%} of the picture is left out as nodata."]


def _ground_steps_m(dataset: DatasetReader) -> tuple[float, float] | None:
    """Width and height in metres of the pixel at the image's centre, on the ellipsoid; None where nothing places it on Earth."""
    if not dataset.crs or dataset.transform.is_identity:
        return None
    row, column = dataset.height / 2, dataset.width / 2
    x, y = zip(
        *(dataset.transform @ point for point in ((column, row), (column + 1, row), (column, row + 1))),
        strict=True,
    )
    try:
        to_degrees = Transformer.from_crs(CRS.from_wkt(dataset.crs.to_wkt()), "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(x, y)
    except ProjError:
        return None
    geod = Geod(ellps="WGS84")
    if not np.isfinite([longitude, latitude]).all() or max(map(abs, latitude)) > 90:
        return None
    steps = [geod.inv(longitude[0], latitude[0], longitude[end], latitude[end])[2] for end in (1, 2)]
    return (steps[0], steps[1]) if np.isfinite(steps).all() and min(steps) > 0 else None


def _pixel_size(dataset: DatasetReader, gsd_m: float | None) -> tuple[float | None, list[str]]:
    """Pixel size in metres and what must be said about it: of the georeference, else as given, else of the tag GSD_M."""
    steps = _ground_steps_m(dataset)
    if steps is not None:
        notes = []
        if gsd_m is not None:
            notes.append(
                "The given pixel size is not used: the file is georeferenced, and its pixel size follows from that."
            )
        if max(steps) > 1.1 * min(steps):
            notes.append(
                f"Pixels are {steps[0]:.3g} m wide and {steps[1]:.3g} m high; outline lengths in metres use their mean, distances and areas are exact."
            )
        if dataset.transform.e > 0 or abs(dataset.transform.d) > abs(dataset.transform.e):
            notes.append('The file\'s rows do not run from north to south: "north" means the top of the picture here.')
        return float(np.sqrt(steps[0] * steps[1])), notes
    broken = dataset.crs and not dataset.transform.is_identity
    what = "The file's georeference cannot be placed on Earth" if broken else "The file is not georeferenced"
    tagged = dataset.tags().get("GSD_M")
    if gsd_m is not None:
        return gsd_m, [f"The pixel size of {gsd_m:g} m was given. {what}."]
    if tagged is not None:
        try:
            gsd_m = checked_gsd_m(float(tagged))
        except (ValueError, PixelSizeError):
            return None, [f"The file's pixel size tag GSD_M says '{tagged[:40]}', which is no size; it was left aside."]
        return gsd_m, [f"The pixel size of {gsd_m:g} m is from the file's GSD_M tag."]
    return None, [f'{what}: areas are in pixels. Say the pixel size ("pixels are 30 m") to get hectares.']


def _acquired(dataset: DatasetReader, name: str) -> date | None:
    """The day of the image: from a tag, else from a Sentinel-2 or Landsat product's name, else None."""
    tags = {key.lower(): value for key, value in dataset.tags().items()}
    product = re.search(r"(?:MSIL[12][AC]_|L[CETO]0[4-9]_L\w{3}_\d{6}_)(\d{8})", name)
    for text in [tags.get(key, "") for key in _DATE_TAGS] + ([product[1]] if product else []):
        found = re.match(r"\s*(\d{4})[-:/.]?(\d{2})[-:/.]?(\d{2})", text)
        if found:
            with contextlib.suppress(ValueError):
                return date(int(found[1]), int(found[2]), int(found[3]))
    return None
