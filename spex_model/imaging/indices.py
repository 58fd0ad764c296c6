"""Spectral indices, and the prior mask of a land cover that classical thresholds give.

Formulas and their sources are spyndex's (Awesome Spectral Indices, doi:10.1038/s41597-023-02096-0).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from spex_model.imaging.errors import BandsError
from spex_model.imaging.scene import Scene

INDEX_NAMES = (
    "NDVI",
    "NDWI",
    "MNDWI",
    "NDBI",
    "NDMI",
    "NDSI",
    "SAVI",
    "GNDVI",
    "BI",
    "AWEInsh",
    "VARI",
    "ExG",
)
"""Indices that are offered; BI is the bare soil index of Rikimaru."""

_SYMBOLS = {"B": "blue", "G": "green", "R": "red", "RE1": "rededge", "N": "nir", "S1": "swir1", "S2": "swir2"}
_SPECK_PIXELS = 4
_VARI_LEAST = 0.1
"""Share of the brightness (green + red + blue) that VARI's denominator must exceed: in blue pixels it is near zero or
negative, and the ratio says nothing of plants (Gitelson 2002 has it for vegetation and soil, where blue is lowest)."""
_AWEI_FORMULA = "4.0 * (G - S1) - (0.25 * N + 2.75 * S2)"
"""Feyisa 2014, equation 2 (doi:10.1016/j.rse.2013.08.029); the catalogue leaves the last brackets away."""


@lru_cache
def _entry(name: str) -> Any:
    import spyndex  # reads its catalogue of 250 indices: 0.3 s that only those who ask for an index pay

    return spyndex.indices[name]


def canonical_index(name: str) -> str:
    """The index's name as it is written ("ndvi" -> "NDVI"). Raises BandsError for one that is not offered."""
    for known in INDEX_NAMES:
        if known.lower() == name.strip().lower():
            return known
    raise BandsError(f"The index {name} is not known here. Known: {', '.join(INDEX_NAMES)}.")


def needed_bands(name: str) -> tuple[str, ...]:
    """Canonical bands that an index is computed from."""
    return tuple(_SYMBOLS[symbol] for symbol in _entry(canonical_index(name)).bands if symbol in _SYMBOLS)


def index_source(name: str) -> tuple[str, str]:
    """(formula, DOI or address of the source) of an index."""
    entry = _entry(canonical_index(name))
    return _AWEI_FORMULA if entry.short_name == "AWEInsh" else entry.formula, entry.reference


def available_indices(scene: Scene) -> tuple[str, ...]:
    """Names of the indices that the scene's bands allow."""
    return tuple(name for name in INDEX_NAMES if set(needed_bands(name)) <= set(scene.bands))


def compute_index(scene: Scene, name: str) -> np.ndarray:
    """An index (H, W) float32, unitless, NaN where the scene is not valid or the index is not defined.

    Reflectance below 0, which atmospheric correction leaves over dark water, counts as 0: normalised differences
    stay within -1 to 1. VARI is not defined where green + red exceed blue by less than a tenth of the brightness.
    Raises BandsError with the missing bands and the remedy.
    """
    name = canonical_index(name)
    missing = [band for band in needed_bands(name) if band not in scene.bands]
    if missing:
        raise BandsError(
            f"The image has {', '.join(scene.bands)} only; {name} needs {' and '.join(missing)}. "
            "Ask without the index, or upload a file that has it."
        )
    import spyndex

    needed = needed_bands(name)
    bands = {symbol: np.maximum(scene.band(band), 0) for symbol, band in _SYMBOLS.items() if band in needed}
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "AWEInsh":
            values = 4 * (bands["G"] - bands["S1"]) - (0.25 * bands["N"] + 2.75 * bands["S2"])
        else:
            values = np.asarray(spyndex.computeIndex(name, {**bands, "L": 0.5}), np.float32)
    if name == "VARI":
        gap, brightness = bands["G"] + bands["R"] - bands["B"], bands["G"] + bands["R"] + bands["B"]
        values = np.where(gap > _VARI_LEAST * brightness, values, np.nan)
    if name not in ("AWEInsh", "ExG"):
        values = np.where(np.abs(values) <= 2, values, np.nan)
    return np.where(scene.valid & np.isfinite(values), values, np.nan).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Prior:
    """What an index says of a land cover before the model looks.

    index and threshold are None where the bands allow none; then mask (H, W) bool is empty. values (H, W)
    float32 is the index. `above` tells on which side of the threshold the class lies; reason is a sentence.
    """

    land_cover: str
    index: str | None
    threshold: float | None
    reason: str
    mask: np.ndarray = field(repr=False)
    values: np.ndarray | None = field(default=None, repr=False)
    above: bool = True


_CHOICES: dict[str, tuple[tuple[str, float, str], ...]] = {
    "water": (
        ("MNDWI", 0.0, "open water reflects more green than short-wave infrared (Xu 2006)"),
        ("NDWI", 0.0, "open water reflects more green than near-infrared (McFeeters 1996)"),
    ),
    "vegetation": (
        ("NDVI", 0.3, "green leaves reflect far more near-infrared than red (Rouse 1974)"),
        ("VARI", 0.1, "leaves reflect more green than red; without near-infrared this is weaker evidence (Gitelson 2002)"),
    ),
    "trees": (
        ("NDVI", 0.5, "dense leaves reflect far more near-infrared than red; lush crops and lawns do so too"),
        ("VARI", 0.15, "leaves reflect more green than red; without near-infrared this is weaker evidence (Gitelson 2002)"),
    ),
    "buildings": (
        ("NDBI", 0.0, "roofs and paving reflect more short-wave than near-infrared, as dry soil does (Zha 2003)"),
    ),
    "bare soil": (
        ("BI", 0.0, "bare soil is brighter in short-wave infrared and red than in near-infrared and blue (Rikimaru 2002)"),
    ),
}  # fmt: skip
_BELOW: dict[str, tuple[str, ...]] = {
    "water": ("NDVI", "SAVI", "GNDVI", "NDBI", "BI"),
    "vegetation": ("NDWI", "MNDWI", "BI"),
    "trees": ("NDWI", "MNDWI", "BI"),
    "buildings": ("NDMI",),
    "bare soil": ("NDMI",),
}
"""Indices that are low, not high, where a land cover is; used only when asked for by name."""
_PLANTS, _REACH, _LEAST_GAP = 0.25, 0.2, 0.2
_BY_NAME = "the index was asked for by name"


def _adaptive_threshold(values: np.ndarray, fixed: float, *, never_lower: bool) -> float:
    """Otsu's threshold of uncalibrated brightness, kept within 0.2 of the fixed one.

    `never_lower` is for classes that are often absent (water): Otsu then splits the land in two. There the threshold
    stays at the fixed one or above, and goes to its upper end where the two halves differ by less than 0.2.
    """
    finite = values[np.isfinite(values)]
    if finite.size < 16 or float(np.ptp(finite)) < 1e-3:
        return fixed
    otsu = float(threshold_otsu(finite))
    if never_lower and float(finite[finite > otsu].mean() - finite[finite <= otsu].mean()) < _LEAST_GAP:
        return fixed + _REACH
    return float(np.clip(otsu, fixed if never_lower else fixed - _REACH, fixed + _REACH))


def clean_mask(mask: np.ndarray, pixels: int = _SPECK_PIXELS) -> np.ndarray:
    """Drop specks and fill holes of fewer than `pixels` pixels."""
    cleaned = remove_small_objects(mask, max_size=pixels - 1, connectivity=2)
    return remove_small_holes(cleaned, max_size=pixels - 1, connectivity=1)


def prior_for(scene: Scene, land_cover: str, *, index: str | None = None) -> Prior:
    """The prior mask of a land cover from the best index that the bands allow, or from `index`.

    Calibrated reflectance takes the threshold of the literature, uncalibrated brightness Otsu's near it. From bare
    soil and buildings, plants (NDVI of 0.25 or more) and water (MNDWI above 0) are taken out where the bands allow.
    """
    choices = _CHOICES[land_cover]
    above = True
    if index is not None:
        index = canonical_index(index)
        above = index not in _BELOW[land_cover]
        choices = next(
            ((choice,) for choice in choices if choice[0] == index),
            ((index, 0.0, _BY_NAME),),
        )
    for name, fixed, why in choices:
        if not set(needed_bands(name)) <= set(scene.bands):
            continue
        values = compute_index(scene, name)
        threshold, how = fixed, "since no limit was given" if why == _BY_NAME else "the usual limit"
        if not scene.calibrated:
            threshold = _adaptive_threshold(values if above else -values, fixed, never_lower=land_cover == "water")
            threshold = threshold if above else -threshold
            how = "a limit fitted to this image, since its brightness is not calibrated"
        with np.errstate(invalid="ignore"):
            mask = (values > threshold) if above else (values < threshold)
        without, exception = _take_out(scene, land_cover)
        reason = f"{name} {'above' if above else 'below'} {threshold:.2f}, {how}: {why}{exception}."
        mask = clean_mask(mask & ~without & scene.valid) & scene.valid
        return Prior(land_cover, name, round(threshold, 3), reason, mask, values, above)
    needed = " or ".join("/".join(needed_bands(name)) for name, _, _ in choices)
    reason = f"No index tells {land_cover} from the bands {', '.join(scene.bands)}; it would need {needed}."
    return Prior(land_cover, None, None, reason, np.zeros(scene.shape, bool))


def _take_out(scene: Scene, land_cover: str) -> tuple[np.ndarray, str]:
    """What cannot be bare soil or buildings (H, W) bool, plants and water, and the words for it."""
    without = np.zeros(scene.shape, bool)
    words = []
    if land_cover in ("bare soil", "buildings"):
        with np.errstate(invalid="ignore"):
            if {"nir", "red"} <= set(scene.bands):
                without |= ~(compute_index(scene, "NDVI") < _PLANTS)
                words.append(f"plants (NDVI of {_PLANTS:g} or more)")
            if {"green", "swir1"} <= set(scene.bands):
                without |= compute_index(scene, "MNDWI") > 0
                words.append("water (MNDWI above 0)")
    return without, f"; {' and '.join(words)} taken out" if words else ""


def evidence_text(prior: Prior, scene: Scene, count: int) -> str:
    """The evidence line of the describing prompt: "MNDWI above 0.00, mean 0.41, 3 regions".

    count is the number of the prior's regions; without an index the line names the bands instead.
    """
    if prior.index is None or prior.values is None:
        return f"no index, the bands are {', '.join(scene.bands[:7])}"
    side = "above" if prior.above else "below"
    if not prior.mask.any():
        return f"{prior.index} {side} {prior.threshold:.2f} nowhere"
    inside = prior.values[prior.mask]
    mean = float(np.nanmean(inside)) if np.isfinite(inside).any() else 0.0
    return f"{prior.index} {side} {prior.threshold:.2f}, mean {mean:.2f}, {count} region{'s' if count != 1 else ''}"
