"""Measurements for the checker of descriptions, made anew from pixels with numpy, scipy and scikit-image alone.

Nothing here is shared with what writes the descriptions (`spie_*`, `imaging.regions`, `imaging.indices`): a mistake made
there is found here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pyproj import CRS, Geod, Transformer
from scipy.ndimage import convolve
from scipy.spatial import ConvexHull, QhullError
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from spex_model.imaging.scene import Scene

SIZE_LIMITS = {"huge": (0.10, np.inf), "large": (0.03, 0.10), "somewhat large": (0.01, 0.03), "medium": (0.003, 0.01),
               "small": (0.0005, 0.003), "very tiny": (0.0, 0.0005)}  # fmt: skip
"""Share of the valid pixels from and below which a region has a size word."""
BORDER = 0.03
"""A region within 3 % of the limit between two shape words may be called either."""
NEAR_CELL = 1e-6
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")
_FORMULAS = {
    "NDVI": (("nir",), ("red",)), "NDWI": (("green",), ("nir",)), "MNDWI": (("green",), ("swir1",)),
    "NDBI": (("swir1",), ("nir",)), "NDMI": (("nir",), ("swir1",)), "BI": (("swir1", "red"), ("nir", "blue")),
}  # fmt: skip
USUAL = {
    "water": (("MNDWI", 0.0), ("NDWI", 0.0)), "vegetation": (("NDVI", 0.3), ("VARI", 0.1)), "trees": (("NDVI", 0.5), ("VARI", 0.15)),
    "buildings": (("NDBI", 0.0),), "bare soil": (("BI", 0.0),),
}  # fmt: skip
"""Documented index and threshold of each land cover, in order of preference."""


@dataclass(eq=False)
class Piece:
    """One 8-connected region: pixels, centroid (row, col), and its pixels' coordinates (N, 2) as (row, col)."""

    pixels: int
    centroid: tuple[float, float]
    coordinates: np.ndarray = field(repr=False)

    @cached_property
    def rectangle(self) -> tuple[float, float]:
        """(longer, shorter) side in pixels of the smallest rectangle around the full squares of its pixels, by rotating calipers."""
        corners = np.concatenate([self.coordinates + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))]).astype(
            float
        )
        try:
            hull = corners[ConvexHull(corners).vertices]
        except QhullError:  # a square or more is never flat; a failure of the library leaves the upright box
            hull = corners
        edges = np.roll(hull, -1, axis=0) - hull
        best = (np.inf, 1.0, 1.0)
        for angle in np.unique(np.round(np.arctan2(edges[:, 0], edges[:, 1]) % (np.pi / 2), 9)):
            along = hull @ np.array([np.sin(angle), np.cos(angle)])
            across = hull @ np.array([np.cos(angle), -np.sin(angle)])
            sides = float(np.ptp(along)), float(np.ptp(across))
            best = min(best, (sides[0] * sides[1], max(sides), min(sides)))
        return best[1], best[2]

    @property
    def length(self) -> float:
        """Longer by shorter side."""
        return self.rectangle[0] / max(self.rectangle[1], 1e-9)

    @property
    def filled(self) -> float:
        """Share of its rectangle that it fills."""
        return self.pixels / max(self.rectangle[0] * self.rectangle[1], 1e-9)

    @cached_property
    def roundness(self) -> float:
        """Its area by that of the circle around its centroid that reaches its farthest corner."""
        reach = np.abs(self.coordinates - np.array(self.centroid)) + 0.5
        return self.pixels / (np.pi * float((reach**2).sum(1).max()))

    def has_shape(self, word: str) -> bool:
        """Whether a shape word is true of it, within 3 % of its limits.

        compact: fewer than 12 pixels; elongated: sides 3 to 1; round: 0.72 of its circle; rectangular: 0.85 of its
        rectangle; irregular: neither long nor round (some vocabularies have no "rectangular").
        """
        if self.pixels < 12 or word == "compact":
            return word == "compact" and self.pixels < 12
        if word == "elongated":
            return self.length >= 3 * (1 - BORDER)
        not_long = self.length < 3 * (1 + BORDER)
        if word == "round":
            return not_long and self.roundness >= 0.72 * (1 - BORDER)
        neither = not_long and self.roundness < 0.72 * (1 + BORDER)
        return neither and (word == "irregular" or self.filled >= 0.85 * (1 - BORDER))


def pieces_of(mask: np.ndarray) -> list[Piece]:
    """The 8-connected regions of a mask (H, W) bool, largest first."""
    found = [
        Piece(int(region.area), region.centroid, region.coords) for region in regionprops(label(mask, connectivity=2))
    ]
    return sorted(found, key=lambda piece: -piece.pixels)


def place_of(piece: Piece, shape: tuple[int, int]) -> set[str]:
    """The cell of the 3 x 3 grid that holds the centroid; both cells where it lies on the line between two."""
    words = []
    for position, size, names in zip(piece.centroid, shape, (_ROWS, _COLUMNS), strict=True):
        third = 3 * (position + 0.5) / size
        words.append({names[min(2, int(max(0.0, third + shift)))] for shift in (-NEAR_CELL, NEAR_CELL)})
    cells = {f"{row}-{column}" for row in words[0] for column in words[1]}
    return {"center" if cell == "middle-center" else cell for cell in cells}


def size_fits(pixels: int, valid: int, word: str) -> bool:
    """Whether a size word is true of a region that takes `pixels` of `valid` pixels."""
    least, below = SIZE_LIMITS[word]
    return least <= pixels / max(valid, 1) < below


def index_values(scene: Scene, name: str) -> np.ndarray | None:
    """A spectral index (H, W) float32, NaN where not defined; None where bands are missing.

    In float32, as the product documents it: pixels of whole steps often lie exactly on a threshold, and fall by rounding.
    """
    bands = {band: np.maximum(scene.reflectance[number], np.float32(0)) for number, band in enumerate(scene.bands)}
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "VARI":
            if not {"red", "green", "blue"} <= set(bands):
                return None
            gap = bands["green"] + bands["red"] - bands["blue"]
            values = (bands["green"] - bands["red"]) / gap
            # Not defined in blue pixels, where the gap is near zero or negative.
            values[~(gap > 0.1 * (bands["green"] + bands["red"] + bands["blue"]))] = np.nan
        else:
            more, less = _FORMULAS[name]
            if not {*more, *less} <= set(bands):
                return None
            plus, minus = sum(bands[band] for band in more), sum(bands[band] for band in less)
            values = np.asarray((plus - minus) / (plus + minus))
        values[~(np.abs(values) <= 2) | ~scene.valid] = np.nan
    return values


@dataclass(eq=False)
class IndexMask:
    """What the documented index of a land cover marks: index and threshold (None without), mask (H, W) bool, values."""

    index: str | None
    threshold: float
    mask: np.ndarray
    values: np.ndarray | None


def _fitted(values: np.ndarray, fixed: float, rare: bool) -> float:
    """Threshold for uncalibrated brightness: Otsu's, within 0.2 of the usual one;.

    For a class that is often absent it is never lowered, and is raised by 0.2 where the two halves differ by less.
    """
    finite = values[np.isfinite(values)]
    if finite.size < 16 or np.ptp(finite) < 1e-3:
        return fixed
    otsu = float(threshold_otsu(finite))
    if rare and finite[finite > otsu].mean() - finite[finite <= otsu].mean() < 0.2:
        return fixed + 0.2
    return min(max(otsu, fixed if rare else fixed - 0.2), fixed + 0.2)


def index_mask(scene: Scene, land_cover: str) -> IndexMask:
    """The mask of the documented index: above its threshold, without plants and water for soil and roofs, specks under 4 pixels dropped."""
    for name, usual in USUAL[land_cover]:
        values = index_values(scene, name)
        if values is None:
            continue
        threshold = usual if scene.calibrated else _fitted(values, usual, land_cover == "water")
        with np.errstate(invalid="ignore"):
            mask = values > threshold
            if land_cover in ("buildings", "bare soil"):
                plants, water = index_values(scene, "NDVI"), index_values(scene, "MNDWI")
                if plants is not None:
                    mask &= plants < 0.25
                if water is not None:
                    mask &= ~(water > 0)
        return IndexMask(name, threshold, _without_specks(mask & scene.valid) & scene.valid, values)
    return IndexMask(None, 0.0, np.zeros(scene.valid.shape, bool), None)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    numbers = label(mask, connectivity=2)
    sizes = np.bincount(numbers.ravel())
    kept = mask & (sizes[numbers] >= 4)
    holes = label(~kept, connectivity=1)
    small = np.bincount(holes.ravel())[holes] < 4
    return kept | (small & ~kept)


def pixel_areas(scene: Scene) -> np.ndarray | None:
    """Area in m2 of the pixels of each row (H, 1), or None without a pixel size.

    With a coordinate system: the geodesic area of the middle pixel of each row, as a polygon of its four corners on the
    ellipsoid. Within a scene of some tens of kilometres the pixels of one row differ by less than 0.1 %.
    """
    if scene.crs is None:
        return None if scene.gsd_m is None else np.full((scene.valid.shape[0], 1), scene.gsd_m**2)
    to_degrees = Transformer.from_crs(CRS.from_wkt(scene.crs.to_wkt()), "EPSG:4326", always_xy=True)
    middle, geod = scene.valid.shape[1] // 2, Geod(ellps="WGS84")
    areas = []
    for row in range(scene.valid.shape[0]):
        corners = [scene.transform @ (middle + x, row + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
        longitudes, latitudes = to_degrees.transform([x for x, _ in corners], [y for _, y in corners])
        areas.append(abs(geod.polygon_area_perimeter(longitudes, latitudes)[0]))
    return np.array(areas)[:, None]


def rim_of(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid pixels outside a mask (H, W) bool that touch it, corners included."""
    touched = convolve(mask.astype(np.int32), np.ones((3, 3), np.int32), mode="constant") > 0
    return touched & ~mask & valid


def rim_shares(mask: np.ndarray, valid: np.ndarray, planes: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Share of a mask's rim that each labelled land cover takes; "other vegetation" is vegetation known not to be trees."""
    rim = rim_of(mask, valid)
    count = max(int(rim.sum()), 1)
    shares = {cover: float((rim & (plane == 1)).sum()) / count for cover, plane in planes.items()}
    if {"vegetation", "trees"} <= set(planes):
        other = rim & (planes["vegetation"] == 1) & (planes["trees"] == 0)
        shares["other vegetation"] = float(other.sum()) / count
    return shares


def in_row(pieces: list[Piece]) -> bool:
    """Whether centroids stand in a line: spread along it at least 3.9 times that across it (half a pixel at least)."""
    centres = np.array([piece.centroid for piece in pieces])
    spread = np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(centres.T, bias=True) * len(centres)), 0, None))
    return len(pieces) >= 3 and bool(spread[1] >= 3.9 * max(spread[0], 0.5))
