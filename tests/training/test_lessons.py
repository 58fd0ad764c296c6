"""Planning and describing examples: deterministic, valid, and grounded in their prompts."""

import json
import random
import re

import pytest

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.training.conversation import conversations, replay
from spex_model.training.phrasebook import LANGUAGES, phrasebook
from spex_model.training.plan_data import plan_examples
from spex_model.training.spie.descriptions import describe_examples, scene_record
from spex_model.training.synthesis import synthesize


def test_plan_examples_are_deterministic_and_parse():
    one, two = (list(plan_examples(7, 500)) for _ in range(2))
    assert one == two and one != list(plan_examples(8, 500))
    assert {json.loads(example.plan_json)["intent"] for example in one} >= {
        "extract",
        "refine",
        "measure",
        "undo",
        "explain",
    }


def test_no_slot_is_left_open():
    for example in plan_examples(9, 6000):
        assert not re.search(r"\{\w*\}", example.message), example


def test_an_amended_value_stands_in_the_message_and_its_step_in_the_line_before():
    amended = [
        example
        for example in plan_examples(10, 6000)
        if example.plan_json.endswith('"correction":true}') and example.last.startswith("refine drop_smaller")
    ]
    same = [example for example in amended if '"op":"drop_smaller"' in example.plan_json]
    assert len(same) > 10


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_can_say_every_step_and_intent(language):
    english, book = phrasebook("en").entries, phrasebook(language).entries
    for part in ("steps", "plain", "targeted", "measures"):
        assert set(book[part]) == set(english[part]), part
    assert set(english) - set(book) <= {"polite"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_conversations_replay_without_open_slots_and_know_their_layers(language):
    missing = turns = 0
    for number, talk in enumerate(conversations(language)):
        for turn in replay(random.Random(number), language, talk):
            assert not re.search(r"\{\w*\}", turn.message), turn
            names = [turn.plan.get("other"), *(step.get("layer") for step in turn.plan.get("steps", ()))]
            missing += any(name not in turn.layers for name in names if name)
            turns += 1
    assert turns > 600 and missing <= turns / 200


def test_a_replayed_conversation_keeps_undo_corrections_and_the_active_layer():
    def said(**plan):
        return {"say": "{c1}", "plan": plan}

    talk = (
        said(intent="extract", land_covers=["water"]),
        said(intent="extract", land_covers=["trees"]),
        said(intent="refine", target="water", steps=[{"op": "keep_largest", "count": 1}]),
        said(intent="refine", target="trees", steps=[{"op": "grow", "length": "{s1}"}], correction=True),
        said(intent="undo"),
        said(intent="rename", name="pond"),
        said(intent="back_to", turn=1),
    )
    turns = list(replay(random.Random(1), "en", (*talk, said(intent="list"))))
    assert [re.sub(r" \d+", "", turn.layers) for turn in turns] == [
        "none", "water*", "water, trees*", "water*, trees", "water, trees*", "water, trees*", "water, pond*", "water*",
    ]  # fmt: skip
    assert set(turns[3].plan["steps"][0]) == {"op", "value", "unit"}
    assert turns[4].last == turns[3].plan and turns[3].layers.startswith("water* 1,")


def test_every_figure_of_a_description_stands_in_its_prompt():
    for example in describe_examples(1, 400):
        for figure in re.findall(r"-?\d+(?:\.\d+)?", example.reply):
            assert figure in example.prompt, (figure, example)
        for place in re.findall(r"(?:top|middle|bottom)-(?:left|center|right)", example.reply, re.IGNORECASE):
            assert place.lower() in example.prompt


def test_descriptions_have_three_to_five_sentences():
    for example in describe_examples(2, 300):
        assert 3 <= len(re.findall(r"\.(?:\s|$)", example.reply)) <= 5, example.reply


def test_without_spectral_words_prompts_hold_no_measured_figure():
    scene = synthesize(11, size=96).scene
    bare = [scene_record(scene, cover, random.Random(0), spectral_words=False) for cover in LAND_COVERS]
    for example in (*bare, *describe_examples(3, 100, spectral_words=False)):
        assert "Evidence: no index, the bands are" in example.prompt
        assert not re.search(r"(?<![a-z])\d", example.prompt)  # the digits of band names alone
    assert any(re.search(r"Evidence: \w+ above", e.prompt) for e in describe_examples(3, 100))


def test_a_scene_gives_a_record_for_each_land_cover():
    scene = synthesize(11, size=96).scene
    for cover in LAND_COVERS:
        record = scene_record(scene, cover, random.Random(0))
        assert record.prompt.startswith(f"Describe the {cover}.\nEvidence: ") and cover in record.reply
