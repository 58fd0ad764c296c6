"""Which band of a file is which: from its descriptions and tags, else a documented default that is said aloud."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from spex_model.imaging.bands import BAND_CODES, band_code, normalise_band_name
from spex_model.imaging.errors import BandsError

CHANGE = 'Say "the bands are blue, green, red, nir" (in your order) to change that.'


@dataclass(frozen=True)
class BandNames:
    """One canonical name a file band (None: not known, left aside), and what had to be assumed."""

    names: tuple[str | None, ...]
    assumptions: tuple[str, ...]


_DEFAULTS: dict[tuple[int, bool], tuple[tuple[str, ...], str]] = {
    (1, True): (("pan",), "one grey band"),
    (1, False): (("pan",), "one grey band"),
    (3, True): (("red", "green", "blue"), "a colour picture"),
    (3, False): (("red", "green", "blue"), "a colour picture"),
    (4, True): (("red", "green", "blue", "nir"), "NAIP order"),
    (4, False): (("blue", "green", "red", "nir"), "PlanetScope order"),
    (5, False): (("blue", "green", "red", "rededge", "nir"), "RapidEye order"),
    (6, True): (("blue", "green", "red", "nir", "swir1", "swir2"), "Landsat order without the thermal band"),
    (6, False): (("blue", "green", "red", "nir", "swir1", "swir2"), "Landsat order without coastal and thermal bands"),
    (7, False): (("coastal", "blue", "green", "red", "nir", "swir1", "swir2"), "Landsat 8 order"),
    (8, False): (("coastal", "blue", "green2", "green", "yellow", "red", "rededge", "nir"), "PlanetScope 8-band order"),
    (10, False): (
        ("blue", "green", "red", "rededge", "rededge2", "rededge3", "nir", "nir2", "swir1", "swir2"),
        "Sentinel-2 order, 10 and 20 m bands",
    ),
    (12, False): (
        ("coastal", "blue", "green", "red", "rededge", "rededge2", "rededge3", "nir", "nir2", "watervapour", "swir1", "swir2"),
        "Sentinel-2 L2A order",
    ),
    (13, False): (
        (
            "coastal", "blue", "green", "red", "rededge", "rededge2", "rededge3", "nir", "nir2", "watervapour", "cirrus",
            "swir1", "swir2",
        ),
        "Sentinel-2 L1C order",
    ),
}  # fmt: skip
"""Default names by (band count, 8-bit), used only where a file says nothing, and always reported."""


def name_bands(dataset: DatasetReader, file_name: str) -> BandNames:
    """Name a file's bands from descriptions, band tags (STAC `common_name`) or colour interpretation, else by default.

    Raises BandsError, asking for the names, when the count has no default.
    """
    described = _described(dataset)
    for names in (
        [normalise_band_name(text) if text else None for text in described],
        _by_sensor_code(described, dataset, file_name),
    ):
        if names and sum(name is not None for name in names) >= max(1, len(names) // 2):
            return BandNames(_unique(names), ())
    by_colour = _by_colour(dataset)
    if by_colour is not None:
        return by_colour
    return _by_default(dataset, file_name)


def _described(dataset: DatasetReader) -> list[str]:
    """The best text each band carries: STAC/eo common name, else its description."""
    texts = []
    for number in range(1, dataset.count + 1):
        tags = {key.lower(): value for key, value in dataset.tags(number).items()}
        texts.append(
            tags.get("common_name")
            or tags.get("eo:common_name")
            or dataset.descriptions[number - 1]
            or tags.get("name")
            or ""
        )
    return texts


def _by_sensor_code(texts: Sequence[str], dataset: DatasetReader, file_name: str) -> list[str | None] | None:
    """Names from a sensor's band numbers; which sensor, the tags, the file name or the numbers themselves tell."""
    codes = [band_code(text) for text in texts]
    if sum(code is not None for code in codes) < max(1, len(codes) // 2):
        return None
    sensor = guess_sensor(dataset, file_name, codes, texts)
    return [BAND_CODES[sensor].get(code) if code else None for code in codes]


def guess_sensor(dataset: DatasetReader, file_name: str, codes: Sequence[str | None], texts: Sequence[str]) -> str:
    """ "sentinel2", "landsat89" or "landsat47" from tags, the file's name, and the way bands are numbered."""
    hints = " ".join([file_name, *dataset.tags().values()]).lower()
    if re.search(r"sentinel[-_ ]?2|\bs2[abc]?[_ ]|msil[12]", hints):
        return "sentinel2"
    if re.search(r"landsat[-_ ]?[4567]|\bl[te]0[457]_|\bl[te][457]", hints):
        return "landsat47"
    if re.search(r"landsat[-_ ]?[89]|\blc0[89]_|oli", hints) or any("sr_b" in text.lower() for text in texts):
        return "landsat89"
    numbers = {code for code in codes if code}
    sentinel_only = {"b8a", "b12"} & numbers or any(re.search(r"\bB0[1-9]\b", text) for text in texts)
    return "sentinel2" if sentinel_only else "landsat89"


def _unique(names: Sequence[str | None]) -> tuple[str | None, ...]:
    """A name that comes twice keeps its first band; the other is left aside."""
    seen: set[str] = set()
    result: list[str | None] = []
    for name in names:
        result.append(None if name in seen else name)
        if name:
            seen.add(name)
    return tuple(result)


def _by_colour(dataset: DatasetReader) -> BandNames | None:
    colours = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
    names: list[str | None] = [colours.get(colour) for colour in dataset.colorinterp]
    if set(names[:3]) != {"red", "green", "blue"} or dataset.dtypes[0] != "uint8":
        return None
    notes: list[str] = []
    for number, colour in enumerate(dataset.colorinterp[3:], start=3):
        if colour == ColorInterp.alpha and is_mask(dataset, number + 1):
            names[number] = "alpha"
        elif number == 3:
            names[number] = "nir"
            notes.append(
                f"The fourth band is not named as infrared, but varies as a picture does: it is read as near-infrared. {CHANGE}"
            )
    return BandNames(_unique(names), tuple(notes))


def _by_default(dataset: DatasetReader, file_name: str) -> BandNames:
    count, eight_bit = dataset.count, dataset.dtypes[0] == "uint8"
    if dataset.count == 2 and is_mask(dataset, 2):
        return BandNames(("pan", "alpha"), ())
    default = _DEFAULTS.get((count, eight_bit)) or _DEFAULTS.get((count, False))
    if default is None:
        raise BandsError(
            f"{file_name} has {count} bands without names. Say which they are, in order, "
            'for instance --bands blue,green,red,nir, or "the bands are blue, green, red, nir".'
        )
    names, order = default
    if (count, eight_bit) == (4, True) and _blue_comes_first(dataset):
        names, order = (
            ("blue", "green", "red", "nir"),
            "blue before red, since the haze of the first band is the strongest",
        )
    spoken = ", ".join(names)
    known = tuple(None if name == "green2" else name for name in names)
    return BandNames(known, (f"The file names no bands; its {count} are read as {spoken} ({order}). {CHANGE}",))


def is_mask(dataset: DatasetReader, number: int) -> bool:
    """Whether a band holds only "nothing" and "everything" (0 and the type's limit), as an alpha band does."""
    sample = _sample(dataset, number)
    limit = np.iinfo(sample.dtype).max if sample.dtype.kind in "ui" else 1
    return bool(np.isin(sample, (0, limit)).all())


def _sample(dataset: DatasetReader, number: int) -> np.ndarray:
    step = max(1, max(dataset.width, dataset.height) // 512)
    return dataset.read(number, out_shape=(max(1, dataset.height // step), max(1, dataset.width // step)))


def _blue_comes_first(dataset: DatasetReader) -> bool:
    """Whether the first band looks like blue: over vegetation red is absorbed more than blue haze scatters.

    Compared are the darkest twentieths of bands 1 and 3 where band 4 is bright; the difference must be clear.
    """
    first, third, fourth = (_sample(dataset, number).astype(float) for number in (1, 3, 4))
    lit = (
        (first > 0)
        & (third > 0)
        & (fourth > np.percentile(fourth[fourth > 0], 80) if (fourth > 0).any() else first > 0)
    )
    if lit.sum() < 100:
        return False
    return float(np.median(first[lit])) > 1.1 * float(np.median(third[lit]))
