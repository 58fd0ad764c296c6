"""What a message means: intents, refinement steps and the plan, with their JSON form and schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chat_app.errors import PlanError

LandCover = Literal["water", "vegetation", "trees", "buildings", "bare soil"]
AreaUnit = Literal["m2", "ha", "km2", "acres", "px", "percent"]
LengthUnit = Literal["m", "px"]
Place = Literal[
    "north", "south", "east", "west", "north-east", "north-west", "south-east", "south-west",
    "center", "top", "bottom", "left", "right",
]  # fmt: skip
Part = Literal["half", "third"]
Shape = Literal["elongated", "round"]
Colour = Literal[
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "grey", "white", "black"
]
ExportFormat = Literal["geotiff", "geojson", "png", "gpkg"]
Quantity = Literal["area", "share", "perimeter", "mean_area", "index", "distance", "condition"]
Intent = Literal[
    "extract", "refine", "measure", "count", "locate", "list", "describe", "explain", "compare", "show", "hide",
    "rename", "delete", "colour", "export", "undo", "redo", "reset", "back_to", "set_pixel_size", "set_bands", "help",
    "small_talk", "out_of_scope", "clarify",
]  # fmt: skip

INTENTS: tuple[str, ...] = get_args(Intent)
PLACES: tuple[str, ...] = get_args(Place)
COLOURS: tuple[str, ...] = get_args(Colour)
ALL_LAYERS = "all"

LayerName = Annotated[str, Field(min_length=1, max_length=40)]
Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class _Compact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeepLargest(_Compact):
    """Keep the `count` largest regions."""

    op: Literal["keep_largest"] = "keep_largest"
    count: Count


class KeepSmallest(_Compact):
    """Keep the `count` smallest regions."""

    op: Literal["keep_smallest"] = "keep_smallest"
    count: Count


class KeepRank(_Compact):
    """Keep the region of this rank by area, 1 = largest."""

    op: Literal["keep_rank"] = "keep_rank"
    rank: Count


class DropLargest(_Compact):
    """Remove the `count` largest regions."""

    op: Literal["drop_largest"] = "drop_largest"
    count: Count


class DropSmaller(_Compact):
    """Remove regions smaller than the value; percent is of the valid pixels."""

    op: Literal["drop_smaller"] = "drop_smaller"
    value: Positive
    unit: AreaUnit


class DropLarger(_Compact):
    """Remove regions larger than the value; percent is of the valid pixels."""

    op: Literal["drop_larger"] = "drop_larger"
    value: Positive
    unit: AreaUnit


class KeepPlace(_Compact):
    """Keep regions whose centroid lies in that half or third of the image; with `cut`, keep the pixels in it."""

    op: Literal["keep_place"] = "keep_place"
    place: Place
    part: Part = "half"
    cut: bool = False


class DropPlace(_Compact):
    """Remove regions whose centroid lies in that half or third of the image; with `cut`, the pixels in it."""

    op: Literal["drop_place"] = "drop_place"
    place: Place
    part: Part = "half"
    cut: bool = False


class Grow(_Compact):
    """Grow the mask outwards by a distance."""

    op: Literal["grow"] = "grow"
    value: Positive
    unit: LengthUnit


class Shrink(_Compact):
    """Take a border of this width off the mask."""

    op: Literal["shrink"] = "shrink"
    value: Positive
    unit: LengthUnit


class MergeClose(_Compact):
    """Join pieces that are closer than a distance."""

    op: Literal["merge_close"] = "merge_close"
    value: Positive
    unit: LengthUnit


class Smooth(_Compact):
    """Smooth the outline and drop specks."""

    op: Literal["smooth"] = "smooth"


class FillHoles(_Compact):
    """Fill holes that the mask surrounds."""

    op: Literal["fill_holes"] = "fill_holes"


class Invert(_Compact):
    """Take everything valid that the mask leaves out."""

    op: Literal["invert"] = "invert"


class Stricter(_Compact):
    """Raise the threshold of the layer and apply its later steps again."""

    op: Literal["stricter"] = "stricter"


class Looser(_Compact):
    """Lower the threshold of the layer and apply its later steps again."""

    op: Literal["looser"] = "looser"


class KeepShape(_Compact):
    """Keep elongated or round regions."""

    op: Literal["keep_shape"] = "keep_shape"
    shape: Shape


class IndexAbove(_Compact):
    """Keep pixels where a spectral index is above a value."""

    op: Literal["index_above"] = "index_above"
    index: Annotated[str, Field(min_length=2, max_length=12)]
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class IndexBelow(_Compact):
    """Keep pixels where a spectral index is below a value."""

    op: Literal["index_below"] = "index_below"
    index: Annotated[str, Field(min_length=2, max_length=12)]
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Union(_Compact):
    """Add the pixels of another layer."""

    op: Literal["union"] = "union"
    layer: LayerName


class Intersect(_Compact):
    """Keep only pixels that another layer has too."""

    op: Literal["intersect"] = "intersect"
    layer: LayerName


class Subtract(_Compact):
    """Remove the pixels of another layer."""

    op: Literal["subtract"] = "subtract"
    layer: LayerName


class Near(_Compact):
    """Keep whole regions that come within a distance of another layer."""

    op: Literal["near"] = "near"
    layer: LayerName
    value: Positive
    unit: LengthUnit


class Far(_Compact):
    """Keep whole regions that stay farther than a distance from another layer."""

    op: Literal["far"] = "far"
    layer: LayerName
    value: Positive
    unit: LengthUnit


PixelPoint = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class KeepClicked(_Compact):
    """Keep the regions under clicked points (row, column); the chat fills in the points, never the reader."""

    op: Literal["keep_clicked"] = "keep_clicked"
    points: tuple[PixelPoint, ...] = ()


class DropClicked(_Compact):
    """Remove the regions under clicked points (row, column); the chat fills in the points, never the reader."""

    op: Literal["drop_clicked"] = "drop_clicked"
    points: tuple[PixelPoint, ...] = ()


class SameSteps(_Compact):
    """All steps that made the active layer ("same for the trees"); the chat puts those in its place."""

    op: Literal["same_steps"] = "same_steps"


RefinementStep = Annotated[
    KeepLargest | KeepSmallest | KeepRank | DropLargest | DropSmaller | DropLarger | KeepPlace | DropPlace
    | Grow | Shrink | MergeClose | Smooth | FillHoles | Invert | Stricter | Looser | KeepShape
    | IndexAbove | IndexBelow | Union | Intersect | Subtract | Near | Far | KeepClicked | DropClicked | SameSteps,
    Field(discriminator="op"),
]  # fmt: skip

# Which fields an intent takes; "!" marks those it needs.
_FIELDS: dict[str, tuple[str, ...]] = {
    "extract": ("land_covers!", "steps", "index", "correction"),
    "refine": ("target", "steps!", "correction"),
    "measure": ("target", "other", "quantity", "unit", "index"),
    "count": ("target",),
    "locate": ("target", "rank"),
    "describe": ("target",),
    "explain": ("target",),
    "compare": ("target", "other"),
    "show": ("target",),
    "hide": ("target",),
    "delete": ("target",),
    "rename": ("target", "name!"),
    "colour": ("target", "colour!"),
    "export": ("target", "format"),
    "back_to": ("turn!",),
    "set_pixel_size": ("value!",),
    "set_bands": ("bands!",),
    "clarify": ("question!", "options"),
}


class Plan(_Compact):
    """What a message asks for. Fields that an intent does not use must stay empty.

    `target` and `other` are layer names ("all" where every layer is meant); None is the active layer.
    `steps` of an extract are applied to the new layers. `value` is the pixel size in metres.
    `index` asks for an index mask instead of the model's, or names the index to be measured. `correction` takes
    the last change back first ("no, I meant the river"). `turn` is the turn after which things shall be again.
    """

    intent: Intent
    land_covers: Annotated[tuple[LandCover, ...], Field(max_length=5)] = ()
    target: LayerName | None = None
    other: LayerName | None = None
    steps: Annotated[tuple[RefinementStep, ...], Field(max_length=8)] = ()
    index: Annotated[str, Field(min_length=2, max_length=12)] | None = None
    correction: bool | None = None
    quantity: Quantity | None = None
    unit: AreaUnit | None = None
    rank: Count | None = None
    turn: Annotated[int, Field(ge=0, le=100_000)] | None = None
    value: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None
    name: LayerName | None = None
    colour: Colour | None = None
    format: ExportFormat | None = None
    bands: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=20)], ...], Field(max_length=64)] = ()
    question: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    options: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=60)], ...], Field(max_length=4)] = ()

    @model_validator(mode="after")
    def _check_fields(self) -> Plan:
        allowed = _FIELDS.get(self.intent, ())
        given = {name for name in type(self).model_fields if name != "intent" and getattr(self, name) not in (None, ())}
        missing = [name[:-1] for name in allowed if name.endswith("!") and name[:-1] not in given]
        if missing:
            raise ValueError(f"a plan to {self.intent} needs {' and '.join(missing)}")
        extra = sorted(given - {name.rstrip("!") for name in allowed})
        if extra:
            raise ValueError(f"a plan to {self.intent} takes no {' or '.join(extra)}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, defaults left out, `op` of every step kept."""
        return {
            name: [_step_dict(step) for step in value] if name == "steps" else _plain(value)
            for name in type(self).model_fields
            if (value := getattr(self, name)) not in (None, ())
        }

    def to_json(self) -> str:
        """The compact JSON that the language model writes: `{"intent":"extract","land_covers":["water"]}`."""
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _step_dict(step: BaseModel) -> dict[str, Any]:
    fields = type(step).model_fields
    return {
        name: _plain(getattr(step, name))
        for name in fields
        if name == "op" or fields[name].is_required() or getattr(step, name) != fields[name].default
    }


def step_to_dict(step: RefinementStep) -> dict[str, Any]:
    """One step as plain values, defaults left out: `{"op": "grow", "value": 20, "unit": "m"}`."""
    return _step_dict(step)


def plan_schema() -> dict[str, Any]:
    """JSON schema of the compact form, one alternative per group of intents with the same fields.

    Keys stand in the order in which the language model writes them. Number ranges are left to `read_plan_json`,
    since not every grammar backend takes them.
    """
    full = Plan.model_json_schema()
    fields = {name: _tidy(spec) for name, spec in full["properties"].items()}
    groups: dict[tuple[str, ...], list[str]] = {}
    for intent in INTENTS:
        groups.setdefault(_FIELDS.get(intent, ()), []).append(intent)
    order = list(Plan.model_fields)
    alternatives = []
    for allowed, intents in groups.items():
        names = sorted((name.rstrip("!") for name in allowed), key=order.index)
        required = [name for name in names if f"{name}!" in allowed]
        specs = {name: _filled(fields[name]) if name in required else fields[name] for name in names}
        alternatives.append(
            {
                "type": "object",
                "properties": {"intent": {"enum": intents}, **specs},
                "required": ["intent", *required],
                "additionalProperties": False,
            }
        )
    return {"anyOf": alternatives, "$defs": {name: _tidy(spec) for name, spec in full["$defs"].items()}}


def _filled(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "minItems": 1} if spec.get("type") == "array" else spec


_DROPPED = {
    "title", "description", "default", "discriminator", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip


def _tidy(spec: Any) -> Any:
    """Leave out what a grammar backend does not need: titles, defaults, number ranges and null alternatives."""
    if isinstance(spec, list):
        return [_tidy(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    choices = [item for item in spec.get("anyOf", ()) if item != {"type": "null"}]
    if len(choices) == 1:
        return _tidy(choices[0])
    tidied: dict[str, Any] = {}
    for key, value in spec.items():
        if key == "properties":
            tidied[key] = {name: _tidy(item) for name, item in value.items()}
        elif key not in _DROPPED:
            tidied["anyOf" if key == "oneOf" else key] = _tidy(value)
    if "op" in tidied.get("properties", {}):
        tidied["required"] = ["op", *(name for name in tidied.get("required", []) if name != "op")]
        tidied["additionalProperties"] = False
    return tidied


def read_plan_json(text: str) -> Plan:
    """Parse a plan that the language model wrote; raises `PlanError` with what is wrong."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise PlanError(f"The plan is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise PlanError("The plan is not a JSON object.")
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "plan"
        raise PlanError(f"The plan doesn't hold to its schema at {where}: {first['msg']}.") from error
