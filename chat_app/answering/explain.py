"""Words for measured facts."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from chat_app.errors import PIXEL_SIZE_HINT
from chat_app.steps import M2_PER_UNIT

_PLURAL = ("trees", "buildings")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
"""Where one sentence ends and another begins."""


def area_words(area_m2: float | None, pixels: int) -> str:
    """An area in the unit that people use for its size, or pixels where it is not known."""
    if area_m2 is None:
        return f"{pixels:,} pixel{'s' if pixels != 1 else ''}"
    if area_m2 >= 1e7:
        return f"{area_m2 / 1e6:,.1f} km²"
    if area_m2 >= 1e4:
        return f"{area_m2 / 1e4:,.1f} ha"
    return f"{figure_words(area_m2, 0)} m²"


def figure_words(value: float, decimals: int) -> str:
    """A figure (0 or more) with so many decimals, or with two significant digits where these would show fewer."""
    return f"{value:,.{decimals}f}" if value >= 10 ** (1 - decimals) else f"{Decimal(f'{value:.2g}'):f}"


def share_words(share: float) -> str:
    """A share of the image in percent with as many digits as it needs."""
    return f"{figure_words(100 * share, 1)} %"


def regions_words(count: int) -> str:
    """ "1 region", "12 regions"."""
    return f"{count:,} region{'s' if count != 1 else ''}"


def agreeing(name: str, singular: str, plural: str) -> str:
    """The verb form that fits a land cover or a layer's name: trees and buildings are many, water is one."""
    return plural if name in _PLURAL else singular


def place_words(place: str) -> str:
    """ "in the center", "in the top-left"."""
    return f"in the {place}"


def measured_words(facts: dict[str, Any]) -> str:
    """The sentences that state what was measured on a layer's mask."""
    cover, area = facts["land_cover"], area_words(facts["area_m2"], facts["pixels"])
    if not facts["pixels"]:
        return f"No {cover} {agreeing(cover, 'was', 'were')} found in this image."
    text = f"Measured on the mask: {area}, {share_words(facts['share'])} of the image, in {regions_words(facts['regions'])}."
    if facts["regions"] > 1:
        largest = facts["largest"][0]
        size = area_words(largest["area_m2"], largest["pixels"])
        text += f" The largest region has {size} and lies {place_words(largest['place'])}."
    if span := facts.get("area_range_m2"):
        least, most = (area_words(value, 0) for value in span)
        if "area_expected_m2" in facts:
            expected = area_words(facts["area_expected_m2"], 0)
            text += f" By the model's probabilities, calibrated on labelled scenes, {expected} are expected, nine times in ten between {least} and {most}."
        elif least != most:
            text += (
                f" Leaving out or counting in the pixels that the model is unsure of, it is between {least} and {most}."
            )
    if facts["area_m2"] is None:
        text += f" The image carries no pixel size, so areas are in pixels; {PIXEL_SIZE_HINT}."
    return text


def extract_words(model_text: str, facts: dict[str, Any], evidence: dict[str, Any], method: str) -> str:
    """The final reply of an extraction: what the model said and may stand, the evidence, and the measurement."""
    parts = [model_text] if model_text else []
    if method == "index":
        parts.append(f"This mask is the spectral index alone: {evidence['reason']}")
    elif len(SENTENCE_END.split(model_text)) < 2 and evidence.get("reason"):
        parts.append(evidence["reason"])
    if not facts["pixels"]:
        parts.append(
            f"No {facts['land_cover']} {agreeing(facts['land_cover'], 'was', 'were')} found, so there is nothing to measure."
        )
    else:
        parts.append(measured_words(facts))
    return " ".join(parts)


def measure_words(facts: dict[str, Any], unit: str | None = None) -> str:
    """Answer to "how much is it?"."""
    if not facts["pixels"]:
        return f"The layer {facts['layer']} is empty: nothing to measure."
    area_m2, pixels = facts["area_m2"], facts["pixels"]
    size = area_words(area_m2, pixels)
    if unit == "px":
        size = f"{pixels:,} pixels"
    elif area_m2 is not None:
        if unit in M2_PER_UNIT:
            size = f"{figure_words(area_m2 / M2_PER_UNIT[unit], 2)} {unit.replace('m2', 'm²')}"
        else:
            size += f" ({figure_words(area_m2 / M2_PER_UNIT['acres'], 1)} acres)"
    text = f"{facts['layer'].capitalize()}: {size}"
    text += f", {share_words(facts['share'])} of the image, in {regions_words(facts['regions'])}."
    if area_m2 is None:
        text += f" For hectares, {PIXEL_SIZE_HINT}."
    elif facts["pixel_size_from"] != "georeference":
        text += " This rests on the pixel size that was given, since the image is not georeferenced."
    return text


def count_words(facts: dict[str, Any]) -> str:
    """Answer to "how many are there?"."""
    if not facts["regions"]:
        return f"The layer {facts['layer']} is empty: there are none."
    sizes = [region["size"] for region in facts["largest"]]
    text = f"{facts['layer'].capitalize()}: {regions_words(facts['regions'])}, counting pieces that touch as one."
    return text + (f" The largest is {sizes[0]} and lies {place_words(facts['largest'][0]['place'])}." if sizes else "")


def distance_words(facts: dict[str, Any]) -> str:
    """Answer to "how far is it from …?"."""
    one, other = facts["layers"]
    if facts["distance_px"] is None:
        return f"{one} or {other} is empty, so there is no distance between them."
    if facts["distance_px"] == 0:
        return f"{one.capitalize()} and {other} touch or overlap: the distance is 0."
    if facts["distance_m"] is None:
        return f"The nearest edges of {one} and {other} are {facts['distance_px']:,.0f} pixels apart. For metres, {PIXEL_SIZE_HINT}."
    metres = facts["distance_m"]
    words = f"{metres / 1000:,.1f} km" if metres >= 10_000 else f"{metres:,.0f} m"
    return f"The nearest edges of {one} and {other} are {words} apart."


def perimeter_words(facts: dict[str, Any]) -> str:
    """Answer to "how long is the shoreline?"."""
    metres = facts["perimeter_m"]
    if metres is None:
        return f"The outline of {facts['layer']} is about {facts['perimeter_px']:,.0f} pixels long. For metres, {PIXEL_SIZE_HINT}."
    words = f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:,.0f} m"
    return f"The outline of {facts['layer']} is about {words} long at this pixel size; finer pixels would show a longer one."


def mean_area_words(facts: dict[str, Any]) -> str:
    """Answer to "how big are they on average?"."""
    if not facts["regions"]:
        return f"The layer {facts['layer']} is empty."
    mean_m2 = None if facts["area_m2"] is None else facts["area_m2"] / facts["regions"]
    mean_px = round(facts["pixels"] / facts["regions"])
    return f"{facts['layer'].capitalize()} {agreeing(facts['layer'], 'has', 'have')} {regions_words(facts['regions'])} of {area_words(mean_m2, mean_px)} on average."


def index_words(facts: dict[str, Any]) -> str:
    """Answer to "what is the mean NDVI of it?"."""
    index = facts["index"]
    if "mean" not in index:
        return f"The layer {facts['layer']} is empty, so it has no {index['name']}."
    outside = "" if index["mean_outside"] is None else f"; outside it averages {index['mean_outside']:.2f}"
    return (
        f"{index['name']} inside {facts['layer']} averages {index['mean']:.2f} (nine tenths of its pixels lie between "
        f"{index['p5']:.2f} and {index['p95']:.2f}){outside}."
    )


def condition_words(facts: dict[str, Any], bands: tuple[str, ...]) -> str:
    """Answer to "how healthy is it?"."""
    condition = facts["condition"]
    if facts["land_cover"] not in ("vegetation", "trees"):
        return (
            f"Condition is measured on plants; {facts['layer']} is {facts['land_cover']}. Ask for the vegetation first."
        )
    if not condition:
        return f"The condition of plants shows in near-infrared, and this image has {', '.join(bands)} only (or the layer is empty)."
    lines = []
    if "ndvi_mean" in condition:
        lines.append(
            f"{facts['layer'].capitalize()} {agreeing(facts['layer'], 'has', 'have')} a mean NDVI of {condition['ndvi_mean']:.2f}: "
            f"{share_words(condition['dense_share'])} of it is dense and vigorous (NDVI above 0.6), "
            f"{share_words(condition['sparse_share'])} sparse or dry (below 0.4)."
        )
    if "ndmi_mean" in condition:
        whose = "" if lines else f" of {facts['layer']}"
        lines.append(
            f"By NDMI (leaf water, mean {condition['ndmi_mean']:.2f}) {share_words(condition['moist_share'])}{whose} is moist (above 0.2) and "
            f"{share_words(condition['dry_share'])} dry (below 0)."
        )
    return " ".join(lines)


def change_words(before: dict[str, Any], after: dict[str, Any], what: str, why: str = "") -> str:
    """What a refinement did, in numbers; `why` says why it changed nothing, or left nothing, where that is known."""
    layer = after["layer"]
    old, new = (
        f"{area_words(one['area_m2'], one['pixels'])} in {regions_words(one['regions'])}" for one in (before, after)
    )
    if before["pixels"] == after["pixels"]:
        kept = (
            f"{agreeing(layer, 'keeps its', 'keep their')} {new}"
            if after["pixels"]
            else f"{agreeing(layer, 'is', 'are')} empty"
        )
        return (
            f"{why}, so nothing changes: {layer} {kept}." if why else f"{what}: this changes nothing, {layer} {kept}."
        )
    if after["pixels"]:
        return f"{what}: {layer} went from {old} to {new}."
    if why:
        return f'{why}, so nothing of the {old} is left; say "undo" to get it back.'
    return f'{what}: {layer} went from {old} to {new}. Nothing is left; say "undo" to get it back.'


def rank_words(rank: int) -> str:
    """A rank by size from 1 on: "largest", "second largest", "11th largest"."""
    words = {1: "", 2: "second ", 3: "third ", 4: "fourth ", 5: "fifth "}
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{words.get(rank, f'{rank}{ending} ')}largest"


def locate_words(facts: dict[str, Any], region: dict[str, Any] | None, rank: int = 1) -> str:
    """Where a layer's region of a rank lies, or that there is none."""
    if region is None:
        return f"The layer {facts['layer']} has {regions_words(facts['regions'])}; there is no number {rank}."
    text = f"The {rank_words(rank)} region of {facts['layer']} lies {place_words(region['place'])}, centred on row {region['centroid_px'][0]:.0f}, column {region['centroid_px'][1]:.0f}"
    if "latitude" in region:
        text += f" ({region['latitude']:.5f}° latitude, {region['longitude']:.5f}° longitude, WGS84)"
    return f"{text}. It has {area_words(region['area_m2'], region['pixels'])}."


def describe_words(facts: dict[str, Any], condition: dict[str, Any]) -> str:
    """A layer in words: its numbers, its largest regions, and how dense plants stand."""
    if not facts["pixels"]:
        return f"The layer {facts['layer']} is empty."
    lines = [measured_words(facts)]
    for region in facts["largest"][1:3]:
        lines.append(
            f"Another {region['size']}, {region['shape']} region of {area_words(region['area_m2'], region['pixels'])} lies {place_words(region['place'])}."
        )
    if "ndvi_mean" in condition:
        lines.append(
            f"Its mean NDVI is {condition['ndvi_mean']:.2f}: {share_words(condition['dense_share'])} of it is dense (NDVI above 0.6), "
            f"{share_words(condition['sparse_share'])} sparse or dry (below 0.4)."
        )
    if "ndmi_mean" in condition:
        lines.append(
            f"Its mean NDMI (leaf water) is {condition['ndmi_mean']:.2f}: {share_words(condition['moist_share'])} of it is moist (above 0.2), "
            f"{share_words(condition['dry_share'])} dry (below 0)."
        )
    return " ".join(lines)


def why_words(facts: dict[str, Any], model_text: str) -> str:
    """Answer to "why do you think so?" from the evidence."""
    lines = []
    if facts["method"] == "change":
        return facts["reason"]
    if facts["method"] == "model":
        sure = f", on average {facts['mean_probability']:.0%} sure of its pixels" if "mean_probability" in facts else ""
        lines.append(f"The model outlined {facts['layer']}{sure}.")
    else:
        lines.append(f"{facts['layer'].capitalize()} is the spectral index alone.")
    if facts.get("index"):
        lines.append(facts["reason"])
        if facts.get("mean_inside") is not None and facts.get("mean_outside") is not None:
            lines.append(
                f"{facts['index']} averages {facts['mean_inside']:.2f} inside the mask and {facts['mean_outside']:.2f} outside."
            )
        if facts["method"] == "model" and facts["agreement"] is not None:
            lines.append(f"The index alone would mark {facts['agreement']:.0%} of these pixels too.")
    else:
        lines.append(f"{facts['reason']} So shape and texture had to decide, and I am less sure.")
    if facts["steps"]:
        lines.append(
            f"Since then these steps changed it: {', '.join(step.replace('_', ' ') for step in facts['steps'])}."
        )
    if facts.get("index") and facts["threshold"] is not None:
        lines.append(
            f"Pixels on the other side of {facts['index']} {facts['threshold']:.2f} with another texture would change my mind."
        )
    if model_text:
        lines.append(f"What the model said of the regions in its prompt, before it outlined any: “{model_text}”")
    return " ".join(lines)


def compare_words(facts: dict[str, Any]) -> str:
    """Two layers side by side."""
    (one, other), (first, second), areas = facts["layers"], facts["pixels"], facts["area_m2"]
    text = f"{one} has {area_words(areas[0], first)}, {other} has {area_words(areas[1], second)}"
    if first and second:
        more, less = (one, other) if first >= second else (other, one)
        text += f"; {more} covers {max(first, second) / min(first, second):.1f} times as much as {less}"
    return f"{text}. They share {facts['shared_pixels']:,} pixels."
