"""Read a message: plain commands by rules, everything looser by the language model, both checked before they count."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chat_app.errors import LayerNotFound, PlanError
from chat_app.memory.session import Session
from chat_app.memory.turns import ReaderName
from chat_app.plan import ALL_LAYERS, MAX_STEPS, Plan, narrowed_schema, plan_schema, read_plan_json
from chat_app.prompts import render
from chat_app.reading.commands import LayerView, read_command
from chat_app.reading.local_units import in_square_metres
from chat_app.reading.repair import repair
from chat_app.reading.spelling import mend
from chat_app.settings import Settings
from chat_app.turn_state import ANSWERED
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.gist import Gist, sketch_of
from spex_model.model.planning_prompt import layers_in_short, plan_in_short
from spex_model.serving.errors import ServingError
from spex_model.serving.protocol import Runtime

log = logging.getLogger(__name__)

_PICKS = (
    ("1", "first", "the first", "the first one", "yes", "yes please", "ja", "ja bitte", "das erste", "oui", "le premier",
     "la première", "sí", "si", "el primero", "la primera", "是", "是的", "对", "好", "好的", "第一个"),
    ("2", "second", "the second", "the second one", "das zweite", "le deuxième", "la deuxième", "le second",
     "la seconde", "el segundo", "la segunda", "第二个"),
)  # fmt: skip
"""Short answers to a question, by the option that they choose."""
_SURE, _DOUBTFUL, _SURER = 0.6, 0.1, 0.7
"""The gist overrules a plan that it thinks doubtful if it is sure, and helps out where there is none to use if it is surer."""
_ABOUT_A_LAYER = ("measure", "count", "locate", "describe", "explain")


@dataclass(frozen=True)
class Reading:
    """What a message was taken to mean, and who read it; `trouble` says why the model could not help."""

    plan: Plan
    reader: ReaderName
    trouble: str = ""


def view_layers(session: Session) -> list[LayerView]:
    """The session's layers as the readers see them."""
    active = session.active_layer
    return [
        LayerView(
            layer.name, layer.land_cover, len(session.regions(layer)), active is not None and layer.id == active.id
        )
        for layer in session.layers
    ]


def read_message(message: str, session: Session, runtime: Runtime | None, settings: Settings) -> Reading:
    """The plan of a message. Never raises for what a user can type: what nobody can read becomes a question back."""
    layers = view_layers(session)
    answered = _chosen_option(message, session)
    last = _last_plan(session)
    message = in_square_metres(message)
    mended = mend(message, (layer.name for layer in layers))
    for said in dict.fromkeys((answered or message, mended)) if settings.use_rules else ():
        if (plan := read_command(said, layers, last)) is not None:
            return Reading(resolve(plan, session), "rules")
    trouble = ""
    if settings.use_model_planner and runtime is not None:
        try:
            plan, reader = _considered(mended, layers, last, runtime, settings)
            return Reading(resolve(plan, session), reader)
        except (ServingError, PlanError) as error:
            trouble = str(error)
            log.info("the model's plan could not be used: %s", error)
    return Reading(_ask_back(session), "none", trouble)


def _considered(
    message: str, layers: list[LayerView], last: Plan | None, runtime: Runtime, settings: Settings
) -> tuple[Plan, ReaderName]:
    """The model's plan, held to the message; where the gist speaks against it, what the model makes of that gist.

    Raises ServingError, or PlanError where nothing can be made of either.
    """
    planned = first = trouble = None
    try:
        planned = ask_model(message, layers, last, runtime, settings)
        first = repair(planned, message, layers, last)
    except PlanError as error:
        trouble = error
    sketch = _other_sketch(planned, first is not None, message, layers, last) if settings.use_gist else None
    if sketch is not None:
        try:
            second = ask_model(message, layers, last, runtime, settings, sketch=sketch)
            return repair(second, message, layers, last), "gist"
        except (ServingError, PlanError) as error:
            log.info("no plan could be made of the gist %s: %s", sketch, error)
    if first is None:
        assert trouble is not None
        raise trouble
    return first, "model"


def _other_sketch(
    planned: Plan | None, usable: bool, message: str, layers: list[LayerView], last: Plan | None
) -> str | None:
    """The gist of a message, where it is another than that of the model's plan and likelier; else None."""
    told = _gist().read(message, _layers_in_short(layers), _last_in_short(last))
    sketch = max(told, key=told.__getitem__)
    in_plan = sketch_of(planned.to_dict()) if planned is not None else ""
    if sketch == in_plan:
        return None
    if not usable:
        return sketch if told[sketch] >= _SURER else None
    return sketch if told[sketch] >= _SURE and told.get(in_plan, 0.0) < _DOUBTFUL else None


@lru_cache(maxsize=1)
def _gist() -> Gist:
    return Gist.load()


def _chosen_option(message: str, session: Session) -> str | None:
    """The option of the question just asked that a short answer picks: its number, or "yes" for the first."""
    last = session.turns[-1] if session.turns else None
    if last is None or last.plan is None or last.plan.intent != "clarify":
        return None
    said = message.strip().rstrip(".!。！").casefold()
    return next((option for option, words in zip(last.options, _PICKS, strict=False) if said in words), None)


def _last_plan(session: Session) -> Plan | None:
    return session.turns[-1].plan if session.turns else None


def ask_model(
    message: str,
    layers: Iterable[LayerView],
    last: Plan | None,
    runtime: Runtime,
    settings: Settings,
    *,
    sketch: str | None = None,
) -> Plan:
    """The language model's plan, held to the schema while it is written, or to one gist. Raises PlanError or ServingError."""
    prompt = plan_prompt(message, layers, last, settings.prompts_dir)
    schema = plan_schema() if sketch is None else narrowed_schema(sketch)
    answer = runtime.generate(None, prompt, max_tokens=settings.max_plan_tokens, json_schema=schema)
    with answer:
        text = answer.read()
    return read_plan_json(text)


def plan_prompt(message: str, layers: Iterable[LayerView], last: Plan | None = None, folder: Path | None = None) -> str:
    """prompts/plan.md filled for a message: the layers, the plan of the turn before, and the message on one line.

    That is all that the language model sees of a conversation, so its window stays small however long they talk.
    """
    standing, before = _layers_in_short(layers), _last_in_short(last)
    return render("plan", folder, layers=standing, last=before, message=" ".join(message.split()))


def _layers_in_short(layers: Iterable[LayerView]) -> str:
    return layers_in_short((layer.name, layer.regions, layer.active) for layer in layers)


def _last_in_short(last: Plan | None) -> str:
    return plan_in_short(last.said() if last is not None else None)


def resolve(plan: Plan, session: Session) -> Plan:
    """Names as the session has them, and "the same steps" as the steps themselves.

    A question about a land cover that has no layer yet becomes its extraction. A name that nothing goes by stays;
    whoever acts on it says so.
    """
    values: dict[str, Any] = dict(plan)
    for key in ("target", "other"):
        name = values[key]
        if name is None or name.casefold() == ALL_LAYERS:
            continue
        try:
            values[key] = session.find_layer(name).name
        except LayerNotFound:
            if key == "target" and name in LAND_COVERS and plan.intent in _ABOUT_A_LAYER:
                return Plan(intent="extract", land_covers=(name,))
    if plan.correction:
        values |= _corrected(plan, session)
    if any(step.op == "same_steps" for step in plan.steps):
        return _same_again(values, session)
    return Plan.model_validate(_given(values))


def _corrected(plan: Plan, session: Session) -> dict[str, Any]:
    """A correction takes back what the turn before changed; after an answer or a failure there is nothing to take back.

    A refinement said anew is about the layer that is active now; said of an extraction, it goes on from that.
    """
    last = _last_plan(session)
    if last is None or last.intent in ANSWERED or not session.can_correct:
        return {"correction": None}
    if plan.intent == "extract":
        return {}
    if last.intent == "extract":
        return {"correction": None}
    active = session.active_layer
    return {"target": plan.target or (active.name if active else None)}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, ())}


def _same_again(values: dict[str, Any], session: Session) -> Plan:
    """The steps of the active layer for another land cover: on its layer where there is one, else on a new one.

    More of them than a plan holds stay "the same steps"; whoever acts on it looks them up.
    """
    steps = session.extraction(session.active_layer).steps if session.active_layer else ()
    covers = values["land_covers"]
    layer = next((layer for layer in reversed(session.layers) if covers and layer.land_cover == covers[0]), None)
    if values["intent"] == "extract" and layer is not None and steps:
        values = {"intent": "refine", "target": layer.name, "steps": values["steps"]}
    if len(steps) > MAX_STEPS or (values["intent"] == "refine" and not steps):
        return Plan.model_validate(_given(values))
    return Plan.model_validate({**_given(values), "steps": steps})


def _ask_back(session: Session) -> Plan:
    question = "I am not sure what you mean. Do you want one of these?"
    if session.layers:
        name = session.active_layer.name if session.active_layer else session.layers[-1].name
        options = ("Only the biggest one", f"How big is the {name} layer?", "Undo", "Help")
    else:
        options = ("Show me the water", "Show me the vegetation", "Show me the buildings", "Help")
    return Plan(intent="clarify", question=question, options=options)
