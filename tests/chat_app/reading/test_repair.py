"""Holding a plan to the words of its message: right plans pass, numbers that nobody said do not."""

import random
import re

import pytest

from chat_app.errors import PlanError
from chat_app.plan import Plan
from chat_app.reading.commands import LayerView
from chat_app.reading.numbers import numbers_said
from chat_app.reading.repair import repair
from chat_app.reading.vocabulary import tag
from spex_model.training.conversation import SaidTurn, conversations, replay
from spex_model.training.phrasebook import LANGUAGES


def views(turn: SaidTurn) -> list[LayerView]:
    found = re.findall(r"(?:^|, )(.+?)(\*?) (\d+)(?=, |$)", turn.layers)
    return [LayerView(name, name, int(count), bool(active)) for name, active, count in found]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("language", LANGUAGES)
def test_right_plans_of_written_conversations_pass(language):
    bent, count = [], 0
    for number, talk in enumerate(conversations(language)):
        for turn in replay(random.Random(number), language, talk):
            plan, last = Plan.model_validate(turn.plan), Plan.model_validate(turn.last) if turn.last else None
            count += 1
            try:
                held = repair(plan, turn.message, views(turn), last)
            except PlanError as error:
                held = error
            if held != plan:
                bent.append((turn.message, turn.plan, held))
    assert count > 600 and len(bent) <= count / 300, bent


def test_a_number_that_nobody_said_is_refused():
    plan = Plan.model_validate({"intent": "refine", "steps": [{"op": "drop_smaller", "value": 7, "unit": "ha"}]})
    with pytest.raises(PlanError, match="number 7"):
        repair(plan, "drop the small ones", [LayerView("water", "water", 3, True)])
    held = repair(plan, "drop all under 半公顷", [LayerView("water", "water", 3, True)])
    assert held.to_dict()["steps"] == [{"op": "drop_smaller", "value": 0.5, "unit": "ha"}]


def test_a_number_after_dots_is_read_whole():
    assert 20 in numbers_said("嗯……20平方米吧") and 0.5 in numbers_said("about .5")


def test_layers_named_in_chinese_alone_are_found():
    assert tag("把上游隐藏", ["上游"]).values == {"Y0": "上游"}


@pytest.mark.parametrize(
    ("message", "land_cover"),
    [
        ("show me the ponds", "water"),
        ("las zonas sin vegetación", "bare soil"),
        ("没有植被的土地", "bare soil"),
        ("my husband says the village is bigger than the golf club, so mark me the lawns", "bare soil"),
        ("pues arenales o lo que sea", "bare soil"),
        ("再看水稻", "bare soil"),
    ],
)
def test_only_a_short_plain_message_overrules_the_land_cover(message, land_cover):
    plan = Plan.model_validate({"intent": "extract", "land_covers": ["bare soil"]})
    assert repair(plan, message, []).land_covers == (land_cover,)


def test_a_whole_one_is_a_number():
    plan = Plan.model_validate({"intent": "refine", "steps": [{"op": "drop_smaller", "value": 1, "unit": "ha"}]})
    assert repair(plan, "make it a whole hectare", [LayerView("water", "water", 3, True)]) == plan


@pytest.mark.parametrize(
    ("message", "written", "name"),
    [
        ("Ponle el nombre cortafuegos", "cortefuegos", "cortafuegos"),
        ('call it "big lake" please', "bg lake", "big lake"),
        ("rename it to North Pond", "the pond", "North Pond"),
        ("改名叫上游防火隔离带", "上游防火隔里带", "上游防火隔离带"),
    ],
)
def test_a_name_is_written_as_it_was_said(message, written, name):
    plan = Plan.model_validate({"intent": "rename", "name": written})
    assert repair(plan, message, [LayerView("water", "water", 3, True)]).name == name


def test_a_name_that_nobody_said_is_refused():
    with pytest.raises(PlanError, match="name"):
        repair(Plan(intent="rename", name="barn"), "give it another name", [LayerView("water", "water", 3, True)])


@pytest.mark.parametrize(("message", "cut"), [("clip it to the south-east corner", True), ("only the south-east", None)])
def test_clipping_takes_pixels(message, cut):
    plan = Plan.model_validate({"intent": "refine", "steps": [{"op": "keep_place", "place": "south-east"}]})
    assert repair(plan, message, [LayerView("water", "water", 3, True)]).to_dict()["steps"][0].get("cut") is cut
