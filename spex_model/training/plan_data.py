"""Messages and the plans that they mean: the language model's lessons in reading people.

Every example is drawn from the grammars of `wordings` by a seed. `layers` is the state as prompts/plan.md shows
it ("water* 3, vegetation 12": names, regions, * = active). The schema of the plans is chat_app/plan.py.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spex_model.training import wordings as say

NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 10: "ten"}
UNIT_WORDS = {
    "ha": ("ha", "hectares", "hectare", "ha", "hektar", "hectáreas", "公顷"),
    "m2": ("m2", "square metres", "square meters", "sqm", "m²", "quadratmeter", "平方米"),
    "acres": ("acres", "acre", "ac"),
    "km2": ("km2", "square kilometres", "km²", "sq km"),
    "px": ("pixels", "px", "pixel"),
    "percent": ("percent", "%", "percent of the image", "% of the image"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "north": ("the north", "the northern part", "the northern half", "the upper half"), "south": ("the south", "the southern part", "the southern half"),
    "east": ("the east", "the eastern part", "the eastern half", "east of the middle"), "west": ("the west", "the western part", "the western half"),
    "north-east": ("the north-east", "the northeast", "the north east corner", "the upper right corner"),
    "north-west": ("the north-west", "the northwest", "the upper left corner", "the top left corner"),
    "south-east": ("the south-east", "the southeast", "the lower right corner", "the bottom right"),
    "south-west": ("the south-west", "the southwest", "the lower left corner", "the bottom left"),
    "center": ("the center", "the centre", "the middle", "the middle of the image"), "top": ("the top", "the top half", "the top part"),
    "bottom": ("the bottom", "the bottom half", "the bottom part"), "left": ("the left", "the left half", "the left side"),
    "right": ("the right", "the right half", "the right side"),
}  # fmt: skip
_THIRDS = {"north": "northern", "south": "southern", "east": "eastern", "west": "western", "top": "top", "bottom": "bottom", "left": "left", "right": "right"}  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "grey", "white", "black")
_INDICES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NDMI", "SAVI")
_INDEX_OF = {
    "water": ("NDWI", "MNDWI"),
    "vegetation": ("NDVI",),
    "trees": ("NDVI",),
    "buildings": ("NDBI",),
    "bare soil": ("BI",),
}
_PIECES = (
    "one", "lake", "piece", "area", "patch", "region", "field", "pond", "forest", "building", "blob", "part", "house", "spot", "plot", "block",
)  # fmt: skip
_MANY = {
    "water": "lakes",
    "buildings": "buildings",
    "trees": "forests",
    "vegetation": "green areas",
    "bare soil": "bare fields",
}
_OWN_NAMES = ("lakes", "my fields", "old town", "flood 2024", "plot A", "north woods", "big pond", "farm", "reservoir", "test", "wetland east", "block 7")  # fmt: skip
_STEP_WEIGHTS = {
    "keep_largest_1": 6, "keep_largest_n": 4, "drop_smaller": 8, "drop_larger": 4, "keep_place": 5, "drop_place": 2.5, "grow": 2.5, "drop_largest": 2.5,
    "keep_rank_2": 2, "index_above": 2, "stricter": 2, "looser": 2, "subtract": 2.5, "near": 2, "far": 1.5,
}  # fmt: skip
_NEEDS_OTHER = ("subtract", "union", "intersect", "near", "far")


@dataclass(frozen=True)
class PlanExample:
    """A message, the layers that stand at that moment, and the plan as compact JSON."""

    message: str
    layers: str
    plan_json: str


def _json(**plan: object) -> str:
    return json.dumps(plan, separators=(",", ":"), ensure_ascii=False)


def _state(rng: random.Random) -> tuple[str, list[str]]:
    """A random set of layers and the names in it, the active one first."""
    names = rng.sample(list(say.LAND_COVERS), rng.choice((1, 1, 1, 2, 2, 3)))
    if rng.random() < 0.15:
        names[-1] = rng.choice((f"{names[-1]} 2", *_OWN_NAMES))
    active = rng.choice(names)
    text = ", ".join(f"{name}{'*' if name == active else ''} {int(rng.expovariate(0.05)) + 1}" for name in names)
    return text, [active, *(name for name in names if name != active)]


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _amount(rng: random.Random, units: tuple[str, ...]) -> tuple[str, int | float, str]:
    """An area as words, and its value and unit."""
    unit = rng.choice(units)
    value = rng.choice((0.1, 0.2, 0.25, 0.3, 0.5, 0.5, 0.8, 1, 1, 1.5, 2, 2.5, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000))  # fmt: skip
    name = rng.choice(UNIT_WORDS[unit])
    if unit in ("ha", "acres", "km2") and rng.random() < 0.15:
        spoken, value = rng.choice((("half a", 0.5), ("a", 1), ("one", 1), ("two", 2), ("a quarter of a", 0.25), ("three", 3), ("five", 5), ("ten", 10), ("one and a half", 1.5)))  # fmt: skip
        singular = {"ha": "hectare", "acres": "acre", "km2": "square kilometre"}[unit]
        return (
            f"{spoken} {singular if value <= 1 else UNIT_WORDS[unit][1 if unit != 'acres' else 0]}",
            _number(value),
            unit,
        )
    written = f"{value:,}" if value >= 1000 and rng.random() < 0.4 else f"{value:g}"
    space = "" if name in ("ha", "m2", "km2", "px", "%", "m²", "km²") and rng.random() < 0.4 else " "
    return f"{written}{space}{name}", _number(value), unit


def _length(rng: random.Random) -> tuple[str, int, str]:
    value = rng.choice((1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200, 250, 300, 500, 1000))
    if value >= 200 and value % 1000 == 0 and rng.random() < 0.3:
        return f"{value // 1000} km", value, "m"
    unit, names = rng.choice((("m", ("m", "metres", "meters")), ("m", ("m", "metre")), ("px", ("pixels", "px"))))
    name = rng.choice(names)
    return f"{value}{'' if len(name) < 3 and rng.random() < 0.4 else ' '}{name}", value, unit


def _place(rng: random.Random) -> tuple[str, dict[str, str]]:
    if rng.random() < 0.15:
        place = rng.choice(list(_THIRDS))
        return f"the {_THIRDS[place]} third", {"place": place, "part": "third"}
    place = rng.choice(list(PLACE_WORDS))
    return rng.choice(PLACE_WORDS[place]), {"place": place}


def _step(rng: random.Random, kind: str, other: str = "") -> tuple[str, dict[str, object]]:
    """One refinement of the active layer as words and as a step."""
    fill: dict[str, object] = {"p": rng.choice(_PIECES), "o": other}
    many = rng.choice(list(NUMBER_WORDS))
    fill["n"] = rng.choice((str(many), NUMBER_WORDS[many]))
    op = kind
    step: dict[str, object] = {}
    if kind.endswith(("_1", "_n")):
        op, step = kind[:-2], {"count": 1 if kind.endswith("_1") else many}
    elif kind == "drop_largest":
        step = {"count": 1}
    elif kind.startswith("keep_rank_"):
        op, step = "keep_rank", {"rank": int(kind[-1])}
    elif kind in ("drop_smaller", "drop_larger"):
        fill["a"], value, unit = _amount(rng, ("ha", "ha", "ha", "m2", "acres", "km2", "px", "percent"))
        step = {"value": value, "unit": unit}
    elif kind in ("keep_place", "drop_place"):
        fill["w"], where = _place(rng)
        step = {**where}
    elif kind in ("grow", "shrink", "merge_close", "near", "far"):
        fill["s"], value, unit = _length(rng)
        step = {"value": value, "unit": unit}
    elif kind in ("keep_elongated", "keep_round"):
        op, step = "keep_shape", {"shape": kind.removeprefix("keep_")}
    elif kind in ("index_above", "index_below"):
        index, value = rng.choice(_INDICES), rng.choice((-0.1, 0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7))
        fill |= {"i": rng.choice((index, index.lower())), "v": value}
        step = {"index": index, "value": value}
    if kind in _NEEDS_OTHER:
        step = {"layer": other, **step}
    return rng.choice(say.STEPS[kind]).format(**fill), {"op": op, **step}


def _step_kind(rng: random.Random, *, with_other: bool) -> str:
    kinds = [kind for kind in say.STEPS if with_other or kind not in _NEEDS_OTHER]
    return rng.choices(kinds, [_STEP_WEIGHTS.get(kind, 1.2) for kind in kinds])[0]


def _refine(rng: random.Random) -> PlanExample:
    layers, names = _state(rng)
    words, step = _step(rng, _step_kind(rng, with_other=len(names) > 1), names[-1])
    draw = rng.random()
    if draw < 0.2:
        second, extra = _step(rng, _step_kind(rng, with_other=False))
        if extra["op"] != step["op"]:
            message = f"{words}{rng.choice((' and ', ', then ', ' and then ', ', and ', '; '))}{second}"
            return PlanExample(message, layers, _json(intent="refine", steps=[step, extra]))
    if draw < 0.32 and "layer" not in step:
        target = rng.choice(names)
        message = rng.choice(
            ("for the {t}: {m}", "{t}: {m}", "in the {t} layer {m}", "{m} for the {t}", "{m} in the {t} layer")
        )
        return PlanExample(
            message.format(t=target, m=words), layers, _json(intent="refine", target=target, steps=[step])
        )
    if draw < 0.37:
        message = rng.choice(("no, {m}", "no i meant {m}", "sorry, i meant {m}", "not that, {m}")).format(m=words)
        return PlanExample(message, layers, _json(intent="refine", steps=[step], correction=True))
    return PlanExample(words, layers, _json(intent="refine", steps=[step]))


def _extract(rng: random.Random) -> PlanExample:
    count = 2 if rng.random() < 0.16 else 1
    covers = rng.sample(list(say.LAND_COVERS), count)
    spoken = [rng.choice(say.LAND_COVERS[cover]) for cover in covers]
    phrase = rng.choice((" and ", " and ", " & ", ", ")).join(spoken)
    layers = "none" if rng.random() < 0.5 else _state(rng)[0]
    draw, cover = rng.random(), covers[0]
    if draw < 0.08:
        op, number, words = rng.choice(say.BIGGEST_OF_COVER)
        message = rng.choice(words).format(c=_MANY[cover])
        return PlanExample(
            message, "none", _json(intent="extract", land_covers=[cover], steps=[{"op": op, "count": number}])
        )
    if draw < 0.16:
        narrowing, step = _step(
            rng, rng.choice(("drop_smaller", "keep_place", "keep_largest_1", "drop_larger", "keep_elongated", "smooth"))
        )
        message = f"{rng.choice(say.SHOW[:20]).format(c=spoken[0]).rstrip('?')}{rng.choice((', ', ' and ', ', but ', ' - '))}{narrowing}"
        return PlanExample(message, layers, _json(intent="extract", land_covers=[cover], steps=[step]))
    if draw < 0.21:
        index = rng.choice(_INDEX_OF[cover])
        message = rng.choice(say.INDEX_ONLY).format(c=spoken[0], i=index)
        return PlanExample(message, layers, _json(intent="extract", land_covers=[cover], index=index))
    if draw < 0.29:
        plan = _json(intent="extract", land_covers=[cover], steps=[{"op": "same_steps"}])
        return PlanExample(rng.choice(say.SAME).format(c=spoken[0]), _state(rng)[0], plan)
    if draw < 0.36:
        plan = _json(intent="extract", land_covers=[cover], correction=True)
        return PlanExample(rng.choice(say.CORRECT).format(c=spoken[0]), _state(rng)[0], plan)
    return PlanExample(rng.choice(say.SHOW).format(c=phrase), layers, _json(intent="extract", land_covers=covers))


def _plain(rng: random.Random) -> PlanExample:
    intent = rng.choices([*say.PLAIN, "clarify"], (5, 1.5, 1.2, 1.2, 2, 3, 5, 0.8))[0]
    if intent == "clarify":
        question = "What shall I do with it?"
        return PlanExample(rng.choice(say.CLARIFY), _state(rng)[0], _json(intent=intent, question=question))
    layers = _state(rng)[0] if intent in ("undo", "redo", "reset", "list") or rng.random() < 0.5 else "none"
    return PlanExample(rng.choice(say.PLAIN[intent]), layers, _json(intent=intent))


def _measure(rng: random.Random) -> PlanExample:
    layers, names = _state(rng)
    draw = rng.random()
    if draw < 0.1:
        index = rng.choice(_INDICES)
        plan = _json(intent="measure", index=index, quantity="index")
        return PlanExample(rng.choice(say.INDEX_OF).format(i=index), layers, plan)
    if draw < 0.2 and len(names) > 1:
        plan = _json(intent="measure", other=names[1], quantity="distance")
        return PlanExample(rng.choice(say.DISTANCE_TO).format(o=names[1]), layers, plan)
    fields, active, named = rng.choices(say.MEASURES, (5, 2, 1.5, 1.5, 1, 3, 1.5, 1.5, 2.5))[0]
    if rng.random() < 0.3:
        target = rng.choice(names)
        plan = _json(intent="measure", target=target, **fields)
        return PlanExample(rng.choice(named).format(t=target), layers, plan)
    return PlanExample(rng.choice(active), layers, _json(intent="measure", **fields))


def _targeted(rng: random.Random) -> PlanExample:
    if rng.random() < 0.25:
        return _measure(rng)
    intent = rng.choices(list(say.TARGETED), (5, 2.5, 2.5, 2, 4, 1.2, 1.5, 1.5, 2))[0]
    layers, names = _state(rng)
    active, named = say.TARGETED[intent]
    if rng.random() < 0.38:
        everything = intent in ("show", "hide", "measure", "export", "describe") and rng.random() < 0.2
        target = "all" if everything else rng.choice(names)
        words = rng.choice(say.ALL_WORDS) if everything else target
        message = re.sub(r"the (everything|all)", r"\1", rng.choice(named).format(t=words))
        return PlanExample(message, layers, _json(intent=intent, target=target))
    if intent == "export" and rng.random() < 0.4:
        word, kind = rng.choice((("geojson", "geojson"), ("geotiff", "geotiff"), ("png", "png"), ("geopackage", "gpkg"), ("tif", "geotiff"), ("gpkg", "gpkg")))  # fmt: skip
        return PlanExample(rng.choice(say.EXPORT_AS).format(k=word), layers, _json(intent=intent, format=kind))
    if intent == "locate" and rng.random() < 0.2:
        message = rng.choice(
            ("where is the second largest?", "where is the second biggest one", "coordinates of the second largest")
        )
        return PlanExample(message, layers, _json(intent=intent, rank=2))
    return PlanExample(rng.choice(active), layers, _json(intent=intent))


def _settings(rng: random.Random) -> PlanExample:
    layers, names = _state(rng)
    draw = rng.randrange(6)
    if draw == 0:
        value = rng.choice((0.3, 0.5, 0.6, 1, 1.5, 2, 3, 5, 10, 15, 20, 30, 60))
        return PlanExample(
            rng.choice(say.PIXEL_SIZE).format(v=value), layers, _json(intent="set_pixel_size", value=value)
        )
    if draw == 1:
        bands = rng.choice((["blue", "green", "red", "nir"], ["red", "green", "blue"], ["red", "green", "blue", "nir"], ["green", "red", "nir"], ["nir", "red", "green"], ["blue", "green", "red", "nir", "swir1", "swir2"]))  # fmt: skip
        return PlanExample(
            rng.choice(say.BANDS).format(b=", ".join(bands)), layers, _json(intent="set_bands", bands=bands)
        )
    if draw == 2:
        colour, named = rng.choice(COLOURS), rng.random() < 0.5
        target: dict[str, Any] = {"target": names[0]} if named else {}
        message = rng.choice(say.COLOUR[named]).format(t=names[0], k=colour)
        return PlanExample(message, layers, _json(intent="colour", **target, colour=colour))
    if draw == 3:
        name = rng.choice(_OWN_NAMES)
        return PlanExample(rng.choice(say.RENAME).format(n=name), layers, _json(intent="rename", name=name))
    if draw == 4:
        turn = rng.randrange(1, 12)
        return PlanExample(rng.choice(say.BACK_TO).format(n=turn), layers, _json(intent="back_to", turn=turn))
    if len(names) > 1:
        message = rng.choice(say.COMPARE).format(t=names[0], o=names[1])
        return PlanExample(message, layers, _json(intent="compare", target=names[0], other=names[1]))
    return _plain(rng)


def _slip(message: str, rng: random.Random) -> str:
    """One slip of the finger: letters swapped, one left out, or one twice."""
    spot = rng.randrange(1, len(message) - 2)
    return rng.choice((
        message[:spot] + message[spot + 1] + message[spot] + message[spot + 2 :], message[:spot] + message[spot + 1 :],
        message[:spot] + message[spot] + message[spot:],
    ))  # fmt: skip


def _roughen(message: str, rng: random.Random) -> str:
    """Type it as people do: case, politeness, slips, missing punctuation."""
    if rng.random() < 0.28:
        message = rng.choice(say.POLITE).format(m=message)
    if rng.random() < 0.14 and len(message) > 8 and message.isascii() and not re.search(r"\d", message):
        message = _slip(message, rng)
    if rng.random() < 0.3:
        message = message[:1].upper() + message[1:]
    if rng.random() < 0.05:
        message = message.upper()
    if rng.random() < 0.2:
        message = message.rstrip("?.") + rng.choice(("", ".", "!", "?", " ...", "??"))
    return message


def plan_examples(seed: int, count: int) -> Iterator[PlanExample]:
    """`count` examples in the proportions in which people ask; the same seed gives the same examples."""
    rng = random.Random(seed)
    for _ in range(count):
        example = rng.choices((_extract, _refine, _plain, _targeted, _settings), (27, 33, 10, 22, 8))[0](rng)
        yield PlanExample(_roughen(example.message, rng), example.layers, example.plan_json)
