"""Simulated corrections: they mark the thing whose membership they turn over, and say the truth about it."""

import numpy as np
import pytest

from spex_model.model.click_head import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, POINT_ADD
from spex_model.training.clicks import draw_correction
from spex_model.training.datasets import UNKNOWN

SIZE = 32


def _covers() -> np.ndarray:
    """A pond of 8 x 8 pixels, and a roof of 5 x 5 that is no water."""
    covers = np.zeros((2, SIZE, SIZE), np.uint8)
    covers[0, 4:12, 4:12] = 1
    covers[1, 20:25, 20:25] = 1
    return covers


def _pixels(points: np.ndarray) -> list[tuple[int, int]]:
    return [(int(y * SIZE), int(x * SIZE)) for x, y, _ in points]


@pytest.mark.parametrize("seed", range(40))
def test_clicks_name_what_is_right_after_them(seed):
    correction = draw_correction(_covers(), 0, np.random.default_rng(seed), box=False)
    for pixel, (_, _, label) in zip(_pixels(correction.points), correction.points, strict=True):
        assert (correction.labels[pixel] == 1) == (label == POINT_ADD)


def test_things_are_added_and_taken_away_whole():
    sums = {
        int(draw_correction(_covers(), 0, np.random.default_rng(seed), box=False).labels.sum()) for seed in range(60)
    }
    assert sums == {64, 0, 64 + 25}


@pytest.mark.parametrize("seed", range(40))
def test_a_box_frames_something_that_belongs_to_the_mask(seed):
    correction = draw_correction(_covers(), 0, np.random.default_rng(seed), box=True)
    (left, top, first), (right, bottom, last) = correction.points
    assert (first, last) == (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT) and left < right and top < bottom
    if correction.labels.any():
        rows, columns = (
            slice(int(top * SIZE), int(np.ceil(bottom * SIZE))),
            slice(int(left * SIZE), int(np.ceil(right * SIZE))),
        )
        assert (correction.labels[rows, columns] == 1).any()


def test_nothing_known_still_gives_points():
    covers = np.full((2, SIZE, SIZE), UNKNOWN, np.uint8)
    for box in (False, True):
        points = draw_correction(covers, 0, np.random.default_rng(0), box=box).points
        assert points.shape == (2, 3) and np.isfinite(points).all()
