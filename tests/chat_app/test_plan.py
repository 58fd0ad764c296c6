"""Plans: their compact JSON, what the schema refuses, and that the grammar's schema agrees with the model."""

import contextlib
import json
from typing import Any

import pytest
import xgrammar
from hypothesis import given
from hypothesis import strategies as st
from xgrammar.testing import _is_grammar_accept_string

from chat_app.errors import PlanError
from chat_app.plan import Plan, narrowed_schema, plan_schema, read_plan_json
from chat_app.reading.planner import plan_prompt
from spex_model.model.gist import sketch_of
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


def test_a_schema_for_one_gist_takes_the_plans_of_that_gist_and_no_others():
    compiled: dict[str, Any] = {}
    plans = {example.plan_json for example in plan_examples(3, 300)}
    for text in plans:
        sketch = sketch_of(json.loads(text))
        if sketch not in compiled:
            schema = json.dumps(narrowed_schema(sketch))
            compiled[sketch] = xgrammar.Grammar.from_json_schema(schema, any_whitespace=False, separators=(",", ":"))
        assert _is_grammar_accept_string(compiled[sketch], text), text
    undo = compiled["undo"]
    assert not any(_is_grammar_accept_string(undo, text) for text in plans if text != '{"intent":"undo"}')


@pytest.mark.parametrize("sketch", ["dance", "refine fly"])
def test_there_is_no_schema_for_a_gist_that_cannot_be(sketch):
    with pytest.raises(PlanError, match="There is no"):
        narrowed_schema(sketch)


def test_a_reader_never_sees_what_was_marked():
    step = {"op": "keep_inside", "polygon": [[10.5, 20.25], [30, 20], [30, 40]]}
    plan = Plan.model_validate({"intent": "refine", "steps": [step]})
    assert plan.said() == {"intent": "refine", "steps": [{"op": "keep_inside"}]}
    assert "20.25" not in plan_prompt("and the trees?", [], plan)
