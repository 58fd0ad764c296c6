"""Why a step on what was clicked or drawn changes nothing, or leaves nothing, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chat_app.acting.corrections import polygon_mask
from chat_app.memory.arrays import BoolArray
from chat_app.steps import RefinementStep

_IN_LAYER = ("already belongs to the {layer} layer", "already belong to the {layer} layer")
_NOT_IN_LAYER = ("is not part of the {layer} layer", "are not part of the {layer} layer")
_NO_DATA = ("lies where the image has no data", "lie where the image has no data")
_OUTSIDE = ("lies outside the image", "lie outside the image")


def why_in_vain(
    steps: Sequence[RefinementStep], before: BoolArray, after: BoolArray, layer: str, valid: BoolArray
) -> str:
    """Why a step on marks left a layer as it was, or empty: "That spot already belongs to the water layer".

    The masks before and after and the valid pixels are (H, W). "" where the step did something, where it does not speak
    of marks, and for several steps at once.
    """
    if len(steps) != 1:
        return ""
    [step] = steps
    unchanged = bool(np.array_equal(before, after))
    if not unchanged and after.any():
        return ""
    if step.op in ("keep_inside", "drop_inside", "add_inside"):
        return _of_drawing(step.op, polygon_mask(step.polygon, valid.shape) & valid, before, layer)
    if step.op == "keep_clicked" and unchanged and after.any():
        return f"What you clicked is all there is of the {layer} layer"
    if step.op == "keep_clicked" or (unchanged and step.op in ("add_here", "remove_here", "drop_clicked")):
        return _of_points(step.points, step.op == "add_here", before, layer, valid)
    return ""


def _of_points(points: Sequence[tuple[int, int]], adding: bool, mask: BoolArray, layer: str, valid: BoolArray) -> str:
    """Why nothing can be done at any of the clicked points; "" where one of them gives something to do."""
    reasons = dict.fromkeys(_reason(point, adding, mask, valid) for point in points)
    if not reasons or None in reasons:
        return ""
    several = len(points) > 1
    words = " or ".join(reason[several] for reason in reasons if reason).format(layer=layer)
    return f"{'Those spots' if several else 'That spot'} {words}"


def _reason(point: tuple[int, int], adding: bool, mask: BoolArray, valid: BoolArray) -> tuple[str, str] | None:
    """For one spot and for several, or None where the step has something to do there."""
    height, width = valid.shape
    if point[0] >= height or point[1] >= width:
        return _OUTSIDE
    if not valid[point]:
        return _NO_DATA
    if adding:
        return _IN_LAYER if mask[point] else None
    return None if mask[point] else _NOT_IN_LAYER


def _of_drawing(op: str, inside: BoolArray, mask: BoolArray, layer: str) -> str:
    if not inside.any():
        return "The image has no data inside your drawing"
    if op == "add_inside":
        return "" if (inside & ~mask).any() else f"Everything inside your drawing already belongs to the {layer} layer"
    if not (inside & mask).any():
        return f"Nothing of the {layer} layer lies inside your drawing"
    return f"All of the {layer} layer lies inside your drawing" if not (mask & ~inside).any() else ""
