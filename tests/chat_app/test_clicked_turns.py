"""Corrections by clicks and drawings through the real graph; the decoder is one that obeys, or one that does not."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from chat_app.acting.corrections import box_polygon
from chat_app.files.recipe import steps_of
from chat_app.graph import Conversation
from chat_app.memory.marks import Marks
from chat_app.memory.store import SessionStore


@pytest.fixture
def say(conversation, session):
    def run(message, marks=None):
        *_, done = conversation.run_turn(session.id, message, **({"marks": marks} if marks else {}))
        return done.turn

    return run


def mask(session):
    return session.extraction("water").mask


def spot_outside(session):
    """A pixel in the middle of a 9 x 9 square without water."""
    empty = ~mask(session)
    for row in range(8, 150):
        for column in range(8, 150):
            if empty[row - 4 : row + 5, column - 4 : column + 5].all():
                return row, column
    raise AssertionError("water everywhere")


def middle_of_a_lake(found):
    """A pixel in the middle of 9 x 9 pixels of water."""
    row, column = np.argwhere(binary_erosion(found, np.ones((9, 9))))[0]
    return int(row), int(column)


def test_a_decoder_that_obeys_draws_the_layer_anew(say, session, runtime):
    runtime.obedient = True
    say("show me the water")
    found, spot = mask(session).copy(), spot_outside(session)
    turn = say("add this", Marks(points=(spot,)))
    assert mask(session)[spot] and int(mask(session).sum()) == int(found.sum()) + 25
    assert "drew the outline anew" in turn.reply and session.extraction("water").logits[spot] > 0
    assert runtime.clicks[-1] == ((*spot, True),)
    say("undo")
    assert np.array_equal(mask(session), found)


def test_later_steps_are_done_again_and_all_clicks_count(say, session, runtime):
    runtime.obedient = True
    say("show me the water")
    say("only the biggest one")
    biggest, spot = mask(session).copy(), spot_outside(session)
    say("add this", Marks(points=(spot,)))
    assert mask(session)[spot] and (mask(session) & biggest).sum() == biggest.sum()
    inside = tuple(int(value) for value in np.argwhere(biggest)[len(np.argwhere(biggest)) // 2])
    say("not this", Marks(points=(inside,)))
    assert not mask(session)[inside] and len(runtime.clicks[-1]) == 2
    say("undo")
    say("undo")
    assert np.array_equal(mask(session), biggest)


@pytest.mark.parametrize("down", [False, True])
def test_a_decoder_that_does_not_obey_is_done_without_and_the_reply_says_so(say, session, runtime, down):
    say("show me the water")
    found, spot = mask(session).copy(), spot_outside(session)
    runtime.down = down
    turn = say("this too", Marks(points=(spot,)))
    assert turn.error is None and mask(session)[spot] and not (found & ~mask(session)).any()
    assert "kept to its outline" in turn.reply and "16 pixels" in turn.reply
    say("remove this", Marks(points=(spot,)))
    assert not mask(session)[spot]
    say("undo")
    say("undo")
    assert np.array_equal(mask(session), found)


def test_clicks_work_after_a_restart(say, session, settings, runtime):
    runtime.obedient = True
    say("show me the water")
    spot = spot_outside(session)
    again = Conversation(settings, runtime, SessionStore(settings))
    runtime.scenes.clear()
    list(again.run_turn(session.id, "add this", marks=Marks(points=(spot,))))
    reopened = again.store.open(session.id)
    assert reopened.extraction("water").logits[spot] > 0 and reopened.extraction("water").states is not None
    again.close()


def test_an_index_mask_is_corrected_by_its_look(say, session):
    say("show me the water with NDWI")
    spot = spot_outside(session)
    assert "No model stands behind" in say("add this", Marks(points=(spot,))).reply and mask(session)[spot]


def test_stricter_after_a_click_keeps_the_click(say, session, runtime):
    say("show me the water")
    spot = spot_outside(session)
    say("add this", Marks(points=(spot,)))
    say("stricter")
    assert mask(session)[spot]


def test_a_drawn_box_narrows_cuts_and_adds(say, session):
    say("show me the water")
    found = mask(session).copy()
    row, column = (int(value) for value in np.argwhere(found)[0])
    box = ((float(row), float(column)), (row, column + 10.0), (row + 10.0, column + 10.0), (row + 10.0, float(column)))
    inside = np.zeros_like(found)
    inside[row : row + 10, column : column + 10] = True
    say("only inside the box", Marks(area=box))
    assert np.array_equal(mask(session), found & inside)
    say("undo")
    say("remove this", Marks(area=box))
    assert np.array_equal(mask(session), found & ~inside)
    assert "Draw a box" in say("only inside the box").error
    assert "Click on a region" in say("add this").error


@pytest.mark.parametrize("obedient", [False, True])
def test_a_click_that_changes_nothing_says_why(say, session, runtime, obedient):
    say("show me the water")
    found, spot = mask(session).copy(), spot_outside(session)
    inside = middle_of_a_lake(found)
    runtime.obedient = obedient  # a decoder that repaints what stands there changes nothing either
    added = say("add this", Marks(points=(inside,)))
    assert added.reply.startswith("That spot already belongs to the water layer, so nothing changes: water keeps its ")
    taken = say("remove this", Marks(points=(spot,)))
    assert taken.reply.startswith("That spot is not part of the water layer, so nothing changes: water keeps its ")
    assert np.array_equal(mask(session), found) and added.error is taken.error is None
    assert "changes nothing" not in added.reply + taken.reply and "Added" not in added.reply


def test_a_drawing_around_nothing_says_so(say, session):
    say("show me the water")
    row, column = spot_outside(session)
    box = box_polygon(row - 3, column - 3, row + 3, column + 3)
    in_vain = say("remove what is in the box", Marks(area=box))
    assert in_vain.reply.startswith("Nothing of the water layer lies inside your drawing, so nothing changes")
    emptied = say("only inside the box", Marks(area=box))
    assert emptied.reply.startswith("Nothing of the water layer lies inside your drawing, so nothing of the ")
    assert emptied.reply.endswith('is left; say "undo" to get it back.') and not mask(session).any()
    again = say("show me the water in the box", Marks(area=box)).reply
    assert "Nothing of the water 2 layer lies inside your drawing" in again


def test_marks_are_in_the_recipe_and_not_in_what_the_model_reads(say, session):
    say("show me the water")
    turn = say("add this", Marks(points=(spot_outside(session),)))
    assert steps_of(session)[-1].plan.steps[0].points == turn.plan.steps[0].points != ()
    assert "points" not in turn.plan.to_json() and turn.plan.to_dict()["steps"][0]["points"]
