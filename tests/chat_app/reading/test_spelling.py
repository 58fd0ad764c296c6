"""Mending slips: what nobody says becomes what was meant, everything else stays as it was typed."""

import pytest

from chat_app.reading.spelling import mend
from spex_model.training.known_words import WORDS_FILE, known_words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shwo me teh watr", "show me the water"),
        ("smoth teh edgse", "smooth the edges"),
        ("drp evrything undr 2 hectaers", "drop everything under 2 hectares"),
        ("waht percentege is it? make it yelow", "what percentage is it? make it yellow"),
    ],
)
def test_slips_are_mended(typed, meant):
    assert mend(typed) == meant


@pytest.mark.parametrize(
    "message",
    [
        "which restaurant blows glass near the beech root, on our path?",
        "Was kosten die bebauten Felder in unserem Ort?",
        "montre-moi les vaches pres de la foret",
        'rename it to "Vegtation" for Kaltenbrunn',
        "把植被改成黄色",
        "keep what NDVI says, 0.3 or 5 px",
        "",
    ],
)
def test_real_words_names_and_other_scripts_stay(message):
    assert mend(message) == message


def test_the_name_of_a_layer_is_no_slip():
    assert mend("hide teh plot watr", ["plot watr"]) == "hide the plot watr"


def test_the_shipped_words_are_those_of_the_lessons():
    words = WORDS_FILE.read_text(encoding="utf-8").split()
    assert set(words) == set(known_words()) and len(words) > 4000
    assert {"the", "water", "hectares", "wald", "bâtiments"} < set(words) and not {"teh", "watr"} & set(words)
