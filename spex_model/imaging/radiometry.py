"""How a file's numbers become reflectance: declared by the file or the caller, else assumed aloud, never silently."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.io import DatasetReader

from spex_model.imaging.band_names import BandNames

SENTINEL2_SCALE, SENTINEL2_OFFSET = 1e-4, -0.1
"""Sentinel-2 from processing baseline 04.00: (DN - 1000) / 10000; before it the offset is 0."""
LANDSAT_SCALE, LANDSAT_OFFSET = 2.75e-5, -0.2
"""Landsat Collection 2 Level 2 surface reflectance (USGS LSDS-1619)."""


@dataclass(frozen=True, eq=False)
class Radiometry:
    """reflectance = DN * scale + offset, one of each a band that is kept (float32)."""

    scale: np.ndarray
    offset: np.ndarray
    calibrated: bool
    zero_is_nodata: bool
    assumptions: tuple[str, ...]


def _make(count: int, scale: float, offset: float, calibrated: bool, zero: bool, *notes: str) -> Radiometry:
    return Radiometry(np.full(count, scale, np.float32), np.full(count, offset, np.float32), calibrated, zero, notes)


def declare_radiometry(
    dataset: DatasetReader,
    named: BandNames,
    keep: Sequence[int],
    *,
    scale: float | None,
    offset: float | None,
) -> Radiometry:
    """Scale and offset of the kept bands (1-based numbers): the caller's, the file's, the product's, else a default."""
    count = len(keep)
    if scale is not None or offset is not None:
        return _make(count, 1.0 if scale is None else scale, offset or 0.0, True, False)
    scales = np.array([dataset.scales[number - 1] for number in keep], np.float32)
    offsets = np.array([dataset.offsets[number - 1] for number in keep], np.float32)
    integer = np.dtype(dataset.dtypes[0]).kind in "ui"
    if (scales != 1).any() or (offsets != 0).any():
        return Radiometry(scales, offsets, True, integer, ())
    if dataset.dtypes[0] in ("uint8", "int8"):
        return _make(
            count,
            1 / 255,
            0.0,
            False,
            False,
            "The values are 8-bit brightness, not calibrated reflectance; thresholds adapt to the image.",
        )
    tags = {key.lower(): value for key, value in dataset.tags().items()}
    hints = " ".join(
        [dataset.name.rsplit("/", 1)[-1], *tags.values(), *(text or "" for text in dataset.descriptions)]
    ).lower()
    if integer and re.search(r"sentinel[-_ ]?2|msil[12]|\bs2[abc]?_", hints):
        return _sentinel2(tags, hints, count)
    if dataset.dtypes[0] == "uint16" and re.search(r"sr_b[1-7]|l[ceto]0[4-9]_l2|landsat.*(c2|collection 2)", hints):
        return _make(count, LANDSAT_SCALE, LANDSAT_OFFSET, True, True)
    return _by_range(dataset, keep, integer)


def _sentinel2(tags: dict[str, str], hints: str, count: int) -> Radiometry:
    """The -1000 offset where the tags name a baseline of 04.00 or later; without a baseline the choice is said."""
    found = re.search(r"_n(\d{2})(\d{2})_", hints)
    baseline = next(
        (value for key, value in tags.items() if "baseline" in key),
        f"{found[1]}.{found[2]}" if found else None,
    )
    if baseline is None:
        note = (
            "The file does not tell its Sentinel-2 processing baseline; values are taken as DN / 10000 without the offset of "
            "-1000 that baseline 04.00 brought. Give --scale 0.0001 --offset -0.1 if it has that."
        )
        return _make(count, SENTINEL2_SCALE, 0.0, True, True, note)
    number = re.match(r"0?(\d+)\.?(\d*)", baseline)
    recent = number is not None and int(number[1]) >= 4
    return _make(count, SENTINEL2_SCALE, SENTINEL2_OFFSET if recent else 0.0, True, True)


def _by_range(dataset: DatasetReader, keep: Sequence[int], integer: bool) -> Radiometry:
    """No declaration: judge by the range of a sample, and say so."""
    step = max(1, max(dataset.width, dataset.height) // 512)
    shape = (len(keep), max(1, dataset.height // step), max(1, dataset.width // step))
    sample = dataset.read(list(keep), out_shape=shape).astype(np.float32)
    if dataset.nodata is not None:
        sample = sample[sample != dataset.nodata]
    finite = sample[np.isfinite(sample)]
    top = float(np.percentile(finite, 99)) if finite.size else 0.0
    count = len(keep)
    if not integer and top <= 2.0:
        return _make(count, 1.0, 0.0, True, False)
    if top <= 255:
        note = (
            f"The values reach {top:g} and no scale is declared; they are read as 8-bit brightness, not as reflectance."
        )
        return _make(count, 1 / 255, 0.0, False, integer, note)
    if top <= 20_000:
        note = f"No scale is declared; values up to {top:,.0f} are read as reflectance x 10,000. Give --scale and --offset to change that."
        return _make(count, 1e-4, 0.0, True, integer, note)
    note = f"No scale is declared; values up to {top:,.0f} are stretched by their 99th percentile and not taken as reflectance."
    return _make(count, 0.8 / top, 0.0, False, integer, note)
