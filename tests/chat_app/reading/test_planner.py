"""The language model's plan and the gist of the message: when the one is held to the other."""

import pytest

from chat_app.reading.planner import read_message

UNDO = '{"intent":"undo"}'
LIST = '{"intent":"list"}'
DROP = '{"intent":"refine","steps":[{"op":"drop_smaller","value":0.7,"unit":"ha"}]}'
MESSAGE = "throw out everything which happens to be smaller than 0.7 hectares, would you?"


@pytest.fixture
def model_alone(settings):
    return settings.model_copy(update={"use_rules": False})


def read(session, runtime, settings, plans):
    runtime.plans = list(plans)
    return read_message(MESSAGE, session, runtime, settings)


def test_a_plan_that_the_gist_thinks_wrong_is_asked_for_anew_with_that_gist(session, runtime, model_alone):
    reading = read(session, runtime, model_alone, [LIST, DROP])
    assert (reading.plan.intent, reading.reader) == ("refine", "gist")
    assert reading.plan.steps[0].value == 0.7
    assert runtime.plans == []


def test_a_plan_that_the_gist_thinks_right_stands(session, runtime, model_alone):
    assert read(session, runtime, model_alone, [DROP, LIST]).plan.intent == "refine"
    assert runtime.plans == [LIST]


def test_a_second_plan_that_cannot_be_used_leaves_the_first(session, runtime, model_alone):
    assert read(session, runtime, model_alone, [LIST, "{}"]).plan.intent == "list"


def test_where_the_model_writes_no_plan_the_gist_helps_out(session, runtime, model_alone):
    assert read(session, runtime, model_alone, ["{}", DROP]).plan.intent == "refine"


def test_without_the_gist_the_models_plan_stands(session, runtime, model_alone):
    settings = model_alone.model_copy(update={"use_gist": False})
    assert read(session, runtime, settings, [LIST, DROP]).plan.intent == "list"
