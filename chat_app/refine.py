"""Apply refinement steps to a layer: pure functions on masks, with units turned into pixels or square metres."""

from __future__ import annotations

from typing import Any

import numpy as np

from chat_app.arrays import BoolArray
from chat_app.errors import PixelSizeNeeded, StepError
from chat_app.session import Extraction, Session
from chat_app.steps import RefinementStep
from spex_model.imaging import masks
from spex_model.imaging.areas import pixel_areas_m2
from spex_model.imaging.indices import compute_index
from spex_model.imaging.scene import Scene

M2_PER_UNIT = {"m2": 1.0, "ha": 1e4, "km2": 1e6, "acres": 4046.8564224}
STRICTER_LOGIT = 0.85
"""How far one "stricter" or "looser" moves the threshold, in logits: from 50 % to 70 % or 30 %."""


def size_limit(value: float, unit: str, scene: Scene) -> tuple[np.ndarray, float]:
    """(weights, limit) so that a region's summed weights compare with the limit. Raises PixelSizeNeeded."""
    if unit == "px":
        return np.ones((1, 1)), value
    if unit == "percent":
        return np.ones((1, 1)), value / 100 * float(scene.valid.sum())
    areas = pixel_areas_m2(scene)
    if areas is None:
        raise PixelSizeNeeded(f"A size in {unit}")
    return areas, value * M2_PER_UNIT[unit]


def distance_px(value: float, unit: str, scene: Scene) -> float:
    """A distance in pixels. Raises PixelSizeNeeded."""
    if unit == "px":
        return value
    if scene.gsd_m is None:
        raise PixelSizeNeeded("A distance in metres")
    return value / scene.gsd_m


def _threshold_mask(extraction: Extraction, threshold: float) -> BoolArray:
    logits = extraction.logits
    if logits is None:
        raise StepError("This layer is an index mask without probabilities; name another index value instead.")
    limit = float(np.log(threshold / (1 - threshold)))
    return np.asarray(logits > limit)


def apply_step(mask: BoolArray, step: RefinementStep, session: Session) -> BoolArray:
    """One step on a mask (H, W) bool. Raises StepError or LayerNotFound with a sentence."""
    scene, valid, values = session.scene, session.scene.valid, step.model_dump()
    match step.op:
        case "keep_largest" | "keep_smallest" | "drop_largest":
            return getattr(masks, step.op)(mask, values["count"])
        case "keep_rank":
            return masks.keep_rank(mask, values["rank"])
        case "drop_smaller":
            weights, limit = size_limit(values["value"], values["unit"], scene)
            return masks.keep_sizes(mask, weights, least=limit)
        case "drop_larger":
            weights, limit = size_limit(values["value"], values["unit"], scene)
            return masks.keep_sizes(mask, weights, most=limit)
        case "keep_place":
            return masks.in_place(mask, values["place"], values["part"], cut=values["cut"])
        case "drop_place":
            return mask & ~masks.in_place(mask, values["place"], values["part"], cut=values["cut"])
        case "grow" | "merge_close":
            return getattr(masks, step.op)(mask, distance_px(values["value"], values["unit"], scene), valid)
        case "shrink":
            return masks.shrink(mask, distance_px(values["value"], values["unit"], scene))
        case "smooth" | "fill_holes" | "invert":
            return getattr(masks, step.op)(mask, valid)
        case "keep_shape":
            return masks.keep_shape(mask, values["shape"], scene)
        case "index_above":
            return masks.where_index(mask, compute_index(scene, values["index"]), above=values["value"])
        case "index_below":
            return masks.where_index(mask, compute_index(scene, values["index"]), below=values["value"])
        case "keep_clicked" | "drop_clicked":
            if not values["points"]:
                raise StepError("Click on a region in the picture first, then say what to do with it.")
            clicked = masks.at_points(mask, values["points"])
            return clicked if step.op == "keep_clicked" else mask & ~clicked
        case "union" | "intersect" | "subtract" | "near" | "far":
            return _with_layer(mask, step.op, values, session)
        case "same_steps":
            raise StepError("The active layer has no steps that could be done again.")
    raise StepError(f"The step {step.op} is not known.")


def _with_layer(mask: BoolArray, op: str, values: dict[str, Any], session: Session) -> BoolArray:
    other = session.extraction(session.find_layer(values["layer"])).mask
    if op == "union":
        return mask | other
    if op == "intersect":
        return mask & other
    if op == "subtract":
        return mask & ~other
    return getattr(masks, op)(mask, other, distance_px(values["value"], values["unit"], session.scene))


def refine(extraction: Extraction, steps: tuple[RefinementStep, ...], session: Session) -> Extraction:
    """A new extraction after the steps; the given one stays as it is.

    "stricter" and "looser" move the threshold of the stored probabilities and apply the layer's earlier
    steps again, since those were meant for the layer and not for its first outline.
    """
    mask, threshold, done = extraction.mask, extraction.threshold, list(extraction.steps)
    for step in steps:
        if step.op in ("stricter", "looser"):
            move = STRICTER_LOGIT if step.op == "stricter" else -STRICTER_LOGIT
            logit = float(np.log(threshold / (1 - threshold))) + move if extraction.logits is not None else 0.0
            threshold = float(np.clip(1 / (1 + np.exp(-logit)), 0.01, 0.99))
            mask = _threshold_mask(extraction, threshold)
            for earlier in done:
                if earlier.op not in ("stricter", "looser"):
                    mask = apply_step(mask, earlier, session)
        else:
            mask = apply_step(mask, step, session)
        done.append(step)
    refined = session.make_extraction(
        mask, land_cover=extraction.land_cover, method=extraction.method, threshold=threshold, reply=extraction.reply,
        model_text=extraction.model_text, parent=extraction.id, steps=tuple(done), evidence=extraction.evidence,
        logits_key=extraction.logits_key,
    )  # fmt: skip
    return refined
