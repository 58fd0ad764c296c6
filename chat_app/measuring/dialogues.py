"""Written dialogues: their file format, what was clicked and drawn in them, and what must hold after each turn.

A turn says what a person writes (`say`), the plans that are right (`means`), what was marked in the picture before
(`clicks`, and a `box` or a `polygon`, in shares of the image's height and width so that scenes can change), and what is
expected of the outcome (`expect`, see `Expected`):

    - say: not this one, that is a cloud shadow
      clicks: [[0.25, 0.4]]
      means: {intent: refine, steps: [{op: drop_clicked}]}
      expect: {layers: [water], mask: found}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationError, model_validator

from chat_app.acting.corrections import box_polygon
from chat_app.memory.arrays import BoolArray
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from chat_app.memory.turns import Turn
from chat_app.plan import Plan
from chat_app.steps import Compact

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Place = tuple[Share, Share]


class Between(Compact):
    """A number from `min` to `max`, both included."""

    min: StrictInt = 0
    max: StrictInt = 10**9


class Expected(Compact):
    """What must hold after a turn, whoever read its message; what is not given is not looked at, but for `error`.

    `layers` are all names in order, `active` is the name of the active layer (null: there is none), `regions` and
    `mask` are of the active layer: "found" holds a pixel, "empty" holds none; "same", "changed", "subset" and "superset"
    compare it with the same layer before the turn, "any" asks for nothing. `error` says whether the turn must fail,
    `asks` whether it must ask back with options, `reply_has` lists what the reply must hold, in any case.
    """

    layers: tuple[StrictStr, ...] | None = None
    active: StrictStr | None = None
    regions: StrictInt | Between | None = None
    mask: Literal["found", "empty", "same", "changed", "subset", "superset", "any"] | None = None
    error: StrictBool = False
    asks: StrictBool | None = None
    reply_has: tuple[StrictStr, ...] = ()


class DialogueTurn(Compact):
    """What a person marks and writes, the plans that are right, and what must hold of the outcome."""

    say: str
    means: Annotated[tuple[Plan, ...], Field(min_length=1)]
    expect: Expected = Expected()
    clicks: tuple[Place, ...] = ()
    box: tuple[Share, Share, Share, Share] | None = None
    polygon: Annotated[tuple[Place, ...], Field(min_length=3)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_one_plan_as_a_list(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("means"), dict):
            return {**values, "means": [values["means"]]}
        return values

    @model_validator(mode="after")
    def _check_drawing(self) -> DialogueTurn:
        if self.box is not None and self.polygon is not None:
            raise ValueError("a turn takes a box or a polygon, not both")
        return self

    def marks(self, shape: tuple[int, int]) -> Marks:
        """What is marked on a scene of (rows, columns), in pixels."""
        height, width = shape
        points = tuple(
            (min(int(row * height), height - 1), min(int(col * width), width - 1)) for row, col in self.clicks
        )
        corners = box_polygon(*self.box) if self.box is not None else self.polygon or ()
        return Marks(points, tuple((row * height, col * width) for row, col in corners))


@dataclass(frozen=True)
class Dialogue:
    """One conversation over a named scene; `held_out` ones were written without knowledge of the lessons."""

    name: str
    scene: str
    language: str
    held_out: bool
    turns: tuple[DialogueTurn, ...]


def load_dialogues(folder: Path) -> list[Dialogue]:
    """All dialogues of a folder tree; those below a folder `held_out` count as such. Raises ValueError for a bad file."""
    dialogues = []
    for path in sorted(folder.rglob("*.yaml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dialogues"]:
            turns = tuple(
                _read_turn(values, f"{path.name}, {entry['name']}, turn {number}")
                for number, values in enumerate(entry["turns"], start=1)
            )
            language = entry.get("language", "en")
            dialogues.append(Dialogue(entry["name"], entry["scene"], language, "held_out" in path.parts, turns))
    return dialogues


def _read_turn(values: Any, where: str) -> DialogueTurn:
    try:
        return DialogueTurn.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(str(part) for part in first["loc"]) or "the turn"
        raise ValueError(f"{where}: {what}: {first['msg']}") from error


def masks_of(session: Session) -> dict[str, BoolArray]:
    """The mask of each layer by the layer's id."""
    return {layer.id: session.extraction(layer).mask for layer in session.layers}


def broken_expectations(
    expected: Expected, turn: Turn, session: Session, before: Mapping[str, BoolArray]
) -> Iterator[str]:
    """What of a turn is not as a dialogue expects it; `before` are the masks that stood before it, as `masks_of` gives."""
    names = tuple(layer.name for layer in session.layers)
    if expected.layers is not None and names != expected.layers:
        yield f"layers are {list(names)}, expected {list(expected.layers)}"
    active = session.active_layer
    name = active.name if active is not None else None
    if "active" in expected.model_fields_set and name != expected.active:
        yield f"active is {name}, expected {expected.active}"
    if expected.regions is not None:
        wanted = expected.regions
        span = Between(min=wanted, max=wanted) if isinstance(wanted, int) else wanted
        count = len(session.regions(active)) if active is not None else None
        if count is None or not span.min <= count <= span.max:
            yield f"{'no layer' if count is None else f'{count} regions'}, expected {wanted}"
    if expected.mask is not None:
        mask = session.extraction(active).mask if active is not None else None
        states = _mask_states(mask, before.get(active.id) if active is not None else None)
        if expected.mask not in states:
            yield f"the mask is {' and '.join(sorted(states - {'any'})) or 'not there'}, expected {expected.mask}"
    if expected.error != (turn.error is not None):
        yield "no error, expected one" if expected.error else f"an error: {turn.error}"
    if expected.asks is not None and expected.asks != bool(turn.options):
        yield "no question back" if expected.asks else f"a question back: {turn.reply}"
    for word in expected.reply_has:
        if word.lower() not in turn.reply.lower():
            yield f"the reply lacks '{word}'"


def _mask_states(mask: BoolArray | None, before: BoolArray | None) -> set[str]:
    """All words that are true of a layer's mask; without a layer nothing has changed."""
    if mask is None:
        return {"any", "same"}
    states = {"any", "found" if mask.any() else "empty"}
    if before is not None:
        equal = bool(np.array_equal(mask, before))
        inside, around = not (mask & ~before).any(), not (before & ~mask).any()
        states |= {"same" if equal else "changed", *(("subset",) if inside else ()), *(("superset",) if around else ())}
    return states
