"""Tiny rasters and scenes, made on the spot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from spex_model.imaging.scene import Scene

WriteRaster = Callable[..., Path]
MakeScene = Callable[..., Scene]


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """A function that writes an array (C, H, W) as an image and gives its path."""

    def write(
        values: np.ndarray,
        name: str = "image.tif",
        *,
        names: tuple[str, ...] = (),
        tags: dict[str, str] | None = None,
        band_tags: list[dict[str, str]] | None = None,
        colours: tuple[Any, ...] = (),
        scales: list[float] | None = None,
        offsets: list[float] | None = None,
        **profile: Any,
    ) -> Path:
        path = tmp_path / name
        driver = {"png": "PNG", "jpg": "JPEG", "jp2": "JP2OpenJPEG"}.get(path.suffix[1:], "GTiff")
        count, height, width = values.shape
        options = {
            "driver": driver,
            "count": count,
            "height": height,
            "width": width,
            "dtype": values.dtype.name,
            **profile,
        }
        with rasterio.open(path, "w", **options) as dataset:
            dataset.write(values)
            if names:
                dataset.descriptions = names
            if colours:
                dataset.colorinterp = colours
            if tags:
                dataset.update_tags(**tags)
            for number, entries in enumerate(band_tags or (), start=1):
                dataset.update_tags(number, **entries)
            if scales:
                dataset.scales = scales
            if offsets:
                dataset.offsets = offsets
        return path

    return write


@pytest.fixture
def make_scene() -> MakeScene:
    """A function that makes a scene from one value or array a band."""

    def make(
        shape: tuple[int, int] = (4, 4),
        *,
        valid: np.ndarray | None = None,
        transform: Affine | None = None,
        crs: CRS | int | None = None,
        gsd_m: float | None = None,
        calibrated: bool = True,
        **bands: Any,
    ) -> Scene:
        planes = [np.broadcast_to(np.asarray(value, np.float32), shape) for value in (bands or {"pan": 0.5}).values()]
        inside = np.ones(shape, bool) if valid is None else valid
        return Scene(
            np.where(inside, np.stack(planes), np.nan).astype(np.float32),
            inside,
            tuple(bands or {"pan": 0.5}),
            transform or Affine.identity(),
            CRS.from_epsg(crs) if isinstance(crs, int) else crs,
            gsd_m,
            calibrated=calibrated,
        )

    return make
