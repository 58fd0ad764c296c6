"""Images without labels as tiles, and crops of which a part is hidden: the lessons of pre-training."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from spex_model.imaging.bands import SLOTS
from spex_model.imaging.errors import ImagingError
from spex_model.imaging.indices import needed_bands
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.reading import open_scene
from spex_model.model.config import INDEX_CHANNELS
from spex_model.model.processor import pixel_channels
from spex_model.training.crops import CropSampler, CropSettings, drop_bands, random_window, resample, vary_radiometry
from spex_model.training.datasets import UNKNOWN, Tile

log = logging.getLogger(__name__)

SOURCE = "unlabelled"
NUM_TARGETS = len(SLOTS) + len(INDEX_CHANNELS)
"""The spectral slots, then the index channels, as the encoder receives them."""

_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
_LEAST_SIDE_PX = 64
_UNKNOWN_GSD_M = 10.0  # what the encoder takes where nothing tells the pixel size
_SHARES = (
    ("landsat", 0.25), ("synthetic", 0.25), (SOURCE, 0.25), ("buildings", 0.1), ("naip", 0.1), ("clouds", 0.05),
)  # fmt: skip


def folder_tiles(folder: Path) -> list[Tile]:
    """Every image below a folder, as the chat would open it, with nothing known of any land cover.

    Files named NAME.label.* are no images. What cannot be opened, or is smaller than 64 pixels, is left out and said.
    """
    tiles = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
        if path.stem.endswith(".label"):
            continue
        try:
            scene = open_scene(path)
        except ImagingError as error:
            log.warning("%s is left out: %s", path, error)
            continue
        if min(scene.shape) < _LEAST_SIDE_PX:
            log.warning("%s is left out: its sides are shorter than %d pixels.", path, _LEAST_SIDE_PX)
            continue
        name = str(path.relative_to(folder))
        covers = np.full((len(LAND_COVERS), *scene.shape), UNKNOWN, np.uint8)
        reflectance, gsd_m = np.nan_to_num(scene.reflectance), scene.gsd_m or _UNKNOWN_GSD_M
        tiles.append(Tile(name, SOURCE, name, reflectance, scene.valid, covers, scene.bands, gsd_m, scene.calibrated))
    return tiles


class MaskedCrop(NamedTuple):
    """One crop, or a batch of them with one axis more in front.

    pixel_values (num_channels, S, S) float32: what the encoder sees, without dropped bands, hidden blocks as nodata;
    targets (NUM_TARGETS, S, S) float32: slots and index channels of the whole crop; wanted (NUM_TARGETS, S, S) bool:
    where a target is known and the encoder doesn't see it.
    """

    pixel_values: Tensor
    targets: Tensor
    wanted: Tensor


@dataclass(frozen=True)
class MaskSettings:
    """Side of a crop in pixels, share of its area that is hidden, and the sides of the hidden blocks."""

    size: int = 128
    hidden: float = 0.5
    blocks_px: tuple[int, ...] = (8, 16, 32)


def hide_blocks(settings: MaskSettings, rng: np.random.Generator) -> np.ndarray:
    """A random mask (S, S) bool of square blocks of one of the sizes."""
    side = int(rng.choice(settings.blocks_px))
    cells = -(-settings.size // side)
    blocks = rng.random((cells, cells)) < settings.hidden
    return blocks.repeat(side, 0).repeat(side, 1)[: settings.size, : settings.size]


def present(bands: Sequence[str]) -> np.ndarray:
    """Which targets (NUM_TARGETS,) bool the bands give: slots by name, indices by the bands that they need."""
    indices = [set(needed_bands(index)) <= set(bands) for index in INDEX_CHANNELS]
    return np.array([slot in bands for slot in SLOTS] + indices)


def mask_crop(tile: Tile, settings: MaskSettings, rng: np.random.Generator) -> MaskedCrop:
    """A random crop of a tile, varied as in training, with bands dropped and blocks hidden."""
    rows, cols, zoom = random_window(tile, settings.size, rng)
    values = resample(tile.reflectance[:, rows, cols], settings.size, "bilinear")
    valid = resample(tile.valid[None, rows, cols], settings.size, "nearest")[0] > 0.5
    values, calibrated = vary_radiometry(values, tile.bands, tile.calibrated, rng)
    gsd_m = tile.gsd_m / zoom if rng.random() < 0.85 else None
    kept, seen = drop_bands(tile.bands, rng), valid & ~hide_blocks(settings, rng)
    bands = [tile.bands[number] for number in kept]
    whole = pixel_channels(values, tile.bands, valid, gsd_m=gsd_m, calibrated=calibrated)
    shown = pixel_channels(values[kept], bands, seen, gsd_m=gsd_m, calibrated=calibrated)
    targets = np.concatenate([whole[: len(SLOTS)], whole[2 * len(SLOTS) :][: len(INDEX_CHANNELS)]])
    known = present(tile.bands)[:, None, None] & valid
    wanted = known & ~(present(bands)[:, None, None] & seen)
    turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
    planes = [np.rot90(plane, turns, (1, 2))[..., :: -1 if flip else 1] for plane in (shown, targets, wanted)]
    return MaskedCrop(*(torch.from_numpy(np.ascontiguousarray(plane)) for plane in planes))


class MaskedStream(IterableDataset):
    """An endless stream of masked crops for a DataLoader; worker and seed fix what comes."""

    def __init__(self, tiles: list[Tile], settings: MaskSettings, seed: int) -> None:
        self.tiles = CropSampler(tiles, CropSettings(shares=_SHARES))
        self.settings = settings
        self.seed = seed

    def __iter__(self) -> Iterator[MaskedCrop]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        while True:
            yield mask_crop(self.tiles.draw_tile(rng), self.settings, rng)
