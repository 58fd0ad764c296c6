"""Clicks and drawings on a mask: what they may change, and that they change it as asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_app.acting.corrections import (
    REACH_PX,
    add_around,
    add_inside,
    box_polygon,
    look_alikes,
    polygon_mask,
    remove_around,
)
from chat_app.errors import StepError
from chat_app.memory.marks import Marks
from chat_app.plan import Plan
from spex_model.imaging.scene import Scene

SHAPE = (24, 40)


def make_scene(seed, noise=0.0):
    """Two materials side by side in patches, with one invalid corner."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.random((3, 5)) < 0.5, np.ones((8, 8), bool))
    values = np.where(patches, 0.3, 0.05) + rng.normal(0, noise, (3, *SHAPE))
    valid = np.ones(SHAPE, bool)
    valid[0, 0] = False
    values[:, 0, 0] = np.nan
    return Scene(values.astype(np.float32), valid, ("red", "green", "blue"), gsd_m=10.0), patches


points = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1))
seeds = st.integers(0, 2**31 - 1)


@given(seeds, points, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_adding_adds_the_click_and_only_what_looks_like_it_within_reach(seed, point, filled):
    scene, _ = make_scene(seed)
    mask = (np.random.default_rng(seed).random(SHAPE) < filled) & scene.valid
    added = add_around(mask, [point], scene)
    assert not (mask & ~added).any() and not (added & ~scene.valid).any()
    if scene.valid[point]:
        assert added[point]
        fresh = np.argwhere(added & ~mask)
        assert (np.hypot(*(fresh - point).T) <= REACH_PX).all()
    assert np.array_equal(add_around(added, [point], scene), added)


@given(seeds, points)
@settings(max_examples=60, deadline=None)
def test_removing_takes_the_click_and_nothing_is_added(seed, point):
    scene, _ = make_scene(seed)
    mask = (np.random.default_rng(seed).random(SHAPE) < 0.6) & scene.valid
    left = remove_around(mask, [point], scene)
    assert not (left & ~mask).any() and not left[point]
    if not mask[point]:
        assert np.array_equal(left, mask)


def test_look_alikes_stop_at_another_material():
    scene, patches = make_scene(3, noise=0.001)
    alike = look_alikes(scene, (12, 20), scene.valid)
    assert alike[12, 20] and (patches[alike] == patches[12, 20]).all() and alike.sum() > 30


def test_a_wrong_region_goes_as_a_whole_a_wrong_end_alone():
    values = np.full((3, *SHAPE), 0.05, np.float32)
    values[:, :, 30:] = 0.3
    scene = Scene(values, np.ones(SHAPE, bool), ("red", "green", "blue"))
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 2:36] = True
    left = remove_around(mask, [(5, 33)], scene)
    assert left[4:8, 2:30].all() and not left[:, 30:].any()
    alone = np.zeros(SHAPE, bool)
    alone[4:8, 30:36] = True
    assert not remove_around(alone, [(5, 33)], scene).any()


@given(st.tuples(*[st.floats(0, side) for side in (*SHAPE, *SHAPE)]))
@settings(max_examples=80, deadline=None)
def test_a_box_holds_the_pixels_whose_centres_it_holds(corners):
    row0, column0, row1, column1 = corners
    rows, columns = (np.arange(side) + 0.5 for side in SHAPE)
    (top, bottom), (left, right) = sorted((row0, row1)), sorted((column0, column1))
    edges = np.array([top, bottom, left, right])
    if (np.abs(edges[:, None] % 1 - 0.5) < 1e-6).any():
        return  # an edge through centres may go either way
    expected = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))
    if not expected.any():
        with pytest.raises(StepError, match="larger"):
            polygon_mask(box_polygon(*corners), SHAPE)
    else:
        assert np.array_equal(polygon_mask(box_polygon(*corners), SHAPE), expected)


def test_the_likelier_pixels_of_a_box_are_added():
    scene, _ = make_scene(1)
    logits = np.full(SHAPE, -5.0, np.float32)
    logits[5:9, 5:9] = -1.0
    mask = np.zeros(SHAPE, bool)
    mask[15:20, 15:20] = True
    added = add_inside(mask, box_polygon(3, 3, 12, 12), scene, logits)
    assert added[5:9, 5:9].all() and added.sum() == 16 + 25
    assert add_inside(mask, box_polygon(3, 3, 12, 12), scene, None).sum() == 81 + 25


def test_marks_fill_in_what_a_step_means_by_this():
    steps = Plan(intent="refine", steps=({"op": "add_here"}, {"op": "smooth"}, {"op": "keep_inside"})).steps
    clicked = Marks(points=((1, 2),)).fill_in(steps)
    assert clicked[0].points == ((1, 2),) and clicked[1:] == steps[1:]
    drawn = Marks(area=((0.0, 0.0), (0.0, 9.0), (9.0, 9.0))).fill_in(steps)
    assert [step.op for step in drawn] == ["add_inside", "smooth", "keep_inside"]
    assert drawn[0].polygon == drawn[2].polygon != ()
    assert Marks().fill_in(clicked) == clicked
