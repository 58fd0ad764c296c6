"""Words: the model's are held to the measurement, ours say what was done."""

import pytest

from chat_app.acting.actions import step_words
from chat_app.answering.checking import check_words
from chat_app.answering.explain import area_words, measure_words, rank_words
from chat_app.plan import Plan


def facts(**values):
    region = {"place": "top-left", "size": "large", "area_m2": 1e6, "pixels": 100}
    second = {"place": "center", "size": "small", "area_m2": 1e4, "pixels": 10}
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
        ("The index shows no water.", ""),
    ],
)  # fmt: skip
def test_what_the_measurement_contradicts_is_corrected_or_dropped(said, shown):
    text, changed = check_words(said, facts(), prior_regions=15)
    assert text == shown and changed == ([] if said == shown else [said])


def test_nothing_found_leaves_only_words_of_absence():
    text, _ = check_words(
        "I see water in 2 regions. The index shows no water.", facts(pixels=0, regions=0, largest=[]), 2
    )
    assert text == "The index shows no water."


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


def test_ranks_are_said_as_ordinals():
    said = [rank_words(rank) for rank in (1, 2, 5, 6, 11, 21, 22, 113)]
    assert said == [f"{word}largest" for word in ("", "second ", "fifth ", "6th ", "11th ", "21st ", "22nd ", "113th ")]
