"""What fills the slots of a wording: amounts, places, names and steps, said as one speaker would say them."""

import random
import re
from typing import Any

from spex_model.training.phrasebook import Phrasebook

NEEDS_OTHER = ("subtract", "union", "intersect", "near", "far")
"""Steps that name another layer."""
OWN_NAME_SHARE = 0.15

_INDICES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NDMI", "SAVI")
_INDEX_OF = {
    "water": ("NDWI", "MNDWI"), "vegetation": ("NDVI",), "trees": ("NDVI",), "buildings": ("NDBI",), "bare soil": ("BI",),
}  # fmt: skip
_STEP_WEIGHTS = {
    "keep_largest_1": 6, "keep_largest_n": 4, "drop_smaller": 8, "drop_larger": 4, "keep_place": 5, "drop_place": 3, "grow": 2.5,
    "drop_largest": 2.5, "keep_rank_2": 2, "index_above": 2, "stricter": 3, "looser": 3, "subtract": 3, "near": 3, "far": 2,
}  # fmt: skip
_AREAS = (
    0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.5, 0.8, 1, 1, 1.5, 2, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150,
    200, 250, 300, 400, 500, 600, 750, 800, 1000, 1500, 2000, 5000, 10000,
)  # fmt: skip
_SPOKEN_AREAS = (
    ("half a", 0.5), ("a", 1), ("one", 1), ("two", 2), ("a quarter of a", 0.25), ("three", 3), ("four", 4), ("five", 5), ("ten", 10),
    ("one and a half", 1.5), ("twenty", 20), ("fifty", 50), ("a hundred", 100), ("two and a half", 2.5), ("a couple of", 2), ("a dozen", 12),
)  # fmt: skip
_LENGTHS = (1, 2, 3, 4, 5, 8, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200, 250, 300, 400, 500, 750, 1000, 2000)  # fmt: skip
_LEVELS = (-0.2, -0.1, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
_SINGULAR = {"ha": "hectare", "acres": "acre", "km2": "square kilometre"}


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


class Speaker:
    """One person of one language: fills wordings by a seed."""

    colours = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "grey", "white", "black")

    def __init__(self, rng: random.Random, book: Phrasebook) -> None:
        self.rng = rng
        self.book = book
        self.land_covers: list[str] = book.keys("covers")
        self.everything = ("everything", "all layers", "all of them") if book.language == "en" else ()

    def pick(self, choices: Any) -> Any:
        """One of the choices."""
        return self.rng.choice(choices)

    def say(self, *path: str, **slots: object) -> str:
        """A wording under a path of the phrasebook, its slots filled; those not given stay as they are."""
        wording = self.book.pick(self.rng, *path)
        slots.setdefault("p", self._noun("pieces"))
        slots.setdefault("pp", self._noun("pieces_plural"))
        return re.sub(r"\{(\w+)\}", lambda slot: str(slots.get(slot[1], slot[0])), wording)

    def _noun(self, kind: str) -> str:
        return self.book.pick(self.rng, kind) if self.book.wordings(kind) else "ones"

    def number(self, value: float) -> str:
        """A number in figures, with the language's decimal sign most of the time."""
        text = f"{value:g}"
        return text.replace(".", ",") if self.book.language in ("de", "fr", "es") and self.rng.random() < 0.8 else text

    def layer(self, name: str) -> str:
        """A layer's name as this speaker says it."""
        words = self.book.wordings("layer_words", name)
        usual = 0.75 if self.book.language == "en" else 0.1
        return name if not words or self.rng.random() < usual else self.rng.choice(words)

    def own_name(self) -> str:
        """A name that a person gives a layer."""
        return self.book.pick(self.rng, "names")

    def index(self) -> str:
        """The name of a spectral index."""
        return self.rng.choice(_INDICES)

    def level(self) -> float:
        """A value that a spectral index may have."""
        return self.rng.choice(_LEVELS)

    def index_of(self, cover: str) -> str:
        """The name of an index that can show a land cover."""
        return self.rng.choice(_INDEX_OF[cover])

    def colour(self, colour: str) -> str:
        """A colour in the speaker's language."""
        said = self.book.wordings("colours", colour)
        return (said if isinstance(said, str) else self.rng.choice(said)) if said else colour

    def area(self) -> tuple[str, int | float, str]:
        """An area as words, and its value and unit."""
        rng = self.rng
        unit = rng.choice(("ha", "ha", "ha", "ha", "m2", "m2", "acres", "acres", "km2", "px", "percent"))
        if self.book.language == "en" and unit in _SINGULAR and rng.random() < 0.25:
            spoken, value = rng.choice(_SPOKEN_AREAS)
            word = _SINGULAR[unit] if value <= 1 else f"{_SINGULAR[unit]}s"
            return f"{spoken} {word}", value, unit
        value, name = rng.choice(_AREAS), self.book.pick(rng, "units", unit)
        if unit == "percent":
            value = rng.choice((0.1, 0.5, 1, 1, 2, 3, 5, 10))
        elif unit in ("m2", "px"):
            value = rng.choice([area for area in _AREAS if area >= 3])
        written = self.number(value)
        if value >= 1000 and rng.random() < 0.4:
            written = f"{value:,}" if self.book.language in ("en", "zh") else f"{value:,}".replace(",", ".")
        tight = name in ("ha", "m2", "km2", "px", "%", "m²", "km²") and rng.random() < 0.4
        return f"{written}{'' if tight or self.book.language == 'zh' else ' '}{name}", _whole(value), unit

    def length(self) -> tuple[str, int, str]:
        """A distance as words, and its value and unit."""
        rng, value = self.rng, self.rng.choice(_LENGTHS)
        if value >= 1000 and rng.random() < 0.6:
            kilometre = {"zh": "公里"}.get(self.book.language, "km")
            return f"{value // 1000} {kilometre}", value, "m"
        if self.book.language == "en" and value in (500, 100) and rng.random() < 0.1:
            return {500: "half a kilometre", 100: "a hundred metres"}[value], value, "m"
        unit = rng.choice(("m", "m", "m", "px")) if value <= 100 else "m"
        name = self.book.pick(rng, "length_units", unit)
        tight = self.book.language == "zh" or (len(name) < 3 and rng.random() < 0.4)
        return f"{value}{'' if tight else ' '}{name}", value, unit

    def place(self) -> tuple[str, dict[str, str]]:
        """A part of the image as words, and as the fields of a step."""
        if self.rng.random() < 0.15 and self.book.keys("thirds"):
            place = self.rng.choice(self.book.keys("thirds"))
            return self.book.pick(self.rng, "thirds", place), {"place": place, "part": "third"}
        place = self.rng.choice(self.book.keys("places"))
        return self.book.pick(self.rng, "places", place), {"place": place}

    def step_kind(self, *, with_other: bool) -> str:
        """A step's key in the phrasebook, by how often people want it."""
        kinds = [kind for kind in self.book.keys("steps") if with_other or kind not in NEEDS_OTHER]
        return self.rng.choices(kinds, [_STEP_WEIGHTS.get(kind, 1.4) for kind in kinds])[0]

    def step(self, kind: str, other: str) -> tuple[str, dict[str, Any]]:
        """One refinement of the active layer as words and as a step of a plan; `other` is a layer's name."""
        slots, step = self.fill(kind, other)
        return self.say("steps", kind, **slots), step

    def fill(self, kind: str, other: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values for a kind of step: as the slots of a wording, and as the step."""
        rng, op = self.rng, kind
        slots: dict[str, Any] = {"o": self.layer(other)} if other else {}
        step: dict[str, Any] = {"layer": other} if kind in NEEDS_OTHER else {}
        if kind.endswith(("_1", "_n")) or kind == "drop_largest":
            many = int(rng.choice(self.book.keys("number_words")))
            op = kind if kind == "drop_largest" else kind[:-2]
            step["count"] = many if kind.endswith("_n") else 1
            slots["n"] = rng.choice((str(many), self.book.pick(rng, "number_words", many)))
        elif kind.startswith("keep_rank_"):
            op, step["rank"] = "keep_rank", int(kind[-1])
        elif kind in ("drop_smaller", "drop_larger"):
            slots["a"], step["value"], step["unit"] = self.area()
        elif kind in ("keep_place", "drop_place"):
            slots["w"], where = self.place()
            step |= where
        elif kind in ("grow", "shrink", "merge_close", "near", "far"):
            slots["s"], step["value"], step["unit"] = self.length()
        elif kind in ("keep_elongated", "keep_round"):
            op, step["shape"] = "keep_shape", kind.removeprefix("keep_")
        elif kind in ("index_above", "index_below"):
            index, value = self.index(), self.level()
            slots |= {"i": rng.choice((index, index.lower())), "v": self.number(value)}
            step |= {"index": index, "value": value}
        return slots, {"op": op, **step}

    def frame(self, message: str) -> str:
        """Context before, reasons after, or politeness around a request; most stand alone."""
        rng = self.rng
        if self.book.wordings("before") and rng.random() < 0.13:
            before = self.book.pick(rng, "before")
            message = f"{before}{'' if self.book.language == 'zh' else ' '}{message}"
        if self.book.wordings("after") and rng.random() < 0.1:
            after = self.book.pick(rng, "after")
            joint = " " if after[:1].isupper() else rng.choice((", ", ", ", " ", " - "))
            end = message.rstrip(".!")
            message = (
                f"{end}{'。' if self.book.language == 'zh' else '.'}{joint.strip(',- ')} {after}"
                if after[:1].isupper()
                else f"{end}{'，' if self.book.language == 'zh' else joint}{after}"
            )
        if self.book.wordings("polite") and rng.random() < 0.2:
            message = self.say("polite", m=message)
        return message

    def roughen(self, message: str) -> str:
        """Type it as people do: case, slips of the finger, missing punctuation."""
        rng = self.rng
        if rng.random() < 0.14 and len(message) > 8 and message.isascii() and not re.search(r"\d", message):
            message = self._slip(message)
        if rng.random() < 0.35:
            message = message[:1].upper() + message[1:]
        if rng.random() < 0.04:
            message = message.upper()
        if rng.random() < 0.2:
            message = message.rstrip("?.") + rng.choice(("", ".", "!", "?", " ...", "??"))
        return message

    def _slip(self, message: str) -> str:
        """Letters swapped, one left out, or one twice."""
        spot = self.rng.randrange(1, len(message) - 2)
        return self.rng.choice((
            message[:spot] + message[spot + 1] + message[spot] + message[spot + 2 :], message[:spot] + message[spot + 1 :],
            message[:spot] + message[spot] + message[spot:],
        ))  # fmt: skip
