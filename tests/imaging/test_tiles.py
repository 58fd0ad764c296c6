"""Tiles cover a scene, overlap, and blend without seams."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_model.imaging.tiles import blend_weights, tile_windows

CASES = st.tuples(st.integers(1, 120), st.integers(1, 120), st.integers(2, 90)).flatmap(
    lambda sides: st.tuples(st.just(sides[:2]), st.just(sides[2]), st.integers(0, sides[2] - 1))
)


@given(CASES)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_everything_and_overlap(case):
    shape, size, overlap = case
    windows = tile_windows(shape, size, overlap)
    for axis in (0, 1):
        spans = sorted({(window[axis], window[axis + 2]) for window in windows})
        assert spans[0][0] == 0 and spans[-1][1] == shape[axis]
        assert all(stop - start == min(size, shape[axis]) for start, stop in spans)
        assert all(one[1] - other[0] >= overlap for one, other in pairwise(spans))
        assert all(one[0] < other[0] for one, other in pairwise(spans))
    rows = {(window[0], window[2]) for window in windows}
    assert len(windows) == len(set(windows)) == len(rows) * len({(window[1], window[3]) for window in windows})


@given(st.tuples(st.integers(1, 120), st.integers(1, 120)), st.integers(8, 60), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_blend_weights_are_positive_and_reproduce_a_constant(shape, size, overlap):
    total, weights = np.zeros(shape), np.zeros(shape)
    for window in tile_windows(shape, size, overlap):
        row0, col0, row1, col1 = window
        weight = blend_weights(window, shape, overlap)
        assert weight.shape == (row1 - row0, col1 - col0) and weight.dtype == np.float32
        assert weight.min() > 0 and weight.max() <= 1
        total[row0:row1, col0:col1] += 3 * weight
        weights[row0:row1, col0:col1] += weight
    np.testing.assert_allclose(total / weights, 3, rtol=1e-6)


def test_weights_fall_towards_inner_edges_only():
    left = blend_weights((0, 0, 8, 8), (8, 14), overlap=2)
    assert left[0].tolist() == pytest.approx([1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3])
    right = blend_weights((0, 6, 8, 14), (8, 14), overlap=2)
    np.testing.assert_allclose(left[:, 6:] + right[:, :2], 1, rtol=1e-6)


def test_a_small_scene_is_one_tile():
    assert tile_windows((100, 512)) == [(0, 0, 100, 512)]
    assert (blend_weights((0, 0, 100, 512), (100, 512)) == 1).all()


def test_neighbours_are_spread_evenly():
    assert tile_windows((512, 1000), 512, 64) == [(0, 0, 512, 512), (0, 244, 512, 756), (0, 488, 512, 1000)]


@pytest.mark.parametrize("overlap", [-1, 512, 600])
def test_impossible_overlaps(overlap):
    with pytest.raises(ValueError, match="overlap must be at least 0 and less than the tile size 512"):
        tile_windows((600, 600), 512, overlap)
