"""Answers that change nothing: measured facts become words."""

from __future__ import annotations

from chat_app.answering import explain, facts
from chat_app.errors import StepError
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session
from chat_app.outcome import Outcome
from chat_app.plan import Plan

HELP = (
    "I find water, vegetation, trees, buildings and bare soil in your image and measure them. Say for example "
    '"show me the water", then "only the biggest one", "drop anything under half a hectare", "how many hectares is it?", '
    '"why do you think so?", "now the trees", "only those within 100 m of the water", "export it as GeoJSON" or "undo". '
    'Click on the picture and say "add this" or "remove this"; draw a box and say "only inside the box"; give me a second '
    'image of the place and ask "what changed?".'
)
_CANNOT = (
    "That is beyond what I can tell from this image. I find water, vegetation, trees, buildings and bare soil, narrow them down, "
    'measure and compare them, and say why. Try "show me the water".'
)
_GREETING = 'Hello! Ask me for what you want to see, for example "show me the water".'
_GOON = 'You are welcome. Go on whenever you like; "help" lists what you can say.'


def answer(plan: Plan, session: Session) -> Outcome:
    """Answer a question. Raises LayerNotFound, StepError or ImagingError with a sentence."""
    match plan.intent:
        case "help":
            return Outcome(HELP)
        case "out_of_scope":
            return Outcome(_CANNOT, options=("Show me the water", "Help"))
        case "small_talk":
            return Outcome(_GOON if session.turns else _GREETING)
        case "clarify":
            return Outcome(plan.question or "What do you mean?", options=plan.options or ("Help",))
        case "list":
            return _list(session)
        case "compare":
            return _compare(plan, session)
        case "measure":
            return _measure(plan, session)
    layers = session.find_layers(plan.target)
    replies, found = [], {}
    for layer in layers:
        one = _about(plan, session, layer)
        replies.append(one.reply)
        found[layer.name] = one.facts
    return Outcome(" ".join(replies), found[layers[0].name] if len(layers) == 1 else {"layers": found})


def _about(plan: Plan, session: Session, layer: Layer) -> Outcome:
    measured = facts.layer_facts(session, layer)
    match plan.intent:
        case "count":
            return Outcome(explain.count_words(measured), measured)
        case "locate":
            rank = plan.rank or 1
            region = facts.ranked_facts(session, layer, rank)
            return Outcome(explain.locate_words(measured, region, rank), measured | {"region": region})
        case "describe":
            return Outcome(explain.describe_words(measured, facts.condition_facts(session, layer)), measured)
        case "explain":
            evidence = facts.evidence_facts(session, layer)
            return Outcome(explain.why_words(evidence, session.extraction(layer).model_text), evidence)
    raise StepError(f"I can't answer a question of the kind {plan.intent}.")


def _measure(plan: Plan, session: Session) -> Outcome:
    if plan.quantity == "distance":
        if plan.other is None:
            raise StepError('Distance to which layer? Say for example "how far is it from the water?".')
        found = facts.distance_facts(session, session.find_layer(plan.target), session.find_layer(plan.other))
        return Outcome(explain.distance_words(found), found)
    replies, all_found = [], {}
    for layer in session.find_layers(plan.target):
        found = facts.layer_facts(session, layer)
        match plan.quantity:
            case "condition":
                found |= {"condition": facts.condition_facts(session, layer)}
                replies.append(explain.condition_words(found, session.scene.bands))
            case "index":
                found |= {"index": facts.index_facts(session, layer, plan.index or "NDVI")}
                replies.append(explain.index_words(found))
            case "perimeter":
                found |= facts.perimeter_facts(session, layer)
                replies.append(explain.perimeter_words(found))
            case "mean_area":
                replies.append(explain.mean_area_words(found))
            case _:
                replies.append(explain.measure_words(found, plan.unit))
        all_found[layer.name] = found
    return Outcome(" ".join(replies), next(iter(all_found.values())) if len(all_found) == 1 else {"layers": all_found})


def _list(session: Session) -> Outcome:
    if not session.layers:
        return Outcome('There are no layers yet. Ask for one, for example "show me the water".')
    lines, found = [], {}
    for layer in session.layers:
        measured = facts.layer_facts(session, layer)
        found[layer.name] = measured
        state = "" if layer.visible else ", hidden"
        lines.append(
            f"{layer.name} ({explain.area_words(measured['area_m2'], measured['pixels'])}, {explain.regions_words(measured['regions'])}{state})"
        )
    return Outcome(f"The layers are: {'; '.join(lines)}.", {"layers": found})


def _compare(plan: Plan, session: Session) -> Outcome:
    if plan.other is None:
        others = [layer for layer in session.layers if layer.name != session.find_layer(plan.target).name]
        if len(others) != 1:
            raise StepError('Compare with which layer? Say for example "compare water and trees".')
        other = others[0]
    else:
        other = session.find_layer(plan.other)
    found = facts.compare_facts(session, session.find_layer(plan.target), other)
    return Outcome(explain.compare_words(found), found)
