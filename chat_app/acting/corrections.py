"""Clicks that correct a mask: what surrounds a clicked pixel and looks like it, and what a drawn box sets apart.

Pure functions. The decoder is asked first (see `refine`); they speak where it does not follow a click. Limits were
chosen on 126 clicks in the middle of the model's largest errors on labelled scenes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize
from scipy.ndimage import label
from skimage.filters import threshold_otsu

from chat_app.errors import StepError
from chat_app.memory.arrays import BoolArray
from spex_model.imaging.scene import Scene

Pixels = Iterable[Sequence[int]]
LOOKS_ALIKE = 0.06
"""Largest difference of a band, in square roots of reflectance, between a pixel and the clicked one that it looks like."""
REACH_PX = 16
"""How far from a click a look-alike may lie, in pixels; farther ones cost more than they gain."""
_CORNERS = np.ones((3, 3), bool)


def add_around(mask: BoolArray, points: Pixels, scene: Scene) -> BoolArray:
    """The mask with every clicked (row, column) and the look-alikes around it that are not in it yet."""
    added = mask.copy()
    for row, column in _inside(points, scene):
        if not added[row, column]:
            added |= look_alikes(scene, (row, column), scene.valid & ~added)
    return added


def remove_around(mask: BoolArray, points: Pixels, scene: Scene) -> BoolArray:
    """The mask without the look-alikes around every clicked (row, column).

    Where at least half of the clicked region looks alike, the whole region goes: then it is the wrong thing, and not
    a right one with a wrong end.
    """
    left = mask.copy()
    for row, column in _inside(points, scene):
        if not left[row, column]:
            continue
        regions, _ = label(left, _CORNERS)
        region = regions == regions[row, column]
        alike = look_alikes(scene, (row, column), region)
        left &= ~(region if 2 * alike.sum() >= region.sum() else alike)
    return left


def look_alikes(scene: Scene, point: tuple[int, int], among: BoolArray) -> BoolArray:
    """The pixels of `among` (H, W) that hang together with a (row, column), lie within reach and look like it.

    What it looks like is the median of the 3 x 3 pixels around it. The point itself is always in the answer.
    """
    row, column = point
    height, width = scene.shape
    top, left = max(0, row - REACH_PX), max(0, column - REACH_PX)
    window = np.s_[top : min(height, row + REACH_PX + 1), left : min(width, column + REACH_PX + 1)]
    looks = np.sqrt(np.clip(np.nan_to_num(scene.reflectance[(slice(None), *window)]), 0, None))
    at_row, at_column = row - top, column - left
    around = looks[:, max(0, at_row - 1) : at_row + 2, max(0, at_column - 1) : at_column + 2]
    wanted = np.median(around.reshape(len(looks), -1), axis=1)
    rows, columns = np.ogrid[: looks.shape[1], : looks.shape[2]]
    near = (rows - at_row) ** 2 + (columns - at_column) ** 2 <= REACH_PX**2
    alike = among[window] & near & (np.abs(looks - wanted[:, None, None]).max(axis=0) <= LOOKS_ALIKE)
    alike[at_row, at_column] = True
    pieces, _ = label(alike, _CORNERS)
    found = np.zeros(scene.shape, bool)
    found[window] = pieces == pieces[at_row, at_column]
    return found


def polygon_mask(polygon: Sequence[tuple[float, float]], shape: tuple[int, int]) -> BoolArray:
    """The pixels (H, W) whose centres lie in a polygon of (row, column) corners; (0, 0) is the image's outer corner.

    A line that crosses itself takes turns between in and out. Raises StepError when no centre lies inside.
    """
    if len(polygon) < 3:
        raise StepError("Draw a box in the picture first, then say what to do with it.")
    ring = [(column, row) for row, column in polygon]
    shapes = [({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, 1)]
    inside = rasterize(shapes, out_shape=shape, dtype="uint8").astype(bool)
    if not inside.any():
        raise StepError("No pixel of the image lies in what was drawn. Draw it larger.")
    return np.asarray(inside)


def box_polygon(row0: float, column0: float, row1: float, column1: float) -> tuple[tuple[float, float], ...]:
    """A box as the polygon of its four corners, whichever two opposite corners are given."""
    (top, bottom), (left, right) = sorted((row0, row1)), sorted((column0, column1))
    return (top, left), (top, right), (bottom, right), (bottom, left)


def add_inside(
    mask: BoolArray, polygon: Sequence[tuple[float, float]], scene: Scene, logits: npt.NDArray[np.floating] | None
) -> BoolArray:
    """The mask with the likelier of the pixels that it leaves out inside a polygon, split by Otsu's threshold (1979).

    Without logits, or where these are all the same, everything valid inside is added.
    """
    missing = polygon_mask(polygon, scene.shape) & scene.valid & ~mask
    if logits is None or not missing.any():
        return mask | missing
    values = logits[missing].astype(np.float32)
    if np.ptp(values) < 1e-3:
        return mask | missing
    return mask | (missing & (logits > threshold_otsu(values)))


def _inside(points: Pixels, scene: Scene) -> list[tuple[int, int]]:
    """The points that lie on valid pixels; those of another image's recipe may not."""
    height, width = scene.shape
    placed = [(int(row), int(column)) for row, column in points]
    return [(r, c) for r, c in placed if 0 <= r < height and 0 <= c < width and scene.valid[r, c]]
