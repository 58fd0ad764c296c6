"""The planning prompt's words for a conversation."""

from spex_model.model.planning_prompt import layers_in_short, plan_in_short


def test_layers_are_named_with_their_regions_and_a_mark():
    assert layers_in_short([("water", 3, True), ("trees", 12, False)]) == "water* 3, trees 12"
    assert layers_in_short([]) == "none"


def test_a_plan_is_its_values_without_questions():
    plan = {
        "intent": "refine",
        "steps": [{"op": "near", "layer": "water", "value": 300, "unit": "m"}],
        "correction": True,
    }
    assert plan_in_short(plan) == "refine near water 300 m"
    assert plan_in_short({"intent": "clarify", "question": "Which one?", "options": ["A", "B"]}) == "clarify"
    assert plan_in_short(None) == "none"
