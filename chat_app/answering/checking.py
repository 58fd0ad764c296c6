"""Hold the model's words to the measurement: what the mask contradicts is not shown."""

from __future__ import annotations

import re
from typing import Any

from chat_app.answering.explain import SENTENCE_END, regions_words
from chat_app.steps import M2_PER_UNIT
from spex_model.imaging.indices import INDEX_NAMES
from spex_model.imaging.landcover import SYNONYMS

_PLACE = re.compile(
    r"\b(top-left|top-center|top-right|middle-left|center|middle-right|bottom-left|bottom-center|bottom-right)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"\b(huge|somewhat large|large|medium|small|very tiny)\b", re.IGNORECASE)
_REGIONS = re.compile(r"\b(\d[\d,]*) regions?\b")
_INDEX = re.compile(rf"\b(?:{'|'.join(INDEX_NAMES)})\b", re.IGNORECASE)
_FIGURE = re.compile(r"(?<![\w.])(-?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+))\s*(%|(?:square |per )?[^\W\d_]+[²2]?)?")
"""A figure, and the word after it, which may be its unit."""
_SPELT = {
    "hectare": "ha", "hectares": "ha", "acre": "acres", "m²": "m2", "square metres": "m2", "square meters": "m2",
    "km²": "km2", "square kilometres": "km2", "square kilometers": "km2",
}  # fmt: skip
_SHARE_UNITS = ("%", "percent", "per cent")
_NEVER_UNITS = re.compile(r"square .*|(?:kilo)?met(?:re|er)s?|k?m|feet|miles?|degrees?")
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_VAGUE = re.compile(
    r"\b(?:(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|dozens?|hundreds?|"
    r"thousands?|millions?|half|halves|(?<!the )third|thirds|quarters?|several|many|few|most|couple)\b"
)
"""Amounts that nothing measured can be held against."""
_UNMEASURED = (
    "road", "roads", "field", "fields", "farmland", "crops", "grass", "meadow", "meadows", "wetland", "desert", "rock", "snow",
    "ice", "clouds",
)  # fmt: skip
"""What people call land that is none of the land covers here."""
_RANKS = ((2, "third"), (1, "second"), (0, "largest"), (0, "region,"), (0, "region is"))
_ABSENCE = (
    r"(?:the index shows|there (?:is|are)|i see) no {cover}\.|\w+ is nowhere (?:above|below) [-\d.]+|i (?:still )?look for {cover} by [^.]+\.|"
    r"the {cover} must be told by [^.]+\.|the bands [^.]+ allow no index for it\.|what decides is [^.]+\."
)
"""What the model is taught to say where it saw nothing (see `spex_model.training.spie.descriptions`)."""


def check_words(
    text: str, facts: dict[str, Any], prior_regions: int | None, evidence: str = ""
) -> tuple[str, list[str]]:
    """Hold the model's words to the measurement: correct the number of regions, drop sentences that it contradicts.

    The model reads the number of regions that the index has; on the mask there may be more or fewer, and that
    number is put in its place. A sentence stands when its figures and land covers are among the measured ones, and
    the places and sizes that it gives regions are those of the mask's. `evidence` is the evidence line of the model's
    prompt: its index, threshold and mean were measured too. Returns the text that may be shown, and the sentences
    that were changed or dropped.
    """
    kept: list[str] = []
    changed: list[str] = []
    for sentence in SENTENCE_END.split(text.strip()):
        corrected = sentence
        if facts["pixels"] and prior_regions is not None:
            counted = rf"\b{prior_regions} regions?\b"
            corrected = re.sub(counted, regions_words(facts["regions"]), sentence)
        if _holds(corrected, facts, evidence):
            kept.append(corrected)
        if kept[-1:] != [sentence]:
            changed.append(sentence)
    return " ".join(kept), changed


def _holds(sentence: str, facts: dict[str, Any], evidence: str) -> bool:
    lowered, cover = sentence.lower(), facts["land_cover"]
    if not (_names_hold(lowered, cover, evidence) and _figures_hold(lowered, facts, evidence)):
        return False
    places, sizes = _PLACE.findall(lowered), _SIZE.findall(lowered)
    if not facts["pixels"]:
        return not (places or sizes) and bool(re.fullmatch(_ABSENCE.format(cover=cover), lowered))
    if re.search(rf"\bno {cover}\b|\bnowhere\b", lowered):
        return False
    about = next((rank for rank, word in _RANKS if word in lowered), None)
    regions = facts["largest"] if about is None else facts["largest"][about : about + 1]
    if about is None and not (places or sizes):
        return True
    return any(
        all(place == region["place"] for place in places) and all(size == region["size"] for size in sizes)
        for region in regions
    )


def _names_hold(lowered: str, cover: str, evidence: str) -> bool:
    """Whether a sentence names no index but the prompt's and no land cover but the layer's."""
    if not set(_INDEX.findall(lowered)) <= set(_INDEX.findall(evidence.lower())):
        return False
    others = {name for names in SYNONYMS.values() for name in names}.union(_UNMEASURED) - set(SYNONYMS[cover])
    return not re.search(rf"\b(?:{'|'.join(map(re.escape, others))})\b", lowered)


def _figures_hold(lowered: str, facts: dict[str, Any], evidence: str) -> bool:
    """Whether every share, area, index value and count of a sentence, in digits or in words, is a measured one."""
    if _VAGUE.search(lowered):
        return False
    if any(_number(number) != facts["regions"] for number in _REGIONS.findall(lowered)):
        return False
    counts = (count for count, word in enumerate(_COUNTS) if re.search(rf"\b{word}\b", lowered))
    if any(count != facts["regions"] for count in counts):
        return False
    return all(_figure_holds(figure, unit, facts, evidence) for figure, unit in _FIGURE.findall(lowered))


def _figure_holds(figure: str, unit: str, facts: dict[str, Any], evidence: str) -> bool:
    measured = [facts, *facts["largest"]]
    unit = _SPELT.get(unit, unit)
    if unit in _SHARE_UNITS:
        return any(_near(figure, 100 * one["share"]) for one in measured)
    if unit in M2_PER_UNIT:
        areas = [one["area_m2"] for one in measured if one["area_m2"] is not None]
        return any(_near(figure, area_m2 / M2_PER_UNIT[unit]) for area_m2 in areas)
    if unit in ("pixel", "pixels"):
        return any(_near(figure, one["pixels"]) for one in measured)
    if _NEVER_UNITS.fullmatch(unit):
        return False
    stated = [number for number, word in _FIGURE.findall(evidence) if word not in ("region", "regions")]
    if "." not in figure:
        return figure in stated or _number(figure) == facts["regions"]
    means = [one["mean_index"] for one in facts["largest"] if "mean_index" in one]
    return any(_near(figure, value) for value in (*map(_number, stated), *means))


def _number(figure: str) -> float:
    return float(figure.replace(",", ""))


def _near(figure: str, value: float) -> bool:
    """Whether a printed figure is the value rounded to its digits, with 0.1 % more for the last step of a projection."""
    decimals = len(figure.partition(".")[2])
    return abs(_number(figure) - value) <= 0.5 * 10**-decimals + 0.001 * abs(value)
