"""Open an image file as a Scene: drivers, limits, band names, scale, nodata; what is assumed is said."""

import logging
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from pyproj import CRS, Geod, Transformer
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from spex_model.imaging.band_names import BandNames, name_bands
from spex_model.imaging.errors import BandsError, SceneError, SceneTooLarge
from spex_model.imaging.radiometry import Radiometry, declare_radiometry
from spex_model.imaging.scene import Scene, parse_band_names

log = logging.getLogger(__name__)

DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "JPEG", "PNG")
MAX_PIXELS = 64_000_000
MAX_BANDS = 64
_ROWS_AT_ONCE = 1024


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
    `Scene.assumptions` states. Raises SceneError, SceneTooLarge or BandsError with one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise SceneError(f"There is no file {path.name}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # Only plain raster drivers: a VRT or other indirection could point at any file or address.
            with rasterio.Env(), DatasetReader(path, driver=list(DRIVERS), sharing=False) as dataset:
                return _read(dataset, path, bands, scale, offset, gsd_m, max_pixels)
    except (RasterioError, OSError) as error:
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
    if np.dtype(dataset.dtypes[0]).kind == "c":
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
    names = tuple(str(named.names[number - 1]) for number in keep)
    radiometry = declare_radiometry(dataset, named, keep, scale=scale, offset=offset)
    reflectance, valid = _read_pixels(dataset, keep, named, radiometry)
    if not valid.any():
        raise SceneError(f"{path.name} holds no valid pixel: all are nodata.")
    notes = [*named.assumptions, *radiometry.assumptions]
    crs = dataset.crs if dataset.crs and not dataset.transform.is_identity else None
    size_m, size_note = _pixel_size(dataset, gsd_m) if crs is None else (_georeferenced_gsd_m(dataset), None)
    return Scene(
        reflectance, valid, names, dataset.transform, crs, size_m, _acquired(dataset), path.name,
        radiometry.calibrated, tuple(notes + ([size_note] if size_note else [])),
    )  # fmt: skip


def _read_pixels(
    dataset: DatasetReader, keep: list[int], named: BandNames, radiometry: Radiometry
) -> tuple[np.ndarray, np.ndarray]:
    """Read in strips, so that memory holds the result and one strip."""
    height, width = dataset.height, dataset.width
    reflectance = np.empty((len(keep), height, width), np.float32)
    valid = np.empty((height, width), bool)
    alpha = named.names.index("alpha") + 1 if "alpha" in named.names else None
    for row in range(0, height, _ROWS_AT_ONCE):
        window = rasterio.windows.Window(0, row, width, min(_ROWS_AT_ONCE, height - row))
        raw = dataset.read(keep, window=window)
        usable = np.isfinite(raw).all(0) if raw.dtype.kind == "f" else np.ones(raw.shape[1:], bool)
        if dataset.nodata is not None or radiometry.zero_is_nodata:
            empty = 0 if dataset.nodata is None else dataset.nodata
            usable &= ~(raw == empty).all(0) if np.isfinite(empty) else True
        elif alpha is None and not any("alpha" in str(flag) for flags in dataset.mask_flag_enums for flag in flags):
            usable &= dataset.read_masks(keep[0], window=window) > 0
        if alpha is not None:
            usable &= dataset.read(alpha, window=window) > 0
        strip = slice(row, row + raw.shape[1])
        values = raw.astype(np.float32) * radiometry.scale[:, None, None] + radiometry.offset[:, None, None]
        reflectance[:, strip] = np.where(usable, values, np.nan)
        valid[strip] = usable
    return reflectance, valid


def _georeferenced_gsd_m(dataset: DatasetReader) -> float:
    """Pixel size in metres at the image's centre: mean of both directions, measured on the ellipsoid."""
    to_degrees = Transformer.from_crs(CRS.from_wkt(dataset.crs.to_wkt()), "EPSG:4326", always_xy=True)
    row, column = dataset.height / 2, dataset.width / 2
    x, y = zip(
        *(dataset.transform @ point for point in ((column, row), (column + 1, row), (column, row + 1))),
        strict=True,
    )
    longitude, latitude = to_degrees.transform(x, y)
    geod = Geod(ellps="WGS84")
    steps = [geod.inv(longitude[0], latitude[0], longitude[end], latitude[end])[2] for end in (1, 2)]
    if not np.isfinite(steps).all() or min(steps) <= 0:
        raise SceneError("The georeference of this file is broken: its pixels have no size on the ground.")
    return float(np.mean(steps))


def _pixel_size(dataset: DatasetReader, gsd_m: float | None) -> tuple[float | None, str | None]:
    tagged = dataset.tags().get("GSD_M")
    if gsd_m is None and tagged is not None:
        try:
            gsd_m = float(tagged)
        except ValueError:
            return (
                None,
                f"The file's pixel size tag GSD_M says '{tagged}', which is no number; it was left aside.",
            )
        return gsd_m, f"The pixel size of {gsd_m:g} m is from the file's GSD_M tag."
    if gsd_m is None:
        return None, (
            'The file is not georeferenced: areas are in pixels. Say the pixel size ("pixels are 30 m") to get hectares.'
        )
    return gsd_m, f"The pixel size of {gsd_m:g} m was given, the file is not georeferenced."


def _acquired(dataset: DatasetReader) -> date | None:
    for key, value in dataset.tags().items():
        if key.lower() in (
            "datetime",
            "tifftag_datetime",
            "acquired",
            "date_acquired",
            "acquisition_date",
            "sensing_time",
        ):
            digits = "".join(character for character in value if character.isdigit())[:8]
            try:
                return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
            except ValueError:
                return None
    return None
