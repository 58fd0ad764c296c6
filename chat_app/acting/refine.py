"""Apply refinement steps to a layer: pure functions on masks, with units turned into pixels or square metres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chat_app.acting import corrections
from chat_app.errors import PixelSizeNeeded, StepError
from chat_app.memory.arrays import BoolArray
from chat_app.memory.layers import Extraction
from chat_app.memory.session import Session
from chat_app.steps import M2_PER_UNIT, RefinementStep
from spex_model.imaging import masks
from spex_model.imaging.areas import pixel_areas_m2, pixel_size_m
from spex_model.imaging.indices import compute_index
from spex_model.imaging.scene import Scene
from spex_model.serving.protocol import Point

Paint = Callable[[Extraction, tuple[Point, ...]], npt.NDArray[np.floating] | None]
"""Asks the decoder for an extraction's logits (H, W) with clicks beside its reply; None where it can't be asked."""
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


def length(value: float, unit: str, scene: Scene, *, slack: float = 0.01) -> tuple[float, tuple[float, float]]:
    """(distance, pixel size (height, width)), both in pixels or both in metres. Raises PixelSizeNeeded.

    A pixel of a projected image is rarely 10 m to the millimetre, and "grow by 10 m" must not grow by nothing: metres
    are taken longer by this share of them, or shorter where it is negative, but never by over a tenth of a pixel.
    """
    if unit == "px":
        return value, (1.0, 1.0)
    size_m = pixel_size_m(scene)
    if size_m is None:
        raise PixelSizeNeeded("A distance in metres")
    most = 0.1 * min(size_m)
    return value + float(np.clip(slack * value, -most, most)), size_m


def apply_step(
    mask: BoolArray, step: RefinementStep, session: Session, logits: npt.NDArray[np.floating] | None = None
) -> BoolArray:
    """One step on a mask (H, W) bool of a layer with these logits. Raises StepError or LayerNotFound with a sentence."""
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
        case "grow":
            distance, pixel_size = length(values["value"], values["unit"], scene)
            return masks.grow(mask, distance, valid, pixel_size)
        case "merge_close":  # what is just as far apart is not closer
            distance, pixel_size = length(values["value"], values["unit"], scene, slack=-0.01)
            return masks.merge_close(mask, distance, valid, pixel_size)
        case "shrink":
            return masks.shrink(mask, *length(values["value"], values["unit"], scene))
        case "smooth" | "fill_holes" | "invert":
            return getattr(masks, step.op)(mask, valid)
        case "keep_shape":
            return masks.keep_shape(mask, values["shape"], scene)
        case "index_above":
            return masks.where_index(mask, compute_index(scene, values["index"]), above=values["value"])
        case "index_below":
            return masks.where_index(mask, compute_index(scene, values["index"]), below=values["value"])
        case "keep_clicked" | "drop_clicked":
            _need_points(values["points"])
            clicked = masks.at_points(mask, values["points"])
            return clicked if step.op == "keep_clicked" else mask & ~clicked
        case "add_here" | "remove_here":
            _need_points(values["points"])
            change = corrections.add_around if step.op == "add_here" else corrections.remove_around
            return change(mask, values["points"], scene)
        case "keep_inside":
            return mask & corrections.polygon_mask(values["polygon"], scene.shape)
        case "drop_inside":
            return mask & ~corrections.polygon_mask(values["polygon"], scene.shape)
        case "add_inside":
            return corrections.add_inside(mask, values["polygon"], scene, logits)
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
    return getattr(masks, op)(mask, other, *length(values["value"], values["unit"], session.scene))


def _need_points(points: Sequence[Any]) -> None:
    if not points:
        raise StepError("Click on a region in the picture first, then say what to do with it.")


def refine(
    extraction: Extraction, steps: tuple[RefinementStep, ...], session: Session, paint: Paint | None = None
) -> Extraction:
    """A new extraction after the steps; the given one stays as it is.

    "stricter" and "looser" move the threshold of the stored probabilities, clicks that correct ask the decoder for
    others by `paint`; both apply the layer's earlier steps again, since those were meant for the layer and not for
    its first outline.
    """
    work = _Work(extraction, session, paint)
    for step in steps:
        work.do(step)
    painted: dict[str, Any] = {"logits": work.logits} if work.painted else {"logits_key": extraction.logits_key}
    return session.make_extraction(
        work.mask, land_cover=extraction.land_cover, method=extraction.method, threshold=work.threshold,
        reply=extraction.reply, model_text=extraction.model_text, parent=extraction.id, steps=tuple(work.done),
        evidence=extraction.evidence, states_key=extraction.states_key, **painted,
    )  # fmt: skip


class _Work:
    """A layer between two extractions: its mask, threshold and logits while steps are applied to it."""

    def __init__(self, extraction: Extraction, session: Session, paint: Paint | None) -> None:
        self.mask, self.threshold, self.logits = extraction.mask, extraction.threshold, extraction.logits
        self.done = list(extraction.steps)
        self.painted = False
        self._extraction, self._session, self._paint = extraction, session, paint

    def do(self, step: RefinementStep) -> None:
        if step.op in ("stricter", "looser"):
            self._move_threshold(STRICTER_LOGIT if step.op == "stricter" else -STRICTER_LOGIT)
        else:
            if step.op in ("add_here", "remove_here") and step.points:
                self._ask_decoder(step)
            self.mask = apply_step(self.mask, step, self._session, self.logits)
        self.done.append(step)

    def _move_threshold(self, by_logit: float) -> None:
        if self.logits is None:
            raise StepError("This layer is a mask without probabilities; name an index value instead.")
        logit = float(np.log(self.threshold / (1 - self.threshold))) + by_logit
        self.threshold = float(np.clip(1 / (1 + np.exp(-logit)), 0.01, 0.99))
        self._threshold_again(self.logits)

    def _ask_decoder(self, step: RefinementStep) -> None:
        """Take the decoder's answer where it does what the clicks ask for; else what was there stays."""
        if self._paint is None or self.logits is None:
            return
        logits = self._paint(self._extraction, click_prompts([*self.done, step]))
        if logits is not None and follows(self._above_threshold(logits), step):
            self.logits, self.painted = np.asarray(logits, np.float32), True
            self._threshold_again(self.logits)

    def _above_threshold(self, logits: npt.NDArray[np.floating]) -> BoolArray:
        """Where logits (H, W) pass the threshold, on valid pixels only: nodata must not join regions or count in them."""
        limit = float(np.log(self.threshold / (1 - self.threshold)))
        return np.asarray((logits > limit) & self._session.scene.valid)

    def _threshold_again(self, logits: npt.NDArray[np.floating]) -> None:
        self.mask = self._above_threshold(logits)
        for earlier in self.done:
            if earlier.op not in ("stricter", "looser"):
                self.mask = apply_step(self.mask, earlier, self._session, logits)


def click_prompts(steps: Iterable[RefinementStep]) -> tuple[Point, ...]:
    """All clicks of a layer's corrections as the decoder takes them, oldest first: at the centres of pixels."""
    return tuple(
        Point(row, column, step.op == "add_here")
        for step in steps
        if step.op in ("add_here", "remove_here")
        for row, column in step.points
    )


def follows(mask: BoolArray, step: RefinementStep) -> bool:
    """Whether a mask (H, W) is at every click of a correction as the click asks."""
    points = step.points if step.op in ("add_here", "remove_here") else ()
    height, width = mask.shape
    placed = [(row, column) for row, column in points if row < height and column < width]
    return bool(placed) and all(mask[point] == (step.op == "add_here") for point in placed)
