"""A session as a folder: image, layers as GeoTIFF and one GeoPackage, transcript and recipe; or as a zip of it."""

from __future__ import annotations

import re
import shutil
import zipfile
from html import escape
from pathlib import Path

from chat_app.answering.explain import area_words, regions_words, share_words
from chat_app.files.export import region_table, write_mask
from chat_app.files.recipe import write_recipe
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session

TRANSCRIPT, RECIPE, PACKAGE = "transcript.md", "recipe.yaml", "layers.gpkg"


def write_folder(session: Session, image: Path, folder: Path) -> Path:
    """Write a session into a folder and return it; `image` is the stored copy of its image.

    image/ holds the file with what stood beside it, layers/ a GeoTIFF a layer, layers.gpkg a table a layer with a row
    a region, transcript.md what was said, recipe.yaml what `replay` runs on other images.
    """
    shutil.copytree(image.parent, folder / "image", dirs_exist_ok=True)
    (folder / "layers").mkdir(parents=True, exist_ok=True)
    package = folder / PACKAGE
    package.unlink(missing_ok=True)
    for number, layer in enumerate(session.layers, start=1):
        write_mask(folder / layer_file(number, layer), session.extraction(layer).mask, session.scene, layer)
        region_table(session, layer).to_file(package, driver="GPKG", engine="pyogrio", layer=layer.name)
    (folder / TRANSCRIPT).write_text(transcript(session), encoding="utf-8")
    write_recipe(session, folder / RECIPE)
    return folder


def layer_file(number: int, layer: Layer) -> str:
    """The file of a layer in the folder: "layers/01-water.tif"."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", layer.name).strip("-").lower() or "layer"
    return f"layers/{number:02d}-{slug}.tif"


def zip_folder(folder: Path) -> Path:
    """All files of a folder as FOLDER.zip beside it, under the folder's own name."""
    archive = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return archive


def transcript(session: Session) -> str:
    """What was said, in Markdown: the image and what was assumed of it, every turn, and the layers as they stand."""
    scene = session.scene
    rows, columns = scene.shape
    size = f", pixels of {scene.gsd_m:.3g} m" if scene.gsd_m is not None else ", pixel size not known"
    lines = [f"# {_plain(session.title)}", "", f"{_plain(scene.source)}: {columns} x {rows} pixels{size}."]
    lines += [f"- {_plain(note)}" for note in scene.assumptions]
    for turn in session.turns:
        lines += ["", f"## {turn.number}. {_plain(turn.message)}", "", _plain(turn.reply)]
    lines += ["", "## Layers", ""]
    lines += [_layer_line(session, number, layer) for number, layer in enumerate(session.layers, start=1)]
    return "\n".join(lines if session.layers else [*lines, "None."]) + "\n"


def _layer_line(session: Session, number: int, layer: Layer) -> str:
    pixels = int(session.extraction(layer).mask.sum())
    share = pixels / max(1, int(session.scene.valid.sum()))
    size = area_words(session.area_m2(layer), pixels)
    count = regions_words(len(session.regions(layer)))
    return f"- {_plain(layer.name)}: {size}, {share_words(share)} of the image, {count} (`{layer_file(number, layer)}`)"


def _plain(text: str) -> str:
    """Text on one line that Markdown shows as it is, and never as HTML or a link."""
    return re.sub(r"([\\`*_\[\]#|!])", r"\\\1", escape(" ".join(text.split()), quote=False))
