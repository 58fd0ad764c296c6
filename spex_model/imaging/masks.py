"""Operations on masks (H, W) bool: pure, never raising on an empty mask, and none of them leaves the valid pixels.

A distance has the unit of the pixel size (height, width) beside it: pixels by default, metres where that is in metres.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, maximum_filter
from scipy.ndimage import median_filter as _median_filter
from skimage.draw import line

from spex_model.imaging.regions import find_regions, label_regions
from spex_model.imaging.scene import Scene

HALVES = {"north": (0, 0.5, 0, 1), "south": (0.5, 1, 0, 1), "west": (0, 1, 0, 0.5), "east": (0, 1, 0.5, 1),
          "north-west": (0, 0.5, 0, 0.5), "north-east": (0, 0.5, 0.5, 1), "south-west": (0.5, 1, 0, 0.5),
          "south-east": (0.5, 1, 0.5, 1), "top": (0, 0.5, 0, 1), "bottom": (0.5, 1, 0, 1), "left": (0, 1, 0, 0.5),
          "right": (0, 1, 0.5, 1), "center": (0.25, 0.75, 0.25, 0.75)}  # fmt: skip
"""Parts of the image as (row from, row to, column from, column to) in 0-1; the centre is its middle half."""
_SQUARE = (1.0, 1.0)
_WIDEST_CLOSING = 1000
_NEIGHBOURS = (
    (np.s_[:-1, :], np.s_[1:, :]),
    (np.s_[:, :-1], np.s_[:, 1:]),
    (np.s_[:-1, :-1], np.s_[1:, 1:]),
    (np.s_[:-1, 1:], np.s_[1:, :-1]),
)
"""Slices that lay the pixels of an array (H, W) beside their neighbours in four directions."""


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


def grow(mask: np.ndarray, distance: float, valid: np.ndarray, pixel_size: tuple[float, float] = _SQUARE) -> np.ndarray:
    """The mask and all valid pixels whose centres lie within a Euclidean distance of those of the mask."""
    if not mask.any():
        return mask.copy()
    return (distance_transform_edt(~mask, sampling=pixel_size) <= distance) & valid


def shrink(mask: np.ndarray, distance: float, pixel_size: tuple[float, float] = _SQUARE) -> np.ndarray:
    """The mask without its pixels that lie within a distance of its outside; the image's border is no outside."""
    if mask.all():
        return mask.copy()
    return mask & (distance_transform_edt(mask, sampling=pixel_size) > distance)


def merge_close(
    mask: np.ndarray, distance: float, valid: np.ndarray, pixel_size: tuple[float, float] = _SQUARE
) -> np.ndarray:
    """Join pieces whose edges are closer than a distance; nothing of the mask is lost.

    A closing joins what is broad. It leaves small and pointed pieces apart, so these get a strip of one pixel where
    they are nearest to each other, unless it would cross nodata.
    """
    merged = (_closed(mask, distance, pixel_size) | mask) & valid
    joined, count = label_regions(merged)
    with_mask = np.zeros(count + 1, bool)
    with_mask[joined[mask]] = True
    merged &= with_mask[joined]
    for start, end in zip(*_close_pairs(mask, distance, pixel_size), strict=True):
        if joined[tuple(start)] != joined[tuple(end)]:
            strip = line(*start, *end)
            if valid[strip].all():
                merged[strip] = True
    return merged


def _closed(mask: np.ndarray, distance: float, pixel_size: tuple[float, float]) -> np.ndarray:
    """The mask grown by a little less than half a distance and shrunk again: that joins only what is closer.

    It works as if the image had an empty margin, so that pieces do not flow to its border. Distances of more than
    1,000 pixels count as 1,000.
    """
    reach = np.nextafter(min(distance, _WIDEST_CLOSING * min(pixel_size)), 0) / 2
    row, column = (int(reach / side) + 2 for side in pixel_size)
    padded = np.pad(mask, ((row, row), (column, column)))
    grown = grow(padded, reach, np.ones_like(padded), pixel_size)
    return shrink(grown, reach, pixel_size)[row:-row, column:-column]


def _close_pairs(mask: np.ndarray, distance: float, pixel_size: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Where neighbouring pieces closer than a distance are nearest: two arrays (pairs, 2) of pixels (row, column).

    Pieces are neighbours where the areas that are nearest to each meet. Measured between the corners of pixels, which
    makes the distance that of edges.
    """
    labels, count = label_regions(mask)
    if count < 2:
        return np.empty((0, 2), int), np.empty((0, 2), int)
    pixels = np.pad(np.where(mask, np.arange(mask.size).reshape(mask.shape), -1), 1, constant_values=-1)
    owner = np.maximum.reduce([pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]])
    nearest = distance_transform_edt(owner < 0, pixel_size, return_distances=False, return_indices=True)
    owner = owner[tuple(nearest)]
    piece = labels.ravel()[owner]
    found = []
    for one, other in _NEIGHBOURS:
        meet = piece[one] != piece[other]
        apart = nearest[:, *one][:, meet] - nearest[:, *other][:, meet]
        gap = np.hypot(*(apart * np.array(pixel_size)[:, None]))
        pair = np.sort([piece[one][meet], piece[other][meet]], axis=0)
        found.append(np.stack([gap, *pair, owner[one][meet], owner[other][meet]])[:, gap < distance])
    gap, low, high, start, end = np.concatenate(found, axis=1)
    order = np.lexsort((gap, high, low))
    _, first = np.unique((low * (count + 1) + high)[order], return_index=True)
    chosen = order[first]
    return (
        np.stack(np.unravel_index(start[chosen].astype(int), mask.shape), axis=1),
        np.stack(np.unravel_index(end[chosen].astype(int), mask.shape), axis=1),
    )


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


def distances_to(other: np.ndarray, pixel_size: tuple[float, float] = _SQUARE) -> np.ndarray:
    """Distance (H, W) float64 from every pixel's edge to the nearest edge of `other`, 0 where they touch, also at a corner.

    Infinite everywhere when `other` is empty.
    """
    if not other.any():
        return np.full(other.shape, np.inf)
    return distance_transform_edt(~maximum_filter(other, size=3, mode="constant"), sampling=pixel_size)


def near(mask: np.ndarray, other: np.ndarray, distance: float, pixel_size: tuple[float, float] = _SQUARE) -> np.ndarray:
    """Regions whose edge comes within a distance of that of `other`; touching it, corners included, always counts."""
    if not other.any() or not mask.any():
        return np.zeros_like(mask)
    labels, count = label_regions(mask)
    nearest = np.full(count + 1, np.inf)
    np.minimum.at(nearest, labels.ravel(), distances_to(other, pixel_size).ravel())
    keep = nearest <= distance
    keep[0] = False
    return keep[labels]


def far(mask: np.ndarray, other: np.ndarray, distance: float, pixel_size: tuple[float, float] = _SQUARE) -> np.ndarray:
    """Regions whose edge stays farther than a distance from that of `other`."""
    return mask & ~near(mask, other, distance, pixel_size)


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
