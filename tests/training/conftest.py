"""Tiny imagery in files, made of synthetic scenes."""

import csv

import numpy as np
import pytest
import rasterio

from spex_model.training.datasets import LANDSAT_BANDS
from spex_model.training.synthesis import synthesize


def _write_image(path, scene, bands=None):
    """A scene as a file of integers, with names and scale."""
    numbers = [scene.bands.index(band) for band in bands or scene.bands]
    values = np.nan_to_num(scene.reflectance[numbers] * 1e4).clip(1, 15000).astype(np.int16)
    with rasterio.open(path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2], count=len(values), dtype="int16") as file:  # fmt: skip
        file.write(values)
        file.descriptions = tuple(scene.bands[number] for number in numbers)
        file.scales = (1e-4,) * len(values)
        file.update_tags(GSD_M="30")


@pytest.fixture(scope="session")
def write_image():
    """Writes a scene to a path as a GeoTIFF of integers with names and scale, of some bands on request."""
    return _write_image


@pytest.fixture(scope="session")
def imagery(tmp_path_factory):
    """Labelled tiles of two places, in the layout of datasets.py."""
    made = tmp_path_factory.mktemp("imagery")
    (made / "landsat").mkdir()
    rows = []
    for site in (1, 2):
        scene = synthesize(site, size=96, sensor="landsat8").scene
        path = made / "landsat" / f"{site}.tif"
        _write_image(path, scene, [band if band in scene.bands else "blue" for band in LANDSAT_BANDS])
        labels = np.zeros((2, 96, 96), np.uint8)
        labels[0, :40], labels[1, 40:] = 1, 10
        with rasterio.open(path.with_suffix(".label.tif"), "w", driver="GTiff", height=96, width=96, count=2, dtype="uint8") as file:  # fmt: skip
            file.write(labels)
        rows.append({"tile": str(site), "site": str(site)})
    with (made / "landsat" / "sites.csv").open("w") as file:
        writer = csv.DictWriter(file, ("tile", "site"))
        writer.writeheader()
        writer.writerows(rows)
    return made
