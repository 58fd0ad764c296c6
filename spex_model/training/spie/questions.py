"""Questions as users put them, in many wordings, with answers out of measured facts; refusals where there is nothing to tell."""

import random
from typing import NamedTuple

from spex_model.training.spie.answers import (
    Said,
    area,
    bands_words,
    hectares,
    is_plural,
    name_of,
    object_name,
    of_what,
    percent,
    piece_facts,
    regions,
    say_condition,
    say_density,
    say_evidence,
    say_neighbours,
    say_objects,
    say_piece,
    spoken,
    square_metres,
)
from spex_model.training.spie.facts import CoverFacts

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "count": (
        "How many regions of {name} are there?", "how many separate pieces of {name} do you see", "Count the {name}.", "how many patches of {name}?",
        "Is there one piece of {name} or several?", "number of {name} regions please", "Can you count the {name} for me?", "Into how many pieces {does} the {name} fall?",
        "how often {does} {name} occur here", "I need the number of {name} areas.", "what's the count for {name}?",
    ),
    "area": (
        "How much {name} is there in {unit}?", "how many {unit} of {name}", "What is the area of the {name} in {unit}?", "{name}, area in {unit}?",
        "How large {is} all the {name} together ({unit})?", "give me the {unit} of {name}", "how big {is} the {name}, in {unit} please", "Total {name} in {unit}?",
        "Could you tell me how much of this is {name}, as {unit}?", "size of the {name} ({unit})", "Sum up the {name}: {unit}?",
    ),
    "where": (
        "Where is the largest {one}?", "where does the biggest {one} lie", "In which part of the image is the main {one}?", "Point me to the biggest {one}.",
        "Which corner has the largest {one}?", "where should I look for {name}?", "location of the largest {one}?", "biggest {one}: where?",
        "Where {is} most of the {name} in one piece?", "Tell me where the largest {one} lies and how big it is.",
    ),
    "shape": (
        "What shape is the largest {one}?", "is the biggest {one} round or long", "Which shape does the main {one} have?", "Describe the form of the largest {one}.",
        "Is the largest {one} elongated?", "shape of the biggest {one}?", "Does the largest {one} look like a strip or like a blob?", "how would you call the outline of the largest {one}",
        "Is the main {one} regular in shape?", "What form has the biggest {one}?",
    ),
    "neighbours": (
        "What lies next to the largest {one}?", "what borders the largest {one}", "Which land cover is around the biggest {one}?", "What is beside the main {one}?",
        "who are the neighbours of the largest {one}", "What surrounds the main {one}?", "What is on the edge of the largest {one}?", "Does the biggest {one} touch anything else?",
        "next to the largest {one}: what is it?", "What is there along the rim of the largest {one}?",
    ),
    "density": (
        "{Is} the {name} dense or sparse?", "how dense {is} the {name} here", "{Does} {name} fill the image or is there little of it?", "sparse or dense {name}?",
        "Would you call this much {name}?", "Is there a lot of {name}?", "how thick is the cover of {name}", "Is this image dense with {name}?", "Much or little {name} here?", "density of {name}?",
    ),
    "condition": (
        "{Is} the {name} healthy or dry?", "how healthy {is} the {name}", "{Does} the {name} look dry?", "{Is} the {name} green and vigorous?", "condition of the {name}?",
        "Do the plants suffer here?", "{is} the {name} stressed", "How vigorous {is} the {name}?", "What state {is} the {name} in?", "Dense and healthy, or sparse and dry {name}?",
    ),
    "why": (
        "Why is this {name}?", "why do you think that is {name}", "What speaks for {name} here?", "How do you know it's {name}?", "Explain why this counts as {name}.",
        "what is the spectral evidence for {name}", "Which index shows the {name}?", "What makes you call it {name}?", "reason for {name}?", "Can the bands tell that this is {name}?",
    ),
    "objects": (
        "Describe the {name} as you would to a friend.", "what do you see of {name}", "List the main pieces of {name}.", "Tell me about the {name} in plain words.",
        "Which {name} {is} there and where?", "an overview of the {name} please", "Which pieces of {name} stand out?", "Walk me through the {name}.", "describe the {name}",
        "How {is} the {name} spread over the image?",
    ),
}  # fmt: skip
QUESTION_KINDS = tuple(_QUESTIONS)
UNITS = ("hectares", "ha", "square metres", "m2", "percent", "%")


class Exchange(NamedTuple):
    """A question, its grounded answer, the kind of task and the unit that was asked for, if any."""

    task: str
    question: str
    said: tuple[Said, ...]


def wordings(kind: str) -> tuple[str, ...]:
    """The wordings of one kind of question, with {name}, {one} (of its pieces), {unit} and verbs to fill in."""
    return _QUESTIONS[kind]


def _ask(found: CoverFacts, kind: str, unit: str, rng: random.Random) -> str:
    """One wording of a question, with its gaps filled."""
    name = name_of(found)
    verb, does = ("are", "do") if is_plural(name) else ("is", "does")
    return rng.choice(_QUESTIONS[kind]).format(
        name=name, one=object_name(found), unit=unit, **{"is": verb, "Is": verb.capitalize(), "does": does, "Does": does.capitalize()}
    )  # fmt: skip


def _count(found: CoverFacts, rng: random.Random) -> tuple[Said, ...]:
    name = name_of(found)
    text = rng.choice(
        (
            f"There {'is' if found.regions == 1 else 'are'} {regions(found.regions)} of {name}, counting pieces that touch as one.",
            f"I count {regions(found.regions)} of {name}; pieces that touch count as one.",
            f"{name.capitalize()}: {regions(found.regions)}, with pieces that touch counted as one.",
        )
    )
    return (Said(text, {"regions": found.regions}),)


def _measure(found: CoverFacts, unit: str) -> tuple[Said, ...]:
    name, share = name_of(found), f"{percent(found.share)} {of_what(found)}"
    facts = {"pixels": found.pixels, "share": round(found.share, 6)}
    verb = "cover" if is_plural(name) else "covers"
    if unit in ("percent", "%"):
        return (Said(f"{name.capitalize()} {verb} {share}.", facts),)
    if found.area_m2 is None:
        missing = "hectares" if unit in ("hectares", "ha") else "square metres"
        text = f"The image carries no pixel size, so {missing} can't be told. {name.capitalize()} {verb} {area(None, found.pixels)}, {share}."
        return (Said(text, {**facts, "area_m2": None}),)
    size = hectares(found.area_m2) if unit in ("hectares", "ha") else square_metres(found.area_m2)
    return (
        Said(f"{name.capitalize()} {verb} {size}, {share}.", {**facts, "area_m2": round(found.area_m2, 1)}),
    )  # fmt: skip


def _shape(found: CoverFacts, rng: random.Random) -> tuple[Said, ...]:
    piece = found.largest[0]
    who = "The only region" if found.regions == 1 else "The largest region"
    place = spoken(piece.region.place_word)
    text = rng.choice(
        (
            f"{who}, in the {place}, is {piece.shape}.",
            f"{who} is {piece.shape}; it lies in the {place}.",
        )
    )
    return (Said(text, {"largest": piece_facts(piece)}),)


def _no_condition(found: CoverFacts) -> Said:
    scene = found.scene
    if "nir" not in scene.bands or "red" not in scene.bands:
        text = f"That can't be told here: the state of plants shows in near-infrared against red, and the bands are {bands_words(scene)}."
        return Said(text, {"bands": list(scene.bands), "condition": None})
    text = "That can't be told here: the brightness of this image is not calibrated, so limits of NDVI for dense and dry plants do not hold."
    return Said(text, {"calibrated": False, "condition": None})


def ask_present(found: CoverFacts, kind: str, rng: random.Random) -> Exchange | None:
    """A question of one kind about a land cover that is there; None where its facts don't allow that kind."""
    unit = rng.choice(UNITS)
    task = kind
    if kind == "count":
        said = _count(found, rng)
    elif kind == "area":
        said = _measure(found, unit)
        if found.area_m2 is None and unit not in ("percent", "%"):
            task = "cannot tell"
    elif kind == "where":
        said = (say_piece(found, 0, rng),)
    elif kind == "shape":
        said = _shape(found, rng)
    elif kind == "neighbours":
        if not found.largest_rim and found.share < 1:
            return None
        said = (say_neighbours(found, rng, of_largest=True),)
    elif kind == "density":
        said = (say_density(found, rng),)
    elif kind == "condition":
        if found.land_cover not in ("vegetation", "trees"):
            return None
        state = say_condition(found, rng)
        task = kind if state else "cannot tell"
        said = (state or _no_condition(found),)
    elif kind == "why":
        said = (say_evidence(found, rng),)
        task = kind if found.evidence else "cannot tell"
    else:
        said = (say_objects(found, rng),)
    return Exchange(task, _ask(found, kind, unit, rng), said)


def ask_absent(found: CoverFacts, rng: random.Random) -> Exchange:
    """A question about a land cover that is nowhere in the image, and the refusal."""
    name = name_of(found)
    kinds = [kind for kind in QUESTION_KINDS if kind != "condition" or found.land_cover in ("vegetation", "trees")]
    kind = rng.choice(kinds)
    verb = "are" if is_plural(name) else "is"
    because = {
        "count": "the count is zero", "area": "there is nothing to measure", "why": "there is nothing to explain",
        "condition": "there is no condition to judge",
    }.get(kind, "there is nothing to describe")  # fmt: skip
    text = rng.choice(
        (
            f"There {verb} no {name} in this image.",
            f"There {verb} no {name} in this image, so {because}.",
            f"This image shows no {name}.",
            f"No {name} {verb} to be seen in this image; {because}.",
        )
    )
    said = [Said(text, {"regions": 0, "pixels": 0})]
    if found.marked_by_index and found.prior.index and rng.random() < 0.5:
        marked = f"{found.prior.index} marks {percent(found.marked_by_index)} of the image all the same, but by the labels that is no {name}."
        said.append(Said(marked, {"index": found.prior.index, "marked_by_index": round(found.marked_by_index, 6)}))
    return Exchange("absent", _ask(found, kind, rng.choice(UNITS), rng), tuple(said))
