"""One opened image: reflectance with named bands on a grid."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from spex_model.imaging.bands import CHANGE, OTHER_BANDS, SLOTS, normalise_band_name
from spex_model.imaging.errors import BandsError, PixelSizeError, SceneError


@dataclass(frozen=True, eq=False)
class Scene:
    """One opened image.

    reflectance (C, H, W) float32, unitless, about 0-1, NaN where not valid; valid (H, W) bool.
    bands: C canonical names. transform and crs: the grid (crs None: not georeferenced). gsd_m: ground
    sampling distance in metres, or None when nothing tells it. calibrated: False when values are not
    reflectance but brightness (8-bit pictures; DN / 255). assumptions: sentences about what the file did
    not say, for the user to read. source: the file's name, without folders.
    """

    reflectance: np.ndarray
    valid: np.ndarray
    bands: tuple[str, ...]
    transform: Affine = field(default_factory=Affine.identity)
    crs: CRS | None = None
    gsd_m: float | None = None
    acquired: date | None = None
    source: str = ""
    calibrated: bool = True
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.reflectance.ndim != 3 or self.reflectance.shape[1:] != self.valid.shape:
            raise SceneError(
                f"Bands of shape {self.reflectance.shape} and a validity mask of shape {self.valid.shape} do not fit together."
            )
        if len(self.bands) != len(self.reflectance):
            raise BandsError(f"The image has {len(self.reflectance)} bands, but {len(self.bands)} names were given.")
        self.reflectance.flags.writeable = False
        self.valid.flags.writeable = False

    @cached_property
    def id(self) -> str:
        """16 hex digits that name the content: the same pixels under the same band names give the same id."""
        digest = hashlib.sha256(repr((self.bands, self.reflectance.shape, self.calibrated, self.gsd_m)).encode())
        digest.update(np.ascontiguousarray(self.reflectance).data)
        digest.update(np.packbits(self.valid).data)
        return digest.hexdigest()[:16]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.valid.shape[0], self.valid.shape[1]

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where on Earth it lies."""
        return self.crs is not None

    def band(self, name: str) -> np.ndarray:
        """Reflectance (H, W) of a band. Raises BandsError when the image lacks it."""
        if name not in self.bands:
            raise BandsError(f"The image has {', '.join(self.bands)} only; {name} is needed for this.")
        return self.reflectance[self.bands.index(name)]

    def with_gsd(self, gsd_m: float) -> "Scene":
        """The same image with a pixel size in metres, for files without georeference. Raises PixelSizeError."""
        if self.georeferenced:
            raise PixelSizeError("The image is georeferenced, its pixel size follows from that and stays as it is.")
        said = f"The pixel size of {gsd_m:g} m was given; the file is not georeferenced."
        notes = tuple(note for note in self.assumptions if "pixels are 30 m" not in note)
        return replace(self, gsd_m=checked_gsd_m(gsd_m), assumptions=(*notes, said))

    def with_bands(self, names: Sequence[str]) -> "Scene":
        """The same image with its bands named anew. Raises BandsError for unknown, repeated or too few names."""
        bands = parse_band_names(names)
        if len(bands) != len(self.bands):
            raise BandsError(
                f"The image has {len(self.bands)} bands, but {len(bands)} names were given: {', '.join(bands)}."
            )
        return replace(
            self,
            bands=bands,
            assumptions=tuple(note for note in self.assumptions if CHANGE not in note),
        )


def checked_gsd_m(gsd_m: float) -> float:
    """The pixel size as it was given. Raises PixelSizeError for one that cannot be."""
    if not 0.001 <= gsd_m <= 100_000:
        raise PixelSizeError(f"A pixel size of {gsd_m:g} m cannot be; 0.001 m to 100 km are taken.")
    return float(gsd_m)


def parse_band_names(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names of bands as people write them. Raises BandsError for an unknown or repeated one."""
    bands = []
    for name in names:
        band = normalise_band_name(name)
        if band is None:
            raise BandsError(f"'{name}' is not a band that is known here. Known: {', '.join(SLOTS + OTHER_BANDS)}.")
        bands.append(band)
    if twice := sorted({band for band in bands if bands.count(band) > 1}):
        raise BandsError(f"Each band may be named once; {', '.join(twice)} came twice.")
    return tuple(bands)
