"""What lies under a click or in a drawn outline on the picture, in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chat_app.acting.corrections import polygon_mask
from chat_app.answering.explain import area_words
from chat_app.memory.marks import Marks
from chat_app.memory.session import Session
from spex_model.imaging.areas import mask_area_m2, to_wgs84
from spex_model.imaging.indices import available_indices, compute_index
from spex_model.imaging.masks import at_points
from spex_model.imaging.scene import Scene

_SHOWN_INDICES = ("NDVI", "MNDWI", "NDWI", "NDBI", "VARI")


def mark_words(session: Session, marks: Marks) -> str:
    """What is marked in the picture, in words; "" where nothing is."""
    if marks.points:
        return click_words(session, marks.points)
    return area_drawn_words(session, marks.area) if marks.area else ""


def area_drawn_words(session: Session, area: tuple[tuple[float, float], ...]) -> str:
    """The size of a drawn polygon, and how much of each visible layer lies in it."""
    scene = session.scene
    inside = polygon_mask(area, scene.shape) & scene.valid
    parts = [f"Drawn: {area_words(mask_area_m2(inside, scene), int(inside.sum()))}"]
    for layer in session.layers:
        shared = session.extraction(layer).mask & inside
        if layer.visible and shared.any():
            parts.append(f"{layer.name} in it: {area_words(mask_area_m2(shared, scene), int(shared.sum()))}")
    return " · ".join(parts)


def click_words(session: Session, points: tuple[tuple[int, int], ...]) -> str:
    """The last clicked (row, column), its position, the layers and region there, and the indices of that pixel."""
    row, column = points[-1]
    scene = session.scene
    parts = [f"Row {row}, column {column}{_position(scene, row, column)}"]
    if not scene.valid[row, column]:
        parts.append("no data there")
    else:
        parts.append(_layers(session, row, column))
        parts += _values(scene, row, column)
    marked = f"{len(points)} places marked; the last: " if len(points) > 1 else ""
    return marked + " · ".join(part for part in parts if part)


def _position(scene: Scene, row: int, column: int) -> str:
    if not scene.georeferenced:
        return ""
    longitude, latitude = to_wgs84(scene, np.array([row + 0.5]), np.array([column + 0.5]))
    return f" ({latitude[0]:.5f}°, {longitude[0]:.5f}°)"


def _layers(session: Session, row: int, column: int) -> str:
    inside = []
    for layer in session.layers:
        mask = session.extraction(layer).mask
        if layer.visible and mask[row, column]:
            region = at_points(mask, [(row, column)])
            size = area_words(mask_area_m2(region, session.scene), int(region.sum()))
            inside.append(f"{layer.name} (a region of {size})")
    if inside:
        return "in " + " and ".join(inside)
    return "in no layer" if session.layers else ""


def _values(scene: Scene, row: int, column: int) -> list[str]:
    """Indices of one pixel, computed on that pixel alone."""
    spot = replace(
        scene,
        reflectance=scene.reflectance[:, row : row + 1, column : column + 1].copy(),
        valid=scene.valid[row : row + 1, column : column + 1].copy(),
    )
    names = [name for name in _SHOWN_INDICES if name in available_indices(scene)][:3]
    values = [(name, float(compute_index(spot, name)[0, 0])) for name in names]
    return [f"{name} {value:.2f}" for name, value in values if np.isfinite(value)]
