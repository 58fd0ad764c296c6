"""Messages and the plans that they mean: the language model's lessons in reading people.

Every lesson is drawn by a seed: a turn of a written conversation (`conversations/*.yaml`), or a wording of a
phrasebook (`phrasebooks/*.yaml`). `layers` and `last` are the
state as prompts/plan.md shows it: "water* 3, vegetation 12" (names, regions, * = active) and the plan of the turn
before, in short. The schema of the plans is chat_app/plan.py.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spex_model.model.planning_prompt import layers_in_short, plan_in_short
from spex_model.training.conversation import conversations, replay
from spex_model.training.lesson_values import OWN_NAME_SHARE, Speaker
from spex_model.training.phrasebook import LANGUAGES, phrasebook

CONVERSATION_SHARE = 0.75
"""Share of the lessons that are turns of conversations; the rest are single messages."""
LANGUAGE_SHARES = (60, 11, 9, 9, 11)
"""How often each of `LANGUAGES` is spoken, in percent."""

_ABOUT_ONE = ("measure", "count", "locate", "describe", "explain", "show", "hide", "delete", "export")
_CALLED_AGAIN = ("measure", "count", "locate", "describe", "explain", "hide", "export")
_MEASURES: dict[str, dict[str, str]] = {
    **{unit: {"unit": unit} for unit in ("ha", "acres", "km2", "m2", "px")},
    **{quantity: {"quantity": quantity} for quantity in ("share", "perimeter", "mean_area", "condition")},
}
_FORMATS = {
    "geojson": "geojson", "GeoJSON": "geojson", "geotiff": "geotiff", "GeoTIFF": "geotiff", "tif": "geotiff", "tiff": "geotiff",
    "png": "png", "PNG": "png", "geopackage": "gpkg", "GeoPackage": "gpkg", "gpkg": "gpkg",
}  # fmt: skip
_BAND_ORDERS = (
    ["blue", "green", "red", "nir"], ["red", "green", "blue"], ["red", "green", "blue", "nir"], ["green", "red", "nir"],
    ["nir", "red", "green"], ["blue", "green", "red", "nir", "swir1", "swir2"], ["blue", "green", "red"],
)  # fmt: skip
_QUESTION = "What shall I do with it?"

Draft = tuple[str, dict[str, Any]]
"""A message and the plan that it means."""


@dataclass(frozen=True)
class PlanExample:
    """A message, what stands at that moment, and the plan as compact JSON."""

    message: str
    layers: str
    last: str
    plan_json: str


@dataclass
class _Moment:
    """A state in which somebody speaks: names of the layers, the active one first, and the plan of the turn before."""

    speaker: Speaker
    names: list[str]
    layers: str
    last: dict[str, Any] | None

    @property
    def rng(self) -> random.Random:
        return self.speaker.rng

    def other(self) -> str:
        return self.names[-1]


def _moment(rng: random.Random, remembered: list[dict[str, Any]]) -> _Moment:
    """A random state; its last plan is one of those that were drawn before."""
    speaker = Speaker(rng, phrasebook(rng.choices(LANGUAGES, LANGUAGE_SHARES)[0]))
    names = rng.sample(speaker.land_covers, rng.choice((1, 1, 1, 2, 2, 3)))
    if rng.random() < OWN_NAME_SHARE:
        names[-1] = rng.choice((f"{names[-1]} 2", speaker.own_name()))
    active = rng.choice(names)
    layers = layers_in_short((name, int(rng.expovariate(0.05)) + 1, name == active) for name in names)
    last = rng.choice(remembered) if remembered and rng.random() < 0.8 else None
    return _Moment(speaker, [active, *(name for name in names if name != active)], layers, last)


def _nothing_yet(moment: _Moment, share: float) -> None:
    """In a share of the cases let the session have no layers."""
    if moment.rng.random() < share:
        moment.layers, moment.last = "none", None


def _steps(moment: _Moment, limit: int = 3) -> Draft:
    """One to three refinements of the active layer in one message."""
    speaker, rng = moment.speaker, moment.rng
    words, step = speaker.step(speaker.step_kind(with_other=len(moment.names) > 1), moment.other())
    steps = [step]
    for chance in (0.2, 0.15)[: limit - 1]:
        if rng.random() > chance:
            break
        more, extra = speaker.step(speaker.step_kind(with_other=False), "")
        if any(extra["op"] == known["op"] for known in steps):
            break
        words, steps = speaker.say("joined", m1=words, m2=more), [*steps, extra]
    return words, {"steps": steps}


def _refine(moment: _Moment) -> Draft:
    message, plan = _steps(moment)
    draw, names = moment.rng.random(), moment.names
    if draw < 0.12 and not any("layer" in step for step in plan["steps"]):
        target = moment.rng.choice(names)
        message = moment.speaker.say("for_layer", t=moment.speaker.layer(target), m=message)
        return message, {"intent": "refine", "target": target, **plan}
    if draw < 0.17:
        return moment.speaker.say("amend", m=message), {"intent": "refine", **plan, "correction": True}
    return message, {"intent": "refine", **plan}


def _amend(moment: _Moment) -> Draft:
    """The last step again with another value."""
    speaker, rng = moment.speaker, moment.rng
    kind = rng.choice(("amend_area", "amend_length", "amend_count", "amend_place"))
    ops = {
        "amend_area": ("drop_smaller", "drop_larger"),
        "amend_length": ("grow", "shrink", "merge_close", *(("near", "far") if len(moment.names) > 1 else ())),
        "amend_count": ("keep_largest_n", "keep_smallest_n"),
        "amend_place": ("keep_place", "drop_place"),
    }
    op = rng.choice(ops[kind])
    _, before = speaker.step(op, moment.other())
    slots, step = speaker.fill(op, moment.other())
    if kind in ("amend_area", "amend_length") and rng.random() < 0.4:
        slots["a" if kind == "amend_area" else "s"] = speaker.number(step["value"])
        step["unit"] = before["unit"]
    moment.last = {"intent": "refine", "steps": [before]}
    return speaker.say(kind, **slots), {"intent": "refine", "steps": [step], "correction": True}


def _extract(moment: _Moment) -> Draft:
    speaker, rng = moment.speaker, moment.rng
    cover, second = rng.sample(speaker.land_covers, 2)
    spoken = speaker.say("covers", cover)
    plan: dict[str, Any] = {"intent": "extract", "land_covers": [cover]}
    kind = rng.choices(("show", "both", "first_of", "narrowed", "index_only", "same", "correct"), (56, 12, 6, 10, 5, 6, 6))[0]  # fmt: skip
    if kind in ("same", "correct"):
        more: dict[str, Any] = {"steps": [{"op": "same_steps"}]} if kind == "same" else {"correction": True}
        return speaker.say(kind, c=spoken), plan | more
    _nothing_yet(moment, 0.6)
    if kind == "both":
        return speaker.say("both", c=spoken, c2=speaker.say("covers", second)), plan | {"land_covers": [cover, second]}
    if kind == "first_of":
        return speaker.say("first_of", c=spoken), plan | {"steps": [{"op": "keep_largest", "count": 1}]}
    if kind == "narrowed":
        op = rng.choice(
            ("drop_smaller", "keep_place", "keep_largest_1", "drop_larger", "keep_elongated", "smooth", "drop_place", "keep_largest_n", "fill_holes")
        )  # fmt: skip
        narrowing, step = speaker.step(op, "")
        message = speaker.say("joined", m1=speaker.say("show", c=spoken).rstrip("?."), m2=narrowing)
        return message, plan | {"steps": [step]}
    if kind == "index_only":
        index = speaker.index_of(cover)
        return speaker.say("index_only", c=spoken, i=index), plan | {"index": index}
    return speaker.say("show", c=spoken), plan


def _plain(moment: _Moment) -> Draft:
    intents = ("undo", "redo", "reset", "list", "help", "small_talk", "out_of_scope")
    intent = moment.rng.choices(intents, (5, 1.8, 1.8, 1.8, 2, 3.5, 6))[0]
    if intent in ("help", "small_talk", "out_of_scope"):
        _nothing_yet(moment, 0.4)
    return moment.speaker.say("plain", intent), {"intent": intent}


def _clarify(moment: _Moment) -> Draft:
    return moment.speaker.say("clarify"), {"intent": "clarify", "question": _QUESTION}


def _named(moment: _Moment) -> tuple[str, str]:
    """A layer as a plan and as a person name it; now and then a land cover that has no layer yet."""
    name = moment.rng.choice(moment.names)
    if moment.rng.random() < 0.08:
        name = moment.rng.choice(moment.speaker.land_covers)
    return name, moment.speaker.layer(name)


def _ask(moment: _Moment) -> Draft:
    """A question or a command about one layer."""
    speaker, rng = moment.speaker, moment.rng
    intent = rng.choices(_ABOUT_ONE, (6, 4, 4, 3, 6, 2, 2.5, 2.5, 2.5))[0]
    draw = rng.random()
    if intent == "export" and draw < 0.45:
        word = rng.choice(list(_FORMATS))
        plan = {"intent": intent, "format": _FORMATS[word]}
        if draw < 0.15:
            name, spoken = _named(moment)
            return speaker.say("export_named", t=spoken, f=word), {"intent": intent, "target": name, **plan}
        return speaker.say("export_as", f=word), plan
    if intent == "locate" and draw < 0.15:
        return speaker.say("rank_2"), {"intent": intent, "rank": 2}
    if draw < 0.55:
        return speaker.say("targeted", intent, "active"), {"intent": intent}
    name, spoken = _named(moment)
    if intent in ("show", "hide", "measure", "export", "describe") and speaker.everything and rng.random() < 0.12:
        name, spoken = "all", speaker.pick(speaker.everything)
        message = speaker.say("targeted", intent, "named", t=spoken)
        return re.sub(r"\bthe (everything|all)", r"\1", message), {"intent": intent, "target": name}
    return speaker.say("targeted", intent, "named", t=spoken), {"intent": intent, "target": name}


def _measure(moment: _Moment) -> Draft:
    speaker, rng = moment.speaker, moment.rng
    name, spoken = _named(moment)
    kind = rng.choices(("measures", "index_of", "index_of_named", "distance_to", "distance_between"), (70, 12, 6, 8, 6))[0]  # fmt: skip
    if kind.startswith("index"):
        index = speaker.index()
        plan = {"index": index, "quantity": "index"}
        if kind == "index_of":
            return speaker.say(kind, i=index), {"intent": "measure", **plan}
        return speaker.say(kind, i=index, t=spoken), {"intent": "measure", "target": name, **plan}
    if kind.startswith("distance") and len(moment.names) > 1:
        other = moment.other()
        plan = {"other": other, "quantity": "distance"}
        if kind == "distance_to":
            return speaker.say(kind, o=speaker.layer(other)), {"intent": "measure", **plan}
        first = moment.names[0]
        message = speaker.say(kind, t=speaker.layer(first), o=speaker.layer(other))
        return message, {"intent": "measure", "target": first, **plan}
    what = rng.choice(list(_MEASURES))
    if rng.random() < 0.6:
        return speaker.say("measures", what, "active"), {"intent": "measure", **_MEASURES[what]}
    message = speaker.say("measures", what, "named", t=spoken)
    return message, {"intent": "measure", "target": name, **_MEASURES[what]}


def _follow_up(moment: _Moment) -> Draft:
    """The same question about another layer."""
    speaker, rng = moment.speaker, moment.rng
    intent = rng.choice(_CALLED_AGAIN)
    fields = _MEASURES[rng.choice(list(_MEASURES))] if intent == "measure" and rng.random() < 0.7 else {}
    first, second = moment.names[0], moment.other()
    moment.last = {"intent": intent, **({"target": first} if rng.random() < 0.4 else {}), **fields}
    return speaker.say("also_measure", t=speaker.layer(second)), {"intent": intent, "target": second, **fields}


def _also_extract(moment: _Moment) -> Draft:
    """Another land cover, in passing, after one was shown or refined."""
    speaker = moment.speaker
    free = [cover for cover in speaker.land_covers if cover not in moment.names]
    cover = moment.rng.choice(free)
    moment.last = moment.rng.choice(({"intent": "extract", "land_covers": [moment.names[0]]}, {"intent": "undo"}, {"intent": "small_talk"}))  # fmt: skip
    return speaker.say("also_extract", c=speaker.say("covers", cover)), {"intent": "extract", "land_covers": [cover]}


def _change(moment: _Moment) -> Draft:
    """What changed between two images of one place."""
    if moment.rng.random() < 0.5:
        return moment.speaker.say("change", "active"), {"intent": "change"}
    name, spoken = _named(moment)
    return moment.speaker.say("change", "named", t=spoken), {"intent": "change", "target": name}


def _compare(moment: _Moment) -> Draft:
    speaker, first, second = moment.speaker, moment.names[0], moment.other()
    if len(moment.names) < 2:
        return _ask(moment)
    if moment.rng.random() < 0.3:
        return speaker.say("compare_active", o=speaker.layer(second)), {"intent": "compare", "other": second}
    message = speaker.say("compare", t=speaker.layer(first), o=speaker.layer(second))
    return message, {"intent": "compare", "target": first, "other": second}


def _arrange(moment: _Moment) -> Draft:
    """Colours, names, earlier turns, and facts about the image."""
    speaker, rng = moment.speaker, moment.rng
    kind = rng.choice(("colour", "rename", "back_to", "pixel_size", "bands"))
    name, spoken = _named(moment)
    named = rng.random() < 0.45
    target = {"target": name} if named else {}
    slots = {"t": spoken} if named else {}
    if kind == "colour":
        colour = rng.choice(speaker.book.keys("colours") or list(speaker.colours))
        message = speaker.say(kind, "named" if named else "active", k=speaker.colour(colour), **slots)
        return message, {"intent": kind, **target, "colour": colour}
    if kind == "rename":
        new = speaker.own_name()
        message = speaker.say(kind, "named" if named else "active", x=new, **slots)
        return message, {"intent": kind, **target, "name": new}
    if kind == "back_to":
        turn = rng.randrange(1, 12)
        wording = speaker.say(kind)
        if "{nth}" in wording:
            turn = rng.choice(speaker.book.keys("nth"))
            wording = wording.replace("{nth}", str(speaker.book.wordings("nth", turn)))
        return wording.replace("{n}", str(turn)), {"intent": kind, "turn": turn}
    _nothing_yet(moment, 0.4)
    if kind == "pixel_size":
        value = rng.choice((0.3, 0.5, 0.6, 1, 1.5, 2, 3, 5, 10, 15, 20, 30, 60))
        wording = speaker.say(kind)
        if value < 1 and rng.random() < 0.6:
            wording = re.sub(r"\{v\} ?(m|metres?|meters?)\b", f"{100 * value:g} cm", wording)
        return wording.replace("{v}", speaker.number(value)), {"intent": "set_pixel_size", "value": value}
    bands = rng.choice(_BAND_ORDERS)
    return speaker.say(kind, b=", ".join(bands)), {"intent": "set_bands", "bands": bands}


_KINDS: tuple[tuple[Callable[[_Moment], Draft], float], ...] = (
    (_extract, 24), (_refine, 34), (_amend, 4), (_plain, 11), (_clarify, 1.5), (_ask, 14), (_measure, 6), (_follow_up, 2),
    (_also_extract, 1.5), (_compare, 2), (_change, 1.5), (_arrange, 6),
)  # fmt: skip


def plan_examples(seed: int, count: int) -> Iterator[PlanExample]:
    """`count` examples: turns of written conversations and single messages; the same seed gives the same examples."""
    rng = random.Random(seed)
    talks, messages = _turns(rng), _messages(rng)
    for _ in range(count):
        yield next(talks if rng.random() < CONVERSATION_SHARE else messages)


def _turns(rng: random.Random) -> Iterator[PlanExample]:
    """Turns of conversations, those of many talks mixed."""
    waiting: list[PlanExample] = []
    while True:
        while len(waiting) < 200:
            language = rng.choices(LANGUAGES, LANGUAGE_SHARES)[0]
            speaker = Speaker(rng, phrasebook(language))
            for turn in replay(rng, language, rng.choice(conversations(language))):
                message = speaker.roughen(turn.message) if rng.random() < 0.4 else turn.message
                waiting.append(_example(message, turn.layers, turn.last, turn.plan))
        yield waiting.pop(rng.randrange(len(waiting)))


def _example(message: str, layers: str, last: dict[str, Any] | None, plan: dict[str, Any]) -> PlanExample:
    text = json.dumps(plan, separators=(",", ":"), ensure_ascii=False)
    return PlanExample(message, layers, plan_in_short(last), text)


def _messages(rng: random.Random) -> Iterator[PlanExample]:
    """Single messages from the phrasebooks, in the proportions in which people ask."""
    remembered: list[dict[str, Any]] = []
    while True:
        moment = _moment(rng, remembered)
        draw = rng.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])[0]
        message, plan = draw(moment)
        if plan["intent"] not in ("small_talk", "clarify"):
            message = moment.speaker.frame(message)
        yield _example(moment.speaker.roughen(message), moment.layers, moment.last, plan)
        remembered = [*remembered[-40:], plan]
