"""Clicks and boxes as a person sets them: on what the mask should have, or should not.

A person's correction is about a thing: this pond belongs to it, that roof does not. So a thing is taken from the
labels, by its outline, and its membership is turned over: then nothing but the click says what is right, and the
decoder must learn to hear it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD, POINT_REMOVE
from spex_model.training.datasets import UNKNOWN

SMALLEST, LARGEST = 12, 0.4
"""Pixels of the smallest thing that somebody would click on, and the largest one's share of a crop."""
OUTER = 0.25
"""Share of clicks that change nothing: on what the mask has anyway, or has not."""


@dataclass(frozen=True)
class Correction:
    """What somebody marks, and the labels that then are right.

    points (2, 3) float32, rows (x, y, label) in 0-1 of the crop: two clicks, or the corners of a box;
    labels (S, S) uint8 in {0, 1, 255}.
    """

    points: np.ndarray
    labels: np.ndarray


def _things(mask: np.ndarray) -> list[np.ndarray]:
    """Connected pieces of a mask (S, S) that are neither specks nor the whole picture."""
    marked, count = ndimage.label(mask)
    sizes = np.bincount(marked.ravel())
    fitting = [n for n in range(1, count + 1) if SMALLEST <= sizes[n] <= LARGEST * mask.size]
    return [marked == number for number in fitting]


def _pixel_in(mask: np.ndarray, rng: np.random.Generator, *, deep: bool = False) -> tuple[int, int] | None:
    """A random pixel (row, column) of a mask; `deep` prefers those far from its edge, as people click."""
    inside = np.argwhere(mask)
    if not len(inside):
        return None
    if deep:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask]
        inside = inside[depth >= min(depth.max(), 2)]
    row, column = inside[rng.integers(len(inside))]
    return int(row), int(column)


def _click(pixel: tuple[int, int], label: int, size: int) -> tuple[float, float, float]:
    row, column = pixel
    return (column + 0.5) / size, (row + 0.5) / size, float(label)


def _chosen_thing(covers: np.ndarray, asked: int, rng: np.random.Generator) -> tuple[np.ndarray, bool] | None:
    """A thing of the asked land cover, to be taken off, or of another one, to be added; and whether it is added."""
    own = covers[asked]
    add = rng.random() < 0.55
    if add:
        others = [n for n in range(len(covers)) if n != asked and (covers[n] == 1).any()]
        rng.shuffle(others)
        planes = [(covers[n] == 1) & (own == 0) for n in others]
    else:
        planes = [own == 1]
    for plane in planes:
        if things := _things(plane):
            return things[rng.integers(len(things))], add
    return None


def draw_correction(covers: np.ndarray, asked: int, rng: np.random.Generator, *, box: bool) -> Correction:
    """A correction of one land cover's mask on a crop; covers (L, S, S) uint8 in {0, 1, 255}, `asked` its number.

    With `box` the thing is framed, with a frame that fits loosely; otherwise it is clicked, and a second click
    stands on the same thing, or on something that is right already.
    """
    labels, size = covers[asked].copy(), covers.shape[-1]
    chosen = _chosen_thing(covers, asked, rng) if rng.random() > OUTER else None
    thing, add = chosen if chosen else (labels == (1 if rng.random() < 0.5 else 0), bool(rng.random() < 0.5))
    if chosen:
        labels[thing] = 1 if add else 0
    if box:
        framed = thing if chosen and add else labels == 1
        return Correction(_frame(framed, size, rng), labels)
    add = add if chosen else bool((labels[thing] == 1).any())
    first = _pixel_in(thing, rng, deep=True) or (int(rng.integers(size)), int(rng.integers(size)))
    kind = POINT_ADD if labels[first] == 1 else POINT_REMOVE
    if labels[first] == UNKNOWN:
        kind = POINT_ADD if add else POINT_REMOVE
    second = _pixel_in(thing, rng) if rng.random() < 0.5 else _pixel_in(labels != UNKNOWN, rng)
    second = second or first
    other = kind if labels[second] == UNKNOWN else (POINT_ADD if labels[second] == 1 else POINT_REMOVE)
    return Correction(np.array([_click(first, kind, size), _click(second, other, size)], np.float32), labels)


def _frame(mask: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The corners of a box round one piece of a mask, up to a fifth too wide; round anything where there is none."""
    pieces = _things(mask)
    if pieces:
        piece = pieces[rng.integers(len(pieces))]
        (row0, column0), (row1, column1) = np.argwhere(piece).min(0), np.argwhere(piece).max(0) + 1
    else:
        row0, column0 = rng.integers(0, size // 2, 2)
        row1, column1 = row0 + rng.integers(size // 8, size // 2), column0 + rng.integers(size // 8, size // 2)
    slack = rng.uniform(0, 0.2, 4) * np.array([row1 - row0, column1 - column0, row1 - row0, column1 - column0])
    edges = np.array([row0 - slack[0], column0 - slack[1], row1 + slack[2], column1 + slack[3]])
    top, left, bottom, right = np.clip(edges, 0, size) / size
    return np.array([(left, top, BOX_TOP_LEFT), (right, bottom, BOX_BOTTOM_RIGHT)], np.float32)
