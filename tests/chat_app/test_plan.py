"""Plans: their compact JSON, what the schema refuses, and that the grammar's schema agrees with the model."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app.errors import PlanError
from chat_app.plan import Plan, plan_schema, read_plan_json
from chat_app.reading.planner import plan_prompt
from spex_model.training.plan_data import plan_examples


def test_lessons_hold_to_the_schema_in_exactly_this_form():
    for example in plan_examples(3, 1500):
        assert read_plan_json(example.plan_json).to_json() == example.plan_json


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"intent":"extract"}', '{"intent":"undo","land_covers":["water"]}', '{"intent":"extract","land_covers":["roads"]}',
     '{"intent":"refine","steps":[{"op":"drop_smaller","value":-1,"unit":"ha"}]}', '{"intent":"refine","steps":[{"op":"drop_smaller","value":1,"unit":"miles"}]}',
     '{"intent":"set_pixel_size","value":1e9}', '{"intent":"refine","steps":[{"op":"keep_largest","count":0}]}', '{"intent":"undo"} trailing'],
)  # fmt: skip
def test_what_does_not_hold_is_refused_with_a_sentence(text):
    with pytest.raises(PlanError, match="plan"):
        read_plan_json(text)


@given(st.text(max_size=200))
def test_no_text_gets_past_unchecked(text):
    with contextlib.suppress(PlanError):
        assert isinstance(read_plan_json(text), Plan)


def test_the_schema_for_the_grammar_is_plain_json_without_number_ranges():
    text = json.dumps(plan_schema())
    assert "exclusiveMinimum" not in text and '"keep_largest"' in text


def test_a_reader_never_sees_what_was_marked():
    step = {"op": "keep_inside", "polygon": [[10.5, 20.25], [30, 20], [30, 40]]}
    plan = Plan.model_validate({"intent": "refine", "steps": [step]})
    assert plan.said() == {"intent": "refine", "steps": [{"op": "keep_inside"}]}
    assert "20.25" not in plan_prompt("and the trees?", [], plan)
