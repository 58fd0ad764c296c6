"""Whole conversations as lessons: written talks (`conversations/*.yaml`), replayed with new values each time.

What replaying takes over from the chat is what the planning prompt shows: which layers there are, how many regions
they have, which one is active, and the plan of the turn before. Masks are not painted; numbers of regions are drawn.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from spex_model.model.planning_prompt import layers_in_short
from spex_model.training.lesson_values import NEEDS_OTHER, Speaker
from spex_model.training.phrasebook import phrasebook

FOLDER = Path(__file__).parent / "conversations"
_SLOT = re.compile(r"\{([a-z])(\d)\}")
_SPREAD = {"area": ("value", "unit"), "length": ("value", "unit"), "where": ("place", "part")}
_CHANGES = frozenset(
    (
        "extract",
        "refine",
        "show",
        "hide",
        "rename",
        "delete",
        "colour",
        "reset",
        "back_to",
        "change",
        "set_pixel_size",
        "set_bands",
    )
)
_ABOUT_A_LAYER = ("measure", "count", "locate", "describe", "explain")


@dataclass(frozen=True)
class SaidTurn:
    """One turn as it was said: the state before it as the planning prompt shows it, the message, and its plan."""

    message: str
    layers: str
    last: dict[str, Any] | None
    plan: dict[str, Any]


@lru_cache
def conversations(language: str) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """All written conversations of a language: turns of `say` and `plan`. Raises FileNotFoundError."""
    paths = sorted(FOLDER.glob(f"{language}_*.yaml"))
    if not paths:
        raise FileNotFoundError(f"There are no conversations in the language {language} in {FOLDER.name}/.")
    loaded = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return tuple(tuple(turns) for file in loaded for turns in file["conversations"])


def replay(rng: random.Random, language: str, turns: tuple[Mapping[str, Any], ...]) -> Iterator[SaidTurn]:
    """Every turn of a conversation, its slots filled by the seed."""
    talk, state = _Talk(Speaker(rng, phrasebook(language)), turns), _State(rng)
    last: dict[str, Any] | None = None
    for turn in turns:
        plan = talk.plan(turn["plan"])
        yield SaidTurn(talk.say(turn["say"]), state.in_short(), last, plan)
        last = state.apply(plan)


class _Talk:
    """The values of a conversation's slots, drawn when they are first met."""

    def __init__(self, speaker: Speaker, turns: tuple[Mapping[str, Any], ...]) -> None:
        self._speaker = speaker
        self._values: dict[str, Any] = {}
        self._words: dict[str, str] = {}
        text = str([turn["plan"] for turn in turns])
        covers = [cover for cover in speaker.land_covers if f"'{cover}'" not in text]
        self._covers = speaker.rng.sample(covers, len(covers))
        self._covers += [cover for cover in speaker.land_covers if cover not in covers]

    def say(self, wording: str) -> str:
        """The message, its slots in words."""
        return _SLOT.sub(lambda slot: self._word(slot[1], slot[2]), wording)

    def plan(self, written: Any) -> Any:
        """The plan, its slots as values."""
        if isinstance(written, dict):
            filled: dict[str, Any] = {}
            for key, value in written.items():
                found = self.plan(value)
                filled |= found if key in _SPREAD and isinstance(found, dict) else {key: found}
            return filled
        if isinstance(written, list):
            return [self.plan(item) for item in written]
        slot = _SLOT.fullmatch(written) if isinstance(written, str) else None
        return self._value(slot[1], slot[2]) if slot else written

    def _value(self, kind: str, number: str) -> Any:
        name = f"{'c' if kind == 't' else kind}{number}"
        if name not in self._values:
            self._values[name], self._words[name] = self._draw(kind)
        return self._values[name]

    def _word(self, kind: str, number: str) -> str:
        value = self._value(kind, number)
        if kind == "c":
            return self._speaker.say("covers", value)
        return self._speaker.layer(value) if kind == "t" else self._words[f"{kind}{number}"]

    def _draw(self, kind: str) -> tuple[Any, str]:
        speaker = self._speaker
        if kind in "ct":
            return (self._covers or speaker.land_covers).pop(0), ""
        if kind in "as":
            words, value, unit = speaker.area() if kind == "a" else speaker.length()
            return {"value": value, "unit": unit}, words
        if kind == "w":
            words, where = speaker.place()
            return where, words
        if kind == "n":
            many = int(speaker.pick(speaker.book.keys("number_words")))
            return many, speaker.pick((str(many), speaker.book.pick(speaker.rng, "number_words", many)))
        if kind == "v":
            level = speaker.level()
            return level, speaker.number(level)
        if kind == "k":
            colour = speaker.pick(speaker.book.keys("colours") or speaker.colours)
            return colour, speaker.colour(colour)
        word = {"i": speaker.index, "x": speaker.own_name}[kind]()
        while kind == "x" and word in self._values.values():
            word = speaker.own_name()
        return word, word


_Steps = tuple[dict[str, Any], ...]
_Layers = dict[str, tuple[int, _Steps]]
"""By name: how many regions a layer has, and the steps that it went through."""
_Moment = tuple[_Layers, str | None]


@dataclass
class _State:
    """The layers of a conversation that is replayed, with what undo and redo need."""

    rng: random.Random
    layers: _Layers = field(default_factory=dict)
    active: str | None = None
    last_intent: str | None = None
    past: list[_Moment] = field(default_factory=list)
    future: list[_Moment] = field(default_factory=list)
    after: list[_Moment] = field(default_factory=list)

    def in_short(self) -> str:
        return layers_in_short((name, count, name == self.active) for name, (count, _) in self.layers.items())

    def apply(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Let a plan happen, and return it as the chat resolves it."""
        resolved = self._resolve(plan)
        before = (dict(self.layers), self.active)
        intent = resolved["intent"]
        if intent in ("undo", "redo"):
            self._step(*((self.past, self.future) if intent == "undo" else (self.future, self.past)))
        elif intent == "back_to":
            self._restore(self.after[resolved["turn"] - 1] if 0 < resolved["turn"] <= len(self.after) else ({}, None))
        else:
            if resolved.get("correction") and self.past:
                self._step(self.past, [])
                before = (dict(self.layers), self.active)
            self._change(intent, resolved)
        if intent in _CHANGES:
            self.past.append(before)
            self.future.clear()
        self.after.append((dict(self.layers), self.active))
        self.last_intent = intent
        return resolved

    def _resolve(self, plan: dict[str, Any]) -> dict[str, Any]:
        target = plan.get("target")
        unknown = target is not None and target not in self.layers
        if unknown and plan["intent"] in _ABOUT_A_LAYER and target in phrasebook("en").keys("covers"):
            return {"intent": "extract", "land_covers": [target]}
        if plan["intent"] == "refine" and plan.get("correction"):
            # Said anew it is about the layer that is active now; after an extraction there is nothing to take back.
            if self.last_intent in (None, "extract"):
                return {key: value for key, value in plan.items() if key != "correction"}
            return {"intent": "refine", "target": self.active, **plan} if self.active else plan
        return self._same_again(plan)

    def _same_again(self, plan: dict[str, Any]) -> dict[str, Any]:
        steps = self.layers[self.active][1] if self.active else ()
        if not steps or not any(step["op"] == "same_steps" for step in plan.get("steps", ())):
            return plan
        cover = plan["land_covers"][0] if plan["intent"] == "extract" else None
        if cover in self.layers:
            return {"intent": "refine", "target": cover, "steps": list(steps)}
        return {**plan, "steps": list(steps)}

    def _change(self, intent: str, plan: dict[str, Any]) -> None:
        name = plan.get("target") or self.active
        named = [layer for layer in self.layers if name in (layer, "all")]
        if intent == "extract":
            for cover in plan["land_covers"]:
                self._add(cover, plan.get("steps", ()))
        elif intent == "reset":
            self.layers, self.active = {}, None
        elif intent in ("show", "change") and len(named) == 1:
            self.active = named[0]
        elif intent == "rename" and named:
            self.layers = {plan["name"] if key == name else key: layer for key, layer in self.layers.items()}
            self.active = plan["name"] if name == self.active else self.active
        for layer in named:
            if intent == "refine":
                self.active, self.layers[layer] = layer, self._refined(*self.layers[layer], plan["steps"])
            elif intent == "delete":
                del self.layers[layer]
                self.active = next(reversed(self.layers), None) if layer == self.active else self.active

    def _add(self, cover: str, steps: Any) -> None:
        count = int(self.rng.expovariate(0.05)) + 1
        name, number = cover, 2
        while name in self.layers:
            name, number = f"{cover} {number}", number + 1
        self.active, self.layers[name] = name, self._refined(count, (), steps)

    def _refined(self, count: int, before: _Steps, steps: Any) -> tuple[int, _Steps]:
        for step in steps:
            if step["op"] in ("keep_largest", "keep_smallest"):
                count = min(count, step["count"])
            elif step["op"] in ("keep_rank", "keep_clicked"):
                count = 1
            elif step["op"] == "drop_largest":
                count = max(0, count - step["count"])
            elif step["op"] == "invert":
                count = self.rng.randrange(1, 8)
            elif step["op"].startswith(("keep", "drop", "index")) or step["op"] in NEEDS_OTHER:
                count = self.rng.randrange(max(1, count // 2), count + 1) if count else 0
        return count, (*before, *steps)

    def _step(self, source: list[Any], other: list[Any]) -> None:
        if source:
            other.append((dict(self.layers), self.active))
            self._restore(source.pop())

    def _restore(self, moment: _Moment) -> None:
        self.layers, self.active = dict(moment[0]), moment[1]
