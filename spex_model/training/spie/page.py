"""A page to browse instruction records with their pictures; everything it needs lies beside it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from spex_model.imaging.composites import available_composites, rgb_composite
from spex_model.training.spie.records import Record
from spex_model.training.spie.samples import Sample

TEMPLATE = Path(__file__).parents[3] / "assets" / "spie_page.html"
OUTLINE_COLOURS = {
    "water": "#1e90ff",
    "vegetation": "#7fd13b",
    "trees": "#00a878",
    "buildings": "#ff5252",
    "bare soil": "#e0a030",
}


def draw_outline(mask: np.ndarray, colour: str) -> Image.Image:
    """The edge pixels of a mask (H, W) bool in a colour ("#rrggbb") on a transparent picture of the same size."""
    edge = mask & ~binary_erosion(mask, np.ones((3, 3), bool), border_value=1)
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[edge] = (*bytes.fromhex(colour[1:]), 255)
    return Image.fromarray(picture)


def draw_sample(sample: Sample, folder: Path) -> dict[str, Any]:
    """Write `images/NAME.png` in true colour and an outline for each labelled land cover; returns what the page says of it."""
    pictures = folder / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    kinds = available_composites(sample.scene)
    kind = "natural" if "natural" in kinds else kinds[0]
    Image.fromarray(rgb_composite(sample.scene, kind)).save(pictures / f"{sample.name}.png", optimize=True)
    outlines = []
    for cover, plane in sample.covers.items():
        mask = sample.scene.valid & (plane == 1)
        if mask.any():
            draw_outline(mask, OUTLINE_COLOURS[cover]).save(
                pictures / f"{sample.name}.{cover.replace(' ', '-')}.png", optimize=True
            )
            outlines.append(cover)
    height, width = sample.scene.shape
    size = "unknown pixel size" if sample.scene.gsd_m is None else f"{sample.scene.gsd_m:g} m"
    colours = {cover: OUTLINE_COLOURS[cover] for cover in outlines}
    about = f"{sample.sensor}, {size}, {height} x {width} pixels, site {sample.site}, shown as {kind}"
    return {"about": about, "outlines": outlines, "colours": colours}


def write_page(records: Iterable[Record], images: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Write `index.html` and `records.js` for records and the pictures that `draw_sample` wrote."""
    kept = ("image", "source", "land_cover", "task", "prompt", "answer", "facts", "held_out")
    rows = [{key: getattr(record, key) for key in kept} for record in records]
    script = f"window.RECORDS = {json.dumps(rows)};\nwindow.IMAGES = {json.dumps(images)};\n"
    (folder / "records.js").write_text(script, encoding="utf-8")
    shutil.copyfile(TEMPLATE, folder / "index.html")
    return folder / "index.html"
