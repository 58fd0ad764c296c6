"""A change as files for other programs: a GeoTIFF of four classes on the first image's grid, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from chat_app.acting.change import Change
from chat_app.files.export import MASK_NODATA, mask_profile
from spex_model.imaging.composites import available_composites, rgb_composite
from spex_model.imaging.scene import Scene

CLASSES = {1: "kept", 2: "gained", 3: "lost"}
COLOURS = {"kept": (47, 128, 237), "gained": (39, 174, 96), "lost": (235, 64, 52)}
"""Red, green, blue 0-255: what stayed in blue, as on the page green for gained and red for lost."""
_PAINT = 0.75


def change_classes(change: Change) -> npt.NDArray[np.uint8]:
    """(H, W) uint8: 0 never there, 1 kept, 2 gained, 3 lost, 255 not compared."""
    values = np.where(change.compared, 0, MASK_NODATA).astype(np.uint8)
    for number, name in CLASSES.items():
        values[change.parts[name]] = number
    return values


def write_change(path: Path, change: Change, scene: Scene) -> Path:
    """The classes of a change as GeoTIFF on the scene's grid, with colours and the classes named in its tags."""
    values = change_classes(change)
    with rasterio.open(path, "w", **mask_profile(scene)) as dataset:
        dataset.write(values, 1)
        dataset.set_band_description(1, f"change of {change.facts['land_cover']}")
        colours = {number: (*COLOURS[name], 255) for number, name in CLASSES.items()}
        dataset.write_colormap(1, {0: (0, 0, 0, 0), **colours})
        dataset.update_tags(
            CLASSES=", ".join(f"{number} {name}" for number, name in CLASSES.items()),
            BEFORE=change.facts["before_image"]["source"],
            AFTER=change.facts["after_image"]["source"],
        )
        dataset.colorinterp = [ColorInterp.palette]
    return path


def write_change_picture(path: Path, change: Change, scene: Scene) -> Path:
    """The change in colours over the image in grey, as PNG."""
    picture = rgb_composite(scene, available_composites(scene)[0]).mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    for name, mask in change.parts.items():
        picture[mask] = (1 - _PAINT) * picture[mask] + _PAINT * np.array(COLOURS[name])
    Image.fromarray(picture.round().astype(np.uint8)).save(path)
    return path
