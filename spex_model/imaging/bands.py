"""Names of spectral bands: what files call them, and the canonical slots that everything else uses."""

import re

SLOTS = ("blue", "green", "red", "rededge", "nir", "swir1", "swir2")
"""Canonical spectral slots, in the order of the encoder's channels."""

CHANGE = 'Say "the bands are blue, green, red, nir" (in your order) to change that.'
"""How a person corrects the bands; ends every note about names that were assumed."""

OTHER_BANDS = (
    "coastal",
    "green2",
    "yellow",
    "rededge2",
    "rededge3",
    "nir2",
    "watervapour",
    "cirrus",
    "pan",
    "thermal",
    "thermal2",
    "alpha",
)
"""Names that are understood beyond the slots; no index or encoder channel needs them."""

SENTINEL2 = {
    "b1": "coastal", "b2": "blue", "b3": "green", "b4": "red", "b5": "rededge", "b6": "rededge2", "b7": "rededge3",
    "b8": "nir", "b8a": "nir2", "b9": "watervapour", "b10": "cirrus", "b11": "swir1", "b12": "swir2",
}  # fmt: skip
"""Sentinel-2 MSI (ESA Sentinel-2 Products Specification Document)."""

LANDSAT_8_9 = {
    "b1": "coastal", "b2": "blue", "b3": "green", "b4": "red", "b5": "nir", "b6": "swir1", "b7": "swir2",
    "b8": "pan", "b9": "cirrus", "b10": "thermal", "b11": "thermal2",
}  # fmt: skip
"""Landsat 8/9 OLI and TIRS (USGS LSDS-1619)."""

LANDSAT_4_7 = {
    "b1": "blue",
    "b2": "green",
    "b3": "red",
    "b4": "nir",
    "b5": "swir1",
    "b6": "thermal",
    "b7": "swir2",
    "b8": "pan",
}
"""Landsat 4-7 TM and ETM+ (USGS LSDS-1618)."""

BAND_CODES = {"sentinel2": SENTINEL2, "landsat89": LANDSAT_8_9, "landsat47": LANDSAT_4_7}

_SPELLINGS = {
    "blue": ("b", "blue", "bleu", "blau"),
    "green": ("g", "green", "vert", "grun", "gruen"),
    "green2": ("green2", "greeni", "green1"),
    "red": ("r", "red", "rouge", "rot"),
    "rededge": ("re", "rededge", "rededge1", "re1", "vegetationrededge", "vegetationrededge1", "rede"),
    "rededge2": ("rededge2", "re2", "vegetationrededge2"),
    "rededge3": ("rededge3", "re3", "vegetationrededge3"),
    "nir": ("n", "nir", "nir1", "nir08", "nearinfrared", "nearinfra", "nearir", "infrared", "ir", "pir", "nearinfrared1"),
    "nir2": ("nir2", "nira", "narrownir", "nirnarrow", "nir8a", "nearinfrared2"),
    "swir1": ("swir", "swir1", "swir16", "shortwaveinfrared", "shortwaveinfrared1", "mir", "s1"),
    "swir2": ("swir2", "swir22", "shortwaveinfrared2", "mir2", "s2"),
    "coastal": ("coastal", "coastalblue", "coastalaerosol", "aerosol", "ca", "ultrablue"),
    "yellow": ("yellow", "y"),
    "watervapour": ("watervapour", "watervapor", "wvp", "nir09"),
    "cirrus": ("cirrus",),
    "pan": ("pan", "panchromatic"),
    "thermal": ("thermal", "tir", "tir1", "lwir", "lwir11", "thermalinfrared"),
    "thermal2": ("thermal2", "tir2", "lwir12"),
    "alpha": ("alpha",),
}  # fmt: skip
_BY_SPELLING = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}

_PHRASES = (
    (r"(?:thermal|far)[\s_-]*infra[\s_-]*red", "thermal"),
    (r"near[\s_-]*infra[\s_-]*red", "nir"),
    (r"(?:short[\s_-]*wave|mid(?:dle)?)[\s_-]*infra[\s_-]*red", "swir"),
    (r"infra[\s_-]+red", "infrared"),
    (r"(?:vegetation[\s_-]*)?red[\s_-]*edge", "rededge"),
    (r"coastal[\s_-]*(?:aerosol|blue)", "coastal"),
    (r"water[\s_-]*vapou?r", "watervapour"),
    (r"\bgreen[\s_-]*i\b", "green2"),
    (r"\bnarrow[\s_-]*nir\b|\bnir[\s_-]*narrow\b", "nir2"),
    (r"\bswir(?=[^a-z0-9]+(?:band)?[^a-z0-9]*2[.]?[0-4]\d*[\s_]*(?:nm|um|µm|μm|micro))", "swir2"),
    (r"\b(nir|swir|rededge|thermal)[\s_-]+([1-3]|16|22)(?![0-9.])", r"\1\2"),
)
"""Several words that name one band, and the one word they become."""
_NO_BANDS = {"qa", "mask", "quality", "cloud", "clouds", "uncertainty", "angle", "opacity"}
"""Words of layers that come with an image and are no band of it ("SR_QA_AEROSOL", "cloud mask").

"mask" alone is one too: in some files 1 means valid, in others masked.
"""


def band_code(text: str) -> str | None:
    """The sensor's own number of a band, normalised ("B02", "SR_B2", "band 2", "B08_10m" -> "b2", "b8"), or None.

    What it means depends on the sensor, see `BAND_CODES`.
    """
    match = re.search(
        r"(?:^|[^a-z0-9])(?:sr|st|toa)?_?(?:b|band)[ _-]?0*([1-9][0-9]?a?)(?![a-z0-9])", text.strip().lower()
    )
    return f"b{match.group(1)}" if match else None


def normalise_band_name(text: str) -> str | None:
    """The canonical name of a band as people and files write it ("NIR", "Near Infra-Red", "swir16"), or None.

    Numbers of a sensor ("B4") are not names: the sensor must be known for them, see `band_code`.
    """
    lowered = text.strip().lower()[:200]
    compact = re.sub(r"[^a-z0-9]", "", lowered)
    if compact in _BY_SPELLING:
        return _BY_SPELLING[compact]
    for pattern, word in _PHRASES:
        lowered = re.sub(pattern, word, lowered)
    words = re.split(r"[^a-z0-9]+", lowered)
    if _NO_BANDS & set(words):
        return None
    found = {_BY_SPELLING[word] for word in words if len(word) > 2 and word in _BY_SPELLING}
    return found.pop() if len(found) == 1 else None
