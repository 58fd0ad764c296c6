"""What the model is good for at a pixel size, by the evaluation in docs/MODEL.md; the rest is not passed off as its work."""

from __future__ import annotations

from spex_model.imaging.scene import Scene

COARSEST_FOR_BUILDINGS_M = 3.0
"""Measured: it finds houses at 1 m and finer, next to none at 10 m and coarser; where the line lies between is a judgement."""


def limit_words(land_cover: str, scene: Scene) -> str | None:
    """A sentence where the model cannot tell this land cover in such an image, else None."""
    if land_cover != "buildings" or scene.gsd_m is None or scene.gsd_m <= COARSEST_FOR_BUILDINGS_M:
        return None
    return (
        f"With pixels of {scene.gsd_m:.3g} m a house is only a few pixels or less, and the model does not find buildings reliably "
        f"(it takes {COARSEST_FOR_BUILDINGS_M:g} m or finer)."
    )
