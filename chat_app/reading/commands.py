"""The rule-based reader: plain commands become plans without the language model.

It reads a message only when it understands every word of it; anything looser is left to the model. With the model
down it is what is left. Measured on its own beside the model by `python -m chat_app evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from chat_app.plan import Plan
from chat_app.reading import command_patterns as patterns
from chat_app.reading.vocabulary import Tagged, normalise, tag
from spex_model.imaging.bands import normalise_band_name

_TOKEN = re.compile(r"\{([A-Z])\}")
_KINDS = {"A": "[AP]", "L": "[LP]", "V": "[NR]", "O": "[CY]"}
_ARGUMENTS = {
    "A": "area",
    "L": "length",
    "W": "place",
    "N": "number",
    "R": "rank",
    "I": "index",
    "V": "value",
    "O": "other",
}
_QUESTIONS = ("measure", "count", "locate", "describe", "explain", "compare")
_PLACING = frozenset(("keep_place", "drop_place"))
_SENTENCE = 4
"""A message of fewer words says little without the turn before."""
_NAME = re.compile(r"[^\s,;:]+(?: [^\s,;:]+){0,2}")
"""A longer name, or one with a comma, may be a name and a remark."""
_FORMATS = {"geojson": "geojson", "json": "geojson", "geotiff": "geotiff", "tiff": "geotiff", "tif": "geotiff", "png": "png", "picture": "png", "image": "png", "geopackage": "gpkg", "gpkg": "gpkg"}  # fmt: skip


@dataclass(frozen=True)
class LayerView:
    """What the readers know of a layer: its name, land cover, regions, and whether "it" means this one."""

    name: str
    land_cover: str
    regions: int = 0
    active: bool = False


@lru_cache(maxsize=512)
def _compile(pattern: str) -> re.Pattern[str]:
    """Turn {A} into a group for a tag of that kind; a kind may come in several alternatives."""
    count = 0

    def group(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        kind = match[1]
        return f"«(?P<{kind}_{count}>{_KINDS.get(kind, kind)}\\d+)»"

    return re.compile(_TOKEN.sub(group, pattern))


def read_command(message: str, layers: Sequence[LayerView], last: Plan | None = None) -> Plan | None:
    """The plan of a plain command or question, or None when some word of it is not understood.

    What leans on the plan of the turn before, as "and the second?" does on a question, is left to the model.
    """
    text = patterns.TRAILING.sub("", normalise(message)).lstrip("¿¡ ")
    correction = False
    if (corrected := patterns.CORRECTION.match(text)) and layers:
        text, correction = corrected["rest"] or corrected["rest2"], True
    for candidate in dict.fromkeys((text, patterns.POLITE.sub("", text))):
        reader = _Reader(candidate, message, layers)
        for read in (reader.setting, reader.plain, reader.layer_command, reader.question, reader.work):
            values = read()
            if values is not None and not (read in (reader.work, reader.question) and _leans(message, values, last)):
                if correction and values["intent"] in ("extract", "refine"):
                    values["correction"] = True
                return _validated(values)
    return None


def _leans(message: str, values: dict[str, Any], last: Plan | None) -> bool:
    """Whether a message only goes on with the question before it, so that its own words do not say what is asked."""
    if last is None:
        return False
    if last.intent == "refine" and values["intent"] == "refine" and len(message.split()) <= _SENTENCE:
        # "And in the middle?" after another place: in its stead, or on top of it?
        ops = [step.op for step in last.steps], [step["op"] for step in values["steps"]]
        return all(not _PLACING.isdisjoint(those) for those in ops)
    if last.intent not in _QUESTIONS:
        return False
    if values["intent"] == "measure":
        return "quantity" not in values and len(message.split()) < _SENTENCE and last.quantity not in (None, "area")
    short = patterns.LEANS.search(message.strip().lower()) or len(message.split()) < _SENTENCE
    return values["intent"] == "refine" and bool(short) and not patterns.KEEP.search(message.lower())


def _validated(values: dict[str, Any]) -> Plan | None:
    try:
        return Plan.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError:
        return None


class _Reader:
    """Reads one message; each method gives the fields of a plan or None."""

    def __init__(self, text: str, original: str, layers: Sequence[LayerView]) -> None:
        self.text = text
        self.original = original.strip()
        self.layers = layers
        self.tagged: Tagged = tag(text, [layer.name for layer in layers])
        self.values = self.tagged.values

    def setting(self) -> dict[str, Any] | None:
        """Pixel size and band names."""
        if bands := re.fullmatch(
            r"(?:the )?(?:bands?|channels?|band order|order of the bands)(?: order)?(?: are| is|:)\s*(?P<names>.+)",
            self.text,
        ):
            names = [name.strip() for name in re.split(r",|\band\b|\s+", bands["names"]) if name.strip()]
            if names and all(normalise_band_name(name) for name in names):
                return {"intent": "set_bands", "bands": tuple(names)}
        sizes = re.findall(r"«(L\d+)»", self.tagged.text)
        about_pixels = re.search(
            r"\b(?:pixels?|resolution|gsd|auflösung|píxel)\b|像素|«P\d+» (?:is|are|=|ist|fait|mide|measures|equals)",
            self.tagged.text,
        )
        if (
            len(sizes) == 1
            and about_pixels
            and not re.search(
                rf"{patterns.DROP}|\b(?:grow|expand|buffer|near|within|merge|trim|shrink|cut|border|edges?)\b",
                self.tagged.text,
            )
        ):
            return {"intent": "set_pixel_size", "value": self.values[sizes[0]][0]}
        return None

    def plain(self) -> dict[str, Any] | None:
        """Undo, help and the like."""
        for intent, pattern in patterns.PLAIN:
            if re.fullmatch(pattern, self.text):
                return {"intent": intent}
        if back := re.fullmatch(r"(?:go |return )?(?:back )?to (?:turn|step|message) «(?P<N>N\d+)»", self.tagged.text):
            return {"intent": "back_to", "turn": int(self.values[back["N"]])}
        return None

    def target(self, match: re.Match[str], name: str = "target") -> str | None:
        """The layer that a matched target names; None for "it"."""
        words = match.groupdict().get(name) or ""
        if words in ("everything", "all", "all layers"):
            return "all"
        found = re.search(r"«([CY]\d+)»", words)
        return str(self.values[found[1]]) if found else None

    def layer_command(self) -> dict[str, Any] | None:
        """Hide, show, delete, colour, rename, export, compare."""
        text, target = self.tagged.text, patterns.TARGET
        if renamed := re.fullmatch(
            r"(?i)(?:please )?(?:rename|call|name)\s+(?:this (?:layer|one)|that (?:layer|one)|the layer|it|this|that|(?:the )?(?P<old>.+?)(?: layer)?)(?:\s+to|\s+as|\s+into)?\s+[\"'“]?(?P<new>[^\"'”]+?)[\"'”]?[.!]?",
            self.original,
        ):
            known = {layer.name.casefold(): layer.name for layer in self.layers}
            old = (renamed["old"] or "").casefold()
            if (not old or old in known) and _NAME.fullmatch(renamed["new"]):
                return {"intent": "rename", "target": known.get(old), "name": renamed["new"]}
        for intent, pattern in (
            ("hide", rf"(?:hide|turn off|switch off|don't show|do not show) {target}(?: off)?|turn {target} off".replace("<target>", "<target>", 1)),
            ("show", rf"(?:unhide|turn on|switch on) {target}|(?:show|make) {target.replace('target', 'target2')} (?:again|visible)(?: again)?"),
            ("delete", rf"(?:delete|throw away|get rid of) {target}"),
        ):  # fmt: skip
            pattern = re.sub(r"turn \(\?P<target>", "turn (?P<target2>", pattern)
            if match := re.fullmatch(pattern, text):
                return {"intent": intent, "target": self.target(match) or self.target(match, "target2")}
        if match := re.fullmatch(
            rf"(?:(?:make|colou?r|paint|draw|show|turn)(?: {target})?(?: in| to)?|in)(?: (?:a )?(?:light|dark|bright))? «(?P<K>K\d+)»",
            text,
        ):
            return {"intent": "colour", "target": self.target(match), "colour": self.values[match["K"]]}
        form = "|".join(_FORMATS)
        if match := re.fullmatch(
            rf"(?:(?:export|download|save|give me)(?: {target})?(?: as)?(?: an?)?(?: (?P<form>{form}))?|as (?:an? )?(?P<form2>{form}))(?: file| mask)?",
            text,
        ):
            kind = match["form"] or match["form2"]
            return {"intent": "export", "target": self.target(match), "format": _FORMATS[kind] if kind else None}
        if match := re.fullmatch(
            r"(?:compare (?:the )?«(?P<one>[CY]\d+)» (?:and|with|to|against|vs|versus|und|et|y) (?:the )?«(?P<two>[CY]\d+)»|is there more «(?P<one2>[CY]\d+)» than «(?P<two2>[CY]\d+)»|«(?P<one3>[CY]\d+)» (?:vs\.?|versus) «(?P<two3>[CY]\d+)»)",
            text,
        ):
            one, two = (
                next(value for key, value in match.groupdict().items() if value and key.startswith(name))
                for name in ("one", "two")
            )
            return {"intent": "compare", "target": self.values[one], "other": self.values[two]}
        if match := patterns.numbered(patterns.CHANGE).fullmatch(text.replace("?", "").strip()):
            return {"intent": "change", "target": self._named(match)}
        return None

    def _named(self, match: re.Match[str]) -> str | None:
        """The layer that any of a match's targets names."""
        found = (self.target(match, key) for key, words in match.groupdict().items() if words)
        return next((name for name in found if name), None)

    def question(self) -> dict[str, Any] | None:
        """Measure, count, locate, describe, explain."""
        text = self.tagged.text.replace("?", "").strip()
        if match := re.fullmatch(
            r"(?:how far (?:away )?(?:is it|are they|is that)?(?: away)? ?from|(?:what is the )?distance (?:to|from)) (?:the )?«(?P<O>[CY]\d+)»",
            text,
        ):
            return {"intent": "measure", "other": self.values[match["O"]], "quantity": "distance"}
        if match := re.fullmatch(
            rf"(?:what is the |what's the )?(?:mean|average) «(?P<I>I\d+)»(?: (?:of {patterns.TARGET}|there|inside|in it))?",
            text,
        ):
            return {
                "intent": "measure",
                "target": self.target(match),
                "quantity": "index",
                "index": self.values[match["I"]],
            }
        if match := patterns.UNIT_QUESTION.fullmatch(text):
            unit = patterns.UNIT_NAMES.get(match["unit"]) or ("km2" if "kilo" in match["unit"] else "m2")
            return {
                "intent": "measure",
                "target": self.target(match, "of") or self.target(match, "target2"),
                "unit": unit,
            }
        for intent, pattern, fields in patterns.QUESTIONS:
            if match := patterns.numbered(pattern).fullmatch(text):
                return {"intent": intent, "target": self._named(match), **fields}
        return None

    def work(self) -> dict[str, Any] | None:
        """Extractions and refinements, clause by clause."""
        text, target = self.tagged.text.replace("?", "").strip(), None
        if match := re.fullmatch(
            r"(?:for|in) (?:the )?«(?P<t>[CY]\d+)»(?: layer)?[:,]? (?P<rest>.+)|«(?P<t2>[CY]\d+)»: (?P<rest2>.+)|(?P<rest3>.+) (?:in|for|from) (?:the )?«(?P<t3>[CY]\d+)» layer",
            text,
        ):
            target = str(self.values[match["t"] or match["t2"] or match["t3"]])
            text = match["rest"] or match["rest2"] or match["rest3"]
        elif op := patterns.marked(text):
            return self._refine([{"op": op}], None)
        elif (plan := self._extract(text) or self._extract_in_box(text)) is not None:
            return plan
        if patterns.ASKS_OR_AMENDS.search(self.original.lower()):
            return None
        steps: list[dict[str, Any]] = []
        cover: str | None = None
        clauses = [part for part in patterns.CONNECTOR.split(text) if part]
        telling = [part for part in clauses if self._squeeze(part)]  # not "…, if you would"
        for number, clause in enumerate(telling or clauses):
            found = self._extract(clause) if number == 0 and target is None else None
            if found and len(found["land_covers"]) == 1 and "steps" not in found and "index" not in found:
                cover = found["land_covers"][0]
                continue
            step, piece = self._step(clause)
            if step is None:
                return None
            steps.append(step)
            if piece and target is None and cover is None:
                target = piece
        there = {name for layer in self.layers for name in (layer.name, layer.land_cover)}
        if any(step["op"] == "union" and step["layer"] not in there for step in steps):
            return None  # "Add the houses to that": a layer more, or one layer of both?
        if cover is not None:
            return {"intent": "extract", "land_covers": (cover,), "steps": tuple(steps)}
        return self._refine(steps, target) if steps else None

    def _refine(self, steps: list[dict[str, Any]], target: str | None) -> dict[str, Any] | None:
        active = next((layer for layer in self.layers if layer.active), None)
        if target is None and active is None:
            return {"intent": "refine", "steps": tuple(steps)}
        if target is not None and active is not None and target in (active.name, active.land_cover):
            target = None
        if target is not None and not any(target in (layer.name, layer.land_cover) for layer in self.layers):
            return {"intent": "extract", "land_covers": (target,), "steps": tuple(steps)}
        return {"intent": "refine", "steps": tuple(steps), "target": target}

    def _extract(self, text: str) -> dict[str, Any] | None:
        squeezed = self._squeeze(text)
        if match := re.fullmatch(
            r"(?:same|likewise|repeat|dasselbe|pareil|lo mismo|也一样)(?: thing)?(?: (?:with|too|für|pour|para))* «(?P<C>C\d+)»(?: too)?",
            squeezed,
        ):
            return {"intent": "extract", "land_covers": (self.values[match["C"]],), "steps": ({"op": "same_steps"},)}
        if match := re.fullmatch(
            rf"(?:{patterns.SHOW} )?(?:«(?P<I>I\d+)» )?(?:use |using )?«(?P<C>C\d+)» (?:with|using|use)? ?(?:index )?«(?P<I2>I\d+)»(?: index)?(?: alone)?",
            squeezed,
        ):
            return {"intent": "extract", "land_covers": (self.values[match["C"]],), "index": self.values[match["I2"]]}
        covers = re.findall(r"«(C\d+)»", squeezed)
        rest = re.sub(rf"«C\d+»|{patterns.SHOW}|[&,，、]|\b(?:too|und|et|mark|are)\b|和", " ", squeezed).strip()
        if covers and not rest and not (len(covers) > 1 and ":" in text):
            names = tuple(dict.fromkeys(str(self.values[tag_]) for tag_ in covers))
            there = {layer.land_cover for layer in self.layers} | {layer.name for layer in self.layers}
            if there & set(names) and set(re.findall(patterns.SHOW, self.text)) <= {"où", "donde", "dónde"}:
                return None  # "and the trees?": the layer is there, and something else is wanted of it
            return {"intent": "extract", "land_covers": names}
        return None

    def _extract_in_box(self, text: str) -> dict[str, Any] | None:
        """ "Show me the water in the box": an extraction, then what was drawn."""
        drawn = re.fullmatch(rf"(?P<rest>.+?),? {patterns.IN_BOX}", text)
        plan = self._extract(drawn["rest"]) if drawn else None
        return None if plan is None or "steps" in plan else {**plan, "steps": ({"op": "keep_inside"},)}

    def _step(self, clause: str) -> tuple[dict[str, Any] | None, str | None]:
        """The step of one clause, and the land cover or layer that it speaks of."""
        if op := patterns.marked(clause):
            return {"op": op}, None
        squeezed = re.sub(rf"^{patterns.SHOW} (?=«)", "", self._squeeze(clause))
        for pattern, build in patterns.STEP_PATTERNS:
            match = _compile(pattern).fullmatch(squeezed)
            if match is None:
                continue
            used = {key.split("_")[0]: tag_ for key, tag_ in match.groupdict().items() if tag_}
            undecided = "A" in used and re.search(patterns.LESS, squeezed) and not re.search(patterns.DROP, squeezed)
            if undecided and not patterns.KEEP.search(self.text):
                return None, None
            arguments = {_ARGUMENTS[kind]: self.values[tag_] for kind, tag_ in used.items()}
            pieces = [tag_ for tag_ in re.findall(r"«([CY]\d+)»", squeezed) if tag_ not in used.values()]
            return build(**arguments), str(self.values[pieces[0]]) if pieces else None
        return None, None

    def _squeeze(self, clause: str) -> str:
        """The clause without the words that carry no command."""
        words = patterns.CHINESE_FILLERS.sub(" ", clause.strip(" ,.;:-")).split()
        return " ".join(word.strip(",.;:") for word in words if word.strip(",.;:") not in patterns.FILLERS)
