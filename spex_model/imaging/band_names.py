"""Which band of a file is which: from its descriptions and tags, else a documented default that is said aloud."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from spex_model.imaging.bands import BAND_CODES, CHANGE, band_code, normalise_band_name
from spex_model.imaging.errors import BandsError

_HINT_CHARACTERS = 4000
_SATELLITE_M = 5.0


UNNAMED = "band"
"""Bands nobody has named are called band1, band2, …"""


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
    (7, True): (("blue", "green", "red", "nir", "swir1", "thermal", "swir2"), "Landsat 4-7 order"),
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

    A count without a default leaves the bands unnamed, until somebody says what they are. Raises BandsError when the
    values are the numbers of a colour table and no measurement.
    """
    if dataset.colorinterp[0] == ColorInterp.palette:
        raise BandsError(
            f"{file_name} is a picture with a colour table (a map or a drawing), not measured brightness. "
            "Save it as RGB, or upload the image that it was made from."
        )
    described = _described(dataset)
    for names, notes in (
        ([normalise_band_name(text) if text else None for text in described], ()),
        _by_sensor_code(described, dataset, file_name),
    ):
        if sum(name is not None for name in names) >= max(1, len(names) // 2):
            return _noted(_unique(_with_alpha(names, dataset)), described, *notes)
    by_colour = _by_colour(dataset)
    if by_colour is not None:
        return by_colour
    return _by_default(dataset)


def _noted(names: tuple[str | None, ...], described: Sequence[str], *notes: str) -> BandNames:
    """The names, with notes about the bands that are left aside, and about an alpha band that is described otherwise."""
    aside = [
        text[:40] or f"number {number}"
        for number, (name, text) in enumerate(zip(names, described, strict=True), start=1)
        if name is None
    ]
    marked = [
        f'The file marks its band "{text[:40]}" as alpha: pixels where it is 0 are left out as nodata.'
        for name, text in zip(names, described, strict=True)
        if name == "alpha" and text and normalise_band_name(text) != "alpha" and band_code(text) is None
    ]
    unused = [f"Bands that are not used here: {', '.join(aside)}."] if aside else []
    return BandNames(names, (*notes, *marked, *unused))


def _with_alpha(names: Sequence[str | None], dataset: DatasetReader) -> list[str | None]:
    """The names, and "alpha" for a band without one that is alpha."""
    return [
        "alpha" if name is None and _is_alpha(dataset, number) else name for number, name in enumerate(names, start=1)
    ]


def _described(dataset: DatasetReader) -> list[str]:
    """The best text each band carries: STAC/eo common name, else its description."""
    texts = []
    for number in range(1, dataset.count + 1):
        tags = plain_tags(dataset.tags(number))
        texts.append(
            tags.get("common_name")
            or tags.get("eo:common_name")
            or dataset.descriptions[number - 1]
            or tags.get("name")
            or ""
        )
    return texts


def plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with keys in lower case; "eo:common_name", which GDAL splits at its colon, put together again."""
    result = {}
    for key, value in tags.items():
        name, equals, rest = value.partition("=")
        joined = equals and re.fullmatch(r"\w{1,40}", name)
        result[(f"{key}:{name}" if joined else key).lower()] = rest if joined else value
    return result


def _by_sensor_code(
    texts: Sequence[str], dataset: DatasetReader, file_name: str
) -> tuple[list[str | None], tuple[str, ...]]:
    """Names from a sensor's band numbers, and a note where the file, its tags and the numbers leave the sensor open.

    "Band 1", "Band 2", … without a word about the sensor only count the bands of the file: they give no names ([]).
    """
    codes = [band_code(text) for text in texts]
    if sum(code is not None for code in codes) < max(1, len(codes) // 2):
        return [], ()
    only_counted = codes == [f"b{number}" for number in range(1, len(codes) + 1)]
    numbered = any(re.search(r"B0[1-9]|(?i:sr_b)", text) for text in texts)
    named = _sensor_named(read_hints(dataset, file_name))
    if only_counted and not numbered and named is None:
        return [], ()
    sensor, certain = (named, True) if named else guess_sensor(codes, texts)
    names = [BAND_CODES[sensor].get(code) if code else None for code in codes]
    if certain:
        return names, ()
    read_as = ", ".join(name for name in names if name)
    return names, (
        f"The file does not tell its sensor; its band numbers are read as {_SENSORS[sensor]}: {read_as}. {CHANGE}",
    )


def read_hints(dataset: DatasetReader, file_name: str) -> str:
    """What may tell the sensor and product, in lower case: the file's name, its tags and its bands' descriptions."""
    texts = [file_name, *dataset.tags().values(), *(text or "" for text in dataset.descriptions)]
    return " ".join(text[:_HINT_CHARACTERS] for text in texts).lower()[:_HINT_CHARACTERS]


_SENSORS = {"sentinel2": "Sentinel-2", "landsat89": "Landsat 8/9", "landsat47": "Landsat 4-7"}


def _sensor_named(hints: str) -> str | None:
    if re.search(r"sentinel[-_ ]?2|(?<![a-z0-9])s2[abc]?[-_ ]|msil[12]|hls[._]s30", hints):
        return "sentinel2"
    if re.search(
        r"landsat[-_ ]?[4567]|(?<![a-z0-9])l[te]0?[457](?:[_ ]|\d{6})|(?<![a-z])(?:tm|etm\+?)(?![a-z])", hints
    ):
        return "landsat47"
    if re.search(r"landsat[-_ ]?[89]|(?<![a-z0-9])lc0?[89](?:[_ ]|\d{6})|(?<![a-z])oli(?![a-z])|hls[._]l30", hints):
        return "landsat89"
    return None


def guess_sensor(codes: Sequence[str | None], texts: Sequence[str]) -> tuple[str, bool]:
    """ "sentinel2", "landsat89" or "landsat47" from the way bands are numbered, and whether no other has such numbers.

    Surface reflectance is SR_B1-5 and SR_B7 on Landsat 4-7, with the thermal band as ST_B6; SR_B1-7 and ST_B10 on
    Landsat 8/9 (USGS LSDS-1618, LSDS-1619).
    """
    numbers, together = {code for code in codes if code}, " ".join(texts).lower()
    surface = "sr_b" in together
    if "st_b6" in together:
        return "landsat47", True
    if surface and {"b6", "b10"} & numbers:
        return "landsat89", True
    if not surface and ({"b8a", "b12"} & numbers or any(re.search(r"B0[1-9](?![0-9])", text) for text in texts)):
        return "sentinel2", True
    if surface and {"b1", "b7"} <= numbers:
        return "landsat47", False
    return "landsat89", False


_NEXT = {"nir": "nir2", "rededge": "rededge2", "rededge2": "rededge3", "swir1": "swir2", "thermal": "thermal2"}


def _unique(names: Sequence[str | None]) -> tuple[str | None, ...]:
    """A name that comes twice keeps its first band; the other is the next of its kind (rededge, rededge2), or left aside."""
    named = set(names)
    seen: set[str] = set()
    result: list[str | None] = []
    for name in names:
        while name in seen:
            following = _NEXT.get(name)
            name = None if following in named and following not in seen else following
        result.append(name)
        if name:
            seen.add(name)
    return tuple(result)


def _by_colour(dataset: DatasetReader) -> BandNames | None:
    """Names from the colours that the file gives its bands, as pictures and aerial images have them."""
    colours = {
        ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue",
        ColorInterp.nir: "nir", ColorInterp.rededge: "rededge", ColorInterp.coastal: "coastal", ColorInterp.pan: "pan",
    }  # fmt: skip
    names: list[str | None] = [colours.get(colour) for colour in dataset.colorinterp]
    if not {"red", "green", "blue"} <= set(names):
        return None
    notes: list[str] = []
    for number, name in enumerate(names):
        if name is not None:
            continue
        if _is_alpha(dataset, number + 1):
            names[number] = "alpha"
        elif number == 3 and dataset.count == 4:
            names[number] = "nir"
            notes.append(
                f"The fourth band is not named as infrared, but varies as a picture does: it is read as near-infrared. {CHANGE}"
            )
    return _noted(_unique(names), _described(dataset), *notes)


def _by_default(dataset: DatasetReader) -> BandNames:
    """Names by the count of bands that are not alpha."""
    alphas = [_is_alpha(dataset, number) for number in range(1, dataset.count + 1)]
    names, note = _default_names(dataset, alphas.count(False))
    others = iter(names)
    return BandNames(_unique(["alpha" if alpha else next(others) for alpha in alphas]), (note,))


def _default_names(dataset: DatasetReader, count: int) -> tuple[tuple[str, ...], str]:
    eight_bit = dataset.dtypes[0] == "uint8"
    default = _DEFAULTS.get((count, eight_bit)) or _DEFAULTS.get((count, False))
    if default is None:
        note = f"The file names none of its {count} bands, so nothing can be told from them yet. {CHANGE}"
        return tuple(f"{UNNAMED}{number}" for number in range(1, count + 1)), note
    names, order = default
    if (count, eight_bit) == (4, True) and (rough_pixel_m(dataset) or 0) >= _SATELLITE_M:
        names, order = ("blue", "green", "red", "nir"), "satellite order, since the pixels are 5 m or coarser"
    said = f"The file names no bands; its {count} are read as {', '.join(names)} ({order}). {CHANGE}"
    if count == 1:
        said = f"The file has one band without a name; it is read as grey brightness. {CHANGE}"
    return names, said


def _is_alpha(dataset: DatasetReader, number: int) -> bool:
    """Whether the file calls a band alpha and its values agree: TIFFs call a fourth band of 8 bit so, whatever it holds."""
    marked = dataset.colorinterp[number - 1] == ColorInterp.alpha
    return marked and (dataset.driver == "PNG" or is_mask(dataset, number))


def is_mask(dataset: DatasetReader, number: int) -> bool:
    """Whether a band holds nearly only "nothing" (0 or NaN) and "everything" (its highest value), as an alpha band does.

    "Everything" is the type's limit, but also 1, or 255 in files of 16 bit and of floats.
    """
    sample = np.nan_to_num(_sample(dataset, number))
    return bool(np.isin(sample, (0, sample.max())).mean() >= 0.95)


def _sample(dataset: DatasetReader, number: int) -> np.ndarray:
    step = max(1, max(dataset.width, dataset.height) // 512)
    return dataset.read(number, out_shape=(max(1, dataset.height // step), max(1, dataset.width // step)))


def rough_pixel_m(dataset: DatasetReader) -> float | None:
    """The pixel size in metres, to tell aerial from satellite images; None without georeference."""
    if not dataset.crs or dataset.transform.is_identity:
        return None
    size = float(np.hypot(dataset.transform.a, dataset.transform.d))
    if dataset.crs.is_geographic:
        return size * 111_000
    return size * (dataset.crs.linear_units_factor[1] if dataset.crs.is_projected else 1)
