"""What a message means: intents and the plan, with its JSON form and schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from chat_app.errors import PlanError
from chat_app.steps import AreaUnit, Compact, Count, LayerName, RefinementStep, plain_value, step_to_dict

LandCover = Literal["water", "vegetation", "trees", "buildings", "bare soil"]
Colour = Literal[
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "grey", "white", "black"
]
ExportFormat = Literal["geotiff", "geojson", "png", "gpkg"]
Quantity = Literal["area", "share", "perimeter", "mean_area", "index", "distance", "condition"]
Intent = Literal[
    "extract", "refine", "measure", "count", "locate", "list", "describe", "explain", "compare", "change", "show", "hide",
    "rename", "delete", "colour", "export", "undo", "redo", "reset", "back_to", "set_pixel_size", "set_bands", "help",
    "small_talk", "out_of_scope", "clarify",
]  # fmt: skip

INTENTS: tuple[str, ...] = get_args(Intent)
COLOURS: tuple[str, ...] = get_args(Colour)
ALL_LAYERS = "all"
MAX_STEPS = 8

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
    "change": ("target",),
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


class Plan(Compact):
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
    steps: Annotated[tuple[RefinementStep, ...], Field(max_length=MAX_STEPS)] = ()
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
            name: [step_to_dict(step) for step in value] if name == "steps" else plain_value(value)
            for name in type(self).model_fields
            if (value := getattr(self, name)) not in (None, ())
        }

    def said(self) -> dict[str, Any]:
        """The plan as `to_dict` has it, without what was marked in the picture: that is no business of a reader."""
        values = self.to_dict()
        if self.steps:
            steps = values["steps"]
            values["steps"] = [{name: step[name] for name in step if name not in _FILLED_IN} for step in steps]
        return values

    def to_json(self) -> str:
        """The compact JSON that the language model writes: `{"intent":"extract","land_covers":["water"]}`."""
        return json.dumps(self.said(), separators=(",", ":"), ensure_ascii=False)


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


def narrowed_schema(sketch: str) -> dict[str, Any]:
    """The schema of plans with one gist alone, given as `spex_model.model.gist.sketch_of` writes it.

    Raises PlanError for an intent or a step that there is not.
    """
    intent, *asked = sketch.split()
    schema = plan_schema()
    chosen = next((one for one in schema["anyOf"] if intent in one["properties"]["intent"]["enum"]), None)
    if chosen is None:
        raise PlanError(f"There is no intent {intent}.")
    fields = {**chosen["properties"], "intent": {"enum": [intent]}}
    needed = list(chosen["required"])
    if intent == "refine":
        steps = [step for op in dict.fromkeys(asked) for step in _steps_of(schema["$defs"], op)]
        fields["steps"] = {"type": "array", "items": {"anyOf": steps}, "minItems": len(asked), "maxItems": len(asked)}
    elif intent == "extract":
        steps = fields.pop("steps")
        if asked:
            fields["steps"] = _filled(steps)
            needed.append("steps")
    elif intent == "measure":
        fields["quantity"] = {"enum": asked}
        if asked == ["area"]:
            del fields["quantity"]
        else:
            needed.append("quantity")
    order = list(Plan.model_fields)
    fields = {name: fields[name] for name in sorted(fields, key=order.index)}
    return {
        "type": "object",
        "properties": fields,
        "required": sorted(needed, key=order.index),
        "additionalProperties": False,
        "$defs": schema["$defs"],
    }


def _steps_of(definitions: dict[str, Any], op: str) -> list[dict[str, Any]]:
    """References to the steps of a name. Raises PlanError where there is none."""
    found = [
        {"$ref": f"#/$defs/{name}"}
        for name, spec in definitions.items()
        if spec.get("properties", {}).get("op", {}).get("const") == op
    ]
    if not found:
        raise PlanError(f"There is no step {op}.")
    return found


def _filled(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "minItems": 1} if spec.get("type") == "array" else spec


_DROPPED = {
    "title", "description", "default", "discriminator", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip
_FILLED_IN = frozenset({"points", "polygon"})
"""Fields of steps that the chat fills in with what was marked in the picture; the language model never sees them."""


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
            tidied[key] = {name: _tidy(item) for name, item in value.items() if name not in _FILLED_IN}
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
