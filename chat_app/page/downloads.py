"""Files that a page offers for download, in folders that nobody can guess."""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from uuid import uuid4

from chat_app.errors import ChatError
from chat_app.memory.layers import Layer
from chat_app.memory.session import Session
from chat_app.plan import ExportFormat
from chat_app.settings import Settings

FORMATS: dict[str, str] = {"geotiff": "GeoTIFF", "geojson": "GeoJSON", "png": "PNG", "gpkg": "GeoPackage"}
"""Formats and their names on the page."""
KEEP_SECONDS = 3600.0


def downloads_folder(settings: Settings) -> Path:
    """The folder of all downloads; the only one that the page's server may read files from."""
    return settings.data_dir / "exports"


def write_download(settings: Settings, session: Session, layer: Layer, fmt: str) -> Path:
    """Write a layer into a fresh folder with a random name; downloads older than an hour are removed on the way."""
    from chat_app.files.export import export_layer  # geopandas and its drivers: a second that only a download pays

    if fmt not in FORMATS:
        raise ChatError(f"The format {fmt[:20]} is not known; there are {', '.join(FORMATS.values())}.")
    root = downloads_folder(settings)
    sweep_downloads(root)
    folder = root / uuid4().hex
    folder.mkdir(parents=True)
    return export_layer(session, layer, folder, cast(ExportFormat, fmt))


def write_session(settings: Settings, session: Session, image: Path) -> Path:
    """A whole session as a zip in a fresh folder with a random name; `image` is the stored copy of its image."""
    from chat_app.files.bundles import write_folder, zip_folder

    root = downloads_folder(settings)
    sweep_downloads(root)
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(session.title).stem).strip("-").lower()[:40] or "session"
    folder = root / uuid4().hex / f"spex-{name}"
    folder.mkdir(parents=True)
    archive = zip_folder(write_folder(session, image, folder))
    shutil.rmtree(folder)
    return archive


def bundle(paths: Sequence[Path]) -> Path:
    """The one file, or an archive of them beside the first."""
    if len(paths) == 1:
        return paths[0]
    archive = paths[0].with_name(f"layers-{uuid4().hex[:8]}.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in paths:
            file.write(path, path.name)
    return archive


def sweep_downloads(root: Path, *, keep_seconds: float = KEEP_SECONDS) -> None:
    """Remove download folders that are older than that."""
    for folder in root.iterdir() if root.is_dir() else ():
        if time.time() - folder.stat().st_mtime > keep_seconds:
            shutil.rmtree(folder, ignore_errors=True)
