"""Whole turns through the real graph, store and checkpointer; only the model is a fake."""

import re
import threading

import numpy as np
import pytest

from chat_app.graph import Conversation
from chat_app.memory.marks import Marks
from chat_app.memory.store import SessionStore
from chat_app.memory.turns import LayerReady, TextDelta, TurnDone
from spex_model.imaging.regions import label_regions


@pytest.fixture
def say(conversation, session):
    def run(message, **options):
        *_, done = conversation.run_turn(session.id, message, **options)
        assert isinstance(done, TurnDone)
        return done.turn

    return run


def mask(session, name=None):
    return session.extraction(session.find_layer(name)).mask


def test_the_main_job_from_a_question_to_follow_ups(say, session):
    water = say("show me the water")
    found = mask(session).copy()
    assert water.error is None and found.any() and water.facts["pixels"] == int(found.sum())
    least, most = water.facts["area_range_m2"]
    assert least <= water.facts["area_m2"] <= most
    assert "Measured on the mask" in water.reply and water.changed == (session.layers[0].id,)

    biggest = say("only the biggest one")
    labels, _ = label_regions(found)
    assert np.array_equal(mask(session), labels == 1) and biggest.facts["regions"] == 1

    answer = say("how many hectares is it?")
    assert f"{session.area_m2('water') / 1e4:,.2f} ha" in answer.reply
    assert session.area_m2("water") == pytest.approx((labels == 1).sum() * 100, rel=2e-3)

    say("now the vegetation")
    assert [layer.name for layer in session.layers] == ["water", "vegetation"]
    say("undo")
    assert [layer.name for layer in session.layers] == ["water"]
    say("undo")
    assert np.array_equal(mask(session), found)


def test_text_is_streamed_and_the_layer_announced(conversation, session):
    events = list(conversation.run_turn(session.id, "show me the water"))
    assert sum(isinstance(event, TextDelta) for event in events) > 5
    assert isinstance(events[-2], LayerReady) and isinstance(events[-1], TurnDone)


def test_a_sentence_that_the_mask_contradicts_is_not_shown(say, runtime):
    runtime.spoken = "I see water in 999 regions. The evidence is MNDWI."
    turn = say("show me the water")
    assert "999" not in turn.reply and "999" in turn.model_text and "MNDWI" in turn.reply


def test_with_the_model_down_the_index_answers_and_says_so(say, session, runtime):
    runtime.down = True
    turn = say("show me the water")
    assert session.extraction("water").method == "index" and turn.error is None
    assert "could not answer" in turn.reply and "spectral index alone" in turn.reply


def test_the_model_reads_what_rules_do_not(say, session, runtime):
    say("show me the water")
    runtime.plans = ['{"intent":"refine","steps":[{"op":"drop_smaller","value":0.3,"unit":"ha"}]}']
    turn = say("would it be possible to lose those teeny weeny puddles, 0.3 ha or so")
    assert turn.reader == "model" and turn.plan.steps[0].value == 0.3


def test_a_number_that_nobody_said_is_not_obeyed(say, session, runtime):
    say("show me the water")
    before = mask(session).copy()
    runtime.plans = ['{"intent":"refine","steps":[{"op":"drop_smaller","value":5000,"unit":"km2"}]}']
    turn = say("would it be possible to lose those teeny weeny puddles")
    assert turn.plan.intent == "clarify" and turn.options and np.array_equal(mask(session), before)


@pytest.mark.parametrize("text", ['{"intent":"refine"}', "not json", '{"intent":"fly"}'])
def test_an_invalid_plan_becomes_a_question(say, runtime, text):
    runtime.plans = [text]
    turn = say("frobnicate the gizmo somehow")
    assert turn.plan.intent == "clarify" and turn.reply.endswith("?")


@pytest.mark.parametrize("message", ["", "   ", "x" * 4000])
def test_a_message_that_cannot_be_taken_gets_a_sentence(say, session, message):
    turn = say(message)
    assert turn.error and len(session.turns) == 1 and "Traceback" not in turn.reply
    assert say("show me the water").error is None


def test_refining_nothing_is_a_sentence(say):
    turn = say("only the biggest one")
    assert turn.error and "no layer" in turn.reply


def test_clicks_pick_a_region(say, session):
    say("show me the water")
    labels, _ = label_regions(mask(session))
    row, column = (int(value) for value in np.argwhere(labels == 2)[0])
    assert say("keep this one").error
    say("keep this one", marks=Marks(points=((row, column),)))
    assert np.array_equal(mask(session), labels == 2)
    say("undo")
    say("remove this one", marks=Marks(points=((row, column),)))
    assert np.array_equal(mask(session), (labels > 0) & (labels != 2))


@pytest.fixture
def photo(conversation, tmp_path):
    """A session on an RGB picture of 64 x 64 pixels without pixel size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "photo.png")
    return conversation.store.create(tmp_path / "photo.png")


def test_a_correction_takes_the_wrong_layer_back_and_says_so(say, session):
    say("show me the water")
    turn = say("no, i meant the vegetation")
    assert [layer.name for layer in session.layers] == ["vegetation"]
    assert turn.reply.startswith("Took back the last change (extract water). ")
    say("no, i meant the trees")
    assert [layer.name for layer in session.layers] == ["trees"]


def test_a_refinement_said_anew_replaces_the_one_before(say, session):
    say("show me the water")
    found = mask(session).copy()
    say("grow by 40 m")
    turn = say("sorry, I meant grow by 2 pixels")
    assert [step.value for step in session.extraction("water").steps] == [2] and "Took back" in turn.reply
    say("undo")
    assert np.array_equal(mask(session), found)


def test_a_correction_of_a_failed_turn_takes_nothing_back(conversation, photo):
    say = lambda message: list(conversation.run_turn(photo.id, message))[-1].turn  # noqa: E731
    say("show me the vegetation")
    assert say("grow by 20 m").error
    assert say("sorry, I meant grow by 2 pixels").error is None
    assert photo.extraction("vegetation").steps[0].value == 2
    say("undo")
    assert [layer.name for layer in photo.layers] == ["vegetation"] and not photo.extraction("vegetation").steps


@pytest.mark.parametrize("between", ["how big is it?", "frobnicate the gizmo somehow"])
@pytest.mark.parametrize(
    ("correction", "layers"),
    [("I meant only the biggest", ["water"]), ("no, I meant the trees", ["water", "trees"])],
)
def test_a_correction_after_an_answer_or_a_question_takes_nothing_back(
    say, session, runtime, between, correction, layers
):
    runtime.plans = ["no json"]
    say("show me the water")
    say(between)
    assert say(correction).error is None and [layer.name for layer in session.layers] == layers


def test_a_correction_after_an_undo_or_a_change_on_the_page_takes_nothing_back(say, session):
    say("show me the water")
    say("only the biggest one")
    say("undo")
    say("no, I meant the trees")
    with session.change("hide"):
        session.update_layer(session.layers[0], visible=False)
    say("no, I meant the vegetation")
    assert [(layer.name, layer.visible) for layer in session.layers] == [
        ("water", False), ("trees", True), ("vegetation", True),
    ]  # fmt: skip


def test_a_correction_that_fails_brings_everything_back(conversation, photo, runtime):
    say = lambda message: list(conversation.run_turn(photo.id, message))[-1].turn  # noqa: E731
    say("show me the vegetation")
    before = photo.history
    runtime.down = True
    assert say("no, show me the buildings").error
    assert photo.history == before
    assert say("smooth it").error is None
    before = photo.history
    assert say("no, grow by 20 m").error and photo.history == before


def test_a_correction_that_is_stopped_brings_everything_back(conversation, session, say):
    say("show me the water")
    before = session.history
    running = conversation.start_turn(session.id, "no, I meant the vegetation")
    running.stop()
    *_, done = running.events()
    assert "Stopped" in done.turn.error and session.history == before


def test_the_same_steps_for_another_land_cover(say, session):
    say("show me the water")
    say("only the biggest one")
    turn = say("same for the vegetation")
    assert turn.facts["regions"] == 1 and session.extraction("vegetation").steps[0].op == "keep_largest"


@pytest.mark.parametrize("count", [8, 9])
def test_any_number_of_steps_is_done_again(say, session, settings, count):
    say("show me the trees")
    say("show me the water")
    for _ in range(count):
        say("smooth it")
    assert say("same for the trees").error is None and say("undo").error is None
    session.activate(session.find_layer("water"))
    assert say("same for the vegetation").error is None
    assert len(session.extraction("vegetation").steps) == count
    say("undo")
    session.activate(session.find_layer("water"))
    assert say("same for the trees").changed == (session.find_layer("trees").id,)
    assert len(session.extraction("trees").steps) == count
    assert SessionStore(settings).open(session.id).turns == session.turns


def test_back_to_an_earlier_turn_and_undo_of_that(say, session):
    say("show me the water")
    found = mask(session).copy()
    say("only the biggest one")
    say("now the vegetation")
    say("go back to turn 1")
    assert len(session.layers) == 1 and np.array_equal(mask(session), found)
    say("undo")
    assert len(session.layers) == 2
    assert say("go back to turn 99").error


def test_every_question_is_answered_in_words(say):
    say("show me the vegetation")
    say("show me the water")
    for message in ("why?", "describe it", "where is the largest?", "how many are there?", "compare water and vegetation", "list the layers", "how healthy is the vegetation?", "mean NDVI of it", "how far is it from the vegetation", "perimeter", "average size", "what percentage of the image is it", "help", "thanks"):  # fmt: skip
        turn = say(message)
        assert turn.error is None and turn.reader == "rules" and len(turn.reply) > 20, (message, turn.reply)


def test_a_session_survives_a_restart(conversation, session, settings, runtime, say):
    say("show me the water")
    say("only the biggest one")
    again = Conversation(settings, runtime, SessionStore(settings))
    reopened = again.store.open(session.id)
    assert np.array_equal(reopened.extraction("water").mask, mask(session)) and len(reopened.turns) == 2
    list(again.run_turn(session.id, "undo"))
    assert reopened.extraction("water").mask.sum() > mask(session).sum()
    again.close()


def test_leaving_in_the_middle_changes_nothing(conversation, session):
    events = conversation.run_turn(session.id, "show me the water")
    next(events)
    events.close()
    with session.lock:
        assert session.layers == () or session.turns[-1].error is None


def test_two_messages_at_once_come_one_after_the_other(conversation, session):
    replies = []
    threads = [
        threading.Thread(target=lambda text=text: replies.extend(conversation.run_turn(session.id, text)))
        for text in ("show me the water", "show me the trees")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {layer.name for layer in session.layers} == {"water", "trees"} and len(session.turns) == 2


def test_a_picture_without_georeference_gets_no_square_metres_until_it_is_told(conversation, photo):
    def say(message):
        return list(conversation.run_turn(photo.id, message))[-1].turn

    turn = say("show me the vegetation")
    assert turn.facts["area_m2"] is None and not re.search(r"\d (ha|m²|km²)", turn.reply) and "pixels" in turn.reply
    assert say("drop anything under 1 ha").error
    say("pixels are 30 m")
    assert say("how many hectares is it?").facts["area_m2"] == pytest.approx(turn.facts["pixels"] * 900)


def test_bands_that_nobody_named_are_asked_for_and_can_be_said(conversation, tmp_path):
    import rasterio

    values = np.random.default_rng(0).integers(100, 4000, (9, 40, 40)).astype("uint16")
    with rasterio.open(
        tmp_path / "nine.tif", "w", driver="GTiff", width=40, height=40, count=9, dtype="uint16"
    ) as file:
        file.write(values)
    session = conversation.store.create(tmp_path / "nine.tif")
    say = lambda message: list(conversation.run_turn(session.id, message))[-1].turn  # noqa: E731
    assert "names none of its 9 bands" in session.scene.assumptions[0]
    assert "Say which they are" in say("show me the water").error
    assert say("the bands are coastal, blue, green, red, rededge, nir, swir1, swir2, thermal").error is None
    assert say("show me the water").error is None and session.layers[0].land_cover == "water"


def test_a_short_answer_picks_an_option_of_a_question_only(say, session, runtime):
    say("show me the water")
    runtime.plans = ['{"intent":"fly"}', '{"intent":"out_of_scope"}', '{"intent":"small_talk"}']
    asked = say("frobnicate the gizmo somehow")
    assert asked.options[0] == "Only the biggest one"
    assert say("the first one").facts["regions"] == 1
    say("what is the weather tomorrow?")
    assert say("yes").plan.intent == "small_talk"
