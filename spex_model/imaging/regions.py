"""Connected regions of a mask and their attributes, as numbers and as the words of the paper's prompts."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from scipy.ndimage import find_objects, label

from spex_model.imaging.areas import label_areas_m2
from spex_model.imaging.scene import Scene

SIZE_WORDS = (
    (0.10, "huge"),
    (0.03, "large"),
    (0.01, "somewhat large"),
    (0.003, "medium"),
    (0.0005, "small"),
    (0.0, "very tiny"),
)
"""Least share of the valid pixels for each size word."""

PLACE_WORDS = (
    ("top-left", "top-center", "top-right"),
    ("middle-left", "center", "middle-right"),
    ("bottom-left", "bottom-center", "bottom-right"),
)
_SMALL_BOX = 16
Corners = tuple[tuple[float, float], ...]
ELONGATED, ROUND = 3.0, 0.72
"""Side ratio of the minimum-area rectangle from which a region is long; share of its circle from which it is round."""


@dataclass(frozen=True)
class Region:
    """One 8-connected piece of a mask.

    id from 1, largest first. box_px (row0, col0, row1, col1) half-open; centroid_px (row, col) of pixel
    centres; pixels; area_m2 or None; share of the valid pixels; size_word, place_word (cell of a 3 x 3 grid
    that holds the centroid); mean_index or None; corners_xy: 4 corners (x, y) of the minimum-area
    rectangle, 0-1 of the image; elongation: its longer by its shorter side; roundness: area by that of the
    circle around the centroid that reaches the farthest corner.
    """

    id: int
    box_px: tuple[int, int, int, int]
    centroid_px: tuple[float, float]
    pixels: int
    area_m2: float | None
    share: float
    size_word: str
    place_word: str
    mean_index: float | None
    corners_xy: tuple[tuple[float, float], ...]
    elongation: float
    roundness: float

    @property
    def shape_word(self) -> str:
        """ "elongated", "round" or "irregular"; regions of fewer than 12 pixels are "compact"."""
        if self.pixels < 12:
            return "compact"
        if self.elongation >= ELONGATED:
            return "elongated"
        return "round" if self.roundness >= ROUND else "irregular"


def label_regions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the 8-connected pieces of a mask (H, W): labels int32, 1 = largest, ties in row order; and their count."""
    raw, count = label(mask, structure=np.ones((3, 3), int))
    sizes = np.bincount(raw.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, np.int32)
    rank[np.argsort(-sizes, kind="stable") + 1] = np.arange(1, count + 1)
    return rank[raw], count


def size_word(share: float) -> str:
    """The size word of a region that takes this share of the valid pixels."""
    return next(word for least, word in SIZE_WORDS if share >= least)


def place_word(centroid_px: tuple[float, float], shape: tuple[int, int]) -> str:
    """The cell of a 3 x 3 grid over the image (H, W) that holds a centroid (row, col)."""
    row = min(2, int(3 * (centroid_px[0] + 0.5) / shape[0]))
    column = min(2, int(3 * (centroid_px[1] + 0.5) / shape[1]))
    return PLACE_WORDS[row][column]


def _rectangle(rows: np.ndarray, columns: np.ndarray) -> tuple[Corners, float]:
    """Corners (x, y) in pixels and side ratio of the minimum-area rectangle around pixels, their full squares included."""
    corners = np.concatenate([np.stack([columns + dx, rows + dy], 1) for dx in (0, 1) for dy in (0, 1)])
    rectangle = shapely.oriented_envelope(shapely.multipoints(corners.astype(float)))
    points = np.asarray(shapely.get_coordinates(rectangle))[:4]
    sides = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    return tuple((float(x), float(y)) for x, y in points), float(max(sides[:2]) / max(min(sides[:2]), 1e-6))


def _edge_pixels(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel of each row of a piece: enough for its convex hull."""
    rows = np.flatnonzero(piece.any(1))
    first = piece[rows].argmax(1)
    last = piece.shape[1] - 1 - piece[rows][:, ::-1].argmax(1)
    return np.concatenate([rows, rows]), np.concatenate([first, last])


def _outline(piece: bytes, shape: tuple[int, int]) -> tuple[tuple[float, float], Corners, float, float]:
    """(centroid (row, col), rectangle's corners (x, y), its side ratio, radius) in pixels of a piece (H, W) bool in its box."""
    inside = np.frombuffer(piece, bool).reshape(shape)
    rows, columns = np.nonzero(inside)
    centroid = (float(rows.mean()), float(columns.mean()))
    edge_rows, edge_columns = _edge_pixels(inside)
    corners, elongation = _rectangle(edge_rows, edge_columns)
    reach = np.abs(edge_rows - centroid[0]) + 0.5, np.abs(edge_columns - centroid[1]) + 0.5
    radius = float(np.hypot(*reach).max())
    return centroid, corners, elongation, radius


_small_outline = lru_cache(maxsize=20_000)(_outline)
"""Noisy masks hold thousands of pieces of a few pixels, and few different ones."""


def find_regions(
    mask: np.ndarray,
    scene: Scene,
    *,
    index_values: np.ndarray | None = None,
    min_pixels: int = 1,
    limit: int | None = None,
) -> list[Region]:
    """Regions of a mask (H, W) bool, largest first; `limit` bounds how many are described."""
    labels, count = label_regions(mask & scene.valid)
    areas = label_areas_m2(labels, count, scene)
    valid_pixels = max(int(scene.valid.sum()), 1)
    regions: list[Region] = []
    for number, box in enumerate(find_objects(labels), start=1):
        if limit is not None and len(regions) == limit:
            break
        piece = labels[box] == number
        pixels = int(piece.sum())
        if pixels < min_pixels:
            break
        area_m2 = None if areas is None else float(areas[number - 1])
        regions.append(_describe(number, piece, box, pixels, area_m2, valid_pixels, scene.shape, index_values))
    return regions


def _describe(
    number: int,
    piece: np.ndarray,
    box: tuple[slice, slice],
    pixels: int,
    area_m2: float | None,
    valid_pixels: int,
    shape: tuple[int, int],
    index_values: np.ndarray | None,
) -> Region:
    row0, col0 = box[0].start, box[1].start
    measure = _outline if piece.size > _SMALL_BOX else _small_outline
    middle, corners, elongation, radius = measure(piece.tobytes(), piece.shape)
    centroid = (middle[0] + row0, middle[1] + col0)
    corners = tuple(((x + col0) / shape[1], (y + row0) / shape[0]) for x, y in corners)
    mean_index = None
    if index_values is not None:
        inside = index_values[box][piece]
        mean_index = float(np.nanmean(inside)) if np.isfinite(inside).any() else None
    share = pixels / valid_pixels
    return Region(
        number, (row0, col0, box[0].stop, box[1].stop), centroid, pixels, area_m2, share, size_word(share),
        place_word(centroid, shape), mean_index, corners, elongation, pixels / (np.pi * radius**2),
    )  # fmt: skip


def attributes_text(regions: list[Region], limit: int = 3) -> str:
    """One short line a region for the language model ("1: huge, center, elongated"), or "none"."""
    lines = [f"{region.id}: {region.size_word}, {region.place_word}, {region.shape_word}" for region in regions[:limit]]
    return "\n".join(lines) or "none"


def attributes_paper(regions: list[Region], shape: tuple[int, int], limit: int = 10) -> str:
    """The attribute list in the paper's form: coordinates (x, y) 0-1 with three decimals, largest first."""
    entries = []
    for region in regions[:limit]:
        x = (region.centroid_px[1] + 0.5) / shape[1]
        y = (region.centroid_px[0] + 0.5) / shape[0]
        corners = ", ".join(f"[{cx:.3f}, {cy:.3f}]" for cx, cy in region.corners_xy)
        entries.append(
            f"{{'Size of area': '{region.size_word}', 'Centroid': [{x:.3f}, {y:.3f}], "
            f"'Location': '{region.place_word}', 'Bounding box': [{corners}]}}"
        )
    return "[" + ", ".join(entries) + "]"
