"""What changes layers or the image's description without the model: refine, show, hide, rename, undo and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chat_app.acting.painting import correction_words, painter
from chat_app.acting.refine import refine
from chat_app.answering import explain, facts
from chat_app.answering.explain import rank_words
from chat_app.answering.marked_words import why_in_vain
from chat_app.errors import StepError
from chat_app.files.export import export_layer
from chat_app.memory.marks import CORRECTIONS
from chat_app.memory.session import Session
from chat_app.outcome import Outcome
from chat_app.plan import Plan
from chat_app.steps import RefinementStep
from spex_model.serving.protocol import Runtime

_STEP_WORDS = {
    "keep_largest": "Kept the {count} largest regions", "keep_smallest": "Kept the {count} smallest regions", "keep_rank": "Kept the {rank} region",
    "drop_largest": "Removed the {count} largest regions", "drop_smaller": "Dropped regions smaller than {amount}", "drop_larger": "Dropped regions larger than {amount}",
    "keep_place": "Kept the regions in the {part}", "drop_place": "Removed the regions in the {part}", "grow": "Grown by {amount}", "shrink": "Shrunk by {amount}",
    "merge_close": "Merged pieces closer than {amount}", "smooth": "Smoothed", "fill_holes": "Filled the holes", "invert": "Inverted",
    "stricter": "Raised the threshold", "looser": "Lowered the threshold", "keep_shape": "Kept the {shape} regions", "index_above": "Kept where {index} is above {value}",
    "index_below": "Kept where {index} is below {value}", "union": "Added {layer}", "intersect": "Kept the overlap with {layer}", "subtract": "Subtracted {layer}",
    "near": "Kept regions within {amount} of {layer}", "far": "Kept regions farther than {amount} from {layer}", "keep_clicked": "Kept what you clicked",
    "drop_clicked": "Removed what you clicked", "add_here": "Added where you clicked", "remove_here": "Removed where you clicked",
    "keep_inside": "Kept what lies inside your drawing", "drop_inside": "Removed what lies inside your drawing", "add_inside": "Added the likelier pixels inside your drawing",
}  # fmt: skip
_UNIT_WORDS = {"percent": "% of the image", "m2": "m²", "km2": "km²", "px": "pixels"}


def step_words(step: RefinementStep) -> str:
    """A step as a person reads it: "Dropped regions smaller than 0.5 ha"."""
    values = step.model_dump()
    if "unit" in values:
        one_pixel = values["unit"] == "px" and values["value"] == 1
        unit = "pixel" if one_pixel else _UNIT_WORDS.get(values["unit"], values["unit"])
        values["amount"] = f"{values['value']:g} {unit}"
    if "place" in values:
        values["part"] = f"{values['place']} third" if values["part"] == "third" else values["place"]
    if "value" in values:
        values["value"] = f"{values['value']:g}"
    if "rank" in values:
        values["rank"] = rank_words(values["rank"])
    words = _STEP_WORDS[step.op].format(**values)
    return words.replace("the 1 ", "the ").replace("regions", "region") if values.get("count") == 1 else words


@contextmanager
def correcting(plan: Plan, session: Session) -> Iterator[str]:
    """Take the last change back first where the plan corrects it; gives the words for that, "" where it does not.

    An exception puts everything back as it was.
    """
    if not (plan.correction and session.can_undo):
        yield ""
        return
    with session.correction() as label:
        yield f"Took back the last change ({label}). "


def steps_meant(plan: Plan, session: Session) -> tuple[RefinementStep, ...]:
    """The steps of a plan, where "the same steps" are those of the active layer."""
    if session.active_layer is not None and any(step.op == "same_steps" for step in plan.steps):
        return session.extraction(session.active_layer).steps or plan.steps
    return plan.steps


def apply_refinement(plan: Plan, session: Session, runtime: Runtime | None = None) -> Outcome:
    """Refine the layers that are meant, all of them or none. Raises StepError, LayerNotFound or ImagingError.

    The runtime is asked for the steps that the decoder can answer.
    """
    steps, paint = steps_meant(plan, session), painter(session, runtime)
    replies, changed = [], []
    label = " and ".join(step.op.replace("_", " ") for step in steps)
    with correcting(plan, session) as taken_back, session.change(label):
        for layer in session.find_layers(plan.target):
            before, extraction = facts.layer_facts(session, layer), session.extraction(layer)
            refined = refine(extraction, steps, session, paint)
            layer = session.replace_extraction(layer, refined)
            after = facts.layer_facts(session, layer)
            what = ", then ".join(
                words if number == 0 else words[:1].lower() + words[1:]
                for number, words in enumerate(map(step_words, steps))
            )
            why = why_in_vain(steps, extraction.mask, refined.mask, layer.name, session.scene.valid)
            replies.append(explain.change_words(before, after, what, why))
            if any(step.op in CORRECTIONS for step in steps) and before["pixels"] != after["pixels"]:
                replies.append(correction_words(extraction, refined))
            changed.append((layer.id, after))
    found = changed[0][1] if len(changed) == 1 else {"layers": {measured["layer"]: measured for _, measured in changed}}
    return Outcome(taken_back + " ".join(replies), found, tuple(layer_id for layer_id, _ in changed))


def _visible(visible: bool) -> Callable[[Plan, Session], Outcome]:
    def act(plan: Plan, session: Session) -> Outcome:
        layers = session.find_layers(plan.target)
        with session.change("show" if visible else "hide"):
            for layer in layers:
                session.update_layer(layer, visible=visible, activate=visible and len(layers) == 1)
        names = " and ".join(layer.name for layer in layers)
        verb = "are" if len(layers) > 1 else explain.agreeing(names, "is", "are")
        return Outcome(
            f"{names.capitalize()} {verb} {'shown' if visible else 'hidden'}.",
            changed=tuple(layer.id for layer in layers),
        )

    return act


def _rename(plan: Plan, session: Session) -> Outcome:
    layer = session.find_layer(plan.target)
    with session.change("rename"):
        renamed = session.update_layer(layer, name=plan.name)
    return Outcome(f'The layer {layer.name} is now called "{renamed.name}".', changed=(layer.id,))


def _colour(plan: Plan, session: Session) -> Outcome:
    layer = session.find_layer(plan.target)
    with session.change("colour"):
        session.update_layer(layer, colour=plan.colour)
    return Outcome(
        f"{layer.name.capitalize()} {explain.agreeing(layer.name, 'is', 'are')} drawn in {plan.colour} now.",
        changed=(layer.id,),
    )


def _delete(plan: Plan, session: Session) -> Outcome:
    layers = session.find_layers(plan.target)
    with session.change("delete"):
        for layer in layers:
            session.delete_layer(layer)
    names = " and ".join(layer.name for layer in layers)
    return Outcome(f'Deleted {names}. Say "undo" to get it back.')


def _undo(plan: Plan, session: Session) -> Outcome:
    label = session.undo()
    return _state_after(session, f"Took back the last change ({label}).")


def _redo(plan: Plan, session: Session) -> Outcome:
    label = session.redo()
    return _state_after(session, f"Did it again ({label}).")


def _reset(plan: Plan, session: Session) -> Outcome:
    with session.change("reset"):
        session.clear_layers()
    return Outcome('All layers are cleared. Say "undo" to get them back.')


def _back_to(plan: Plan, session: Session) -> Outcome:
    number = plan.turn or 0
    with session.change(f"back to turn {number}"):
        session.back_to_turn(number)
    return _state_after(session, f"Everything is as it was after turn {number}.")


def _state_after(session: Session, what: str) -> Outcome:
    layer = session.active_layer
    if layer is None:
        return Outcome(f"{what} There is no layer now.")
    found = facts.layer_facts(session, layer)
    size = explain.area_words(found["area_m2"], found["pixels"])
    return Outcome(
        f"{what} {layer.name.capitalize()} {explain.agreeing(layer.name, 'has', 'have')} {size} in {explain.regions_words(found['regions'])}.",
        found,
        (layer.id,),
    )


def _pixel_size(plan: Plan, session: Session) -> Outcome:
    with session.change("pixel size"):
        session.set_pixel_size(float(plan.value or 0))
    reply = f"One pixel is {plan.value:g} m wide from now on, so areas come in hectares and square metres."
    layer = session.active_layer
    if layer is None:
        return Outcome(reply)
    found = facts.layer_facts(session, layer)
    return Outcome(f"{reply} {explain.measure_words(found)}", found)


def _bands(plan: Plan, session: Session) -> Outcome:
    with session.change("bands"):
        session.set_bands(plan.bands)
    return Outcome(
        f"The bands are {', '.join(session.scene.bands)} from now on. Layers that stand were made before that; ask again to redo them."
    )


_ACTIONS: dict[str, Callable[[Plan, Session], Outcome]] = {
    "show": _visible(True), "hide": _visible(False), "rename": _rename, "colour": _colour, "delete": _delete, "undo": _undo, "redo": _redo,
    "reset": _reset, "back_to": _back_to, "set_pixel_size": _pixel_size, "set_bands": _bands,
}  # fmt: skip


def act(plan: Plan, session: Session, exports: Path) -> Outcome:
    """Do what a plan asks for. Raises StepError, LayerNotFound or ImagingError with a sentence, and then nothing has changed."""
    if plan.intent == "export":
        return _export(plan, session, exports)
    if plan.intent not in _ACTIONS:
        raise StepError(f"I don't know how to {plan.intent.replace('_', ' ')}.")
    return _ACTIONS[plan.intent](plan, session)


def _export(plan: Plan, session: Session, exports: Path) -> Outcome:
    files: dict[str, Any] = {}
    for layer in session.find_layers(plan.target):
        files[layer.name] = str(export_layer(session, layer, exports, plan.format or "geotiff"))
    names = ", ".join(Path(path).name for path in files.values())
    return Outcome(f"Saved as {names}; the download buttons give every format.", {"files": files})
