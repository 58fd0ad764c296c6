"""Random training crops: scale, orientation, missing bands, radiometry; the same channels as serving builds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from spex_model.imaging.landcover import LAND_COVERS
from spex_model.model.processor import pixel_channels
from spex_model.training.clicks import draw_correction
from spex_model.training.datasets import UNKNOWN, Tile

_ASKED_MORE = {"water": 2.0, "buildings": 2.0, "trees": 1.5}


@dataclass(frozen=True)
class CropSettings:
    """How crops are drawn: side in pixels, prompts asked of each, share of clouded ones, and the share of each source.

    Without `corrections` no clicks and boxes are drawn, which takes a third of the time.
    """

    size: int = 128
    prompts: int = 2
    cloudy: float = 0.25
    corrections: bool = True
    shares: tuple[tuple[str, float], ...] = (
        ("landsat", 0.34), ("synthetic", 0.3), ("buildings", 0.26), ("naip", 0.06), ("clouds", 0.04),
    )  # fmt: skip


class Crop(NamedTuple):
    """One crop for P prompts, or a batch of them with one axis more in front.

    pixel_values (num_channels, S, S) float32; covers (L, S, S) uint8 in {0, 1, 255}, the labels of all land covers;
    asked (P,) land cover numbers; labels (P, S, S), theirs; clicks and boxes (P, 2, 3) float32, rows (x, y, label) in
    0-1 of the crop, and the labels that are right after each; (P, 0, 3) and `labels` where no corrections are drawn.
    """

    pixel_values: Tensor
    covers: Tensor
    asked: Tensor
    labels: Tensor
    clicks: Tensor
    clicked_labels: Tensor
    boxes: Tensor
    boxed_labels: Tensor


def resample(values: np.ndarray, size: int, mode: str) -> np.ndarray:
    """Planes (C, H, W) as float32 (C, size, size), "bilinear" with antialiasing or "nearest"."""
    tensor = torch.from_numpy(values.astype(np.float32))[None]
    if mode == "nearest":
        return F.interpolate(tensor, size=(size, size), mode="nearest")[0].numpy()
    shrinks = values.shape[-1] > size
    return F.interpolate(tensor, size=(size, size), mode="bilinear", align_corners=False, antialias=shrinks)[0].numpy()


def random_window(tile: Tile, size: int, rng: np.random.Generator) -> tuple[slice, slice, float]:
    """A random square of the tile and the zoom that brings it to `size`; fine pixels may be coarsened by 2.5."""
    limit = min(tile.valid.shape)
    coarsest = min(limit, int(size * 2.5)) if tile.gsd_m < 5 else min(limit, size)
    side = (
        int(np.exp(rng.uniform(np.log(min(size * 0.6, coarsest)), np.log(coarsest))))
        if rng.random() < 0.6
        else min(size, limit)
    )
    row = rng.integers(0, tile.valid.shape[0] - side + 1)
    col = rng.integers(0, tile.valid.shape[1] - side + 1)
    return slice(row, row + side), slice(col, col + side), size / side


def drop_bands(bands: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Indices of the bands that are kept: all, blue to near-infrared, RGB, or a random choice beyond RGB."""
    draw = rng.random()
    if draw < 0.5:
        return list(range(len(bands)))
    if draw < 0.65:
        wanted = {"blue", "green", "red", "nir"}
    elif draw < 0.85:
        wanted = {"blue", "green", "red"}
    else:
        wanted = {band for band in bands if band in ("green", "red") or rng.random() < 0.6}
    return [number for number, band in enumerate(bands) if band in wanted]


def vary_radiometry(
    reflectance: np.ndarray, bands: Sequence[str], calibrated: bool, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Gain, haze and noise on reflectance; gain, gamma and white balance where values are uncalibrated.

    Calibrated RGB is at times turned into a camera's picture, since most RGB files are.
    """
    count = len(bands)
    values = reflectance
    if calibrated and set(bands) <= {"blue", "green", "red"} and rng.random() < 0.6:
        top = max(float(np.percentile(values, 98)), 0.02)
        values = np.clip(values / top, 0, 1) ** rng.uniform(0.45, 0.9) * rng.uniform(0.7, 1.0)
        calibrated = False
    if calibrated:
        values = values * np.exp(rng.normal(0, 0.08) + rng.normal(0, 0.03, (count, 1, 1)))
        if rng.random() < 0.3:
            strength = {"coastal": 1.2, "blue": 1.0, "green": 0.7, "red": 0.5, "rededge": 0.35, "nir": 0.25}
            haze = rng.uniform(0, 0.06) * np.array([strength.get(band, 0.05) for band in bands])
            values = values + haze[:, None, None]
    else:
        gain = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.08, (count, 1, 1)))
        values = np.clip(values * gain, 0, 1) ** np.exp(rng.normal(0, 0.2))
    values = values + rng.normal(0, rng.uniform(0, 0.01), values.shape)
    return values.astype(np.float32), calibrated


def pass_clouds(
    reflectance: np.ndarray, bands: Sequence[str], covers: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Clouds and their shadows over a calibrated crop: the classic false water.

    reflectance (C, S, S); covers (L, S, S) uint8. A shadow takes light away, least in the blue, and leaves the labels
    as they are; under thick cloud nothing is seen, so no land cover is there.
    """
    size = reflectance.shape[-1]
    cells = int(rng.integers(3, 9))
    octaves = (rng.normal(size=(1, cells * finer, cells * finer)) / finer for finer in (1, 3, 9))
    field = sum(resample(octave, size + size // 4, "bilinear")[0] for octave in octaves)
    edge = expit((field - np.quantile(field, rng.uniform(0.65, 0.97))) * rng.uniform(6, 25))
    row, col = (int(rng.integers(0, size // 4 + 1)) for _ in range(2))
    shadow, cloud = (
        edge[row : row + size, col : col + size],
        edge[size // 8 : size // 8 + size, size // 8 : size // 8 + size],
    )
    diffuse = {"blue": 1.25, "green": 1.1, "red": 1.0, "nir": 0.9, "swir1": 0.8, "swir2": 0.75}
    kept = rng.uniform(0.2, 0.6) * np.array([diffuse.get(band, 1.0) for band in bands])[:, None, None]
    values = reflectance * (1 - shadow * (1 - np.clip(kept, 0, 1)))
    if rng.random() < 0.6:
        bright = rng.uniform(0.35, 0.9) * np.array([0.75 if band.startswith("swir") else 1.0 for band in bands])
        values = values + (bright[:, None, None] - values) * cloud
        covers = np.where((cloud > 0.6) & (covers != UNKNOWN), 0, covers).astype(np.uint8)
    return values, covers


def repeat_factors(tiles: Sequence[Tile], *, noted: float = 0.05, common: float = 0.5) -> np.ndarray:
    """How much more often each tile should come, (N,) float >= 1, for the rarest land cover on it.

    A land cover counts as on a tile where it covers more than `noted` of it, and sqrt(common / share of the tiles that
    it is on) is its factor, where it is on less than `common` of them: Gupta et al. 2019, arXiv 1908.03195, section 5.
    """
    present = np.array([(tile.covers == 1).mean((1, 2)) > noted for tile in tiles])
    factors = np.sqrt(common / np.maximum(present.mean(0), 1 / len(tiles))).clip(min=1.0)
    return np.where(present, factors, 1.0).max(1)


class CropSampler:
    """Draws labelled crops by source share; everything follows from the generator it is given."""

    def __init__(self, tiles: list[Tile], settings: CropSettings) -> None:
        self.settings = settings
        present = {tile.source for tile in tiles}
        shares = [(source, share) for source, share in settings.shares if source in present]
        self.sources = [source for source, _ in shares]
        self.shares = np.array([share for _, share in shares]) / sum(share for _, share in shares)
        self.by_source = {source: self._by_site([t for t in tiles if t.source == source]) for source in self.sources}

    @staticmethod
    def _by_site(tiles: list[Tile]) -> tuple[list[Tile], np.ndarray]:
        """Tiles with weights: a site of n tiles counts as sqrt(n) tiles, so that four rivers don't rule the rest.

        Tiles of a rare land cover come more often, see `repeat_factors`.
        """
        counts: dict[str, int] = {}
        for tile in tiles:
            counts[tile.site] = counts.get(tile.site, 0) + 1
        weights = np.array([counts[tile.site] ** -0.5 for tile in tiles]) * repeat_factors(tiles)
        return tiles, weights / weights.sum()

    def draw_tile(self, rng: np.random.Generator) -> Tile:
        """A tile of a source drawn by its share."""
        tiles, weights = self.by_source[self.sources[rng.choice(len(self.sources), p=self.shares)]]
        return tiles[rng.choice(len(tiles), p=weights)]

    def draw(self, rng: np.random.Generator) -> Crop:
        """One crop with what is asked of it, and corrections by clicks and by boxes."""
        tile = self.draw_tile(rng)
        rows, cols, zoom = random_window(tile, self.settings.size, rng)
        kept = drop_bands(tile.bands, rng)
        bands = [tile.bands[number] for number in kept]
        size = self.settings.size
        values = resample(tile.reflectance[kept][:, rows, cols], size, "bilinear")
        valid = resample(tile.valid[None, rows, cols], size, "nearest")[0] > 0.5
        covers = resample(tile.covers[:, rows, cols], size, "nearest").astype(np.uint8)
        if tile.calibrated and tile.gsd_m > 5 and rng.random() < self.settings.cloudy:
            values, covers = pass_clouds(values, bands, covers, rng)
        values, calibrated = vary_radiometry(values, bands, tile.calibrated, rng)
        gsd_m = tile.gsd_m / zoom if rng.random() < 0.85 else None
        channels = pixel_channels(values, bands, valid, gsd_m=gsd_m, calibrated=calibrated)
        covers[:, ~valid] = UNKNOWN
        turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        channels, covers = np.rot90(channels, turns, (1, 2)), np.rot90(covers, turns, (1, 2))
        if flip:
            channels, covers = channels[..., ::-1], covers[..., ::-1]
        covers = np.ascontiguousarray(covers)
        asked = self._choose(covers, rng)
        planes = [np.ascontiguousarray(channels), covers, asked, covers[asked]]
        for box in (False, True):
            planes += self._correct(covers, asked, rng, box=box)
        return Crop(*map(torch.from_numpy, planes))

    def _correct(
        self, covers: np.ndarray, asked: np.ndarray, rng: np.random.Generator, *, box: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Marks (P, 2, 3) or (P, 0, 3), and labels (P, S, S): one correction of each land cover that is asked for."""
        if not self.settings.corrections:
            return np.zeros((len(asked), 0, 3), np.float32), covers[asked]
        drawn = [draw_correction(covers, int(number), rng, box=box) for number in asked]
        return np.stack([one.points for one in drawn]), np.stack([one.labels for one in drawn])

    def _choose(self, covers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Land covers to ask for: those with labels, those present three times as often, the hard ones more."""
        weights = np.zeros(len(LAND_COVERS))
        for number, plane in enumerate(covers):
            if (plane != UNKNOWN).mean() > 0.02:
                weights[number] = (3.0 if (plane == 1).any() else 1.0) * _ASKED_MORE.get(LAND_COVERS[number], 1.0)
        if not weights.any():
            weights[:] = 1
        size = self.settings.prompts
        return rng.choice(len(weights), size=size, replace=(weights > 0).sum() < size, p=weights / weights.sum())


class CropStream(IterableDataset):
    """An endless stream of crops for a DataLoader; worker and seed fix what comes."""

    def __init__(self, tiles: list[Tile], settings: CropSettings, seed: int) -> None:
        self.sampler = CropSampler(tiles, settings)
        self.seed = seed

    def __iter__(self) -> Iterator[Crop]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        while True:
            yield self.sampler.draw(rng)
