"""Hold the model's words to the measurement: what the mask contradicts is not shown."""

from __future__ import annotations

import re
from typing import Any

from chat_app.answering.explain import SENTENCE_END, regions_words

_PLACE = re.compile(
    r"\b(top-left|top-center|top-right|middle-left|center|middle-right|bottom-left|bottom-center|bottom-right)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"\b(huge|somewhat large|large|medium|small|very tiny)\b", re.IGNORECASE)
_REGIONS = re.compile(r"\b([\d,]+) regions?\b")


def check_words(text: str, facts: dict[str, Any], prior_regions: int | None) -> tuple[str, list[str]]:
    """Hold the model's words to the measurement: correct the number of regions, drop sentences that it contradicts.

    The model reads the number of regions that the index has; on the mask there may be more or fewer, and that
    number is put in its place. A sentence stands when any other number of regions does not occur in it, and when
    the place and size that it gives the largest region are those of the mask's. Returns the text that may be
    shown, and the sentences that were changed or dropped.
    """
    kept: list[str] = []
    changed: list[str] = []
    for sentence in SENTENCE_END.split(text.strip()):
        corrected = sentence
        if facts["pixels"] and prior_regions is not None:
            counted = rf"\b{prior_regions} regions?\b"
            corrected = re.sub(counted, regions_words(facts["regions"]), sentence)
        if _holds(corrected, facts):
            kept.append(corrected)
        if kept[-1:] != [sentence]:
            changed.append(sentence)
    return " ".join(kept), changed


def _holds(sentence: str, facts: dict[str, Any]) -> bool:
    lowered = sentence.lower()
    if not facts["pixels"]:
        return bool(re.search(r"\bno \w|nowhere|look for|allow no|decides", lowered))
    if re.search(r"\b(shows no|nowhere)\b", lowered):
        return False
    if any(int(number.replace(",", "")) != facts["regions"] for number in _REGIONS.findall(sentence)):
        return False
    about = next(
        (rank for rank, word in ((0, "largest"), (0, "region,"), (0, "region is"), (1, "second")) if word in lowered),
        None,
    )
    if about is None:
        return True
    if about >= len(facts["largest"]):
        return False
    region = facts["largest"][about]
    places, sizes = _PLACE.findall(lowered), _SIZE.findall(lowered)
    return all(place == region["place"] for place in places) and all(size == region["size"] for size in sizes)
