"""Grounded sentences of the instruction records, and the facts block of their prompts.

A sentence is a pair of its text and the facts that it states. Both sides print a figure by the same function, so that
every figure of an answer stands in its prompt.
"""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from spex_model.imaging.scene import Scene
from spex_model.training.spie.facts import (
    DENSE_COVER,
    DENSE_NDVI,
    DRY_NDMI,
    DRY_NDVI,
    INDEX_MEANING,
    LEAST_RIM,
    MOIST_NDMI,
    SPARSE_COVER,
    CoverFacts,
    Group,
    Piece,
)

COARSE_M = 3.0
"""From this pixel size on, labels show built-up land and tree cover, not single houses and trees."""
_COARSE = {"buildings": "built-up land", "trees": "tree cover"}
_OBJECTS = {
    "water": ("body of water", "bodies of water"), "vegetation": ("green patch", "green patches"),
    "trees": ("stand of trees", "stands of trees"), "buildings": ("roof", "roofs"),
    "bare soil": ("patch of bare ground", "patches of bare ground"), "built-up land": ("built-up patch", "built-up patches"),
    "tree cover": ("stand of trees", "stands of trees"),
}  # fmt: skip
_BAND_WORDS = {
    "swir1": "short-wave infrared",
    "nir": "near-infrared",
    "green": "green",
    "red": "red",
    "blue": "blue",
}
RANKS = ("largest", "second largest", "third largest")


class Said(NamedTuple):
    """A sentence and the measured facts that it states."""

    text: str
    facts: Mapping[str, Any]


def is_coarse(scene: Scene) -> bool:
    """Whether pixels are too large for single houses."""
    return scene.gsd_m is not None and scene.gsd_m > COARSE_M


def cover_name(land_cover: str, scene: Scene) -> str:
    """What the labels show, in a person's words: "built-up land" in place of "buildings" where pixels are large."""
    return _COARSE.get(land_cover, land_cover) if is_coarse(scene) else land_cover


def name_of(found: CoverFacts) -> str:
    """The name of the land cover that the facts are of."""
    return cover_name(found.land_cover, found.scene)


def object_name(found: CoverFacts) -> str:
    """One piece of the land cover, in a person's words."""
    return _OBJECTS[name_of(found)][0]


def is_plural(name: str) -> bool:
    """Whether the name takes a verb in the plural."""
    return name in ("trees", "buildings")


def percent(share: float) -> str:
    """A share in percent, a figure of one decimal, or of two digits below one percent; nothing short of all is 100."""
    value = 100 * share
    if value >= 99.95 and share < 1:
        value = 99.9
    return f"{value:.1f} %" if value >= 1 or value == 0 else f"{value:.2g} %"


def hectares(area_m2: float) -> str:
    """An area in hectares; the fewer there are, the more decimals."""
    value = area_m2 / 1e4
    digits = 1 if value >= 10 else 2 if value >= 1 else 4 if value >= 0.001 else 6
    return f"{value:,.{digits}f} ha"


def square_metres(area_m2: float) -> str:
    """An area in square metres, whole ones from 10 on."""
    return f"{area_m2:,.0f} m2" if area_m2 >= 10 or area_m2 == 0 else f"{area_m2:.2f} m2"


def area(found_m2: float | None, pixels: int) -> str:
    """An area in the unit that fits its size, or in pixels where no pixel size is known."""
    if found_m2 is None:
        return f"{pixels:,} pixel{'s' if pixels != 1 else ''}"
    return hectares(found_m2) if found_m2 >= 1000 else square_metres(found_m2)


def regions(count: int) -> str:
    """ "1 region", "1,204 regions"."""
    return f"{count:,} region{'s' if count != 1 else ''}"


def of_what(found: CoverFacts) -> str:
    """What shares refer to: the whole image only where the labels know all of it."""
    return "of the image" if found.known == 1 else "of the labelled pixels"


def spoken(place: str) -> str:
    """A cell of the 3 x 3 grid as people say it: "top right"."""
    return place.replace("-", " ")


def join(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _area_facts(found: CoverFacts) -> dict[str, Any]:
    return {
        "pixels": found.pixels,
        "area_m2": None if found.area_m2 is None else round(found.area_m2, 1),
        "share": round(found.share, 6),
    }


def say_extent(found: CoverFacts, rng: random.Random) -> Said:
    """How many regions there are, their area and share."""
    name, verb = name_of(found), "cover" if is_plural(name_of(found)) else "covers"
    size, share, count = area(found.area_m2, found.pixels), percent(found.share), regions(found.regions)
    text = rng.choice(
        (
            f"{name.capitalize()} {verb} {size}, {share} {of_what(found)}, in {count}.",
            f"There {'are' if is_plural(name) else 'is'} {name} in {count}, {size} in all, which is {share} {of_what(found)}.",
            f"I find {count} of {name}, together {size} or {share} {of_what(found)}.",
            f"The image shows {name} in {count}: {size}, {share} {of_what(found)}.",
        )
    )
    return Said(text, {**_area_facts(found), "regions": found.regions})


def piece_facts(piece: Piece) -> dict[str, Any]:
    """One region in plain values."""
    region = piece.region
    return {
        "pixels": region.pixels,
        "area_m2": None if region.area_m2 is None else round(region.area_m2, 1),
        "size": region.size_word,
        "place": region.place_word,
        "shape": piece.shape,
    }


def say_piece(found: CoverFacts, rank: int, rng: random.Random) -> Said:
    """Size, shape, place and area of the region of this rank (0 = largest)."""
    piece = found.largest[rank]
    who = "The only region" if found.regions == 1 else f"The {RANKS[rank]} region"
    size, place = area(piece.region.area_m2, piece.region.pixels), spoken(piece.region.place_word)
    word, shape = piece.region.size_word, piece.shape
    text = rng.choice(
        (
            f"{who} is {word} and {shape}, lies in the {place} and has {size}.",
            f"{who}, {word} and {shape}, lies in the {place} and measures {size}.",
            f"{who} lies in the {place}; it is {word} and {shape}, with {size}.",
        )
    )
    return Said(text, {RANKS[rank]: piece_facts(piece)})


def say_neighbours(found: CoverFacts, rng: random.Random, *, of_largest: bool) -> Said:
    """Which labelled land covers take a tenth or more of the rim."""
    rim = found.largest_rim if of_largest else found.rim
    key = "neighbours of the largest" if of_largest else "neighbours"
    facts = {key: {cover: round(share, 4) for cover, share in rim.items()}}
    name = name_of(found)
    who = "The largest region" if of_largest else f"The {name}"
    if not rim:
        tenth = percent(LEAST_RIM)
        return Said(f"{who} borders no other labelled land cover along {tenth} or more of its rim.", facts)
    verb = "border" if is_plural(name) and not of_largest else "borders"
    shares = [f"{cover_name(cover, found.scene)} ({percent(share)} of its rim)" for cover, share in rim.items()]
    text = rng.choice(
        (f"{who} {verb} {join(shares)}.", f"Next to it: {who[0].lower()}{who[1:]} {verb} {join(shares)}.")
    )
    return Said(text, facts)


def meaning(index: str) -> str:
    """Why an index is high: "the mean of green is above that of short-wave infrared"."""
    more, less = (" plus ".join(_BAND_WORDS[band] for band in bands) for bands in INDEX_MEANING[index])
    return f"the mean of {more} is above that of {less}"


def bands_words(scene: Scene) -> str:
    """The bands by name."""
    return ", ".join(scene.bands)


def say_evidence(found: CoverFacts, rng: random.Random) -> Said:
    """What the index says of the labelled pixels, be it for or against them."""
    name, evidence = name_of(found), found.evidence
    if evidence is None:
        text = f"The bands {bands_words(found.scene)} allow no index for it, so there is no spectral evidence to give."
        return Said(text, {"bands": list(found.scene.bands), "index": None})
    index, inside, threshold = evidence.index, f"{evidence.inside:.2f}", f"{evidence.threshold:.2f}"
    share = f"{percent(evidence.agreement)} of its pixels lie above {threshold}"
    outside = "" if evidence.outside is None else f" and {evidence.outside:.2f} outside"
    why = f", since {meaning(index)}" if evidence.explained else ""
    if evidence.holds:
        text = rng.choice(
            (
                f"{index} averages {inside} inside it{outside}, and {share}{why}.",
                f"The spectral evidence: {index} averages {inside} inside it{outside}; {share}{why}.",
            )
        )
    else:
        text = f"The index alone does not tell {name} here: {index} averages {inside} inside it{outside}, and {share}."
    means = {"inside": round(evidence.inside, 4), "threshold": evidence.threshold, "agreement": round(evidence.agreement, 4)}  # fmt: skip
    if evidence.outside is not None:
        means["outside"] = round(evidence.outside, 4)
    return Said(text, {"index": index, **means})


def _object_words(group: Group, name: str) -> str:
    one, many = _OBJECTS[name]
    place = f"in the {spoken(group.place)}"
    if group.count == 1:
        return f"one {group.size} {group.shape} {one} {place}"
    return f"{'a row of ' if group.row else ''}{group.count:,} {group.size} {many} {place}"


def say_objects(found: CoverFacts, rng: random.Random, limit: int = 4) -> Said:
    """The objects as a person would list them: "one large rectangular roof in the top right, a row of 4 small roofs …"."""
    groups = found.groups[:limit]
    words = join([_object_words(group, name_of(found)) for group in groups])
    text = rng.choice((f"There: {words}.", f"I see {words}.", f"{words[0].upper()}{words[1:]}."))
    facts = [
        {"count": g.count, "size": g.size, "place": g.place, "shape": g.shape, "row": g.row} for g in groups
    ]  # fmt: skip
    return Said(text, {"objects": facts})


def say_condition(found: CoverFacts, rng: random.Random) -> Said | None:
    """How dense or dry plants stand, by limits of NDVI that are named; None where it can't be told."""
    condition = found.condition
    if condition is None:
        return None
    verdict = "neither dense nor dry"
    if condition.ndvi > DENSE_NDVI:
        verdict = "dense and vigorous"
    elif condition.ndvi < DRY_NDVI:
        verdict = "sparse or dry"
    text = (
        f"By NDVI, whose mean is {condition.ndvi:.2f}, it is {verdict}: {percent(condition.dense)} of it is dense (NDVI above {DENSE_NDVI:.1f}), "
        f"{percent(condition.dry)} sparse or dry (NDVI below {DRY_NDVI:.1f})."
    )
    facts = {"ndvi": round(condition.ndvi, 4), "dense": round(condition.dense, 4), "dry": round(condition.dry, 4)}
    if condition.ndmi is not None:
        state = "moist" if condition.ndmi > MOIST_NDMI else "dry" if condition.ndmi < DRY_NDMI else "between the two"
        limits = f"moist above {MOIST_NDMI:.1f}, dry below {DRY_NDMI:.1f}"
        text += f" Its leaf water by NDMI is {state}: the mean is {condition.ndmi:.2f} ({limits})."
        facts["ndmi"] = round(condition.ndmi, 4)
    return Said(text, facts)


def say_density(found: CoverFacts, rng: random.Random) -> Said:
    """Whether the land cover is dense or sparse in the image, by limits that are named."""
    word = "dense" if found.share >= DENSE_COVER else "sparse" if found.share < SPARSE_COVER else "of middling density"
    limits = f"dense from {percent(DENSE_COVER)} on, sparse below {percent(SPARSE_COVER)}"
    text = f"The {name_of(found)} here {'are' if is_plural(name_of(found)) else 'is'} {word}: {percent(found.share)} {of_what(found)} ({limits})."
    return Said(text, {"share": round(found.share, 6), "density": word})
