"""Connected pieces and the words for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from spex_model.imaging.regions import (
    attributes_paper,
    attributes_text,
    find_regions,
    label_regions,
    place_word,
    size_word,
)
from spex_model.imaging.scene import Scene

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def plain_scene(shape):
    return Scene(np.zeros((1, *shape), np.float32), np.ones(shape, bool), ("pan",))


def flood(mask):
    """8-connected pieces by flooding, as sets of pixels."""
    left, pieces = {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}, []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            row, column = front.pop()
            piece.add((row, column))
            near = {(row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        pieces.append(piece)
    return pieces


def test_corners_connect_and_the_largest_is_first():
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    labels, count = label_regions(mask)
    assert count == 3
    assert labels.tolist() == [[2, 0, 0, 3], [0, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_labels_agree_with_flooding(mask):
    labels, count = label_regions(mask)
    pieces = flood(mask)
    assert count == len(pieces) == labels.max(initial=0)
    found = [{(int(r), int(c)) for r, c in zip(*np.nonzero(labels == n), strict=True)} for n in range(1, count + 1)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, pieces))
    assert [len(piece) for piece in found] == sorted((len(piece) for piece in pieces), reverse=True)


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_attributes_hold_for_any_mask(mask):
    regions = find_regions(mask, plain_scene(mask.shape))
    labels, _ = label_regions(mask)
    assert sum(region.pixels for region in regions) == mask.sum()
    for region in regions:
        rows, columns = np.nonzero(labels == region.id)
        assert region.box_px == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert region.centroid_px == pytest.approx((rows.mean(), columns.mean()))
        assert region.elongation >= 1 - 1e-6 and 0 < region.roundness <= 1
        corners = np.array(region.corners_xy) * (mask.shape[1], mask.shape[0])
        one, two = corners[1] - corners[0], corners[3] - corners[0]
        assert abs(one @ two) < 1e-6 and np.linalg.norm(one) * np.linalg.norm(two) >= region.pixels - 1e-6
        centres = np.stack([columns + 0.5, rows + 0.5], 1) - corners[0]
        for side in (one, two):
            along = centres @ side / (side @ side)
            assert along.min() > 0 and along.max() < 1


def test_the_rectangle_is_the_smallest():
    mask = np.zeros((40, 40), bool)
    row, column = np.mgrid[:40, :40]
    mask[(np.abs(row - column) <= 2) & (row + column > 20) & (row + column < 60)] = True
    (region,) = find_regions(mask, plain_scene(mask.shape))
    corners = np.array(region.corners_xy) * 40
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    assert sides[0] * sides[1] < 0.45 * 20 * 20 * 2 and region.elongation > 3 and region.shape_word == "elongated"


def test_shape_words():
    row, column = np.mgrid[:60, :60]
    disc, square = (row - 30) ** 2 + (column - 30) ** 2 <= 200, (np.abs(row - 30) < 9) & (np.abs(column - 30) < 9)
    dot = (row == 3) & (column < 11)
    words = [find_regions(mask, plain_scene((60, 60)))[0].shape_word for mask in (disc, square, dot)]
    assert words == ["round", "irregular", "compact"]


@pytest.mark.parametrize(
    ("share", "word"),
    [
        (0.5, "huge"),
        (0.1, "huge"),
        (0.05, "large"),
        (0.02, "somewhat large"),
        (0.005, "medium"),
        (0.001, "small"),
        (0.0001, "very tiny"),
    ],
)
def test_size_words(share, word):
    assert size_word(share) == word


def test_place_words():
    assert [place_word((row, column), (9, 9)) for row, column in ((0, 0), (4, 4), (8, 4), (4, 8), (8, 8))] == [
        "top-left", "center", "bottom-center", "middle-right", "bottom-right",
    ]  # fmt: skip


def test_only_valid_pixels_count(make_scene):
    valid = np.ones((4, 4), bool)
    valid[:, 2:] = False
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    (region,) = find_regions(mask, make_scene(valid=valid, gsd_m=10.0))
    assert region.pixels == 2 and region.share == 0.25 and region.area_m2 == 200


def test_mean_index_limit_and_least_pixels(make_scene):
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]], bool)
    values = np.where(mask, 0.25, np.nan)
    values[0, 0] = np.nan
    regions = find_regions(mask, make_scene(), index_values=values, min_pixels=2)
    assert [region.pixels for region in regions] == [3, 2] and [region.mean_index for region in regions] == [0.25, 0.25]
    assert len(find_regions(mask, make_scene(), limit=1)) == 1
    assert find_regions(mask, make_scene(), index_values=np.full((4, 4), np.nan))[0].mean_index is None
    assert find_regions(np.zeros((4, 4), bool), make_scene()) == []


def test_texts_for_the_language_model(make_scene):
    mask = np.zeros((10, 10), bool)
    mask[2:5, 1:5] = True
    regions = find_regions(mask, make_scene((10, 10)))
    assert attributes_text(regions) == "1: huge, middle-left, irregular" and attributes_text([]) == "none"
    paper = attributes_paper(regions, (10, 10))
    assert paper.startswith(
        "[{'Size of area': 'huge', 'Centroid': [0.300, 0.350], 'Location': 'middle-left', 'Bounding box': [["
    )
    assert sorted(paper.split("'Bounding box': ")[1].strip("[]}").split("], [")) == [
        "0.100, 0.200",
        "0.100, 0.500",
        "0.500, 0.200",
        "0.500, 0.500",
    ]
    assert attributes_paper([], (10, 10)) == "[]"
