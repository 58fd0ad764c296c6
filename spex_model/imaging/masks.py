"""Operations on masks (H, W) bool: pure, never raising on an empty mask, and none of them leaves the valid pixels."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from scipy.ndimage import median_filter as _median_filter

from spex_model.imaging.regions import find_regions, label_regions
from spex_model.imaging.scene import Scene

HALVES = {"north": (0, 0.5, 0, 1), "south": (0.5, 1, 0, 1), "west": (0, 1, 0, 0.5), "east": (0, 1, 0.5, 1),
          "north-west": (0, 0.5, 0, 0.5), "north-east": (0, 0.5, 0.5, 1), "south-west": (0.5, 1, 0, 0.5),
          "south-east": (0.5, 1, 0.5, 1), "top": (0, 0.5, 0, 1), "bottom": (0.5, 1, 0, 1), "left": (0, 1, 0, 0.5),
          "right": (0, 1, 0.5, 1), "center": (0.25, 0.75, 0.25, 0.75)}  # fmt: skip
"""Parts of the image as (row from, row to, column from, column to) in 0-1; the centre is its middle half."""
_TOUCHING, _FARTHEST = 1.5, 1000


def _select(mask: np.ndarray, chosen: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Keep the regions that `chosen` names: it gets the region numbers 1..n, largest first, and returns a bool each."""
    labels, count = label_regions(mask)
    keep = np.zeros(count + 1, bool)
    keep[1:] = chosen(np.arange(1, count + 1))
    return keep[labels]


def keep_largest(mask: np.ndarray, count: int = 1) -> np.ndarray:
    """The `count` largest regions by pixels."""
    return _select(mask, lambda numbers: numbers <= count)


def keep_smallest(mask: np.ndarray, count: int = 1) -> np.ndarray:
    """The `count` smallest regions by pixels."""
    return _select(mask, lambda numbers: numbers > len(numbers) - count)


def keep_rank(mask: np.ndarray, rank: int) -> np.ndarray:
    """The region of this rank by pixels, 1 = largest; nothing when there are fewer."""
    return _select(mask, lambda numbers: numbers == rank)


def drop_largest(mask: np.ndarray, count: int = 1) -> np.ndarray:
    """All but the `count` largest regions."""
    return _select(mask, lambda numbers: numbers > count)


def keep_sizes(mask: np.ndarray, weights: np.ndarray, least: float = 0.0, most: float = np.inf) -> np.ndarray:
    """Regions whose summed `weights` (broadcast to (H, W); 1 = pixels, areas in m2, …) lie within [least, most]."""
    labels, count = label_regions(mask)
    per_pixel = np.broadcast_to(np.asarray(weights, float), mask.shape)
    sizes = np.bincount(labels.ravel(), per_pixel.ravel(), minlength=count + 1)
    keep = (sizes >= least) & (sizes <= most)
    keep[0] = False
    return keep[labels]


def _third(low: float, high: float) -> tuple[float, float]:
    """The outer (or middle) third in place of a half; the whole length stays whole."""
    if (low, high) == (0, 1):
        return low, high
    if low == 0:
        return 0, 1 / 3
    return (2 / 3, 1) if high == 1 else (1 / 3, 2 / 3)


def place_box(place: str, shape: tuple[int, int], part: str = "half") -> tuple[float, float, float, float]:
    """A named half (or third) of the image as (row0, col0, row1, col1) in pixels. Raises KeyError for an unknown name."""
    top, bottom, left, right = HALVES[place]
    if part == "third":
        (top, bottom), (left, right) = _third(top, bottom), _third(left, right)
    return top * shape[0], left * shape[1], bottom * shape[0], right * shape[1]


def in_place(mask: np.ndarray, place: str, part: str = "half", *, cut: bool = False) -> np.ndarray:
    """Regions whose centroid lies in a named half or third of the image; with `cut`, the mask's pixels there."""
    row0, col0, row1, col1 = place_box(place, (mask.shape[0], mask.shape[1]), part)
    if cut:
        y = np.arange(mask.shape[0])[:, None] + 0.5
        x = np.arange(mask.shape[1])[None] + 0.5
        return mask & (y >= row0) & (y < row1) & (x >= col0) & (x < col1)
    labels, count = label_regions(mask)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    sizes = np.maximum(np.bincount(numbers, minlength=count + 1), 1)
    row = np.bincount(numbers, rows, minlength=count + 1) / sizes + 0.5
    column = np.bincount(numbers, columns, minlength=count + 1) / sizes + 0.5
    keep = (row >= row0) & (row < row1) & (column >= col0) & (column < col1)
    keep[0] = False
    return keep[labels]


def grow(mask: np.ndarray, pixels: float, valid: np.ndarray) -> np.ndarray:
    """The mask and all valid pixels within a Euclidean distance of it, in pixels."""
    if not mask.any():
        return mask.copy()
    return (distance_transform_edt(~mask) <= pixels) & valid


def shrink(mask: np.ndarray, pixels: float) -> np.ndarray:
    """The mask without its pixels that lie within a distance of its outside; the image's border is no outside."""
    if mask.all():
        return mask.copy()
    return mask & (distance_transform_edt(mask) > pixels)


def merge_close(mask: np.ndarray, pixels: float, valid: np.ndarray) -> np.ndarray:
    """Join pieces that are closer than a distance: grown by half of it, then shrunk; nothing of the mask is lost.

    It works as if the image had an empty margin, so that pieces do not flow to its border. Distances of more than
    1,000 pixels count as 1,000.
    """
    reach = min(pixels, _FARTHEST) / 2
    margin = int(np.ceil(reach)) + 1
    padded = np.pad(mask, margin)
    closed = shrink(grow(padded, reach, np.ones_like(padded)), reach)[margin:-margin, margin:-margin]
    return (closed | mask) & valid


def smooth(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A 3 x 3 majority vote, twice: rounds outlines and drops single pixels."""
    voted = mask.astype(np.uint8)
    for _ in range(2):
        voted = _median_filter(voted, size=3, mode="nearest")
    return voted.astype(bool) & valid


def fill_holes(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Fill what the mask surrounds."""
    return binary_fill_holes(mask) & valid


def invert(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """All valid pixels outside the mask."""
    return valid & ~mask


def near(mask: np.ndarray, other: np.ndarray, pixels: float) -> np.ndarray:
    """Regions that come within a distance of `other`, in pixels; touching it, corners included, always counts."""
    if not other.any() or not mask.any():
        return np.zeros_like(mask)
    labels, count = label_regions(mask)
    distance = distance_transform_edt(~other)
    nearest = np.full(count + 1, np.inf)
    np.minimum.at(nearest, labels.ravel(), distance.ravel())
    keep = nearest <= max(pixels, _TOUCHING)
    keep[0] = False
    return keep[labels]


def far(mask: np.ndarray, other: np.ndarray, pixels: float) -> np.ndarray:
    """Regions that stay farther than a distance from `other`, in pixels."""
    return mask & ~near(mask, other, pixels)


def at_points(mask: np.ndarray, points: Iterable[tuple[int, int]]) -> np.ndarray:
    """Regions under points (row, column); a point outside every region takes the nearest one within 10 pixels."""
    labels, count = label_regions(mask)
    keep = np.zeros(count + 1, bool)
    if count:
        distance, (rows, columns) = distance_transform_edt(~mask, return_indices=True)
        for row, column in points:
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and distance[row, column] <= 10:
                keep[labels[rows[row, column], columns[row, column]]] = True
    return keep[labels]


def keep_shape(mask: np.ndarray, shape_word: str, scene: Scene) -> np.ndarray:
    """Regions whose shape word (see `Region.shape_word`) is this one."""
    labels, count = label_regions(mask & scene.valid)
    keep = np.zeros(count + 1, bool)
    for region in find_regions(mask, scene):
        keep[region.id] = region.shape_word == shape_word
    return keep[labels]


def where_index(mask: np.ndarray, values: np.ndarray, *, above: float = -np.inf, below: float = np.inf) -> np.ndarray:
    """The mask's pixels whose index value lies strictly between two limits; NaN never does."""
    with np.errstate(invalid="ignore"):
        return mask & (values > above) & (values < below)
