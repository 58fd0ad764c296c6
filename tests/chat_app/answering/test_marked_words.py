"""Steps on clicks and drawings that do nothing say why; those that do something are left to the numbers."""

import numpy as np
import pytest

from chat_app.acting.corrections import box_polygon
from chat_app.answering.explain import change_words
from chat_app.answering.marked_words import why_in_vain
from chat_app.plan import Plan

VALID = np.ones((20, 20), bool)
VALID[:, 15:] = False
MASK = np.zeros((20, 20), bool)
MASK[2:6, 2:6] = True
EMPTY = np.zeros((20, 20), bool)
LAKE, FIELD, CLOUD, FAR_OFF = (3, 3), (12, 8), (4, 17), (90, 90)


def why(op, *, points=(), box=(), after=MASK, before=MASK):
    marks = {"polygon": box_polygon(*box)} if box else {"points": points}
    return why_in_vain(Plan(intent="refine", steps=({"op": op, **marks},)).steps, before, after, "water", VALID)


@pytest.mark.parametrize(
    ("op", "points", "words"),
    [
        ("add_here", [LAKE], "That spot already belongs to the water layer"),
        ("add_here", [LAKE, (4, 4)], "Those spots already belong to the water layer"),
        ("add_here", [CLOUD], "That spot lies where the image has no data"),
        ("add_here", [FAR_OFF], "That spot lies outside the image"),
        ("add_here", [LAKE, CLOUD], "Those spots already belong to the water layer or lie where the image has no data"),
        ("remove_here", [FIELD], "That spot is not part of the water layer"),
        ("remove_here", [FIELD, FAR_OFF], "Those spots are not part of the water layer or lie outside the image"),
        ("drop_clicked", [FIELD], "That spot is not part of the water layer"),
        ("keep_clicked", [LAKE], "What you clicked is all there is of the water layer"),
    ],
)
def test_clicks_that_change_nothing(op, points, words):
    assert why(op, points=points) == words


@pytest.mark.parametrize(
    ("op", "box", "words"),
    [
        ("keep_inside", (0, 0, 9, 9), "All of the water layer lies inside your drawing"),
        ("drop_inside", (10, 0, 19, 9), "Nothing of the water layer lies inside your drawing"),
        ("add_inside", (2, 2, 5, 5), "Everything inside your drawing already belongs to the water layer"),
        ("add_inside", (0, 16, 9, 19), "The image has no data inside your drawing"),
    ],
)
def test_drawings_that_change_nothing(op, box, words):
    assert why(op, box=box) == words


def test_what_leaves_nothing():
    assert why("keep_clicked", points=[FIELD], after=EMPTY) == "That spot is not part of the water layer"
    assert why("keep_inside", box=(10, 0, 19, 9), after=EMPTY) == "Nothing of the water layer lies inside your drawing"
    assert why("drop_inside", box=(0, 0, 9, 9), after=EMPTY) == "All of the water layer lies inside your drawing"
    assert why("keep_clicked", points=[FIELD], before=EMPTY, after=EMPTY) == "That spot is not part of the water layer"


def test_nothing_is_said_of_steps_that_do_something():
    smaller = MASK.copy()
    smaller[2] = False
    assert why("remove_here", points=[LAKE], after=smaller) == ""
    assert why("remove_here", points=[LAKE], after=EMPTY) == ""
    assert why("drop_clicked", points=[(7, 7)], after=EMPTY) == "", "the region nearest to a click counts as clicked"
    two = Plan(intent="refine", steps=({"op": "add_here", "points": [LAKE]}, {"op": "smooth"})).steps
    assert why_in_vain(two, MASK, MASK, "water", VALID) == ""
    assert why_in_vain(two[1:], MASK, MASK, "water", VALID) == ""


def measured(pixels, layer="water"):
    return {"layer": layer, "pixels": pixels, "area_m2": 1e4 * pixels, "regions": min(pixels, 1)}


def test_the_reason_stands_in_the_place_of_what_was_not_done():
    lake, empty = measured(3), measured(0)
    assert change_words(lake, lake, "Smoothed") == "Smoothed: this changes nothing, water keeps its 3.0 ha in 1 region."
    reason = "That spot already belongs to the water layer"
    assert (
        change_words(lake, lake, "Added", reason)
        == f"{reason}, so nothing changes: water keeps its 3.0 ha in 1 region."
    )
    assert change_words(empty, empty, "Removed", "Why") == "Why, so nothing changes: water is empty."
    assert change_words(lake, empty, "Kept", "Why").startswith("Why, so nothing of the 3.0 ha in 1 region is left;")
    assert change_words(measured(2, "trees"), measured(2, "trees"), "Grown").endswith(
        "trees keep their 2.0 ha in 1 region."
    )
    assert (
        change_words(lake, measured(2), "Cut", "") == "Cut: water went from 3.0 ha in 1 region to 2.0 ha in 1 region."
    )
