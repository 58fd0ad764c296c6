"""Synthetic scenes with exact labels: landscapes drawn as materials, then seen through a sensor.

Drawn at twice the resolution and averaged, so that pixels at edges are mixed; then shade, haze, clouds,
blur and noise. Deterministic by seed. Seeds from `FIRST_EVALUATION_SEED` on are for measuring only.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import gaussian_filter

from spex_model.imaging.scene import Scene
from spex_model.training import landscape
from spex_model.training.landscape import Canvas
from spex_model.training.spectra import BANDS, CLASSES, MATERIAL_CLASS, REFLECTANCE

Sensor = Literal["sentinel2", "landsat8", "naip", "rgb"]
Variant = Literal["clear", "haze", "cloud_shadow", "dark_lakes", "mixed"]
VARIANTS: tuple[Variant, ...] = ("clear", "haze", "cloud_shadow", "dark_lakes", "mixed")

FIRST_EVALUATION_SEED = 9000
"""Training draws seeds below this; evaluation draws from here on."""

SENSOR_BANDS: dict[str, tuple[str, ...]] = {
    "sentinel2": BANDS,
    "landsat8": ("blue", "green", "red", "nir", "swir1", "swir2"),
    "naip": ("red", "green", "blue", "nir"),
    "rgb": ("red", "green", "blue"),
}
_HAZE = np.array([1.0, 0.75, 0.55, 0.48, 0.42, 0.38, 0.33, 0.31, 0.08, 0.04], np.float32)
_FINE_M = 5.0
_GREEN = ("forest", "crop", "grass")


@dataclass(frozen=True, eq=False)
class SyntheticScene:
    """A scene and its exact labels (H, W) uint8, numbers into `CLASSES`."""

    scene: Scene
    labels: np.ndarray


def cover_mask(labels: np.ndarray, land_cover: str) -> np.ndarray:
    """Labels of one land cover (H, W) uint8: 1 present, 0 absent, 255 open to dispute (dry fields: vegetation, bare soil)."""
    members = {
        "water": ("water",), "vegetation": _GREEN, "trees": ("forest",), "buildings": ("building",), "bare soil": ("bare soil",),
    }[land_cover]  # fmt: skip
    plane = np.isin(labels, [CLASSES.index(name) for name in members]).astype(np.uint8)
    if land_cover in ("vegetation", "bare soil"):
        plane[labels == CLASSES.index("dry field")] = 255
    return plane


def _regional(canvas: Canvas, variant: Variant, whole: bool) -> None:
    """Countryside at 5 m or coarser. `whole`: everything of the evaluation scene is there, three lakes included."""
    rng, size = canvas.rng, canvas.shape[0]
    landscape.draw_fields(canvas, rng.uniform(150, 600))
    landscape.draw_forest(canvas, rng.uniform(0.15, 0.35) if whole else rng.uniform(0.0, 0.6))
    landscape.draw_bare_patch(
        canvas, rng.uniform(0.04, 0.08) if whole else rng.uniform(0.0, 0.25) * (rng.random() < 0.5)
    )
    if not whole and rng.random() < 0.12:
        landscape.draw_bare_patch(canvas, 1.0)
    if not whole and rng.random() < 0.1:
        noise = landscape.smooth_noise(canvas.shape, size / 3, rng)
        canvas.paint(noise > np.quantile(noise, rng.uniform(0.4, 0.9)), "snow")
    for _ in range(1 if whole else rng.integers(0, 3)):
        radius = rng.uniform(0.08, 0.13) * size if whole else rng.uniform(0.04, 0.25) * size
        centre = np.array([0.74, 0.26]) * size if whole else rng.uniform(0, size, 2)
        landscape.draw_town(canvas, centre, radius, (12, 45) if canvas.metres < 10 else (25, 90), rng.uniform(80, 160))
    for _ in range(1 if whole else rng.integers(0, 4)):
        landscape.draw_ribbon(canvas, rng.uniform(8, 25) / canvas.metres, "asphalt", straight=rng.random() < 0.6)
    if whole or rng.random() < 0.7:
        _draw_waters(canvas, variant, whole)


def _draw_waters(canvas: Canvas, variant: Variant, whole: bool) -> None:
    rng, size = canvas.rng, canvas.shape[0]
    canvas.shade[:] = 1
    dark = variant == "dark_lakes"

    def kind() -> str:
        return "dark water" if dark or rng.random() < 0.08 else landscape.WATERS[rng.integers(len(landscape.WATERS))]

    if whole:
        for centre, radius in (((0.25, 0.28), 0.13), ((0.3, 0.75), 0.07), ((0.75, 0.72), 0.04)):
            landscape.draw_lake(canvas, (centre[0] * size, centre[1] * size), radius * size, kind())
        return
    draw = rng.random()
    if draw < 0.15:
        noise = landscape.smooth_noise(canvas.shape, size / 1.5, rng) + 0.1 * landscape.smooth_noise(
            canvas.shape, size / 20, rng
        )
        canvas.paint(noise > np.quantile(noise, rng.uniform(0.2, 0.8)), kind())
    for _ in range(rng.integers(0, 3)):
        landscape.draw_ribbon(canvas, float(np.exp(rng.uniform(np.log(2), np.log(60)))), kind())
    for _ in range(rng.integers(0, 7)):
        radius = float(np.exp(rng.uniform(np.log(2.5), np.log(size / 6))))
        landscape.draw_lake(canvas, tuple(rng.uniform(0, size, 2)), radius, kind())


def _local(canvas: Canvas, variant: Variant) -> None:
    """A neighbourhood at finer than 5 m: houses, gardens, single trees, a pond now and then."""
    rng, size = canvas.rng, canvas.shape[0]
    landscape.draw_fields(canvas, rng.uniform(60, 300))
    landscape.draw_forest(canvas, rng.uniform(0.0, 0.4), crown_m=5.0)
    if rng.random() < 0.4:
        _draw_waters(canvas, variant, whole=False)
    if rng.random() < 0.8:
        large = rng.random() < 0.25
        houses = (25.0, 60.0) if large else (8.0, 18.0)
        for _ in range(rng.integers(1, 3)):
            landscape.draw_town(
                canvas,
                rng.uniform(0.2, 0.8, 2) * size,
                rng.uniform(0.3, 0.8) * size,
                houses,
                rng.uniform(2.4, 4.5) * houses[1],
            )
    for _ in range(rng.integers(0, 2)):
        landscape.draw_ribbon(
            canvas,
            rng.uniform(5, 12) / canvas.metres,
            "asphalt" if rng.random() < 0.8 else "concrete",
            straight=True,
        )
    landscape.draw_trees(canvas, int(rng.integers(5, 60)), (1.5, 6.0))


def _average(values: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 blocks: (…, 2H, 2W) -> (…, H, W)."""
    *_, height, width = values.shape
    return values.reshape(*values.shape[:-2], height // 2, 2, width // 2, 2).mean((-3, -1))


def _majority(classes: np.ndarray) -> np.ndarray:
    """The class that takes most of each 2 x 2 block."""
    return (
        np.stack([_average((classes == number).astype(np.float32)) for number in range(len(CLASSES))])
        .argmax(0)
        .astype(np.uint8)
    )


def _cover_with_clouds(values: np.ndarray, labels: np.ndarray, columns: list[int], rng: np.random.Generator) -> None:
    """Thick clouds (labelled so) and their shadows (which keep the ground's label), in place."""
    size = labels.shape[0]
    noise = landscape.smooth_noise(labels.shape, size / 5, rng) + 0.5 * landscape.smooth_noise(
        labels.shape, size / 16, rng
    )
    opacity = np.clip((noise - np.quantile(noise, rng.uniform(0.82, 0.95))) * 2.5, 0, 1)
    shift = rng.integers(size // 20, size // 8, 2) * rng.choice((-1, 1), 2)
    shadow = np.clip(np.roll(opacity, tuple(shift), (0, 1)) - opacity, 0, 1)
    values *= 1 - shadow * np.linspace(0.55, 0.85, len(values))[:, None, None]
    cloud = REFLECTANCE[-1, columns] * rng.uniform(0.8, 1.15)
    values += opacity * (cloud[:, None, None] - values)
    labels[opacity > 0.5] = CLASSES.index("cloud")


def synthesize(
    seed: int,
    *,
    size: int = 512,
    gsd_m: float = 10.0,
    sensor: Sensor = "sentinel2",
    variant: Variant = "clear",
    whole: bool = False,
) -> SyntheticScene:
    """A synthetic scene of size x size pixels of gsd_m metres on a UTM grid.

    naip and rgb give uncalibrated brightness 0-1 with a random gain, gamma and white balance. `whole` asks for
    water, forest, crops, bare soil, a road and a town, as the evaluation scene has them.
    """
    rng = np.random.default_rng((seed, VARIANTS.index(variant)))
    canvas = landscape.blank(2 * size, gsd_m / 2, rng)
    if gsd_m < _FINE_M:
        _local(canvas, variant)
    else:
        _regional(canvas, variant, whole)
    light = canvas.brightness * canvas.shade * (1 + 0.05 * landscape.smooth_noise(canvas.shape, 3, rng))
    blur = 1.6 if variant == "mixed" else rng.uniform(0.5, 1.0)
    columns = [BANDS.index(name) for name in SENSOR_BANDS[sensor]]
    values = np.stack(
        [_average(gaussian_filter(REFLECTANCE[canvas.materials, column] * light, blur)) for column in columns]
    )
    labels = _majority(MATERIAL_CLASS[canvas.materials])
    values *= 1 + 0.06 * landscape.smooth_noise(labels.shape, size / 2, rng)
    if variant == "cloud_shadow":
        _cover_with_clouds(values, labels, columns, rng)
    thickness = rng.uniform(0.04, 0.09) if variant == "haze" else rng.uniform(0, 0.015)
    values += (thickness * _HAZE[columns])[:, None, None] * (
        1 + 0.3 * landscape.smooth_noise(labels.shape, size / 3, rng)
    )
    values *= np.exp(rng.normal(0, 0.02, (len(columns), 1, 1)))
    values += rng.normal(0, 0.0025, values.shape)
    calibrated = sensor in ("sentinel2", "landsat8")
    if not calibrated:
        values = _as_picture(values, rng)
    reflectance = np.clip(values, 0, 1.2).astype(np.float32)
    grid = Affine(gsd_m, 0, 500_000 + 1000 * (seed % 40), 0, -gsd_m, 5_400_000)
    scene = Scene(
        reflectance, np.ones(labels.shape, bool), SENSOR_BANDS[sensor], grid, CRS.from_epsg(32632), gsd_m,
        source=f"synthetic-{sensor}-{variant}-{seed}.tif", calibrated=calibrated,
    )  # fmt: skip
    return SyntheticScene(scene, labels)


def _as_picture(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reflectance -> camera brightness: gain, gamma, white balance, 8 bit."""
    top = np.percentile(values[:3], 99) * rng.uniform(0.9, 1.6)
    balance = np.exp(rng.normal(0, 0.06, (len(values), 1, 1)))
    picture = np.clip(values / top * balance, 0, 1) ** rng.uniform(0.5, 0.9)
    return np.round(picture * 255) / 255


def evaluation_scene(seed: int = FIRST_EVALUATION_SEED, variant: Variant = "clear") -> SyntheticScene:
    """The 512 x 512 ten-band scene at 10 m on which the main figures are measured: three lakes of different size."""
    return synthesize(seed, variant=variant, whole=True)


def write_geotiff(path: Path, made: SyntheticScene) -> None:
    """Write the scene as a GeoTIFF with named bands: uint16 reflectance x 10,000 with its scale, or 8-bit brightness."""
    scene = made.scene
    factor, dtype = (10_000, "uint16") if scene.calibrated else (255, "uint8")
    height, width = scene.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": len(scene.bands), "dtype": dtype, "crs": scene.crs,
               "transform": scene.transform, "compress": "deflate", "predictor": 2, "tiled": True}  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(
            np.round(np.clip(scene.reflectance, 0, 1.2) * factor)
            .clip(0, 65535 if scene.calibrated else 255)
            .astype(dtype)
        )
        dataset.descriptions = scene.bands
        if scene.calibrated:
            dataset.scales = [1 / factor] * len(scene.bands)
        dataset.update_tags(SOURCE="synthetic scene, exact by construction; public domain")


EXAMPLES: dict[str, tuple[int, float, Sensor]] = {
    "synthetic_sentinel2.tif": (9107, 10.0, "sentinel2"),
    "synthetic_aerial.tif": (9308, 1.0, "naip"),
}
"""Example scenes of the app: seed (above those of training and measuring), pixel size in m, sensor."""


def write_examples(folder: Path) -> list[Path]:
    """Write the synthetic example scenes into a folder, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (seed, gsd_m, sensor) in EXAMPLES.items():
        write_geotiff(folder / name, synthesize(seed, gsd_m=gsd_m, sensor=sensor, whole=gsd_m >= _FINE_M))
    return [folder / name for name in EXAMPLES]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `--write-examples FOLDER` writes the app's synthetic example scenes."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.training.synthesis", description=__doc__)
    parser.add_argument("--write-examples", type=Path, required=True, metavar="FOLDER", help="where to write them")
    for path in write_examples(parser.parse_args(arguments).write_examples):
        print(path)


if __name__ == "__main__":
    main()
