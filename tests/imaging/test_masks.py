"""Operations on masks: literal cases, and what holds for all masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse.csgraph import connected_components

from spex_model.imaging import masks
from spex_model.imaging.regions import label_regions
from spex_model.imaging.scene import Scene

THREE = np.array(
    [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 1, 1],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ],
    bool,
)
"""Regions of 6, 2 and 1 pixels."""
ALL = np.ones_like(THREE)


def sizes(mask):
    labels, _ = label_regions(mask)
    return np.bincount(labels.ravel())[1:].tolist()


def plain_scene(valid):
    return Scene(np.zeros((1, *valid.shape), np.float32), valid, ("pan",))


OPERATIONS = {
    "keep_largest": lambda mask, valid: masks.keep_largest(mask, 2),
    "keep_smallest": lambda mask, valid: masks.keep_smallest(mask, 2),
    "keep_rank": lambda mask, valid: masks.keep_rank(mask, 2),
    "drop_largest": lambda mask, valid: masks.drop_largest(mask),
    "keep_sizes": lambda mask, valid: masks.keep_sizes(mask, np.ones((1, 1)), 2, 5),
    "in_place": lambda mask, valid: masks.in_place(mask, "north-west"),
    "in_place, cut": lambda mask, valid: masks.in_place(mask, "center", cut=True),
    "grow": lambda mask, valid: masks.grow(mask, 1.5, valid),
    "shrink": lambda mask, valid: masks.shrink(mask, 1),
    "merge_close": lambda mask, valid: masks.merge_close(mask, 3, valid),
    "smooth": lambda mask, valid: masks.smooth(mask, valid),
    "fill_holes": lambda mask, valid: masks.fill_holes(mask, valid),
    "invert": lambda mask, valid: masks.invert(mask, valid),
    "near": lambda mask, valid: masks.near(mask, np.eye(*mask.shape, dtype=bool) & valid, 2),
    "far": lambda mask, valid: masks.far(mask, np.eye(*mask.shape, dtype=bool) & valid, 2),
    "at_points": lambda mask, valid: masks.at_points(mask, [(0, 0), (99, 0), (-1, -1)]),
    "keep_shape": lambda mask, valid: masks.keep_shape(mask, "compact", plain_scene(valid)),
    "where_index": lambda mask, valid: masks.where_index(mask, np.where(valid, 0.5, np.nan), above=0.1),
}


@st.composite
def masks_and_valid(draw):
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    valid = draw(arrays(bool, shape))
    return draw(arrays(bool, shape)) & valid, valid


@pytest.mark.parametrize("name", OPERATIONS)
@given(case=masks_and_valid())
@settings(max_examples=25, deadline=None)
def test_never_leaves_the_valid_pixels_and_never_changes_its_input(name, case):
    mask, valid = case
    before = mask.copy()
    result = OPERATIONS[name](mask, valid)
    assert result.dtype == bool and result.shape == mask.shape
    assert not (result & ~valid).any()
    assert np.array_equal(mask, before) and not np.shares_memory(result, mask)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 3)])
def test_empty_masks_never_raise(name, shape):
    empty, valid = np.zeros(shape, bool), np.ones(shape, bool)
    result = OPERATIONS[name](empty, valid)
    assert result.all() if name == "invert" else not result.any()
    assert OPERATIONS[name](empty, empty).sum() == 0


def test_by_rank():
    assert sizes(masks.keep_largest(THREE)) == [6] and sizes(masks.keep_largest(THREE, 2)) == [6, 2]
    assert sizes(masks.keep_smallest(THREE)) == [1] and sizes(masks.keep_smallest(THREE, 9)) == [6, 2, 1]
    assert sizes(masks.keep_rank(THREE, 2)) == [2] and sizes(masks.keep_rank(THREE, 4)) == []
    assert sizes(masks.drop_largest(THREE)) == [2, 1]


def test_sizes_include_their_limits():
    pixel = np.ones((1, 1))
    assert sizes(masks.keep_sizes(THREE, pixel, least=2)) == [6, 2]
    assert sizes(masks.keep_sizes(THREE, pixel, most=2)) == [2, 1]
    rows = np.array([[100.0], [1], [1], [1], [50]])
    assert sizes(masks.keep_sizes(THREE, rows, least=50, most=60)) == [1]


@given(masks_and_valid(), st.floats(0, 12), st.floats(0, 12), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_keep_sizes_agrees_with_brute_force(case, least, most, seed):
    mask, _ = case
    weights = np.random.default_rng(seed).uniform(0, 3, mask.shape)
    labels, count = label_regions(mask)
    wanted = np.zeros_like(mask)
    for number in range(1, count + 1):
        if least <= sum(weights[labels == number].tolist()) <= most:
            wanted |= labels == number
    assert np.array_equal(masks.keep_sizes(mask, weights, least, most), wanted)


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("north", [6, 2]),
        ("south", [1]),
        ("west", [6, 1]),
        ("east", [2]),
        ("north-east", [2]),
        ("top", [6, 2]),
        ("left", [6, 1]),
        ("center", []),
    ],
)
def test_places(place, kept):
    assert sizes(masks.in_place(THREE, place)) == kept


def test_places_partition_and_cut():
    for one, other in (("north", "south"), ("west", "east"), ("top", "bottom"), ("left", "right")):
        halves = masks.in_place(THREE, one), masks.in_place(THREE, other)
        assert not (halves[0] & halves[1]).any() and np.array_equal(halves[0] | halves[1], THREE)
    assert masks.in_place(ALL, "west", cut=True).tolist() == [[True] * 3 + [False] * 3] * 5
    assert masks.in_place(ALL, "west", "third", cut=True).sum() == 5 * 2
    with pytest.raises(KeyError):
        masks.in_place(THREE, "upstairs")


def test_grow_is_round_and_stops_at_nodata():
    dot = np.zeros((5, 5), bool)
    dot[2, 2] = True
    valid = np.ones((5, 5), bool)
    valid[2, 3] = False
    assert (
        masks.grow(dot, 1, np.ones((5, 5), bool)).sum() == 5 and masks.grow(dot, 1.5, np.ones((5, 5), bool)).sum() == 9
    )
    assert masks.grow(dot, 1, valid).sum() == 4
    assert np.array_equal(masks.grow(dot, 0, valid), dot)


def test_shrink_leaves_the_edge_of_the_image_alone():
    half = np.zeros((4, 6), bool)
    half[:, :3] = True
    assert masks.shrink(half, 1).tolist() == [[True, True, False, False, False, False]] * 4
    assert masks.shrink(np.ones((3, 3), bool), 5).all()


def test_merge_close_joins_and_loses_nothing():
    pair = np.zeros((7, 12), bool)
    pair[1:6, 1:5] = pair[1:6, 7:11] = True
    merged = masks.merge_close(pair, 4, np.ones_like(pair))
    assert label_regions(merged)[1] == 1 and (merged & pair).sum() == pair.sum()
    assert np.array_equal(masks.merge_close(pair, 1, np.ones_like(pair)), pair)
    strait = np.ones_like(pair)
    strait[:, 5:7] = False
    assert np.array_equal(masks.merge_close(pair, 4, strait), pair)
    assert masks.merge_close(pair, 1e9, np.ones_like(pair)).sum() <= 50  # the hull, not the whole image


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("gap", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("distance", [0.5, 1, 1.5, 5, 5.5, 8, 8.1, 16, 30])
def test_pieces_join_exactly_where_they_are_closer_than_the_distance(size, gap, distance):
    row = np.zeros((size + 4, 2 * size + gap + 4), bool)
    row[2:-2, 2 : 2 + size] = row[2:-2, -2 - size : -2] = True
    diagonal = np.zeros((2 * size + gap + 4,) * 2, bool)
    diagonal[2 : 2 + size, 2 : 2 + size] = diagonal[-2 - size : -2, -2 - size : -2] = True
    for pair, apart in ((row, gap), (row.T, gap), (diagonal, gap * 2**0.5)):
        merged = masks.merge_close(pair, distance, np.ones_like(pair))
        assert label_regions(merged)[1] == (1 if apart < distance else 2) and not (pair & ~merged).any()


@st.composite
def speckled(draw):
    shape = draw(st.tuples(st.integers(2, 24), st.integers(2, 24)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.random(shape) < draw(st.sampled_from([0.01, 0.03, 0.1, 0.2]))


def edge_distance(one, other, pixel_size):
    """Brute force between two lists of pixels (n, 2)."""
    between = np.maximum(np.abs(one[:, None] - other[None]) - 1, 0) * pixel_size
    return np.hypot(between[..., 0], between[..., 1]).min()


@given(speckled(), st.floats(0.1, 12), st.sampled_from([(1.0, 1.0), (2.0, 1.0), (0.7, 1.9)]))
@settings(max_examples=150, deadline=None)
def test_merging_leaves_the_groups_of_pieces_that_brute_force_finds(mask, distance, pixel_size):
    labels, count = label_regions(mask)
    pieces = [np.argwhere(labels == number) for number in range(1, count + 1)]
    close = [[edge_distance(one, other, pixel_size) < distance for other in pieces] for one in pieces]
    wanted = connected_components(np.array(close))[0] if count else 0
    merged = masks.merge_close(mask, distance, np.ones_like(mask), pixel_size)
    assert label_regions(merged)[1] == wanted and not (mask & ~merged).any()


def test_a_strip_does_not_cross_nodata_nor_leave_stubs():
    pair = np.zeros((5, 12), bool)
    pair[2, 1] = pair[2, 10] = True
    valid = np.ones_like(pair)
    assert masks.merge_close(pair, 9, valid).sum() == 10
    valid[:, 5] = False
    assert np.array_equal(masks.merge_close(pair, 9, valid), pair)


def test_pixels_that_are_not_square():
    dot = np.zeros((7, 7), bool)
    dot[3, 3] = True
    everywhere = np.ones_like(dot)
    grown = masks.grow(dot, 20, everywhere, (20, 10))
    assert grown[:, 3].sum() == 3 and grown[3].sum() == 5
    assert np.array_equal(masks.shrink(grown, 10, (20, 10)), grown & np.roll(grown, 1, 1) & np.roll(grown, -1, 1))
    pair = np.zeros((3, 6), bool)
    pair[1, 1] = pair[1, 4] = True
    assert label_regions(masks.merge_close(pair, 30, np.ones_like(pair), (30, 10)))[1] == 1
    assert label_regions(masks.merge_close(pair.T, 50, np.ones_like(pair.T), (30, 10)))[1] == 2


@given(speckled(), speckled(), st.sampled_from([(1.0, 1.0), (2.0, 1.0), (0.7, 1.9)]))
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_edges(one, other, pixel_size):
    height, width = np.minimum(one.shape, other.shape)
    one, other = one[:height, :width], other[:height, :width]
    measured = masks.distances_to(other, pixel_size)
    if one.any() and other.any():
        wanted = edge_distance(np.argwhere(one), np.argwhere(other), pixel_size)
        assert measured[one].min() == pytest.approx(wanted)
    else:
        assert other.any() or np.isinf(measured).all()


def test_smooth_drops_dots_and_fills_dents():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    mask[4, 4] = False
    mask[0, 8] = True
    smoothed = masks.smooth(mask, np.ones_like(mask))
    assert smoothed[4, 4] and not smoothed[0, 8] and smoothed[3:6, 3:6].all()


def test_fill_holes_but_not_bays_nor_nodata():
    ring = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
    valid = np.ones_like(ring)
    filled = masks.fill_holes(ring, valid)
    assert filled[1, 1] and filled.sum() == ring.sum() + 1
    valid[1, 1] = False
    assert not masks.fill_holes(ring, valid)[1, 1]


def test_near_and_far():
    other = np.zeros_like(THREE)
    other[2, 3] = True
    assert sizes(masks.near(THREE, other, 0)) == [6, 2]  # both touch it at a corner
    assert sizes(masks.near(THREE, other, 1.5)) == [6, 2, 1]
    assert sizes(masks.far(THREE, other, 1.4)) == [1]  # one pixel down and one aside lie between
    assert not masks.near(THREE, np.zeros_like(THREE), 99).any()
    assert np.array_equal(masks.far(THREE, np.zeros_like(THREE), 99), THREE)


def test_clicks_choose_regions_or_the_nearest_one():
    assert sizes(masks.at_points(THREE, [(0, 0)])) == [6]
    assert sizes(masks.at_points(THREE, [(4, 2), (1, 5)])) == [2, 1]
    assert not masks.at_points(THREE, [(-1, -1), (99, 0)]).any()
    wide = np.zeros((1, 30), bool)
    wide[0, 0] = True
    assert masks.at_points(wide, [(0, 10)]).any() and not masks.at_points(wide, [(0, 11)]).any()


def test_shapes():
    mask = np.zeros((40, 40), bool)
    row, column = np.mgrid[:40, :40]
    mask[(row - 12) ** 2 + (column - 12) ** 2 <= 60] = True
    mask[30, 2:38] = True
    scene = plain_scene(np.ones_like(mask))
    assert masks.keep_shape(mask, "elongated", scene).sum() == 36
    assert np.array_equal(masks.keep_shape(mask, "round", scene), mask & (row < 29))
    assert not masks.keep_shape(mask, "compact", scene).any()


def test_shapes_of_a_mask_that_runs_into_nodata():
    mask = np.zeros((20, 40), bool)
    mask[2, 2:38] = mask[10, :] = True
    valid = np.ones_like(mask)
    valid[10, 5:] = False  # the second line is cut to five pixels
    assert masks.keep_shape(mask, "elongated", plain_scene(valid)).sum() == 36


def test_index_limits_are_strict_and_nan_is_outside():
    values = np.array([[0.1, 0.2, 0.3, np.nan]])
    mask = np.ones((1, 4), bool)
    assert masks.where_index(mask, values, above=0.1).tolist() == [[False, True, True, False]]
    assert masks.where_index(mask, values, below=0.3, above=0.1).tolist() == [[False, True, False, False]]
    assert masks.where_index(mask, values).sum() == 3
