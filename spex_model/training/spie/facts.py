"""What is measured of one land cover of a labelled image: every figure that an instruction record may state."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from spex_model.imaging.areas import mask_area_m2
from spex_model.imaging.indices import Prior, available_indices, compute_index, prior_for
from spex_model.imaging.regions import Region, find_regions, label_regions
from spex_model.imaging.scene import Scene
from spex_model.training.datasets import UNKNOWN

KNOWN_ENOUGH = 0.8
"""Least share of the valid pixels that the labels must know, for a land cover to be spoken of."""
RECTANGULAR = 0.85
"""Share of its minimum-area rectangle from which a region that is neither long nor round is rectangular."""
DENSE_NDVI, DRY_NDVI = 0.6, 0.4
MOIST_NDMI, DRY_NDMI = 0.2, 0.0
DENSE_COVER, SPARSE_COVER = 0.25, 0.10
"""Share of the image from which a land cover is dense, and below which it is sparse."""
LEAST_RIM = 0.1
"""Least share of a region's rim that a land cover must take to be named as its neighbour."""
ROW_OF, ROW_LENGTH = (3, 8), 4.0
"""A row has 3 to 8 regions of one size word, whose centroids spread four times as far along as across."""
INDEX_MEANING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "MNDWI": (("green",), ("swir1",)), "NDWI": (("green",), ("nir",)), "NDVI": (("nir",), ("red",)),
    "VARI": (("green",), ("red",)), "NDBI": (("swir1",), ("nir",)), "BI": (("swir1", "red"), ("nir", "blue")),
}  # fmt: skip
"""Bands whose mean is greater, and bands whose mean is smaller, where the index is high."""
_PARTS = {"vegetation": "trees", "trees": "vegetation"}


@dataclass(frozen=True)
class Piece:
    """One region with its shape in the words of a person ("rectangular" included)."""

    region: Region
    shape: str


@dataclass(frozen=True)
class Group:
    """Regions of one size word in one cell of the 3 x 3 grid; shape where there is one only; row: they stand in a line."""

    count: int
    size: str
    place: str
    shape: str | None
    row: bool
    pixels: int


@dataclass(frozen=True)
class Evidence:
    """What the usual index says of the labelled pixels.

    Means are unitless; agreement is the share of the land cover's pixels above the threshold (as printed, two
    decimals); holds: the mean inside lies above the threshold and above the mean outside; explained: the bands that
    the index compares differ in the mean as it supposes (see `INDEX_MEANING`).
    """

    index: str
    threshold: float
    inside: float
    outside: float | None
    agreement: float
    explained: bool

    @property
    def holds(self) -> bool:
        return self.inside > self.threshold and (self.outside is None or self.inside > self.outside)


@dataclass(frozen=True)
class Condition:
    """State of plants by NDVI and, where the bands allow it, NDMI: means and shares beyond the limits."""

    ndvi: float
    dense: float
    dry: float
    ndmi: float | None


@dataclass(frozen=True, eq=False)
class CoverFacts:
    """Measured facts of one land cover.

    known: share of the valid pixels that the labels know; share: of the known pixels; area_m2 None without a pixel
    size; largest: up to ten pieces, largest first; rims: shares of the rim of the whole land cover and of its largest
    region that other land covers take.
    """

    land_cover: str
    scene: Scene
    known: float
    pixels: int
    share: float
    area_m2: float | None
    regions: int
    largest: tuple[Piece, ...]
    groups: tuple[Group, ...]
    rim: Mapping[str, float]
    largest_rim: Mapping[str, float]
    evidence: Evidence | None
    condition: Condition | None
    marked_by_index: float | None
    prior: Prior

    @property
    def absent(self) -> bool:
        """Whether every valid pixel is known not to be this land cover."""
        return self.pixels == 0 and self.known == 1.0


def piece_shape(region: Region, shape: tuple[int, int]) -> str:
    """ "elongated", "round", "rectangular" or "irregular"; regions of fewer than 12 pixels are "compact"."""
    if region.shape_word != "irregular":
        return region.shape_word
    x, y = (np.array([corner[axis] for corner in region.corners_xy]) for axis in (0, 1))
    doubled = x @ np.roll(y, -1) - y @ np.roll(x, -1)
    rectangle_px = abs(float(doubled)) / 2 * shape[0] * shape[1]
    return "rectangular" if region.pixels >= RECTANGULAR * rectangle_px else "irregular"


def _stands_in_row(regions: list[Region]) -> bool:
    if not ROW_OF[0] <= len(regions) <= ROW_OF[1]:
        return False
    centres = np.array([region.centroid_px for region in regions])
    along, across = np.linalg.svd(centres - centres.mean(0), compute_uv=False)
    return bool(along >= ROW_LENGTH * max(across, 0.5))


def group_regions(regions: list[Region], shape: tuple[int, int]) -> tuple[Group, ...]:
    """Regions by place and size word; groups with most pixels first."""
    members: dict[tuple[str, str], list[Region]] = {}
    for region in regions:
        members.setdefault((region.place_word, region.size_word), []).append(region)
    groups = [
        Group(
            len(found), size, place, piece_shape(found[0], shape) if len(found) == 1 else None,
            _stands_in_row(found), sum(region.pixels for region in found),
        )
        for (place, size), found in members.items()
    ]  # fmt: skip
    return tuple(sorted(groups, key=lambda group: -group.pixels))


def neighbours(mask: np.ndarray, covers: Mapping[str, np.ndarray], land_cover: str, scene: Scene) -> dict[str, float]:
    """Land covers that border a mask (H, W) bool, with the share of its rim that each takes, largest first.

    The rim are the valid pixels that touch the mask, corners included. Trees are a part of vegetation: beside trees,
    "other vegetation" is what is known not to be trees; a part is no neighbour of its whole.
    """
    rim = binary_dilation(mask, np.ones((3, 3), bool)) & ~mask & scene.valid
    count = int(rim.sum())
    if not count:
        return {}
    planes = {cover: plane == 1 for cover, plane in covers.items() if cover not in (land_cover, _PARTS.get(land_cover))}
    if {"trees", "vegetation"} <= set(planes):
        planes["other vegetation"] = planes.pop("vegetation") & (covers["trees"] == 0)
    shares = {cover: float((rim & plane).sum()) / count for cover, plane in planes.items()}
    return dict(
        sorted(((c, share) for c, share in shares.items() if share >= LEAST_RIM), key=lambda item: -item[1])[:3]
    )


def _mean(values: np.ndarray, where: np.ndarray) -> float | None:
    inside = values[where]
    inside = inside[np.isfinite(inside)]
    return float(inside.mean(dtype=np.float64)) if inside.size else None


def index_explained(scene: Scene, index: str, mask: np.ndarray) -> bool:
    """Whether the bands that an index compares differ, in the mean over a mask (H, W) bool, as its words say.

    The mean of a ratio may say otherwise: dark green pixels weigh as much in VARI as bright red ones beside them.
    """
    more, less = (sum(_mean(scene.band(band), mask) or 0.0 for band in bands) for bands in INDEX_MEANING[index])
    return more > less


def _evidence(scene: Scene, prior: Prior, mask: np.ndarray, absent: np.ndarray) -> Evidence | None:
    if prior.index is None or prior.values is None or prior.threshold is None or not mask.any():
        return None
    inside = _mean(prior.values, mask)
    if inside is None:
        return None
    threshold = round(prior.threshold, 2)
    with np.errstate(invalid="ignore"):
        agreement = float((prior.values[mask] > threshold).mean())
    outside = _mean(prior.values, absent)
    return Evidence(prior.index, threshold, inside, outside, agreement, index_explained(scene, prior.index, mask))


def _condition(scene: Scene, land_cover: str, mask: np.ndarray) -> Condition | None:
    """None for other land covers, without near-infrared, and where brightness is not calibrated: NDVI limits don't hold there."""
    indices = available_indices(scene)
    if land_cover not in ("vegetation", "trees") or not scene.calibrated or "NDVI" not in indices or not mask.any():
        return None
    inside = compute_index(scene, "NDVI")[mask]
    inside = inside[np.isfinite(inside)]
    if not inside.size:
        return None
    ndmi = _mean(compute_index(scene, "NDMI"), mask) if "NDMI" in indices else None
    dense, dry = float((inside > DENSE_NDVI).mean()), float((inside < DRY_NDVI).mean())
    return Condition(float(inside.mean(dtype=np.float64)), dense, dry, ndmi)


def measure_cover(scene: Scene, covers: Mapping[str, np.ndarray], land_cover: str) -> CoverFacts | None:
    """The facts of one land cover, or None where the labels know too little of it."""
    plane = covers[land_cover]
    valid = max(int(scene.valid.sum()), 1)
    known_pixels = int((scene.valid & (plane != UNKNOWN)).sum())
    if known_pixels < KNOWN_ENOUGH * valid:
        return None
    mask = scene.valid & (plane == 1)
    regions = find_regions(mask, scene)
    prior = prior_for(scene, land_cover)
    marked = None if prior.index is None else float(prior.mask.sum()) / valid
    biggest = label_regions(mask)[0] == 1
    return CoverFacts(
        land_cover, scene, known_pixels / valid, int(mask.sum()), float(mask.sum()) / known_pixels,
        mask_area_m2(mask, scene), len(regions),
        tuple(Piece(region, piece_shape(region, scene.shape)) for region in regions[:10]),
        group_regions(regions, scene.shape),
        neighbours(mask, covers, land_cover, scene), neighbours(biggest, covers, land_cover, scene),
        _evidence(scene, prior, mask, scene.valid & (plane == 0)), _condition(scene, land_cover, mask), marked, prior,
    )  # fmt: skip
