"""Hold a plan of the language model to the words of the message, before it counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import ValidationError
from rapidfuzz import fuzz

from chat_app.errors import PlanError
from chat_app.plan import ALL_LAYERS, Plan
from chat_app.reading.commands import LayerView
from chat_app.reading.numbers import numbers_said
from chat_app.reading.vocabulary import compass_said, read_colour, tag
from chat_app.steps import AreaUnit
from spex_model.imaging.bands import SLOTS, normalise_band_name

_NUMBERED = ("value", "count", "rank", "turn")
_IMPLIED = 4
"""Up to this count or rank a word like "both" or "runner-up" may stand for the number."""


_FEWEST_BANDS = 3
_PLAIN_WORDS = 8
"""In a message of more words, or Chinese characters, a land cover may be what it is not about."""
_ONE = re.compile(r"\b(?:an?|whole|full|einen?|ganzen?|une?|una)\b", re.IGNORECASE)
_NEARLY = 80.0
"""How much alike a name and the words that say it must be, in percent."""
_CUT = re.compile(r"\b(?:clip|crop)\b|\bcut (?:it|them|this|that|everything|the mask) (?:to|at|down)\b", re.IGNORECASE)
"""What asks for the pixels of a part of the image, not for the regions that lie there."""
_WITHOUT = re.compile(
    r"\b(?:no|not|without|free of|than|ohne|kein\w*|nicht|als|sans|pas|sin|ni|que)\b|没|无|不|比", re.IGNORECASE
)
"""Words that turn a land cover into what is not wanted: "ground without plants"."""


def repair(plan: Plan, message: str, layers: Iterable[LayerView], last: Plan | None = None) -> Plan:
    """Hold a plan of the model to the words of the message.

    Land covers that a short, plain message names replace others; a layer that is neither named nor there is not the
    target; a number that neither the message nor the plan before it holds is replaced by the only one of its kind that
    the message does hold. Raises PlanError where that leaves a doubt.
    """
    layers = list(layers)
    tagged = tag(message, [layer.name for layer in layers])
    values = plan.to_dict()
    if plan.intent == "extract":
        named = tuple(dict.fromkeys(value for key, value in tagged.values.items() if key.startswith("C")))
        if named and not set(named) & set(plan.land_covers) and _is_plain(message):
            values["land_covers"] = list(named)
    _hold_to_words(values, message, tagged.values)
    _hold_to_layers(values, [str(value) for key, value in tagged.values.items() if key[0] in "CY"], layers)
    said = numbers_said(message) | _tagged_numbers(tagged.values)
    if _ONE.search(message):
        said.add(1.0)
    if plan.intent == "set_pixel_size":
        said |= {number / 100 for number in said}
    if last is not None:
        said |= {float(value) for holder in _holders(last.to_dict()) for value in _numbered_values(holder)}
    for holder in _holders(values):
        for name in _NUMBERED:
            if name in holder and not _is_said(name, float(holder[name]), said, tagged.values):
                holder[name] = _only_amount(tagged.values, holder, name)
    lengths = [value for key, value in tagged.values.items() if key[0] == "L"]
    if plan.intent == "set_pixel_size" and len(lengths) == 1:
        values["value"] = lengths[0][0]
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise PlanError("The numbers of the message do not fit the plan.") from error


def _is_plain(message: str) -> bool:
    """Whether what a message names is what it wants: few words, none of them a negation."""
    words = re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", message)
    return len(words) <= _PLAIN_WORDS and _WITHOUT.search(message) is None


def _hold_to_words(values: dict[str, Any], message: str, tags: dict[str, Any]) -> None:
    """Let the one colour, the one part of the image, the bands and the new name that were said stand in the plan."""
    colours = {value for key, value in tags.items() if key[0] == "K"}
    if "colour" in values and len(colours) == 1:
        values["colour"] = colours.pop()
    place, placed = compass_said(message), [step for step in values.get("steps", ()) if "place" in step]
    if place is not None and len(placed) == 1:
        placed[0]["place"] = place
    if len(placed) == 1 and _CUT.search(message):
        placed[0]["cut"] = True
    if "bands" in values:
        words = re.split(r"[\s,;/、，]+", message.strip(" .!?。"))
        bands = [band for word in words if (band := read_colour(word) or normalise_band_name(word)) in SLOTS]
        said, planned = list(dict.fromkeys(bands)), iter(values["bands"])
        if len(said) >= _FEWEST_BANDS and not all(band in planned for band in said):
            values["bands"] = said
    if "name" in values and values["name"].casefold() not in message.casefold():
        values["name"] = _name_said(message, values["name"])


def _name_said(message: str, name: str) -> str:
    """The name in quotes, the words that are nearly `name`, or what stands after "to" or "as" at the end.

    Raises PlanError where there is none of them.
    """
    if quoted := re.search(r"[\"“„«「『](.+?)[\"”“»」』]", message):
        return quoted[1].strip(" .!?")
    place = fuzz.partial_ratio_alignment(name, message, processor=str.casefold, score_cutoff=_NEARLY)
    if place is not None and len(name) <= len(message):
        if " " not in message:
            return message[place.dest_start : place.dest_end]
        start = message.rfind(" ", 0, place.dest_start + 1) + 1
        end = message.find(" ", place.dest_end)
        return message[start : end if end > 0 else None].strip(" .!?")
    found = re.search(r"\b(?:to|as|into|called) (\S+(?: \S+)?)$", message)
    if found is None:
        raise PlanError("The message does not say the new name.")
    return found[1].strip(" .!?")


def _hold_to_layers(values: dict[str, Any], named: list[str], layers: list[LayerView]) -> None:
    """Take out a target that is neither named nor there, and put the one named layer in place of an unknown other."""
    known = {ALL_LAYERS, *(name.casefold() for name in named), *(layer.name.casefold() for layer in layers)}
    if values.get("target", ALL_LAYERS).casefold() not in known:
        del values["target"]
    for holder in _holders(values):
        for key in ("layer", "other"):
            if key in holder and holder[key].casefold() not in known and len(set(named)) == 1:
                holder[key] = named[0]


def _holders(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [values, *values.get("steps", ())]


def _numbered_values(holder: dict[str, Any]) -> list[float]:
    return [holder[name] for name in _NUMBERED if name in holder]


def _tagged_numbers(values: dict[str, Any]) -> set[float]:
    said = {float(value[0]) for key, value in values.items() if key[0] in "APL"}
    return said | {float(value) for key, value in values.items() if key[0] in "NR"}


def _is_said(name: str, number: float, said: set[float], values: dict[str, Any]) -> bool:
    """Whether a number may stand: said, or one so small that a word like "runner-up" or "both" can mean it."""
    if name in ("count", "rank", "turn"):
        return number in said | {1.0} or (number <= _IMPLIED and not any(key[0] in "NR" for key in values))
    return number in said


def _only_amount(values: dict[str, Any], holder: dict[str, Any], name: str) -> Any:
    """The one amount of the message that can stand in a plan's field; its unit goes with it."""
    if name == "value" and "index" not in holder:
        kinds = "AP" if holder.get("unit") in get_args(AreaUnit) and holder.get("op", "").startswith("drop_") else "LP"
    else:
        kinds = "NR"
    found = [value for key, value in values.items() if key[0] in kinds]
    if len(found) != 1:
        raise PlanError(f"The message does not say the number {holder[name]}.")
    if kinds == "NR":
        return int(found[0]) if name in ("count", "rank", "turn") else found[0]
    amount, unit = found[0]
    if "unit" in holder:
        holder["unit"] = unit
    return amount
