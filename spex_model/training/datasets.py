"""Labelled imagery as tiles of one form, and the random crops that training draws from them.

Labels of every source become one plane a land cover: 1 present, 0 absent, 255 not known. Sources say
nothing of most classes (an aerial building outline knows no water), and what is not known is not learnt.
"""

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

from spex_model.imaging.landcover import LAND_COVERS

log = logging.getLogger(__name__)

UNKNOWN = 255
LANDSAT_BANDS = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
SIX_BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
SOURCES = ("landsat", "naip", "buildings", "clouds", "synthetic")

HELD_OUT_CITIES = (
    "whu_milan",
    "whu_ottawa",
    "whu_taiwan",
    "spacenet_RGB-PanSharpen_AOI_3_Paris",
    "potsdam",
    "inria_austin3",
)
"""Aerial tiles of these places are never trained on."""

BAND_SETS = {"all": None, "rgbn": ("blue", "green", "red", "nir"), "rgb": ("blue", "green", "red")}
"""Bands that a run may be held to, to measure what the others are worth."""

HELD_OUT_CLOUD_SCENE = "sentinel2"
LANDSAT_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Tile:
    """One labelled image.

    reflectance (C, H, W) float32, unitless; valid (H, W) bool; covers (len(LAND_COVERS), H, W) uint8 in {0, 1, 255};
    `site` groups tiles of one place, which must stay on one side of a split.
    """

    name: str
    source: str
    site: str
    reflectance: np.ndarray
    valid: np.ndarray
    covers: np.ndarray
    bands: tuple[str, ...]
    gsd_m: float
    calibrated: bool


def _planes(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    return {cover: np.full(shape, UNKNOWN, np.uint8) for cover in LAND_COVERS}


def _stack(planes: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([planes[cover] for cover in LAND_COVERS])


def _landsat_covers(labels: np.ndarray, reflectance: np.ndarray) -> np.ndarray:
    """WorldCover and the drawn water -> planes.

    Grass, crops and shrub are green on some days only: there the day's NDVI decides (above 0.45 vegetation,
    below 0.2 not, between them unknown). Trees standing in drawn water are unknown ground for both.
    """
    water, cover = labels[0] == 1, labels[1]
    planes = _planes(cover.shape)
    red, nir = reflectance[3], reflectance[4]
    ndvi = (nir - red) / np.maximum(nir + red, 0.01)
    wooded = np.isin(cover, (10, 95))
    seasonal = np.isin(cover, (20, 30, 40, 90, 100))
    planes["water"][:] = water
    planes["vegetation"][wooded & (ndvi > 0.3)] = 1
    planes["vegetation"][np.isin(cover, (50, 60, 70, 80)) & (ndvi < 0.4)] = 0
    planes["vegetation"][seasonal & (ndvi > 0.45)] = 1
    planes["vegetation"][seasonal & (ndvi < 0.2)] = 0
    planes["vegetation"][water & (ndvi < 0.2)] = 0
    planes["trees"][wooded] = 1
    planes["trees"][np.isin(cover, (30, 40, 50, 60, 70, 80))] = 0
    planes["trees"][water & wooded] = UNKNOWN
    planes["buildings"][:] = cover == 50
    planes["bare soil"][:] = (cover == 60) & ~water
    planes["bare soil"][np.isin(cover, (20, 30, 100)) & (ndvi < 0.25)] = UNKNOWN
    planes["bare soil"][(cover == 40) & (ndvi < 0.25)] = UNKNOWN
    return _stack(planes)


def load_landsat(folder: Path) -> list[Tile]:
    """Landsat 8 tiles with `sites.csv`, drawn water and WorldCover labels."""
    tiles = []
    for row in csv.DictReader((folder / "sites.csv").open()):
        with rasterio.open(folder / f"{row['tile']}.tif") as image:
            raw = image.read()
        with rasterio.open(folder / f"{row['tile']}.label.tif") as image:
            labels = image.read()
        reflectance = np.clip(raw.astype(np.float32) * 1e-4, 0, 1.5)
        tiles.append(
            Tile(
                row["tile"], "landsat", row["site"], reflectance[1:], (raw != 0).any(0),
                _landsat_covers(labels, reflectance), LANDSAT_BANDS[1:], 30.0, True,
            )
        )  # fmt: skip
    return tiles


def _naip_covers(classes: np.ndarray, building: np.ndarray) -> np.ndarray:
    planes = _planes(classes.shape)
    for cover, codes in (("water", (1,)), ("vegetation", (2, 3)), ("trees", (2,)), ("bare soil", (4,))):
        planes[cover][classes > 0] = 0
        planes[cover][np.isin(classes, codes)] = 1
    planes["buildings"][np.isin(classes, (1, 2, 3, 4, 6))] = 0
    planes["buildings"][building == 1] = 1
    return _stack(planes)


def load_naip(folder: Path) -> list[Tile]:
    """NAIP tiles at 1 m with Chesapeake land cover; the site is the map sheet."""
    tiles = []
    for path in sorted(folder.glob("*.label.tif")):
        stem = path.name.removesuffix(".label.tif")
        with rasterio.open(path) as image:
            labels = image.read()
        with rasterio.open(folder / f"{stem}.tif") as image:
            reflectance = image.read([1, 2, 3, 4]).astype(np.float32) / 255
        site = "_".join(stem.split("_")[:2])
        covers = _naip_covers(labels[0], labels[1])
        valid = np.ones(labels.shape[1:], bool)
        tiles.append(Tile(stem, "naip", site, reflectance, valid, covers, ("red", "green", "blue", "nir"), 1.0, False))
    return tiles


def load_buildings(folder: Path) -> list[Tile]:
    """Aerial RGB tiles with building outlines; the site is the city."""
    tiles = []
    for path in sorted(folder.glob("*.label.png")):
        stem = path.name.removesuffix(".label.png")
        with rasterio.open(path) as image:
            outline = image.read(1) > 127
        with rasterio.open(folder / f"{stem}.png") as image:
            reflectance = image.read([1, 2, 3]).astype(np.float32) / 255
        planes = _planes(outline.shape)
        planes["buildings"][:] = outline
        for cover in ("water", "vegetation", "trees", "bare soil"):
            planes[cover][outline] = 0
        valid = np.ones(outline.shape, bool)
        tiles.append(
            Tile(
                stem,
                "buildings",
                stem.rsplit("_", 1)[0],
                reflectance,
                valid,
                _stack(planes),
                ("red", "green", "blue"),
                0.4,
                False,
            )
        )
    return tiles


def load_clouds(folder: Path) -> list[Tile]:
    """Two broken-cloud scenes: what must not be called water; snow and clouds are no vegetation."""
    tiles = []
    for path in sorted(folder.glob("*.label.tif")):
        stem = path.name.removesuffix(".label.tif")
        with rasterio.open(path) as image:
            classes = image.read(1)
        with rasterio.open(folder / f"{stem}.tif") as image:
            raw = image.read()
        reflectance = np.clip(raw.astype(np.float32) * 1e-4, 0, 1.5)
        planes = _planes(classes.shape)
        planes["water"][:] = classes == 1
        for cover in ("vegetation", "trees", "buildings", "bare soil"):
            planes[cover][np.isin(classes, (1, 2, 4))] = 0
        ndvi = (reflectance[3] - reflectance[2]) / np.maximum(reflectance[3] + reflectance[2], 0.01)
        planes["vegetation"][(classes == 3) & (ndvi > 0.5)] = 1
        planes["vegetation"][(classes == 3) & (ndvi < 0.2)] = 0
        tiles.append(Tile(stem, "clouds", stem, reflectance, (raw != 0).any(0), _stack(planes), SIX_BANDS, 30.0, True))
    return tiles


def load_imagery(folder: Path) -> list[Tile]:
    """All labelled real imagery below `folder` (its layout is described in docs/MODEL.md)."""
    tiles = load_landsat(folder / "landsat") + load_naip(folder / "naip_west_virginia")
    tiles += load_buildings(folder / "buildings_rgb") + load_clouds(folder / "clouds")
    log.info("%d labelled tiles", len(tiles))
    return tiles


def limit_bands(tile: Tile, bands: str) -> Tile:
    """The tile with no bands but those of a set of `BAND_SETS`."""
    wanted = BAND_SETS[bands]
    if wanted is None:
        return tile
    kept = [number for number, band in enumerate(tile.bands) if band in wanted]
    return replace(tile, reflectance=tile.reflectance[kept], bands=tuple(tile.bands[number] for number in kept))


def is_held_out(tile: Tile, landsat_sites: list[str], fold: int = 0) -> bool:
    """Whether a tile belongs to the held-out side: every fifth Landsat site, some cities, one NAIP sheet, one cloud scene."""
    if tile.source == "landsat":
        return landsat_sites.index(tile.site) % LANDSAT_FOLDS == fold
    if tile.source == "buildings":
        return tile.name.startswith(HELD_OUT_CITIES)
    if tile.source == "clouds":
        return tile.name == HELD_OUT_CLOUD_SCENE
    return False


def split(tiles: list[Tile], fold: int = 0) -> tuple[list[Tile], list[Tile]]:
    """(training, held out) by site."""
    sites = sorted({tile.site for tile in tiles if tile.source == "landsat"}, key=int)
    naip = sorted({tile.site for tile in tiles if tile.source == "naip"})
    held = [
        t for t in tiles if is_held_out(t, sites, fold) or (t.source == "naip" and len(naip) > 1 and t.site == naip[-1])
    ]
    names = {(tile.source, tile.name) for tile in held}
    return [tile for tile in tiles if (tile.source, tile.name) not in names], held


def synthetic_tiles(seeds: Iterator[int], *, size: int = 256) -> list[Tile]:
    """Synthetic scenes over all sensors and variants as tiles."""
    from spex_model.training.synthesis import VARIANTS, Sensor, cover_mask, synthesize

    kinds: tuple[tuple[Sensor, float], ...] = (
        ("sentinel2", 10.0),
        ("landsat8", 30.0),
        ("naip", 1.0),
        ("rgb", 0.5),
        ("sentinel2", 10.0),
    )
    tiles = []
    for number, seed in enumerate(seeds):
        sensor, gsd_m = kinds[number % len(kinds)]
        variant = VARIANTS[(number // len(kinds)) % len(VARIANTS)]
        made = synthesize(seed, size=size, gsd_m=gsd_m, sensor=sensor, variant=variant)
        covers = np.stack([cover_mask(made.labels, cover) for cover in LAND_COVERS])
        scene = made.scene
        tiles.append(
            Tile(
                f"{sensor}-{variant}-{seed}", "synthetic", str(seed), np.nan_to_num(scene.reflectance), scene.valid,
                covers, scene.bands, gsd_m, scene.calibrated,
            )
        )  # fmt: skip
    return tiles
