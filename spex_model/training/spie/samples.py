"""Image and label pairs that instruction records are made of: from the imagery, from synthesis, from files of one's own."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio

from spex_model.imaging.errors import SceneError
from spex_model.imaging.landcover import LAND_COVERS
from spex_model.imaging.reading import open_scene
from spex_model.imaging.scene import Scene
from spex_model.training.datasets import (
    UNKNOWN,
    Tile,
    load_buildings,
    load_clouds,
    load_landsat,
    load_naip,
    split,
)
from spex_model.training.replies import tile_scene
from spex_model.training.synthesis import FIRST_EVALUATION_SEED, VARIANTS, Sensor, cover_mask, synthesize

log = logging.getLogger(__name__)

REFLECTANCE_STEP = np.float32(1e-4)
_LOADERS = {
    "landsat": load_landsat, "naip_west_virginia": load_naip, "buildings_rgb": load_buildings, "clouds": load_clouds,
}  # fmt: skip
_SENSORS = {"landsat": "Landsat 8", "naip": "NAIP", "buildings": "aerial RGB"}
_SYNTHETIC: tuple[tuple[Sensor, float], ...] = (("sentinel2", 10.0), ("landsat8", 30.0), ("naip", 1.0), ("rgb", 0.5))
_HELD_OUT_EVERY = 5
_TRAINING_SEEDS, _MEASURING_OFFSET = 8000, 1000


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image.

    covers: for each land cover (H, W) uint8: 1 present, 0 absent, 255 not known. `site` groups images of one place;
    held_out says that models are measured on it and not trained.
    """

    name: str
    source: str
    site: str
    sensor: str
    scene: Scene
    covers: Mapping[str, np.ndarray]
    held_out: bool


def stored_values(scene: Scene) -> np.ndarray:
    """The scene as its file holds it (C, H, W): uint16 steps of 0.0001 of reflectance, or uint8 brightness."""
    values = np.nan_to_num(scene.reflectance)
    if scene.calibrated:
        return np.clip(np.rint(values / REFLECTANCE_STEP), 0, 65534).astype(np.uint16)
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)


def as_stored(scene: Scene) -> Scene:
    """The scene with the values that its file holds, so that who reads the file measures what the records state."""
    stored = stored_values(scene).astype(np.float32)
    values = stored * REFLECTANCE_STEP if scene.calibrated else stored / np.float32(255)
    return replace(scene, reflectance=np.where(scene.valid, values, np.nan).astype(np.float32))


def _sample_of(tile: Tile, held_out: bool) -> Sample:
    scene = tile_scene(tile)
    sensor = _SENSORS.get(tile.source) or {"landsat5": "Landsat 5", "sentinel2": "Sentinel-2"}.get(tile.name, tile.name)
    if tile.source == "buildings":
        # Pixels of these tiles are 0.3 to 0.6 m, each city's another: one size for all would make false areas.
        scene = replace(scene, gsd_m=None)
    covers = dict(zip(LAND_COVERS, tile.covers, strict=True))
    return Sample(f"{tile.source}-{tile.name}", tile.source, tile.site, sensor, as_stored(scene), covers, held_out)


def imagery_samples(folder: Path) -> list[Sample]:
    """All labelled tiles below a folder; a source whose subfolder is missing is left out. Raises SceneError for none."""
    tiles = [tile for name, load in _LOADERS.items() if (folder / name).is_dir() for tile in load(folder / name)]
    if not tiles:
        raise SceneError(f"There is no labelled imagery in {folder}; one of {', '.join(_LOADERS)} is needed there.")
    training, held_out = split(tiles)
    log.info("%d labelled tiles, %d of them held out", len(tiles), len(held_out))
    return [_sample_of(tile, False) for tile in training] + [_sample_of(tile, True) for tile in held_out]


def synthetic_samples(count: int, seed: int, *, size: int = 256) -> Iterator[Sample]:
    """`count` synthetic scenes over four sensors and all variants; every fifth has a seed that training never draws."""
    for number in range(count):
        sensor, gsd_m = _SYNTHETIC[number % len(_SYNTHETIC)]
        variant = VARIANTS[(number // len(_SYNTHETIC)) % len(VARIANTS)]
        held_out = number % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
        drawn = (seed * 997 + number) % _TRAINING_SEEDS
        if held_out:
            drawn += FIRST_EVALUATION_SEED + _MEASURING_OFFSET
        made = synthesize(drawn, size=size, gsd_m=gsd_m, sensor=sensor, variant=variant)
        covers = {cover: cover_mask(made.labels, cover) for cover in LAND_COVERS}
        yield Sample(
            f"synthetic-{sensor}-{variant}-{drawn}", "synthetic", f"synthetic-{drawn}", f"synthetic {sensor}",
            as_stored(made.scene), covers, held_out,
        )  # fmt: skip


def pair_sample(image: Path, labels: Path) -> Sample:
    """An image and its labels from two files.

    The label raster has the image's size and one band a land cover, named after it in the band descriptions:
    1 present, 0 absent, 255 not known. Raises SceneError with what does not fit.
    """
    scene = open_scene(image)
    covers = {cover: np.full(scene.shape, UNKNOWN, np.uint8) for cover in LAND_COVERS}
    with rasterio.open(labels) as dataset:
        if (dataset.height, dataset.width) != scene.shape:
            raise SceneError(
                f"{labels.name} has {dataset.height} x {dataset.width} pixels and {image.name} {scene.shape[0]} x {scene.shape[1]}; "
                "both need the same size."
            )
        named = {str(name).lower(): number for number, name in enumerate(dataset.descriptions, start=1) if name}
        if not set(named) & set(covers):
            raise SceneError(
                f"No band of {labels.name} is named after a land cover; describe its bands with names out of {', '.join(LAND_COVERS)}."
            )
        for cover in set(named) & set(covers):
            plane = dataset.read(named[cover]).astype(np.uint8)
            covers[cover] = np.where(np.isin(plane, (0, 1)), plane, UNKNOWN).astype(np.uint8)
    return Sample(image.stem, "own", image.stem, "as in the file", as_stored(scene), covers, False)


def write_sample(sample: Sample, folder: Path) -> None:
    """Write `scenes/NAME.tif` and `labels/NAME.tif`: what a checker needs, and an image that the chat opens.

    Labels have one band a land cover (1, 0, 255 not known) and a last one, `valid` (0, 1).
    """
    scene = sample.scene
    height, width = scene.shape
    common = {"driver": "GTiff", "height": height, "width": width, "compress": "deflate", "crs": scene.crs}
    if scene.georeferenced:
        common["transform"] = scene.transform
    for part in ("scenes", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    values = stored_values(scene)
    nodata = {"nodata": 65535} if scene.calibrated else {}
    if scene.calibrated:
        values[:, ~scene.valid] = 65535
    with rasterio.open(folder / "scenes" / f"{sample.name}.tif", "w", count=len(values), dtype=values.dtype.name, **nodata, **common) as dataset:  # fmt: skip
        dataset.write(values)
        dataset.descriptions = scene.bands
        if scene.calibrated:
            dataset.scales = [1e-4] * len(values)
        if scene.gsd_m is not None and not scene.georeferenced:
            dataset.update_tags(GSD_M=f"{scene.gsd_m:g}")
    planes = [*(sample.covers[cover] for cover in LAND_COVERS), scene.valid.astype(np.uint8)]
    with rasterio.open(folder / "labels" / f"{sample.name}.tif", "w", count=len(planes), dtype="uint8", **common) as dataset:  # fmt: skip
        dataset.write(np.stack(planes))
        dataset.descriptions = (*LAND_COVERS, "valid")
