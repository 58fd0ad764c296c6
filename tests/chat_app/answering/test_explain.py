"""Words: the model's are held to the measurement, ours say what was done."""

import re

import pytest

from chat_app.acting.actions import step_words
from chat_app.answering.checking import check_words
from chat_app.answering.explain import area_words, measure_words, rank_words, share_words
from chat_app.plan import Plan
from spex_model.training.spie.descriptions import describe_examples

EVIDENCE = "MNDWI above 0.00, mean 0.81, 15 regions"


def facts(**values):
    region = {"place": "top-left", "size": "large", "area_m2": 1e6, "pixels": 100, "share": 0.091, "mean_index": 0.824}
    second = {"place": "center", "size": "small", "area_m2": 1e4, "pixels": 10, "share": 0.009, "mean_index": 0.611}
    return {"layer": "water", "land_cover": "water", "pixels": 110, "regions": 3, "area_m2": 1.1e6, "share": 0.1, "largest": [region, second], "pixel_size_from": "georeference"} | values  # fmt: skip


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("I see water in 15 regions.", "I see water in 3 regions."),
        ("I see water in 99 regions.", ""),
        ("The largest is large and irregular and lies in the top-left.", "The largest is large and irregular and lies in the top-left."),
        ("The largest is huge and irregular and lies in the top-left.", ""),
        ("The second is small and lies in the bottom-right.", ""),
        ("There MNDWI is above 0.00, with a mean of 0.81.", "There MNDWI is above 0.00, with a mean of 0.81."),
        ("There MNDWI is above 0.00, with a mean of 0.99.", ""),
        ("There NDVI is above 0.00, with a mean of 0.81.", ""),
        ("The largest has a mean of 0.82.", "The largest has a mean of 0.82."),
        ("The index shows no water.", ""),
        ("There is no water.", ""),
        ("Water covers 10 % of the image, 110 ha.", "Water covers 10 % of the image, 110 ha."),
        ("It covers 1.1 km² or 271.8 acres, 110 pixels.", "It covers 1.1 km² or 271.8 acres, 110 pixels."),
        ("Water covers 80 % of the image.", ""),
        ("Water covers 80 percent of the image.", ""),
        ("It has 500 ha.", ""),
        ("It has 3 square kilometres.", ""),
        ("It is 3 m deep.", ""),
        ("It has .5 ha.", ""),
        ("There are three lakes.", "There are three lakes."),
        ("There are four lakes.", ""),
        ("There are dozens of lakes.", ""),
        ("A third of the image is water.", ""),
        ("Trees fill the rest.", ""),
        ("A road runs by.", ""),
        ("A small lake fills the center.", "A small lake fills the center."),
        ("A huge lake fills the center.", ""),
        ("The second largest is small and lies in the center.", "The second largest is small and lies in the center."),
        ("The third is small.", ""),
        ("I see water, regions of it.", "I see water, regions of it."),
    ],
)  # fmt: skip
def test_what_the_measurement_contradicts_is_corrected_or_dropped(said, shown):
    text, changed = check_words(said, facts(), 15, EVIDENCE)
    assert text == shown and changed == ([] if said == shown else [said])


def test_nothing_found_leaves_only_words_of_absence():
    said = (
        "I see water in 2 regions. The index shows no water. There is no doubt: a huge lake fills the center. "
        "There is no water, for a lake spans all of it. MNDWI is nowhere above 0.40. I still look for water by dark, even surfaces."
    )
    text, _ = check_words(
        said, facts(pixels=0, regions=0, share=0.0, area_m2=0.0, largest=[]), 2, "MNDWI above 0.00 nowhere"
    )
    assert text == "The index shows no water. I still look for water by dark, even surfaces."


def test_true_replies_of_the_kind_that_the_model_is_taught_stand():
    for example in describe_examples(5, 600):
        evidence = example.prompt.split("\n")[1].removeprefix("Evidence: ")
        counted = re.search(r"(\d+) regions?$", evidence)
        lines = [line.split(": ", 1)[1].split(", ") for line in example.prompt.split("\n")[2:] if ": " in line]
        largest = [
            {"size": size, "place": place, "area_m2": None, "pixels": 1, "share": 0.0} for size, place, _ in lines
        ]
        count = int(counted[1]) if counted else 0
        measured = {"land_cover": example.land_cover, "pixels": count, "regions": count, "area_m2": None, "share": 0.0, "largest": largest}  # fmt: skip
        assert check_words(example.reply, measured, count, evidence) == (example.reply, []), example
        if evidence.startswith("no index"):
            found = measured | {"pixels": 9, "regions": 2}
            assert check_words(example.reply, found, 0, evidence) == (example.reply, []), example


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"op": "keep_largest", "count": 1}, "Kept the largest region"),
        ({"op": "keep_largest", "count": 3}, "Kept the 3 largest regions"),
        ({"op": "drop_smaller", "value": 0.5, "unit": "ha"}, "Dropped regions smaller than 0.5 ha"),
        ({"op": "keep_place", "place": "north", "part": "third"}, "Kept the regions in the north third"),
        ({"op": "near", "layer": "trees", "value": 100, "unit": "m"}, "Kept regions within 100 m of trees"),
    ],
)
def test_steps_read_as_sentences(step, words):
    assert step_words(Plan(intent="refine", steps=(step,)).steps[0]) == words


def test_areas_come_in_the_unit_of_their_size():
    assert [area_words(area, 7) for area in (532.4, 25_000, 3.2e7, None)] == [
        "532 m²",
        "2.5 ha",
        "32.0 km²",
        "7 pixels",
    ]
    assert "271.82 acres" in measure_words(facts(), "acres")


def test_small_areas_keep_two_digits():
    assert [area_words(area, 3) for area in (0.0, 0.0075, 9.96, 12.3)] == ["0 m²", "0.0075 m²", "10 m²", "12 m²"]
    assert "0.0003 km²" in measure_words(facts(area_m2=300.0), "km2")
    assert "0.0075 m² (0.0000019 acres)" in measure_words(facts(area_m2=0.0075))
    assert share_words(1e-7) == "0.00001 %" and share_words(0.0) == "0 %"


def test_ranks_are_said_as_ordinals():
    said = [rank_words(rank) for rank in (1, 2, 5, 6, 11, 21, 22, 113)]
    assert said == [f"{word}largest" for word in ("", "second ", "fifth ", "6th ", "11th ", "21st ", "22nd ", "113th ")]
