"""The example images that come with the project, as cards with thumbnails."""

from __future__ import annotations

import logging
import re
from functools import cached_property
from pathlib import Path

from chat_app.page.markup import ExampleCard
from chat_app.page.render import ASSETS, thumbnail_url
from spex_model.imaging.errors import ImagingError
from spex_model.imaging.reading import open_scene

log = logging.getLogger(__name__)


class ExampleImages:
    """Lists the GeoTIFFs of a folder; the key of one is its file name without suffix."""

    def __init__(self, folder: Path = ASSETS / "examples") -> None:
        self._folder = folder

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted(self._folder.glob("*.tif"))}

    @cached_property
    def _cards(self) -> tuple[ExampleCard, ...]:
        about = _read_descriptions(self._folder / "README.md")
        return tuple(card for path in self._paths.values() if (card := _card(path, about.get(path.name, ""))))

    def cards(self) -> tuple[ExampleCard, ...]:
        """The cards; files that can't be opened are left out."""
        return self._cards

    def path(self, key: str) -> Path | None:
        """The file of an example, None for a key that is not listed."""
        return self._paths.get(key)


def _read_descriptions(path: Path) -> dict[str, str]:
    """What each file shows, from the first two columns of the table that lists them."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^\| `([^`|]+\.tif)` \| ([^|]+?) \|", text, flags=re.MULTILINE))


def _title(stem: str) -> str:
    """ "landsat7_olinda" as "Landsat 7 Olinda"."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", stem.replace("_", " ")).title()


def _card(path: Path, shows: str) -> ExampleCard | None:
    try:
        scene = open_scene(path)
    except ImagingError as error:
        log.warning("example %s can't be shown", path.name, exc_info=error)
        return None
    rows, columns = scene.shape
    size = f" of {scene.gsd_m:.3g} m" if scene.gsd_m is not None else ""
    count = len(scene.bands)
    detail = f"{columns} × {rows} pixels{size}, {count} band{'s' * (count > 1)}"
    return ExampleCard(path.stem, _title(path.stem), shows, detail, thumbnail_url(scene))
