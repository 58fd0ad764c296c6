"""What changed between two images of one place: the layer's recipe is run on both, and the masks are compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chat_app.acting.extract import extract
from chat_app.acting.refine import refine
from chat_app.errors import StepError
from chat_app.memory.arrays import ArrayStore, BoolArray
from chat_app.memory.layers import Layer, OtherImage
from chat_app.memory.marks import CORRECTIONS
from chat_app.memory.session import Session
from chat_app.settings import Settings
from spex_model.imaging.areas import mask_area_m2
from spex_model.imaging.indices import available_indices, compute_index
from spex_model.imaging.scene import Scene
from spex_model.serving.protocol import Runtime

NO_SECOND_IMAGE = (
    "There is no second image to compare with yet. Add one of the same place under “Compare with another image”."
)
ANOTHER_LOOK = 0.1
"""Difference of the median index of two images above which they are called different as a whole."""
_OVERALL = ("NDVI", "VARI")
_OWN_IMAGE_ONLY = CORRECTIONS | {"add_inside"}
"""Steps that mend what the model got wrong on one image; on another they would invent something."""


@dataclass(frozen=True, eq=False)
class Change:
    """A land cover before and after, (H, W) bool on the first image's grid, both only where both images are valid."""

    before: BoolArray
    after: BoolArray
    compared: BoolArray
    facts: dict[str, Any]

    @property
    def parts(self) -> dict[str, BoolArray]:
        """The pixels that were kept, gained and lost; they share none."""
        return {
            "kept": self.before & self.after, "gained": self.after & ~self.before, "lost": self.before & ~self.after,
        }  # fmt: skip


def find_change(
    session: Session,
    layer: Layer,
    runtime: Runtime | None,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
) -> Change:
    """Run the recipe of a layer on the session's second image and compare.

    Raises StepError when there is no second image or when the two masks would not come about in the same way.
    """
    other = session.other
    if other is None:
        raise StepError(NO_SECOND_IMAGE)
    aligned = session.align_other(other)
    with tempfile.TemporaryDirectory(prefix="spex-compare-") as folder:
        twin = Session("twin", aligned.scene, ArrayStore(Path(folder), memory_bytes=2**28), title=other.name)
        _repeat(session, layer, twin, runtime, settings, say)
        masks = [session.extraction(layer).mask, twin.extraction(layer.name).mask.copy()]
    compared = session.scene.valid & aligned.scene.valid
    scenes = [session.scene, other.scene]
    if not is_newer(session.scene, other):
        masks.reverse()
        scenes.reverse()
    before, after = (mask & compared for mask in masks)
    remarks = [
        *aligned.remarks, *_radiometry_remarks(session.scene, aligned.scene, compared), *_recipe_remarks(session, layer),
    ]  # fmt: skip
    return Change(before, after, compared, _measure(layer, before, after, compared, session.scene, scenes, remarks))


def is_newer(first: Scene, other: OtherImage) -> bool:
    """Whether the second image is the later one: by the dates of both, else by what the user said."""
    if first.acquired and other.scene.acquired and first.acquired != other.scene.acquired:
        return other.scene.acquired > first.acquired
    return other.newer


def _repeat(
    session: Session,
    layer: Layer,
    twin: Session,
    runtime: Runtime | None,
    settings: Settings,
    say: Callable[[str], None],
    begun: tuple[Layer, ...] = (),
) -> None:
    """Make a layer on the twin as it was made in the session, after the layers that its steps speak of.

    `begun` are the layers that wait for this one. Raises StepError where this one waits for one of them in turn.
    """
    if layer in begun:
        names = " and ".join(one.name for one in begun[begun.index(layer) :])
        raise StepError(
            f"The steps of {names} speak of each other, so neither can be made first on the second image. "
            f'Say "undo" for one of these steps, or ask for {layer.land_cover} anew and compare that.'
        )
    made = session.extraction(layer)
    if made.method == "change":
        raise StepError(f"{layer.name} shows a change already. Name the layer whose change you want to see.")
    steps = tuple(step for step in made.steps if step.op not in _OWN_IMAGE_ONLY)
    for name in {str(step.layer) for step in steps if hasattr(step, "layer")}:
        needed = session.find_layer(name)
        if needed.id != layer.id and all(needed.name != there.name for there in twin.layers):
            _repeat(session, needed, twin, runtime, settings, say, (*begun, layer))
    index = made.evidence.get("index") if made.method == "index" else None
    found = extract(twin, layer.land_cover, runtime, settings, index=index, say=say)
    if found.extraction.method != made.method:
        raise StepError(
            f"{found.trouble} So the second image would be outlined in another way than the first, and a difference would "
            "say nothing. Try again later, or make both by an index."
        )
    shown = twin.add_layer(found.extraction, layer.name)
    if steps:
        twin.replace_extraction(shown, refine(found.extraction, steps, twin))


def _radiometry_remarks(first: Scene, second: Scene, compared: BoolArray) -> list[str]:
    """A sentence where the images differ as a whole, as two seasons do: then the outlines do, too."""
    shared = [name for name in _OVERALL if name in available_indices(first) and name in available_indices(second)]
    if not shared or not compared.any():
        return []
    medians = [float(np.nanmedian(compute_index(scene, shared[0])[compared])) for scene in (first, second)]
    if not abs(medians[0] - medians[1]) > ANOTHER_LOOK:
        return []
    return [
        f"The images differ as a whole (median {shared[0]} {medians[0]:.2f} and {medians[1]:.2f}), by season, light or "
        "calibration: part of what seems to have changed, or all of it, may come from that."
    ]


def _recipe_remarks(session: Session, layer: Layer) -> list[str]:
    mended = any(step.op in _OWN_IMAGE_ONLY for step in session.extraction(layer).steps)
    return ["What you added or removed by clicks was done on the first image only."] if mended else []


def _measure(
    layer: Layer,
    before: BoolArray,
    after: BoolArray,
    compared: BoolArray,
    grid: Scene,
    scenes: list[Scene],
    remarks: list[str],
) -> dict[str, Any]:
    """Pixels, areas in m2 (None without pixel size) and percent of what was there before, all on the first grid."""
    facts: dict[str, Any] = {
        "layer": layer.name,
        "land_cover": layer.land_cover,
        "before_image": _image_facts(scenes[0]),
        "after_image": _image_facts(scenes[1]),
        "compared_pixels": int(compared.sum()),
        "compared_area_m2": _area(compared, grid),
    }
    had = int(before.sum())
    parts = {
        "before": before, "after": after, "gained": after & ~before, "lost": before & ~after, "kept": before & after,
    }  # fmt: skip
    for name, mask in parts.items():
        pixels = int(mask.sum())
        facts[name] = {
            "pixels": pixels,
            "area_m2": _area(mask, grid),
            "percent_of_before": round(100 * pixels / had, 2) if had else None,
        }
    facts["one_pixel_misfit_m2"] = _misfit_m2(before, grid)
    return {**facts, "remarks": remarks}


def _image_facts(scene: Scene) -> dict[str, Any]:
    return {"source": scene.source, "acquired": scene.acquired.isoformat() if scene.acquired else None}


def _area(mask: BoolArray, grid: Scene) -> float | None:
    area_m2 = mask_area_m2(mask, grid)
    return None if area_m2 is None else round(area_m2, 2)


def _misfit_m2(mask: BoolArray, grid: Scene) -> float | None:
    """What would seem gained, in m2, if nothing had changed and the images lay one pixel apart; mean of four ways."""
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    shifts = [
        padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    areas = [_area(shifted & ~mask, grid) for shifted in shifts]
    return None if any(area is None for area in areas) else round(float(np.mean([area or 0.0 for area in areas])), 2)


def show_change(session: Session, layer: Layer, change: Change) -> tuple[Layer, ...]:
    """Put what was gained and lost on the layer list, green and red, in the stead of an earlier comparison.

    The layer itself stays the active one; nothing is put where nothing changed.
    """
    shown = []
    names = {part: f"{layer.name} {part}"[:36] for part in ("gained", "lost")}
    for old in session.layers:
        if old.name in names.values() and session.extraction(old).method == "change":
            session.delete_layer(old)
    for part, colour in (("gained", "green"), ("lost", "red")):
        if not change.parts[part].any():
            continue
        reason = f"It is what was {part} of {layer.name} between {change.facts['before_image']['source']} and {change.facts['after_image']['source']}."
        extraction = session.make_extraction(
            change.parts[part], land_cover=layer.land_cover, method="change", threshold=0.0,
            evidence={"index": None, "threshold": None, "reason": reason},
        )  # fmt: skip
        added = session.add_layer(extraction, names[part])
        shown.append(session.update_layer(added, colour=colour))
    session.activate(layer)
    return tuple(shown)
