"""How a file's numbers become reflectance: declared by the file or the caller, else assumed aloud, never silently."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.io import DatasetReader

from spex_model.imaging.band_names import BandNames, plain_tags, read_hints, rough_pixel_m
from spex_model.imaging.bands import SLOTS
from spex_model.imaging.errors import SceneError

SENTINEL2_SCALE, SENTINEL2_OFFSET = 1e-4, -0.1
"""Sentinel-2 from processing baseline 04.00: (DN - 1000) / 10000; before it the offset is 0."""
LANDSAT_SCALE, LANDSAT_OFFSET = 2.75e-5, -0.2
"""Landsat Collection 2 Level 2 surface reflectance (USGS LSDS-1619)."""
LANDSAT_TOA_SCALE, LANDSAT_TOA_OFFSET = 2e-5, -0.1
"""Landsat 8/9 Collection 2 Level 1 reflectance at the top of the atmosphere, before the sun's height (same source)."""
_ELEVEN_BIT, _FINE_M = 2047, 2.0
"""Satellites that see details finer than 2 m deliver 11-bit counts; no surface reflectance product is that fine."""


@dataclass(frozen=True, eq=False)
class Radiometry:
    """reflectance = DN * scale + offset, one of each a band that is kept (float32).

    zero_is_nodata: a pixel that is 0 in all kept bands holds nothing, where the file declares no other nodata.
    """

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
    """Scale and offset of the kept bands (1-based numbers): the caller's, the file's, the product's, else a default.

    Raises SceneError for a scale that is no positive number.
    """
    count = len(keep)
    integer, eight_bit = np.dtype(dataset.dtypes[0]).kind in "ui", dataset.dtypes[0] in ("uint8", "int8")
    if scale is not None or offset is not None:
        scale, offset = 1.0 if scale is None else scale, offset or 0.0
        if not (np.isfinite((scale, offset)).all() and 0 < scale < 1e6 and abs(offset) < 1e6):
            raise SceneError(f"A scale of {scale:g} with an offset of {offset:g} cannot be; the scale must be above 0.")
        return _make(count, scale, offset, True, integer and not eight_bit)
    scales = np.array([dataset.scales[number - 1] for number in keep], np.float64)
    offsets = np.array([dataset.offsets[number - 1] for number in keep], np.float64)
    if (scales != 1).any() or (offsets != 0).any():
        if not (np.isfinite([scales, offsets]).all() and (scales > 0).all()):
            raise SceneError("The file declares a scale that is no positive number. Give --scale and --offset.")
        return Radiometry(scales.astype(np.float32), offsets.astype(np.float32), True, integer and not eight_bit, ())
    if eight_bit:
        return _make(
            count,
            1 / 255,
            0.0,
            False,
            False,
            "The values are 8-bit brightness, not calibrated reflectance; thresholds adapt to the image.",
        )
    hints = read_hints(dataset, dataset.name.rsplit("/", 1)[-1])
    if integer and re.search(r"sentinel[-_ ]?2|msil[12]|(?<![a-z0-9])s2[abc]?_", hints):
        return _sentinel2(dataset, keep, hints)
    if dataset.dtypes[0] == "uint16" and re.search(r"(?<![a-z])lc0[89]_l1", hints):
        note = "Landsat Level-1 counts are read as reflectance at the top of the atmosphere, not corrected for the sun's height."
        return _make(count, LANDSAT_TOA_SCALE, LANDSAT_TOA_OFFSET, True, True, note)
    if dataset.dtypes[0] == "uint16" and re.search(
        r"sr_b[1-7]|(?<![a-z])l[cet]0[4-9]_l2|landsat[^\n]{0,80}(?:c2|collection 2)", hints
    ):
        return _make(count, LANDSAT_SCALE, LANDSAT_OFFSET, True, True)
    told = bands_that_tell([named.names[number - 1] for number in keep])
    return _by_range(dataset, count, [keep[index] for index in told], integer)


def bands_that_tell(names: Sequence[str | None]) -> list[int]:
    """Which of the bands, from 0, tell the scale by their values: those of the spectral slots, else all.

    A thermal band holds kelvin, and would speak for a scale that is wrong for the others.
    """
    return [index for index, name in enumerate(names) if name in SLOTS] or list(range(len(names)))


def doubt(reflectance: np.ndarray, calibrated: bool) -> str | None:
    """A sentence when values (C, N), NaN where not valid, are too low or too high for the reflectance of land, else None."""
    finite = reflectance[np.isfinite(reflectance)]
    if not calibrated or not finite.size:
        return None
    top = float(np.percentile(finite, 99))
    if 0.005 <= top <= 3:
        return None
    return (
        f"With this scale the values reach {top:.2g}, and reflectance lies between 0 and 1: the scale is likely wrong. "
        "Give --scale and --offset."
    )


def _baseline(tags: dict[str, str], hints: str) -> float | None:
    """The processing baseline ("04.00", "N0400", "0509"; or the _N0509_ of a product's name) as a number, 4.0 or 5.09."""
    texts = [value for key, value in tags.items() if "baseline" in key]
    found = re.search(r"_n(\d{2})(\d{2})(?!\d)", hints)
    for text in texts + ([f"{found[1]}.{found[2]}"] if found else []):
        number = re.fullmatch(r"\s*n?(\d{1,2})[.]?(\d{2})\s*", text.lower())
        if number:
            return float(f"{number[1]}.{number[2]}")
    return None


def _sentinel2(dataset: DatasetReader, keep: Sequence[int], hints: str) -> Radiometry:
    """The -1000 offset where the baseline is 04.00 or later and nothing tells that it was taken off; all choices are said."""
    count, tags = len(keep), plain_tags(dataset.tags())
    applied = any(
        "boa_offset_applied" in key and value.strip().lower() in ("true", "1", "yes") for key, value in tags.items()
    )
    if applied or "harmonized" in hints or "harmonised" in hints:
        return _make(count, SENTINEL2_SCALE, 0.0, True, True)
    baseline = _baseline(tags, hints)
    if baseline is not None and baseline < 4:
        return _make(count, SENTINEL2_SCALE, 0.0, True, True)
    sample = _sample(dataset, keep)
    dark = float(np.percentile(sample, 1)) if sample.size else 0.0
    if baseline is None:
        note = (
            "The file does not tell its Sentinel-2 processing baseline; values are taken as DN / 10000 without the offset of "
            "-1000 that baseline 04.00 brought."
        )
        if dark >= 1000:
            note += f" But the darkest are near {dark:,.0f}, which speaks for that offset."
        return _make(
            count, SENTINEL2_SCALE, 0.0, True, True, note + " Give --scale 0.0001 --offset -0.1 if it has that."
        )
    if dark < 800:
        note = (
            f"Sentinel-2 baseline {baseline:05.2f} would bring an offset of -1000, but values go down to {dark:,.0f}: the offset "
            "was taken off before, and values are read as DN / 10000. Give --scale 0.0001 --offset -0.1 to change that."
        )
        return _make(count, SENTINEL2_SCALE, 0.0, True, True, note)
    return _make(count, SENTINEL2_SCALE, SENTINEL2_OFFSET, True, True)


def _sample(dataset: DatasetReader, keep: Sequence[int]) -> np.ndarray:
    """Finite values (N,) float64 of the kept bands, thinned to some 512 x 512 pixels, without nodata and empty pixels."""
    step = max(1, max(dataset.width, dataset.height) // 512)
    shape = (len(keep), max(1, dataset.height // step), max(1, dataset.width // step))
    sample = dataset.read(list(keep), out_shape=shape).astype(np.float64)
    sample = sample[:, ~(sample == 0).all(0)]
    if dataset.nodata is not None:
        sample = sample[sample != dataset.nodata]
    return sample[np.isfinite(sample)]


def _by_range(dataset: DatasetReader, count: int, told: Sequence[int], integer: bool) -> Radiometry:
    """No declaration: judge the scale of all `count` bands by a sample of those that tell it, and say so."""
    sample = _sample(dataset, told)
    top = float(np.percentile(sample, 99)) if sample.size else 0.0
    zero = integer or count >= 3
    if not integer and top <= 2.0:
        return _make(
            count, 1.0, 0.0, True, zero, f"No scale is declared; values up to {top:.2g} are read as reflectance."
        )
    if top <= 255:
        note = (
            f"The values reach {top:g} and no scale is declared; they are read as 8-bit brightness, not as reflectance."
        )
        return _make(count, 1 / 255, 0.0, False, zero, note)
    if (rough_pixel_m(dataset) or _FINE_M) < _FINE_M and float(sample.max()) <= _ELEVEN_BIT:
        note = (
            f"No scale is declared; values end below {_ELEVEN_BIT + 1:,}, as the 11-bit counts of a camera do: they are read as "
            "brightness, not as reflectance. Give --scale 0.0001 --offset 0 if they are reflectance x 10,000."
        )
        return _make(count, 0.8 / top, 0.0, False, zero, note)
    if top <= 20_000:
        note = f"No scale is declared; values up to {top:,.0f} are read as reflectance x 10,000. Give --scale and --offset to change that."
        return _make(count, 1e-4, 0.0, True, zero, note)
    note = f"No scale is declared; values up to {top:,.0f} are stretched by their 99th percentile and not taken as reflectance."
    return _make(count, 0.8 / top, 0.0, False, zero, note)
